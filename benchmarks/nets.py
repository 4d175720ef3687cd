"""The nets whose training is measured, each described once and built for fad, JAX and PyTorch.

A net is a tuple of layers; a layer is its name and its options. fad's net is made of fad.stax, its initial parameters
are everybody's, and JAX's functions take fad's own tree of parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from .peers import Peer

RATE, MASS = 0.01, 0.9

# ---- descriptions

Spec = tuple


def conv(channels: int, window: int = 3, stride: int = 1, depthwise: bool = False, bias: bool = False) -> Spec:
    """With padding that keeps ceil(size / stride); where batch norm follows, without bias."""
    return ("conv", channels, window, stride, depthwise, bias)


def dense(units: int) -> Spec:
    return ("dense", units)


RELU, NORM, MAX_POOL, MEAN, FLATTEN = ("relu",), ("norm",), ("max_pool",), ("mean",), ("flatten",)


def residual(body: Sequence[Spec], shortcut: Sequence[Spec] = ()) -> Spec:
    """body(x) + shortcut(x), the shortcut the identity where it has no layers."""
    return ("residual", tuple(body), tuple(shortcut))


def basic_block(channels: int, stride: int) -> list[Spec]:
    """He, Zhang, Ren & Sun 2016, figure 2."""
    body = conv(channels, 3, stride), NORM, RELU, conv(channels), NORM
    return [residual(body, (conv(channels, 1, stride), NORM) if stride > 1 else ()), RELU]


def separable(channels_in: int, channels: int, stride: int = 1) -> list[Spec]:
    """Howard et al. 2017, table 1: a depthwise convolution, then one of window 1."""
    return [conv(channels_in, 3, stride, depthwise=True), NORM, RELU, conv(channels, 1), NORM, RELU]


RESNET = [conv(64), NORM, RELU, *basic_block(64, 1), *basic_block(64, 1)]
for width in (128, 256, 512):
    RESNET += [*basic_block(width, 2), *basic_block(width, 1)]

MOBILENET = [conv(32), NORM, RELU, *separable(32, 64), *separable(64, 128, 2), *separable(128, 128)]
MOBILENET += [*separable(128, 256, 2), *separable(256, 256), *separable(256, 512, 2), *separable(512, 512)]


@dataclass(frozen=True)
class Net:
    name: str
    layers: tuple[Spec, ...]
    shape: tuple[int, ...]  # of one example
    batch: int
    goals: str = ""

    def data(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """One batch: inputs float32, integer labels."""
        rng = numpy.random.default_rng(0)
        return rng.standard_normal((self.batch, *self.shape), numpy.float32), rng.integers(10, size=self.batch)


NETS = [
    Net("MLP 784-512-512-10", (dense(512), RELU, dense(512), RELU, dense(10)), (784,), 128, "torch / 1.2"),
    Net("MLP 64-32-10", (dense(32), RELU, dense(10)), (64,), 32, "jax / 2, torch / 5"),
    Net(
        "CNN conv32-conv64-dense128",
        (*(conv(32, bias=True), RELU, MAX_POOL, conv(64, bias=True), RELU, MAX_POOL), *(FLATTEN, dense(128), RELU, dense(10))),
        (28, 28, 1),
        64,
        "torch / 1.5, jax / 3",
    ),
    Net("ResNet-18 for 32x32x3", (*RESNET, MEAN, dense(10)), (32, 32, 3), 32, "torch / 1.2"),
    Net("depthwise-separable net for 32x32x3", (*MOBILENET, MEAN, dense(10)), (32, 32, 3), 32, "torch / 1.2"),
]


def net(name: str) -> Net:
    return next(net for net in NETS if net.name == name)


# ---- fad


def padding(window: int) -> tuple:
    """Symmetric, as PyTorch has it, and not SAME, which for stride 2 begins a pixel later."""
    return ((window // 2, window // 2),) * 2


def fad_layer(spec: Spec, channels: int) -> Any:
    """The layer of fad.stax, for an input of so many channels."""
    from fad import stax

    match spec:
        case ("conv", outputs, window, stride, depthwise, bias):
            groups = channels if depthwise else 1
            layer = stax.Conv(outputs, (window, window), stride, padding(window), groups=groups)
            return layer if bias else without_bias(layer, stride, padding(window), groups)
        case ("dense", units):
            return stax.Dense(units)
        case ("residual", body, shortcut):
            branches = ("body", fad_net(body, channels)), ("shortcut", fad_net(shortcut, channels))
            return stax.serial(stax.FanOut(2), ("branches", stax.parallel(*branches)), stax.FanInSum)
        case ("mean",):
            mean = lambda params, state, x, key, train: (x.mean((1, 2)), state)
            return stax.Layer("Mean", mean, shape_fn=lambda shape: (shape[0], shape[3]))
    return {"relu": stax.Relu, "norm": stax.BatchNorm(), "max_pool": stax.MaxPool(), "flatten": stax.Flatten}[spec[0]]


def without_bias(layer: Any, stride: int, padding: tuple, groups: int) -> Any:
    """A convolution whose only parameter is w."""
    from fad import nn

    def apply(params: dict, state: dict, x: Any, key: Any, train: bool) -> tuple:
        return nn.conv(x, params["w"], stride, padding, groups=groups), state

    def init(key: Any, shape: tuple, dtype: Any) -> tuple:
        params, state = layer.init_fn(key, shape, dtype)
        return {"w": params["w"]}, state

    return replace(layer, apply_fn=apply, init_fn=init)


def fad_net(layers: Sequence[Spec], channels: int) -> Any:
    from fad import stax

    children = []
    for i, spec in enumerate(layers):
        children.append((str(i), fad_layer(spec, channels)))
        channels = channels_after(spec, channels)
    return stax.serial(*children)


def channels_after(spec: Spec, channels: int) -> int:
    if spec[0] == "residual":
        for inner in spec[1]:
            channels = channels_after(inner, channels)
        return channels
    return spec[1] if spec[0] in ("conv", "dense") else channels


def initial(net: Net) -> tuple[dict, dict]:
    """(params, state) of fad's net, which the others take over."""
    import fad

    return fad_net(net.layers, net.shape[-1]).init(fad.random.key(0), (-1, *net.shape))


