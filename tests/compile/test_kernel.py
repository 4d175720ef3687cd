"""Products and convolutions in compiled programs against the interpreter: what is fused behind them, shared, updated in place.

Numbers are small multiples of powers of 2, so that masks decide alike on both sides: only exponentials round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fad
from fad import nn
from fad.compile import cache, simplify
from fad.native.threads import get_num_threads, set_num_threads

from .test_differential import examples

TOLERANCE = {"float64": 1e-11, "float32": 2e-4}
SIDES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 20, 33, 40, 64, 70]


@pytest.fixture(autouse=True, scope="module")
def every_product_is_a_kernel():
    """Small ones would be loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simplify, "SMALL_PRODUCT", 0)
        cache._programs.clear()
        yield
    cache._programs.clear()


def numbers(rng, shape, dtype="float64"):
    return (rng.integers(-4, 5, shape) / 4).astype(dtype)


def assert_close(got, want):
    """Leaves alike, up to rounding of the largest."""
    got, want = fad.tree.leaves(got), fad.tree.leaves(want)
    assert len(got) == len(want)
    for k, (g, w) in enumerate(zip(map(np.asarray, got), map(np.asarray, want), strict=True)):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        bound = TOLERANCE[str(w.dtype)] * (1 + np.abs(w).max(initial=0))
        assert np.abs(g - w).max(initial=0) <= bound, f"result {k}: {np.abs(g - w).max()} apart of {np.abs(w).max()}\n{g}\n{w}"


def check(f, *args):
    """Compiled, the first time and later, against interpreted."""
    want, compiled = f(*args), fad.jit(f)
    first = compiled(*args)
    assert_close(first, want)
    again = [np.asarray(x).tobytes() for x in fad.tree.leaves(compiled(*args))]
    assert again == [np.asarray(x).tobytes() for x in fad.tree.leaves(first)]
    return compiled


def check_with_gradient(f, *args):
    """A function to arrays, and the gradient by all arguments of a sum over its results."""
    check(f, *args)

    def loss(args):
        return sum(np.sum(y * y) / 8 + np.sum(y) for y in fad.tree.leaves(f(*args)))

    check(fad.grad(loss), args)


# -- random nets -------------------------------------------------------------------------------------------------------


class Net:
    """Steps, each made of an operation and a number whose digits choose operands and sizes. What does not fit is left out."""

    def __init__(self, steps, seed, dtype):
        self.steps, self.dtype, self.rng = steps, dtype, np.random.default_rng(seed)
        self.params, self.fixed = [], False

    def init(self, x):
        """Parameters of the shapes that the steps ask for."""
        self(None, x)
        self.fixed = True
        return self.params

    def __call__(self, params, x):
        given_ = iter(params or ())

        def param(*shape):
            if self.fixed:
                return next(given_)
            self.params.append(numbers(self.rng, shape, self.dtype))
            return self.params[-1]

        values = [x]
        for name, k in self.steps:
            pick = lambda n: k // 7 % n
            x = values[-1 - k % min(2, len(values))]
            alike = [v for v in values if v.shape == x.shape]
            y = STEPS[name](x, alike[pick(len(alike))], values, pick, param)
            if y is not None and 0 < y.size <= 6000:
                values.append(y)
        return values[-3:]


def dense(x, z, values, pick, param):
    if x.ndim == 2:
        return x @ param(x.shape[1], SIDES[pick(15)]) / 4


def left(x, z, values, pick, param):
    if x.ndim == 2:
        return param(SIDES[pick(15)], x.shape[0]) @ x / 4


def turned(x, z, values, pick, param):
    if x.ndim == 2:
        return x @ param(SIDES[pick(15)], x.shape[1]).T / 4


def two(x, z, values, pick, param):
    """Two kernels into one sum."""
    if x.ndim == 2:
        n = SIDES[pick(15)]
        return (x @ param(x.shape[1], n) + z @ param(x.shape[1], n) + param(n)) / 8


def pair(x, z, values, pick, param):
    """A product of two values."""
    if x.ndim == 2:
        return (x.T @ z if pick(2) else x @ z.T) / 16


