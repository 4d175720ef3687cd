"""Run time of compiled functions: value and derivatives of every program, both dtypes."""

from functools import partial

from .harness import Row
from .programs import GRADIENT, PROGRAMS, Kind, Program

TITLE = "Run time with jit"
PEERS = ["fad", "jax", "torch", "torch.compile", "autograd", "hand"]
TOLERANCE = {"float32": 2e-3, "float64": 1e-9}


def row(program: Program, kind: Kind, dtype: str) -> Row:
    return Row(
        f"{program.name}: {kind.name}, {dtype}",
        partial(program.run, kind, dtype),
        seconds=2.0,
        tolerance=TOLERANCE[dtype],
        goal="best peer; hand / 1.2" if program.by_hand and kind is GRADIENT else "best peer",
    )


ROWS = [row(program, kind, dtype) for program in PROGRAMS for kind in program.kinds for dtype in program.dtypes]
