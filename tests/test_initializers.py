"""Initializers: moments and bounds from the papers' formulas, orthogonality, dtypes, determinism."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fad import initializers, random
from fad.errors import ShapeError

FAN_BASED = {
    "glorot_uniform": (initializers.glorot_uniform(), lambda i, o: 2 / (i + o)),
    "glorot_normal": (initializers.glorot_normal(), lambda i, o: 2 / (i + o)),
    "he_uniform": (initializers.he_uniform(), lambda i, o: 2 / i),
    "he_normal": (initializers.he_normal(), lambda i, o: 2 / i),
    "he_normal(slope)": (initializers.he_normal(0.5), lambda i, o: 2 / (1.25 * i)),
}
ALL = {name: init for name, (init, _) in FAN_BASED.items()} | {
    "orthogonal": initializers.orthogonal(),
    "zeros": initializers.zeros,
    "constant": initializers.constant(2.0),
    "normal": initializers.normal(0.1),
}
shapes = st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple)


@pytest.mark.smoke
@pytest.mark.parametrize("name", FAN_BASED)
@pytest.mark.parametrize(("shape", "fans"), [((300, 200), (300, 200)), ((3, 5, 40, 50), (600, 750))])
def test_variance_is_that_of_the_paper(name, shape, fans):
    init, variance = FAN_BASED[name]
    w = init(random.key(1), shape, np.float64)
    # The sample variance of n draws has a relative spread of about sqrt(2 / n); 5 of them.
    assert np.var(w) == pytest.approx(variance(*fans), rel=5 * np.sqrt(2 / w.size))
    assert abs(np.mean(w)) < 5 * np.sqrt(variance(*fans) / w.size)


@pytest.mark.parametrize(("init", "bound"), [
    (initializers.glorot_uniform(), np.sqrt(6 / 500)), (initializers.he_uniform(), np.sqrt(6 / 300)),
])  # fmt: skip
def test_uniform_fills_its_interval(init, bound):
    w = init(random.key(2), (300, 200), np.float64)
    assert abs(w).max() <= bound
    assert w.max() > 0.99 * bound
    assert w.min() < -0.99 * bound


@given(shape=shapes, seed=st.integers(0, 2**32), scale=st.sampled_from([1.0, 0.5, 2.0]))
def test_orthogonal(shape, seed, scale):
    q = initializers.orthogonal(scale)(random.key(seed), shape, np.float64).reshape(-1, shape[-1])
    gram = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
    np.testing.assert_allclose(gram, scale**2 * np.eye(min(q.shape)), atol=1e-12)


def test_orthogonal_is_haar_uniform():
    # Without the sign fix the diagonal of Q is biased: LAPACK makes it mostly negative.
    keys = random.split(random.key(3), 400)
    diagonals = np.array([np.diag(initializers.orthogonal()(k, (4, 4), np.float64)) for k in keys])
    np.testing.assert_allclose(np.mean(diagonals > 0, axis=0), 0.5, atol=0.1)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_shape_and_determinism(name, dtype):
    first, again, other = (ALL[name](random.key(seed), (3, 4, 6), dtype) for seed in (5, 5, 6))
    assert isinstance(first, np.ndarray)
    assert first.shape == (3, 4, 6)
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name in ("zeros", "constant"))


def test_plain_values():
    assert (initializers.zeros(random.key(0), (3,)) == 0).all()
    assert (initializers.constant(2.5)(random.key(0), (3,)) == 2.5).all()
    assert np.std(initializers.normal(0.1)(random.key(0), (10000,), np.float64)) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("name", [*FAN_BASED, "orthogonal"])
def test_vectors_have_no_fans(name):
    with pytest.raises(ShapeError, match=r"\(3,\)[\s\S]*fix"):
        ALL[name](random.key(0), (3,), np.float32)


@pytest.mark.parametrize("name", ALL)
def test_empty_weights(name):
    assert ALL[name](random.key(0), (0, 3), np.float32).shape == (0, 3)
