"""Without jit: convolution layers, new shapes, products and a training step as they run when nothing is compiled for them.

fad runs its numba kernels, which take any shape; the column "fad specialised" has the kernels that `fad.jit` makes for one shape,
without Winograd's transformation. PyTorch runs eagerly, JAX operation by operation.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy

from . import conv, nets
from .conv import FACES, LAYERS, Layer
from .harness import Row
from .nets import NETS, Net
from .peers import Peer

TITLE = "Eager"
PEERS = ["fad", "fad specialised", "torch", "torch NHWC", "jax", "numpy"]
BEST = {"PyTorch's best": ["torch", "torch NHWC"], "JAX": ["jax"]}


def fad_face(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any]:
    """The numba kernels themselves, never exchanged for specialised ones; or those."""
    from fad.kernels import nets as kernels
    from fad.kernels import rent

    x, w, g = conv.arrays(layer, batch)
    moves = (layer.stride,) * layer.axes, ((layer.padding,) * 2,) * layer.axes, (1,) * layer.axes, layer.groups
    if peer.name == "fad specialised":
        return specialised_face(face, x, w, g, *moves)
    calls = {
        "forward": partial(kernels.conv, x, w, *moves),
        "input gradient": partial(kernels.conv_input_grad, g, w, x.shape, *moves),
        "weight gradient": partial(kernels.conv_weight_grad, x, g, w.shape[:-2], *moves),
    }

    def run() -> Any:
        rent._paid.clear()  # nobody buys here
        return calls[face]()

    return run


def specialised_face(face: str, x: Any, w: Any, g: Any, *moves: Any) -> Callable[[], Any]:
    """The kernel for this shape, as it is defined: Winograd's transformation stays out, and the recipes kept for others too."""
    from fad.compile.kernels import conv_recipes, recipe
    from fad.kernels.windows import steps

    *geometry, groups = moves
    made = {
        "forward": lambda: conv_recipes.conv.__wrapped__(
            x.shape, steps(x), w.shape, steps(w), x.dtype, *geometry, groups, g.shape[1:-1]
        ),
        "input gradient": lambda: conv_recipes.conv_input_grad.__wrapped__(
            g.shape, steps(g), w.shape, steps(w), x.dtype, x.shape, *geometry, groups
        ),
        "weight gradient": lambda: conv_recipes.conv_weight_grad.__wrapped__(
            x.shape, steps(x), g.shape, steps(g), x.dtype, w.shape[:-2], *geometry, groups
        ),
    }
    with mock.patch.object(conv_recipes, "is_3x3", return_value=False):
        found = made[face]()
    operands = {"forward": [x, w], "input gradient": [g, w], "weight gradient": [x, g]}[face]
    return partial(recipe.run, found, operands, x.dtype)


def build(face: str, layer: Layer, batch: int, peer: Peer) -> Callable[[], Any] | None:
    if peer.name == "numpy":
        return None
    return fad_face(face, layer, batch, peer) if peer.name.startswith("fad") else conv.build(face, layer, batch, peer)


# ---- shapes that were never seen


def build_new_shape(layer: Layer, peer: Peer) -> Callable[[], float] | None:
    """Seconds of the first call for a batch that no call had before, over those of the second call."""
    if peer.name not in ("fad", "fad specialised", "torch"):
        return None
    batches = itertools.count(2)

    def report() -> float:
        run = build("forward", layer, next(batches), peer)
        taken = []
        for _ in range(2):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
        return taken[0] / taken[1]

    return report


# ---- products of matrices


def build_product(x_shape: tuple, w_shape: tuple, peer: Peer) -> Callable[[], Any] | None:
    if peer.name in ("fad specialised", "torch NHWC"):
        return None
    rng = numpy.random.default_rng(0)
    x, w = (peer.array(rng.standard_normal(shape, numpy.float32)) for shape in (x_shape, w_shape))
    if peer.name == "fad":
        from fad.kernels.arrays import matmul

        return partial(matmul, x, w)
    if peer.name == "torch":
        return partial(peer.more.matmul, x, w)
    return partial(peer.np.matmul, x, w)


# ---- a training step


def build_step(net: Net, peer: Peer) -> Callable[[], Any] | None:
    if peer.name not in ("fad", "torch", "jax"):
        return None
    if peer.name == "fad":
        eager = SimpleNamespace(jit=lambda f, donate: f)
        return nets.step(net, replace(peer, more=eager))
    if peer.name == "torch":
        return nets.step(net, peer)

    def op_by_op() -> Any:
        with peer.more.disable_jit():
            return run()

    with peer.more.disable_jit():
        run = nets.step(net, peer)
    return op_by_op


LAYERS_OF_NETS = [layer for layer in LAYERS if layer.net in ("LeNet", "VGG-16", "ResNet-18", "MobileNet")]
SHOWN = LAYERS_OF_NETS[::2]  # the others are like their neighbours; JAX compiles every one of them for a second or more
PRODUCTS = [
    ((64, 64), (64, 64)),
    ((512, 512), (512, 512)),
    ((128, 784), (784, 512)),
    ((32, 64, 64), (32, 64, 64)),
    ((128, 12, 64, 64), (128, 12, 64, 64)),
    ((1000, 8, 8), (1000, 8, 8)),
    ((64, 128, 96), (96, 80)),
]

ROWS = [
    *(
        Row(
            f"{layer}, batch {batch}: {face}",
            partial(build, face, layer, batch),
            rounds=7,
            seconds=0.7,
            tolerance=1e-3,
            compared=partial(conv.as_ours, face),
            flops=layer.flops(batch),
            goal="specialised / 0.7",
        )
        for layer in SHOWN
        for batch in (1, layer.largest_batch)
        for face in FACES
    ),
    *(
        Row(
            f"new batch of {layer}: first call over the second", partial(build_new_shape, layer), reports=True, unit="x", goal="1.2"
        )
        for layer in (SHOWN[0], SHOWN[3], SHOWN[5])
    ),
    *(Row(f"{x} @ {w}", partial(build_product, x, w), tolerance=1e-4, seconds=1.5, goal="numpy") for x, w in PRODUCTS),
    *(
        Row(f"training step of {net.name}, batch {net.batch}", partial(build_step, net), seconds=10.0, tolerance=1e-3, goal="torch")
        for net in NETS[:3]
    ),
]
