"""Dense layers: the product, its two gradients, and relu(x @ w + b) in one.

NumPy's column is its BLAS, writing into memory that is already there; fad, PyTorch and JAX return new arrays.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from .harness import Row
from .peers import Peer

TITLE = "Dense layers"
PEERS = ["fad", "numpy", "torch", "jax"]
BEST = {"the best of NumPy and PyTorch": ["numpy", "torch"], "JAX": ["jax"]}
TOLERANCE = {"float32": 1e-4, "float64": 1e-12}


def product(np: Any, x: Any, w: Any) -> Any:
    return x @ w


def weight_gradient(np: Any, x: Any, g: Any) -> Any:
    return x.T @ g


def input_gradient(np: Any, g: Any, w: Any) -> Any:
    return g @ w.T


def relu_layer(np: Any, x: Any, w: Any, b: Any) -> Any:
    return np.maximum(x @ w + b, 0)


def relu_in_place(out: Any, x: Any, w: Any, b: Any) -> Any:
    numpy.matmul(x, w, out=out)
    out += b
    return numpy.maximum(out, 0, out=out)


FACES = {  # the name: the function, and which of x, w, g, b it takes
    "x @ w": (product, "xw"),
    "x.T @ g": (weight_gradient, "xg"),
    "g @ w.T": (input_gradient, "gw"),
    "relu(x @ w + b)": (relu_layer, "xwb"),
}


def build(face: str, rows: int, inputs: int, outputs: int, dtype: str, peer: Peer) -> Callable[[], Any]:
    f, names = FACES[face]
    rng = numpy.random.default_rng(0)
    shapes = {"x": (rows, inputs), "w": (inputs, outputs), "g": (rows, outputs), "b": (outputs,)}
    host = {name: rng.standard_normal(shape, dtype) for name, shape in shapes.items()}
    arguments = [peer.array(host[name]) for name in names]
    if peer.name == "numpy":
        out = f(numpy, *arguments)
        if face == "relu(x @ w + b)":
            return partial(relu_in_place, out, *arguments)
        if face == "x @ w":
            return partial(numpy.matmul, *arguments, out=out)
        a, b = (arguments[0].T, arguments[1]) if face == "x.T @ g" else (arguments[0], arguments[1].T)
        return partial(numpy.matmul, a, b, out=out)
    if peer.name == "torch":
        torch = peer.more
        if face == "relu(x @ w + b)":
            x, w, b = arguments
            return torch.no_grad()(lambda: torch.relu(torch.addmm(b, x, w)))
        return torch.no_grad()(
            {
                "x @ w": lambda: torch.mm(*arguments),
                "x.T @ g": lambda: torch.mm(arguments[0].T, arguments[1]),
                "g @ w.T": lambda: torch.mm(arguments[0], arguments[1].T),
            }[face]
        )
    return partial(peer.jit(partial(f, peer.np)), *arguments)


SIZES = [(784, 512), (512, 512), (1024, 1024), (4096, 1024), (512, 10)]
BATCHES = [1, 4, 16, 32, 64, 128, 512, 1024, 4096]

ROWS = [
    Row(
        f"{face}, {rows} rows, {inputs}->{outputs}, {dtype}",
        partial(build, face, rows, inputs, outputs, dtype),
        rounds=15,
        seconds=3.0,
        tolerance=TOLERANCE[dtype],
        flops=2 * rows * inputs * outputs,
        dtype=dtype,
        goal="best / 1.1" if face.startswith("relu") else "best",
    )
    for dtype, batches in (("float32", BATCHES), ("float64", [1, 32, 128, 1024]))
    for face in FACES
    for inputs, outputs in (SIZES if dtype == "float32" else [(512, 512), (4096, 1024)])
    for rows in batches
]