def conv(x, z, values, pick, param):
    if x.ndim == 4:
        window = (1 + pick(3), 1 + pick(4) % 3)
        return (
            nn.conv(
                x,
                param(*window, x.shape[-1], SIDES[pick(11)]),
                strides=1 + pick(5) // 4,
                padding=["SAME", "VALID"][pick(7) == 0] if min(x.shape[1:3]) >= 3 else "SAME",
            )
            / 4
        )


def grouped(x, z, values, pick, param):
    if x.ndim == 4 and x.shape[-1] % 2 == 0:
        return nn.conv(x, param(3, 1, x.shape[-1] // 2, 2 * SIDES[pick(6)]), groups=2, dilation=1 + pick(2)) / 4


def nhwc(x, z, values, pick, param):
    """A stack of matrices as images, or images as another layout."""
    if x.ndim == 4:
        return np.transpose(x, [(0, 3, 1, 2), (0, 2, 1, 3), (3, 1, 2, 0)][pick(3)])
    return np.reshape(x, (1, 1, *x.shape)) if pick(2) else np.reshape(x, (1, x.shape[0], -1, 1))


def flat(x, z, values, pick, param):
    return np.reshape(x, (x.shape[0], -1)) if pick(2) else np.reshape(x, (-1, x.shape[-1]))


def stack(x, z, values, pick, param):
    """Products of stacks, one of them perhaps a single matrix."""
    if x.ndim == 4:
        return x @ (param(x.shape[-1], 5) if pick(2) else param(*x.shape[:2], x.shape[-1], 3)) / 4


STEPS = {
    "dense": dense,
    "left": left,
    "turned": turned,
    "two": two,
    "pair": pair,
    "conv": conv,
    "grouped": grouped,
    "nhwc": nhwc,
    "flat": flat,
    "stack": stack,
    "bias": lambda x, z, values, pick, param: x + param(x.shape[-1]),
    "rows": lambda x, z, values, pick, param: x * param(*x.shape[:-1], 1),
    "relu": lambda x, z, values, pick, param: nn.relu(x),
    "leaky": lambda x, z, values, pick, param: np.where(x > 0, x, x / 4),
    "mask": lambda x, z, values, pick, param: np.where(z > 0, x, 1.0),
    "tanh": lambda x, z, values, pick, param: np.tanh(x / 64),
    "residual": lambda x, z, values, pick, param: x + z,
    "product": lambda x, z, values, pick, param: x * z / 8,
    "sum": lambda x, z, values, pick, param: np.sum(x, axis=pick(x.ndim), keepdims=True) / 16,
    "max": lambda x, z, values, pick, param: np.max(x, axis=pick(x.ndim), keepdims=True) + x,
    "center": lambda x, z, values, pick, param: x - np.sum(x, axis=pick(x.ndim), keepdims=True) / 32,
    "swap": lambda x, z, values, pick, param: np.swapaxes(x, -1, -2),
    "reverse": lambda x, z, values, pick, param: np.flip(x, pick(x.ndim)),
    "slice": lambda x, z, values, pick, param: x[..., 1:, ::2] if min(x.shape[-2:]) > 2 else None,
    "concatenate": lambda x, z, values, pick, param: np.concatenate([x, z, x * 2], pick(x.ndim)),
    "pad": lambda x, z, values, pick, param: np.pad(x, [(k == pick(x.ndim), pick(3)) for k in range(x.ndim)]),
}
KERNELS = ["dense", "left", "turned", "two", "pair", "conv", "grouped", "stack"]


@st.composite
def nets(draw, rank):
    names = st.sampled_from(KERNELS[:5] if rank == 2 else KERNELS[5:]) | st.sampled_from(list(STEPS))
    steps = draw(st.lists(st.tuples(names, st.integers(0, 10**4)), min_size=2, max_size=8))
    seed, dtype = draw(st.integers(0, 2**32)), draw(st.sampled_from(["float64", "float32"]))
    shape = tuple(draw(st.sampled_from(SIDES)) for _ in range(2))
    shape = shape if rank == 2 else (draw(st.integers(1, 3)), *(min(n, 8) for n in shape), draw(st.sampled_from(SIDES[:7])))
    net = Net(steps, seed, dtype)
    x = numbers(net.rng, shape, dtype)
    return net, net.init(x), x


@examples(40)
@given(nets(2))
def test_dense_nets(net):
    f, params, x = net
    check_with_gradient(f, params, x)


@examples(40)
@given(nets(4))
def test_convolutional_nets(net):
    f, params, x = net
    check_with_gradient(f, params, x)


@examples(25)
@given(nets(2) | nets(4), st.integers(1, 3), st.sampled_from([0.0, 0.5]))
def test_momentum_in_place(net, steps, mass):
    """Several steps with donated parameters and velocities are the interpreter's."""
    f, params, x = net

    def step(params, velocity, x):
        g = fad.grad(lambda p: sum(np.sum(np.tanh(y / 64)) for y in f(p, x)))(params)
        velocity = [mass * v + d for v, d in zip(velocity, g, strict=True)]
        return [p - 0.125 * v for p, v in zip(params, velocity, strict=True)], velocity

    if not params:
        return
    mine, want = ([p.copy() for p in params], [p * 0 for p in params]), (params, [p * 0 for p in params])
    compiled = fad.jit(step, donate=(0, 1))
    for _ in range(steps):
        mine, want = compiled(*mine, x), step(*want, x)
        assert_close(mine, want)


# -- what follows a kernel -----------------------------------------------------------------------------------------------


RNG = np.random.default_rng(0)
X, W, V, B = (numbers(RNG, s) for s in ((20, 33), (33, 17), (17, 40), (17,)))
IMAGES, K, C = numbers(RNG, (3, 7, 9, 5)), numbers(RNG, (3, 3, 5, 18)), numbers(RNG, (18,))


def listing(f, *args):
    return fad.jit(f).lower(*args).loops


@pytest.mark.smoke
def test_bias_and_activation_are_part_of_the_kernel():
    f = lambda x, w, b: nn.relu(x @ w + b)
    check_with_gradient(f, X, W, B)
    text = listing(f, X, W, B)
    assert text.count("kernel matmul") == 1 and "loops" not in text and "call" not in text
    f = lambda x, k, c: nn.relu(nn.conv(x, k) + c) * 2
    check_with_gradient(f, IMAGES, K, C)
    assert "loops" not in listing(f, IMAGES, K, C)


def test_long_code_behind_a_kernel():
    """A normalisation, polynomials, a mask and a residual; several results of it."""

    def f(x, w, b, v):
        y = x @ w
        p, q = b, y / 16
        for k in range(12):
            p = p * q / (k + 1) + b
        return np.where(y > 0, p, np.tanh(q)) + y, nn.softmax(p / 64)[:, :5], p @ v

    def g(x, k, c):
        y, p = nn.conv(x, k), c
        for n in range(12):
            p = p * (y / 64) / (n + 1) + c
        return p, np.sum(nn.relu(p), axis=(0, 1))

    for dtype in ("float64", "float32"):
        for n in (5, 16, 17):
            check_with_gradient(f, *(a.astype(dtype) for a in (X[:n], W, B, V)))
        check_with_gradient(g, *(a.astype(dtype) for a in (IMAGES, K, C)))
        check(g, *(a.astype(dtype) for a in (IMAGES, np.concatenate([K, K, K], -1), np.concatenate([C, C, C]))))


def test_a_mask_serves_forward_and_backward():
    def f(x, w, b, v):
        y = x @ w + b
        return np.where(y > 0, y, y / 2) @ v

    check_with_gradient(f, X, W, B, V)
    check_with_gradient(lambda x, k, c: nn.conv(nn.relu(nn.conv(x, k) + c), np.flip(np.swapaxes(k, 2, 3), 0)), IMAGES, K, C)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w, b, v: (x @ w, nn.relu(x @ w + b)),  # itself an output, too
        lambda x, w, b, v: (lambda y: (y @ v, np.tanh(y / 64), y))(x @ w + b),  # for an epilogue, a later kernel and the caller
        lambda x, w, b, v: (lambda y: nn.relu(y) + (y @ v)[:, :17])(x @ w),
        lambda x, w, b, v: x @ w + (x + 1) @ (w * 2) + b,  # two kernels, one sum
        lambda x, w, b, v: (x @ w) * (x @ w + b),
        lambda x, w, b, v: (x @ w) - np.sum(x @ w, axis=1, keepdims=True) / 8,  # a reduction of a kernel, and the kernel
        lambda x, w, b, v: nn.softmax(x @ w / 16 + b),
        lambda x, w, b, v: np.max(x @ w, axis=0) + b,
        lambda x, w, b, v: np.sum(nn.relu(x @ w + b)),
        lambda x, w, b, v: np.sum((x @ w)[:, :4], axis=1),
        lambda x, w, b, v: (x @ w).T + b[:, None],
        lambda x, w, b, v: nn.relu(x @ w)[::-1, ::2] + 1,
        lambda x, w, b, v: np.reshape(x @ w, (17, 20)) @ np.reshape(x @ w, (20, 17)),
        lambda x, w, b, v: np.reshape(nn.relu(x @ w + b), (-1,))[3:100],
        lambda x, w, b, v: np.concatenate([x @ w, x @ w + b, x[:, :5]], axis=1) * 2,
        lambda x, w, b, v: np.pad(x @ w + b, ((1, 2), (0, 3))) + 1,
        lambda x, w, b, v: np.pad(x, ((1, 2), (0, 3))) @ np.pad(w, ((0, 3), (1, 1))) + 1,
        lambda x, w, b, v: np.concatenate([x, x * 2], 0) @ (w - 1) + b,
        lambda x, w, b, v: (x[1:, :17] @ w[:17]) + (x @ w)[:-1],
        lambda x, w, b, v: ((x @ w) > 0) * 1.0 + b,
        lambda x, w, b, v: (x @ w).astype(np.float32) + 1,
        lambda x, w, b, v: np.cumsum(x @ w, axis=0) + x @ w,  # evaluated by NumPy in between
        lambda x, w, b, v: np.sort(x @ w, axis=1) @ v,
        lambda x, w, b, v: x[::-1, ::-1] @ w[::-1] + b,
        lambda x, w, b, v: np.broadcast_to(x[0], (6, 33)) @ w + np.broadcast_to(b, (6, 17)),
        lambda x, w, b, v: np.ones((4, 33)) @ w + b,
        lambda x, w, b, v: x @ np.full((33, 3), 0.5),
        lambda x, w, b, v: x @ w @ v @ np.ones((40, 2)),
        lambda x, w, b, v: (x @ w) @ (x @ w).T + x @ x.T,
        lambda x, w, b, v: w.T @ x.T + b[:, None],
        lambda x, w, b, v: x[0] @ w + b,
        lambda x, w, b, v: x @ w[:, 0],
        lambda x, w, b, v: x[:1] @ w[:, :1] + 1,
        lambda x, w, b, v: np.stack([x[:5], x[5:10]]) @ w + b,
        lambda x, w, b, v: x[None] @ w[None] + b,
        lambda x, w, b, v: np.stack([x, x + 1, x * 2])[::-1] @ np.stack([w, w, w - 1]),
        lambda x, w, b, v: np.stack([w, w, w - 1])[::-1].swapaxes(1, 2) @ np.stack([x, x, x - 1])[::-1].swapaxes(1, 2),
        lambda x, w, b, v: np.reshape(x[:, :32], (2, 10, 4, 8))[:, :3] @ np.reshape(w[:32, :16], (2, 1, 8, 32)),
        lambda x, w, b, v: np.reshape(x[:, :32], (2, 10, 4, 8)).swapaxes(1, 2)[..., ::2] @ np.reshape(w[:4, :8], (4, 8)),
        lambda x, w, b, v: np.reshape(x[:, :32], (4, 5, 4, 8))[::2, 1:] @ np.reshape(x[:8, :32], (2, 4, 8, 4)),
    ],
)
def test_what_follows_and_comes_before(f):
    check_with_gradient(f, X, W, B, V)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, k, c: np.transpose(nn.conv(x, k) + c, (0, 3, 1, 2)),
        lambda x, k, c: nn.conv(np.transpose(x, (0, 2, 1, 3)), k, strides=2) + c,
        lambda x, k, c: nn.conv(x[:, ::2, ::-1], k) + c,
        lambda x, k, c: nn.conv(x, np.transpose(k, (1, 0, 2, 3))) * c,
        lambda x, k, c: nn.conv(x, k[:2, 1:]) + nn.conv(x, k[..., ::-1]),
        lambda x, k, c: nn.conv(x, np.broadcast_to(k[1, 1], (3, 1, 5, 18)), padding="VALID"),
        lambda x, k, c: np.sum(nn.relu(nn.conv(x, k) + c), axis=(1, 2)) @ k[0, 0].T,
        lambda x, k, c: np.reshape(nn.relu(nn.conv(x, k, strides=2) + c), (3, -1)) @ np.ones((360, 3)),
        lambda x, k, c: nn.conv(x, k) + nn.conv(x, k[1:2, 1:2]),  # a residual by a convolution of 1 x 1
        lambda x, k, c: nn.relu(nn.conv(x, k[1:2, 1:2]) + c)[:, 1:],  # positions as one axis, and then not
        lambda x, k, c: nn.conv(x, k[1:2, 1:2]) + np.arange(7.0)[:, None, None],
        lambda x, k, c: nn.conv(x, k[1:2, 1:2]) * np.arange(3.0)[:, None, None, None] + np.arange(9.0)[:, None],
        lambda x, k, c: np.pad(nn.conv(x, k), ((0, 0), (1, 1), (2, 0), (0, 0))) + c,
        lambda x, k, c: np.concatenate([nn.conv(x, k), x, nn.conv(x, k) * 2], -1) + 1,
        lambda x, k, c: nn.conv(nn.conv(x, k) - nn.conv(x, k).mean((0, 1, 2)), np.swapaxes(k, 2, 3)),
        lambda x, k, c: nn.conv_transpose(x, np.swapaxes(k, 2, 3), strides=2) + c,
        lambda x, k, c: nn.conv(x, k, strides=(3, 2), dilation=(1, 2), padding=((0, 3), (2, 1))) + c,
        lambda x, k, c: nn.max_pool(nn.relu(nn.conv(x, k) + c)),
        lambda x, k, c: nn.conv(x, k[:, :, :1, :15], groups=5) + c[:15],
        lambda x, k, c: nn.conv(x[:, 0], k[0]) + c,
        lambda x, k, c: nn.conv(np.stack([x, x], 1), k[:, :, None], padding="SAME") + c,
    ],
)
def test_what_follows_and_comes_before_a_convolution(f):
    check_with_gradient(f, IMAGES, K, C)