def fad_step(net: Net, peer: Peer) -> Callable[[], Any]:
    """A training step that returns the loss; parameters, running statistics and velocities are donated."""
    from fad import losses, optim

    layer, optimizer = fad_net(net.layers, net.shape[-1]), optim.momentum(RATE, MASS)

    def objective(params: Any, state: Any, x: Any, y: Any) -> tuple:
        logits, state = layer.apply(params, state, x, train=True)
        return losses.cross_entropy(logits, y), state

    def step(params: Any, state: Any, moments: Any, x: Any, y: Any) -> tuple:
        (loss, state), grads = peer.value_and_grad(objective, has_aux=True)(params, state, x, y)
        updates, moments = optimizer.update(grads, moments, params)
        return loss, optim.apply_updates(params, updates), state, moments

    params, state = initial(net)
    return stepping(peer.more.jit(step, donate=(0, 1, 2)), [params, state, optimizer.init(params)], net.data())


def stepping(step: Callable[..., tuple], carried: list, data: tuple) -> Callable[[], Any]:
    """One more step at each call, from what the last one left; the loss is returned."""

    def run() -> Any:
        loss, *carried[:] = step(*carried, *data)
        return loss

    return run


# ---- JAX


def jax_net(jax: Any, layers: Sequence[Spec], params: dict, state: dict, x: Any) -> tuple:
    """(outputs, new state) of fad's parameters and state."""
    state = dict(state)
    for i, spec in enumerate(layers):
        own, running = params.get(str(i), {}), state.get(str(i), {})
        match spec:
            case ("conv", _, window, stride, depthwise, _):
                x = jax.lax.conv_general_dilated(
                    *(x, own["w"], (stride, stride), padding(window)),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                    feature_group_count=x.shape[-1] if depthwise else 1,
                )
                x = x + own["b"] if "b" in own else x
            case ("dense", _):
                x = x @ own["w"] + own["b"]
            case ("relu",):
                x = jax.nn.relu(x)
            case ("max_pool",):
                x = jax.lax.reduce_window(x, -numpy.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            case ("mean",):
                x = x.mean((1, 2))
            case ("flatten",):
                x = x.reshape(len(x), -1)
            case ("norm",):
                x, state[str(i)] = jax_batch_norm(jax, own, running, x)
            case ("residual", body, shortcut):
                own, running = own["branches"], running["branches"]
                y, after = jax_net(jax, body, own["body"], running["body"], x)
                x, beside = jax_net(jax, shortcut, own.get("shortcut", {}), running.get("shortcut", {}), x)
                state[str(i)] = {"branches": {"body": after} | ({"shortcut": beside} if beside else {})}
                x = x + y
    return x, state


def jax_batch_norm(jax: Any, params: dict, running: dict, x: Any) -> tuple:
    n, mean, var = x.size // x.shape[-1], x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = (x - mean) * (params["scale"] * jax.lax.rsqrt(var + 1e-5)) + params["bias"]
    return y, {"mean": 0.9 * running["mean"] + 0.1 * mean, "var": 0.9 * running["var"] + 0.1 * n / (n - 1) * var}


def jax_step(net: Net, peer: Peer) -> Callable[[], Any]:
    """As for fad: jit of the whole step, everything that changes donated."""
    jax = peer.more

    def objective(params: Any, state: Any, x: Any, y: Any) -> tuple:
        logits, state = jax_net(jax, net.layers, params, state, x)
        return -peer.np.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean(), state

    def step(params: Any, state: Any, moments: Any, x: Any, y: Any) -> tuple:
        (loss, state), grads = jax.value_and_grad(objective, has_aux=True)(params, state, x, y)
        moments = jax.tree.map(lambda v, g: MASS * v + g, moments, grads)
        return loss, jax.tree.map(lambda p, v: p - RATE * v, params, moments), state, moments

    params, state = jax.tree.map(peer.np.array, initial(net))
    moments = jax.tree.map(peer.np.zeros_like, params)
    data = [peer.array(array) for array in net.data()]
    return stepping(jax.jit(step, donate_argnums=(0, 1, 2)), [params, state, moments], data)


# ---- PyTorch


def torch_net(torch: Any, layers: Sequence[Spec], params: dict, channels: int) -> Any:
    """A module with fad's parameters."""
    nn, modules, flattened = torch.nn, [], 0
    for i, spec in enumerate(layers):
        own = params.get(str(i), {})
        match spec:
            case ("conv", outputs, window, stride, depthwise, bias):
                groups = channels if depthwise else 1
                module = nn.Conv2d(channels, outputs, window, stride, window // 2, groups=groups, bias=bias)
                fill(torch, module.weight, own["w"].transpose(3, 2, 0, 1))
            case ("dense", units):
                weights = own["w"].T
                module = nn.Linear(weights.shape[1], units)
                if flattened:  # rows follow the image, whose channels come first here
                    side = int((weights.shape[1] // flattened) ** 0.5)
                    weights = weights.reshape(units, side, side, flattened).transpose(0, 3, 1, 2).reshape(units, -1)
                    flattened = 0
                fill(torch, module.weight, weights)
            case ("flatten",):
                module, flattened = nn.Flatten(), channels
            case ("residual", body, shortcut):
                own = own["branches"]
                branches = (body, own["body"]), (shortcut, own.get("shortcut", {}))
                module = residual_module(torch, *(torch_net(torch, *branch, channels) for branch in branches))
            case ("norm",):
                module = nn.BatchNorm2d(channels)
            case ("mean",):
                module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            case _:
                module = nn.ReLU(inplace=True) if spec == RELU else nn.MaxPool2d(2)
        if "b" in own:
            fill(torch, module.bias, own["b"])
        modules.append(module)
        channels = channels_after(spec, channels)
    return nn.Sequential(*modules)


def fill(torch: Any, parameter: Any, values: numpy.ndarray) -> None:
    parameter.data.copy_(torch.from_numpy(values.copy()))


def residual_module(torch: Any, body: Any, shortcut: Any) -> Any:
    class Residual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    return Residual()


def torch_step(net: Net, peer: Peer) -> Callable[[], Any]:
    """The usual three lines, eagerly."""
    torch = peer.more
    x, y = map(torch.from_numpy, net.data())
    model = torch_net(torch, net.layers, initial(net)[0], net.shape[-1])
    if len(net.shape) == 3:
        memory_format = torch.channels_last if peer.name == "torch NHWC" else torch.contiguous_format
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        model = model.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MASS)

    def run() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


STEPS = {"fad": fad_step, "jax": jax_step, "torch": torch_step, "torch NHWC": torch_step}


def step(net: Net, peer: Peer) -> Callable[[], Any]:
    """A function of no arguments that makes one training step of this library and returns the loss."""
    return STEPS[peer.name](net, peer)
