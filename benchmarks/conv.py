"""Convolution layers of well-known nets, one by one: forward, gradient by the input, gradient by the weights.

All float32 and without bias. Padding is symmetric, as PyTorch's nets have it, so every column computes the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy

from .harness import LeftOut, Row
from .peers import Peer

TITLE = "Convolution"
PEERS = ["fad", "torch", "torch NHWC", "jax"]
BEST = {"PyTorch's best": ["torch", "torch NHWC"], "JAX": ["jax"]}


@dataclass(frozen=True)
class Layer:
    """A convolution of one example (*size, inputs), the same along every axis."""

    net: str
    size: int
    inputs: int
    outputs: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    axes: int = 2
    transposed: bool = False  # from outputs to inputs: its forward is the convolution's gradient by the input
    largest_batch: int = 32

    @property
    def out_size(self) -> int:
        return (self.size + 2 * self.padding - self.window) // self.stride + 1

    def input_shape(self, batch: int) -> tuple:
        return (batch, *(self.size,) * self.axes, self.inputs)

    @property
    def weight_shape(self) -> tuple:
        return (*(self.window,) * self.axes, self.inputs // self.groups, self.outputs)

    def output_shape(self, batch: int) -> tuple:
        return (batch, *(self.out_size,) * self.axes, self.outputs)

    def flops(self, batch: int) -> int:
        return 2 * prod(self.output_shape(batch)) * prod(self.weight_shape[:-1])

    def __str__(self) -> str:
        window = "x".join([str(self.window)] * self.axes)
        what = "depthwise " * (self.groups > 1) + "transposed " * self.transposed + window
        stride = f" stride {self.stride}" * (self.stride > 1)
        ends = (self.outputs, self.inputs) if self.transposed else (self.inputs, self.outputs)
        sizes = self.out_size if self.transposed else self.size
        return f"{self.net} {what}{stride} {ends[0]}->{ends[1]} at {sizes}"


@lru_cache(maxsize=1)
def arrays(layer: Layer, batch: int) -> tuple:
    """(x, w, g): input, weights and a cotangent of the output, channels last; the same for all peers."""
    rng = numpy.random.default_rng(0)
    shapes = layer.input_shape(batch), layer.weight_shape, layer.output_shape(batch)
    return tuple(rng.standard_normal(shape, numpy.float32) for shape in shapes)


# ---- the three faces, as each library has them

FACES = ["forward", "input gradient", "weight gradient"]


def fad_face(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any]:
    from fad.primitives.conv import conv, conv_input_grad, conv_weight_grad

    x, w, g = arrays(layer, batch)
    several = {
        "strides": (layer.stride,) * layer.axes,
        "padding": ((layer.padding,) * 2,) * layer.axes,
        "dilation": (1,) * layer.axes,
        "groups": layer.groups,
    }
    if face == "weight gradient":
        return partial(peer.jit(lambda x, g: conv_weight_grad(x, g, window=w.shape[:-2], **several)), x, g)
    if (face == "forward") != layer.transposed:
        return partial(peer.jit(lambda x, w: conv(x, w, **several)), x, w)
    return partial(peer.jit(lambda g, w: conv_input_grad(g, w, input_shape=x.shape, **several)), g, w)


def jax_face(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any]:
    jax = peer.more
    x, w, g = (peer.array(a) for a in arrays(layer, batch))
    axes = "DHW"[-layer.axes :]
    names = f"N{axes}C", f"{axes}IO", f"N{axes}C"
    strides, padding = (layer.stride,) * layer.axes, ((layer.padding,) * 2,) * layer.axes

    def conv(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=names, feature_group_count=layer.groups)

    if face == "weight gradient":
        return partial(jax.jit(lambda x, g: jax.linear_transpose(lambda w: conv(x, w), w)(g)[0]), x, g)
    if (face == "forward") != layer.transposed:
        return partial(jax.jit(conv), x, w)
    return partial(jax.jit(lambda g, w: jax.linear_transpose(lambda x: conv(x, w), x)(g)[0]), g, w)


def torch_face(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any]:
    torch = peer.more
    if peer.name == "torch NHWC" and layer.axes == 1:
        raise LeftOut("has no channels-last format for one axis")
    channels_last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(layer.axes)
    memory_format = channels_last if peer.name == "torch NHWC" else torch.contiguous_format
    inward = [0, layer.axes + 1, *range(1, layer.axes + 1)]  # N, C, *spatial
    outward = [layer.axes + 1, layer.axes, *range(layer.axes)]  # O, I, *window
    x, w, g = (
        torch.from_numpy(array.transpose(order)).contiguous(memory_format=memory_format)
        for array, order in zip(arrays(layer, batch), (inward, outward, inward))
    )
    if layer.transposed:
        x, g = g, x
    strides, padding, ones = ([n] * layer.axes for n in (layer.stride, layer.padding, 1))
    rest = strides, padding, ones, layer.transposed, [0] * layer.axes, layer.groups
    if face == "forward":
        return torch.no_grad()(partial(torch.ops.aten.convolution, x, w, None, *rest))
    mask = [face == "input gradient", face == "weight gradient", False]
    return torch.no_grad()(partial(torch.ops.aten.convolution_backward, g, x, w, None, *rest, mask))


def as_ours(face: str, peer: Peer, result: Any) -> Any:
    """A result with its channels last, as fad and JAX return it."""
    if not peer.name.startswith("torch"):
        return result
    if face == "weight gradient":
        return result[1].permute(*range(2, result[1].ndim), 1, 0)
    image = result if face == "forward" else result[0]
    return image.permute(0, *range(2, image.ndim), 1)


def build(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any]:
    return {"fad": fad_face, "jax": jax_face}.get(peer.name, torch_face)(face, layer, batch, peer)


# ---- the rows


def depthwise(net: str, size: int, channels: int, stride: int = 1) -> Layer:
    return Layer(net, size, channels, channels, 3, stride, 1, groups=channels)


LAYERS = [
    Layer("LeNet", 28, 1, 6, 5, padding=2),
    Layer("LeNet", 14, 6, 16, 5),
    # At 224 and 112 a batch of 32 would be arrays of 400 MB, four copies of each: 8 there.
    *(Layer("VGG-16", s, i, o, 3, padding=1, largest_batch=8) for s, i, o in ((224, 3, 64), (224, 64, 64), (112, 64, 128))),
    Layer("VGG-16", 112, 128, 128, 3, padding=1, largest_batch=8),
    *(Layer("VGG-16", s, i, o, 3, padding=1) for s, i, o in ((56, 128, 256), (56, 256, 256), (28, 256, 512))),
    *(Layer("VGG-16", s, 512, 512, 3, padding=1) for s in (28, 14)),
    Layer("ResNet-18", 224, 3, 64, 7, 2, 3),
    *(Layer("ResNet-18", s, c, c, 3, padding=1) for s, c in ((56, 64), (28, 128), (14, 256), (7, 512))),
    *(Layer("ResNet-18", s, c, 2 * c, 3, 2, 1) for s, c in ((56, 64), (28, 128), (14, 256))),
    *(Layer("ResNet-18", s, c, 2 * c, 1, 2) for s, c in ((56, 64), (28, 128), (14, 256))),
    Layer("MobileNet", 224, 3, 32, 3, 2, 1),
    *(depthwise("MobileNet", s, c) for s, c in ((112, 32), (56, 128), (28, 256), (14, 512), (7, 1024))),
    *(depthwise("MobileNet", s, c, stride=2) for s, c in ((112, 64), (56, 128), (28, 256), (14, 512))),
    *(Layer("MobileNet", s, c, 2 * c, 1) for s, c in ((112, 32), (56, 64), (28, 128), (14, 256), (7, 512))),
    *(Layer("MobileNet", s, c, c, 1) for s, c in ((56, 128), (28, 256), (14, 512), (7, 1024))),
    Layer("DCGAN", 64, 64, 128, 4, 2, 1, transposed=True),
    Layer("M5 audio", 16_000, 1, 128, 80, 4, axes=1),
    Layer("audio", 1024, 64, 64, 3, padding=1, axes=1),
    Layer("video", 32, 3, 32, 3, padding=1, axes=3, largest_batch=8),
    Layer("video", 16, 32, 64, 3, padding=1, axes=3, largest_batch=8),
]

ROWS = [
    Row(
        f"{layer}, batch {batch}: {face}",
        partial(build, face, layer, batch),
        seconds=1.5,
        tolerance=1e-3,
        compared=partial(as_ours, face),
        flops=layer.flops(batch),
        goal="best peer",
    )
    for layer in LAYERS
    for batch in (1, layer.largest_batch)
    for face in FACES
]