# -- sums in chunks, updates in place, threads -----------------------------------------------------------------------------


def momentum(loss):
    def step(params, velocity, *data):
        value, g = fad.value_and_grad(loss)(params, *data)
        velocity = [0.5 * v + d for v, d in zip(velocity, g, strict=True)]
        return value, [p - 0.125 * v for p, v in zip(params, velocity, strict=True)], velocity

    return step


def mlp(params, x, y):
    w, b, v = params
    return np.sum((nn.relu(x @ w + b) @ v - y) ** 2) / x.size


def cnn(params, x, y):
    k, b, k2, w = params
    h = nn.relu(nn.conv(x, k) + b)
    h = nn.relu(nn.conv(h, k2, strides=2))
    return np.sum((np.reshape(h, (x.shape[0], -1)) @ w - y) ** 2) / x.size


TRAINING = {
    "few rows": (mlp, [(33, 17), (17,), (17, 3)], (4, 33), (4, 3)),
    "many rows": (mlp, [(20, 32), (32,), (32, 5)], (3000, 20), (3000, 5)),
    "wide": (mlp, [(300, 200), (200,), (200, 10)], (64, 300), (64, 10)),
    "images": (cnn, [(3, 3, 1, 8), (8,), (3, 3, 8, 16), (7 * 7 * 16, 10)], (32, 14, 14, 1), (32, 10)),
    "channels": (cnn, [(3, 3, 9, 12), (12,), (1, 1, 12, 7), (5 * 6 * 7, 4)], (8, 9, 11, 9), (8, 4)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", TRAINING)
def test_training_in_place(name, dtype):
    """Gradients by weights in chunks, their sums in the update, everything that changes donated, on one thread and on all."""
    loss, shapes, *data = TRAINING[name]
    rng = np.random.default_rng(1)
    params, data = [numbers(rng, s, dtype) / 4 for s in shapes], [numbers(rng, s, dtype) for s in data]
    step, before = momentum(loss), get_num_threads()
    compiled, results = fad.jit(step, donate=(0, 1)), []
    try:
        for n in (1, before, before):
            set_num_threads(n)
            mine, want = ([p.copy() for p in params], [p * 0 for p in params]), (params, [p * 0 for p in params])
            for _ in range(3):
                addresses = {p.ctypes.data for p in mine[0] + mine[1]}
                value, *mine = compiled(*mine, *data)
                expected, *want = step(*want, *data)
                assert_close(value, expected)
                assert_close(mine, want)
                assert {p.ctypes.data for p in mine[0] + mine[1]} == addresses  # all in place
            results.append([x.tobytes() for x in fad.tree.leaves(mine)])
    finally:
        set_num_threads(before)
    assert results == results[:1] * 3


def test_a_parameter_is_not_overwritten_while_it_is_read():
    """w is read by the product that follows its own update's gradient, by itself and through views."""

    def step(w, v, x):
        g = fad.grad(lambda w: np.sum((x @ w @ w.T) ** 2) / 64)(w)
        new = w - 0.125 * (v + g)
        return new, x @ w, v + g, w[::-1] @ np.ones((17, 2))

    w, v = W, W * 0
    for donate in ((), (0,), (0, 1), (0, 1, 2)):
        args = [a.copy() for a in (w, v, X)]
        assert_close(fad.jit(step, donate=donate)(*args), step(w, v, X))


def test_an_update_of_the_operand_itself():
    """The kernel's own operand is donated, of the same size as its result."""
    square = numbers(RNG, (33, 33))
    for f in (lambda w, x: w - x @ w, lambda w, x: w - w @ x, lambda w, x: (w @ w, w + 1), lambda w, x: nn.relu(w.T @ x) + w):
        assert_close(fad.jit(f, donate=0)(square.copy(), X[:, :33].T @ X[:, :33]), f(square, X[:, :33].T @ X[:, :33]))
    square = numbers(RNG, (150, 150))
    for f in (
        lambda w: w - w @ w,
        lambda w: nn.relu(w @ w.T) + w,
        lambda w: w.T @ w - w,
        lambda w: w + np.reshape(np.reshape(w, (300, 75)) @ w[:75], (2, 150, 150))[0],
    ):
        assert_close(fad.jit(f, donate=0)(square.copy()), f(square))
    images = numbers(RNG, (2, 6, 6, 5))
    f = lambda x, k: x - nn.conv(x, k[..., :5])
    assert_close(fad.jit(f, donate=0)(images.copy(), K), f(images, K))


@pytest.mark.parametrize(
    "shapes", [((0, 33), (33, 17)), ((20, 0), (0, 17)), ((20, 33), (33, 0)), ((2, 0, 3), (2, 3, 4)), ((0, 2, 3), (3, 4))]
)
def test_empty_products(shapes):
    check_with_gradient(lambda a, b: a @ b + 1, *map(np.ones, shapes))


@pytest.mark.parametrize("x_shape", [(0, 7, 9, 5), (2, 0, 9, 5)])
def test_empty_convolutions(x_shape):
    check_with_gradient(lambda x, k: nn.conv(x, k) + 1, np.ones(x_shape), K)


def test_windows_that_see_no_input():
    f = lambda x, k: nn.conv(x, k, padding=((9, 2), (0, 12))) + 1
    check_with_gradient(f, IMAGES[:, :2, :3], K)


def test_numbers_that_are_not_finite():
    x, w = X.copy(), W.copy()
    x[3, 4], x[5, 6], w[7, 8] = np.nan, np.inf, -np.inf
    f = lambda x, w, b: nn.relu(x @ w + b)
    for g in (f, lambda x, w, b: np.where(x @ w > 0, 1.0, b)):
        np.testing.assert_array_equal(fad.jit(g)(x, w, B), g(x, w, B))
