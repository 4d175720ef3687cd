"""A record's ``keeps`` and ``keeps_out`` tell the truth: rules give the same without the values they do not name."""

import numpy as np
import pytest

import fad
from fad.core.primitive import registry
from fad.transforms.reverse import transpose_rule
from fad.transforms.rules import pull

FREEING = [op for op in registry.values() if op.derivative and op.sample and (op.keeps is not None or not op.keeps_out)]


@pytest.mark.smoke
@pytest.mark.parametrize("op", FREEING, ids=lambda op: op.name)
def test_rules_do_not_read_what_is_freed(op):
    rng = np.random.default_rng(0)
    args, params = op.sample(rng, (3, 4), np.float64)
    active = [i for i, a in enumerate(args) if np.asarray(a).dtype.kind == "f"]
    out = op.evaluate(*args, **params)
    ct = rng.normal(size=out.shape)
    hide = lambda x: fad.var("freed", np.shape(x), np.asarray(x).dtype)
    seen = [a if op.keeps is None or i in op.keeps else hide(a) for i, a in enumerate(args)]
    expected = pull(op, ct, active, False, out, tuple(args), params, transpose_rule)
    found = pull(op, ct, active, False, out if op.keeps_out else hide(out), tuple(seen), params, transpose_rule)
    for a, b in zip(expected, found, strict=True):
        assert a is b is None or np.array_equal(a, b)


def test_values_nobody_reads_are_freed():
    import tracemalloc

    def sums(x):
        for _ in range(40):
            x = (x + 1.0) - 0.5
        return np.sum(x * x)

    x = np.ones(100_000)
    tracemalloc.start()
    slope = fad.grad(sums)(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.allclose(slope, 2 * (x + 20)) and peak < 8 * x.nbytes
