"""Normalisation, dropout, embedding, pooling and the loss: forward and gradient, as a net's layers use them.

PyTorch runs eagerly with its fused functions; images are channels last in every column but *torch*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy

from .harness import Row
from .peers import Peer

TITLE = "Layers"
PEERS = ["fad", "torch", "torch NHWC", "jax"]
BEST = {"PyTorch's best": ["torch", "torch NHWC"], "JAX": ["jax"]}

# ---- the layers, as each library has them


class Ours:
    eager = False

    def __init__(self, peer: Peer):
        self.fad = peer.more

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
        params, state = {"scale": scale, "bias": bias}, {"mean": mean, "var": var}
        y, state = self.fad.stax.BatchNorm().apply(params, state, x, train=True)
        return y, (state["mean"], state["var"])

    def layer_norm(self, x: Any, scale: Any, bias: Any) -> Any:
        return self.fad.stax.LayerNorm().apply({"scale": scale, "bias": bias}, {}, x)[0]

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        return self.fad.losses.cross_entropy(logits, labels)

    def dropout(self, x: Any, key: Any) -> Any:
        return self.fad.stax.Dropout(0.3).apply({}, {}, x, key=key, train=True)[0]

    def embedding(self, table: Any, tokens: Any) -> Any:
        return table[tokens]

    def max_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self.fad.nn.max_pool(x, window, stride, padding)

    def avg_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self.fad.nn.avg_pool(x, window, stride, padding)

    def relu(self, x: Any) -> Any:
        return self.fad.nn.relu(x)


class Jax:
    eager = False

    def __init__(self, peer: Peer):
        self.jax, self.np = peer.more, peer.np

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
        axes, n = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
        here, spread = x.mean(axes), x.var(axes)
        y = (x - here) * (scale * self.jax.lax.rsqrt(spread + 1e-5)) + bias
        return y, (0.9 * mean + 0.1 * here, 0.9 * var + 0.1 * n / (n - 1) * spread)

    def layer_norm(self, x: Any, scale: Any, bias: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred * self.jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        log_p = self.jax.nn.log_softmax(logits)
        return -self.np.take_along_axis(log_p, labels[:, None], axis=1).mean()

    def dropout(self, x: Any, key: Any) -> Any:
        return self.np.where(self.jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)

    def embedding(self, table: Any, tokens: Any) -> Any:
        return table[tokens]

    def _pool(self, start: float, operation: Any, x: Any, window: int, stride: int, padding: int) -> Any:
        square, steps, pads = (1, window, window, 1), (1, stride, stride, 1), ((0, 0), *[(padding, padding)] * 2, (0, 0))
        return self.jax.lax.reduce_window(x, start, operation, square, steps, pads)

    def max_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self._pool(-numpy.inf, self.jax.lax.max, x, window, stride, padding)

    def avg_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self._pool(0.0, self.jax.lax.add, x, window, stride, padding) / window**2

    def relu(self, x: Any) -> Any:
        return self.jax.nn.relu(x)


class Torch:
    eager = True

    def __init__(self, peer: Peer):
        self.f = peer.more.nn.functional

    def batch_norm(self, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
        return self.f.batch_norm(x, mean, var, scale, bias, training=True), (mean, var)  # updates mean and var in place

    def layer_norm(self, x: Any, scale: Any, bias: Any) -> Any:
        return self.f.layer_norm(x, scale.shape, scale, bias)

    def cross_entropy(self, logits: Any, labels: Any) -> Any:
        return self.f.cross_entropy(logits, labels)

    def dropout(self, x: Any, key: Any) -> Any:
        return self.f.dropout(x, 0.3)

    def embedding(self, table: Any, tokens: Any) -> Any:
        return self.f.embedding(tokens, table)

    def max_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self.f.max_pool2d(x, window, stride, padding)

    def avg_pool(self, x: Any, window: int, stride: int, padding: int) -> Any:
        return self.f.avg_pool2d(x, window, stride, padding)

    def relu(self, x: Any) -> Any:
        return self.f.relu(x)


# ---- the cases

Generator = numpy.random.Generator


@dataclass(frozen=True)
class Case:
    """A layer on inputs of one shape: `f(operations, *inputs)`, the first `differentiated` of which get gradients."""

    name: str
    f: Callable[..., Any]
    inputs: Callable[[Generator], tuple]
    out_shape: tuple  # of its result, and of the cotangent
    differentiated: int = 1
    has_aux: bool = False  # f returns a pair, the second of which has no derivative
    random: bool = False  # only the means agree


KEY = "a random key"  # stands for each library's own


def host_arrays(case: Case) -> tuple:
    """(*inputs, cotangent), in float32; the same for all peers."""
    rng = numpy.random.default_rng(0)
    inputs = *case.inputs(rng), (numpy.ones if case.random else rng.standard_normal)(case.out_shape)
    return tuple(a if isinstance(a, str) or a.dtype.kind == "i" else a.astype("f") for a in map(as_array, inputs))


def as_array(value: Any) -> Any:
    return value if isinstance(value, str) else numpy.asarray(value)


def placed(peer: Peer, array: Any) -> Any:
    if isinstance(array, str):
        return None if peer.name.startswith("torch") else peer.more.random.key(0)
    if not peer.name.startswith("torch") or array.ndim < 4:
        return peer.array(array)
    torch = peer.more
    memory_format = torch.channels_last if peer.name == "torch NHWC" else torch.contiguous_format
    return torch.from_numpy(array.transpose(0, 3, 1, 2)).contiguous(memory_format=memory_format)


def build(case: Case, kind: str, peer: Peer) -> Callable[[], Any] | None:
    """All that a row times: the result, its gradients and what else there is."""
    arrays = host_arrays(case)
    if peer.name == "torch NHWC" and arrays[0].ndim < 4:
        return None
    *inputs, cotangent = (placed(peer, array) for array in arrays)
    operations = {"fad": Ours, "jax": Jax}.get(peer.name, Torch)(peer)
    f, torch = partial(case.f, operations), peer.more
    if kind == "forward":
        return torch.no_grad()(partial(f, *inputs)) if operations.eager else partial(peer.jit(f), *inputs)
    leaves, rest = inputs[: case.differentiated], inputs[case.differentiated :]
    if operations.eager:
        for leaf in leaves:
            leaf.requires_grad_()

        def with_autograd() -> tuple:
            y, *aux = f(*leaves, *rest) if case.has_aux else (f(*leaves, *rest),)
            return y.detach(), torch.autograd.grad(y, leaves, cotangent), *aux

        return with_autograd

    def with_gradient(leaves: list, rest: list, cotangent: Any) -> tuple:
        y, pullback, *aux = peer.more.vjp(lambda *leaves: f(*leaves, *rest), *leaves, has_aux=case.has_aux)
        return y, pullback(cotangent), *aux

    return partial(peer.jit(with_gradient), leaves, rest, cotangent)


def as_ours(case: Case, peer: Peer, result: Any) -> Any:
    """A result as fad returns it; of a random one the means."""
    if isinstance(result, list | tuple):
        return [as_ours(case, peer, part) for part in result]
    if case.random:
        return result.mean()
    return result.permute(0, 2, 3, 1) if peer.name.startswith("torch") and result.ndim == 4 else result


def normal(*shapes: tuple) -> Callable[[Generator], tuple]:
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)


def batch_norm(*shape: int) -> Case:
    channels = shape[-1]
    statistics = numpy.zeros(channels), numpy.ones(channels)
    inputs = lambda rng: (*normal(shape, channels, channels)(rng), *statistics)
    return Case(f"batch norm {named(shape)}", lambda ops, *args: ops.batch_norm(*args), inputs, shape, 3, has_aux=True)


def layer_norm(*shape: int) -> Case:
    inputs = normal(shape, shape[-1], shape[-1])
    return Case(f"layer norm {named(shape)}", lambda ops, *args: ops.layer_norm(*args), inputs, shape, 3)


def cross_entropy(rows: int, classes: int) -> Case:
    inputs = lambda rng: (rng.standard_normal((rows, classes)), rng.integers(classes, size=rows))
    return Case(f"softmax cross-entropy {rows}x{classes}", lambda ops, *args: ops.cross_entropy(*args), inputs, ())


def dropout(*shape: int) -> Case:
    inputs = lambda rng: (rng.uniform(0.5, 1.5, shape), KEY)
    return Case(f"dropout {named(shape)}", lambda ops, *args: ops.dropout(*args), inputs, shape, random=True)


def embedding(words: int, width: int, *batch: int) -> Case:
    inputs = lambda rng: (rng.standard_normal((words, width)), rng.integers(words, size=batch))
    name = f"embedding {words}x{width} of {named(batch)}"
    return Case(name, lambda ops, *args: ops.embedding(*args), inputs, (*batch, width))


def pool(name: str, f: Callable[..., Any], shape: tuple, window: int, stride: int, padding: int = 0) -> Case:
    after = ((n + 2 * padding - window) // stride + 1 for n in shape[1:3])
    name = f"{name} {window}x{window} stride {stride} of {named(shape)}"
    return Case(name, partial(f, window, stride, padding), normal(shape), (shape[0], *after, shape[3]))


def max_pool(window: int, stride: int, padding: int, ops: Any, x: Any) -> Any:
    return ops.max_pool(x, window, stride, padding)


def avg_pool(window: int, stride: int, padding: int, ops: Any, x: Any) -> Any:
    return ops.avg_pool(x, window, stride, padding)


def relu_max_pool(window: int, stride: int, padding: int, ops: Any, x: Any) -> Any:
    return ops.max_pool(ops.relu(x), window, stride, padding)


def named(shape: tuple) -> str:
    return "x".join(map(str, shape))


CASES = [
    *(batch_norm(*shape) for shape in ((128, 512), (32, 56, 56, 64), (32, 14, 14, 256))),
    *(layer_norm(*shape) for shape in ((128, 512), (4096, 768))),
    *(cross_entropy(*shape) for shape in ((128, 10), (128, 1000), (4096, 1000))),
    *(dropout(*shape) for shape in ((128, 512), (32, 28, 28, 128))),
    *(embedding(*shape) for shape in ((1000, 64, 32, 64), (30_000, 256, 32, 128))),
    *(pool("max pool", max_pool, s, 2, 2) for s in ((64, 28, 28, 32), (8, 112, 112, 128))),
    *(pool("max pool", max_pool, s, 3, 2, 1) for s in ((8, 112, 112, 64), (1, 112, 112, 64))),
    *(pool("avg pool", avg_pool, s, 2, 2) for s in ((64, 28, 28, 32), (8, 112, 112, 128))),
    pool("avg pool", avg_pool, (8, 112, 112, 64), 3, 2),
    pool("avg pool", avg_pool, (32, 7, 7, 512), 7, 7),
    *(pool("relu and max pool", relu_max_pool, s, 2, 2) for s in ((64, 28, 28, 32), (64, 14, 14, 64))),
    pool("relu and max pool", relu_max_pool, (8, 112, 112, 64), 3, 2, 1),
]

ROWS = [
    Row(
        f"{case.name}, {kind}",
        partial(build, case, kind),
        seconds=1.5,
        tolerance=2e-2 if case.random else 1e-4,
        compared=partial(as_ours, case),
        goal="best peer",
    )
    for case in CASES
    for kind in ("forward", "forward and gradient")
]
