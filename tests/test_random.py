"""Random numbers: laws of keys, distributions by Kolmogorov-Smirnov, and the same results from nodes.

The distribution tests use fixed keys, so they cannot fail by chance; their thresholds would be passed by a
correct generator with probability above 99.9 %.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fad
from fad import random
from fad.errors import DtypeError, KeyMissingError, OutOfRangeError, ShapeError
from fad.testing import check_grads

N = 40_000
KEY = random.key(2024)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**64 - 1)
floats = st.sampled_from([np.float32, np.float64])


# -- keys ----------------------------------------------------------------------------------------------------


@given(seeds, seeds)
def test_key_is_injective(a, b):
    assert (a == b) == np.array_equal(random.key(a), random.key(b))


@given(seeds, st.integers(0, 5), st.integers(0, 5))
def test_split_is_a_prefix_and_deterministic(seed, few, more):
    key = random.key(seed)
    keys = random.split(key, few + more)
    assert keys.shape == (few + more, 2)
    assert keys.dtype == np.uint32
    np.testing.assert_array_equal(random.split(key, few), keys[:few])


def test_derived_keys_are_all_different():
    keys = [random.key(i) for i in range(30)]
    family = [tuple(k.tolist()) for k in keys]
    for key in keys:
        family += map(tuple, random.split(key, 30).tolist())
        family += [tuple(random.fold_in(key, i).tolist()) for i in range(30)]
        family += map(tuple, random.bits(key, (30, 2)).tolist())
    assert len(set(family)) == len(family)


def test_fold_in_takes_any_integer_alike():
    expected = random.fold_in(KEY, 5)
    for data in (np.int64(5), np.uint8(5), np.array(5)):
        np.testing.assert_array_equal(random.fold_in(KEY, data), expected)


def test_key_is_not_modified():
    key = random.key(3)
    for draw in (random.split, random.bits, random.uniform, random.normal, lambda k: random.fold_in(k, 1)):
        draw(key)
    np.testing.assert_array_equal(key, [0, 3])


# -- shapes and dtypes ---------------------------------------------------------------------------------------


@given(seeds, shapes, floats)
def test_shapes_and_dtypes(seed, shape, dtype):
    key = random.key(seed)
    draws = [
        (random.bits(key, shape), np.uint32),
        (random.uniform(key, shape, dtype), dtype),
        (random.uniform(key, shape, dtype, low=-2.0, high=5.0), dtype),
        (random.normal(key, shape, dtype), dtype),
        (random.bernoulli(key, 0.5, shape), bool),
        (random.randint(key, 0, 10, shape), np.int64),
        (random.choice(key, np.ones(3, dtype), shape), dtype),
    ]
    for x, expected in draws:
        assert np.shape(x) == shape
        assert x.dtype == expected
        assert isinstance(x, np.ndarray if shape else np.generic)


def test_an_integer_is_a_shape():
    assert random.normal(KEY, 3).shape == random.bits(KEY, [3]).shape == (3,)


# -- distributions -------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_is_uniform(dtype):
    x = random.uniform(KEY, (N,), dtype)
    assert 0 <= x.min() <= x.max() < 1
    assert stats.kstest(x, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(random.uniform(KEY, (N,), dtype, -3.0, 5.0), 8 * x - 3, rtol=1e-5, atol=1e-5)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_is_normal(dtype):
    x = random.normal(KEY, (N,), dtype).astype(float)
    assert np.isfinite(x).all()
    assert stats.kstest(x, "norm").pvalue > 1e-3
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - moment) < 4 * np.sqrt(variance / N)
    halves = x[: N // 2], x[N // 2 :]  # the cosine and the sine of one angle, times one radius
    for a, b in (halves, (abs(halves[0]), abs(halves[1]))):
        assert stats.pearsonr(a, b).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("word", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
def test_extreme_bits_stay_in_range(monkeypatch, dtype, word):
    monkeypatch.setattr(random, "random_bits", lambda key, *, n: np.full(n, word, np.uint32))
    assert 0 <= random.uniform(KEY, (), dtype) < 1
    assert np.isfinite(random.normal(KEY, (3,), dtype)).all()
    for low, high in ((1.0, 1.0 + 2.0**-20), (1e6, 1e6 + 1), (-1.0, 0.0), (-1e30, 1e30)):
        low, high = dtype(low), dtype(high)
        assert low <= random.uniform(KEY, (), dtype, low, high) < high
    assert not random.bernoulli(KEY, 0.0)
    assert random.bernoulli(KEY, 1.0)
    assert -3 <= random.randint(KEY, -3, 2) < 2


def test_uniform_takes_arrays_of_bounds():
    low, high = np.array([0.0, 10.0]), np.array([1.0, 20.0])
    x = random.uniform(KEY, (1000, 2), low=low, high=high)
    assert (x >= low).all()
    assert (x < high).all()
    assert stats.kstest((x[:, 1] - 10) / 10, "uniform").pvalue > 1e-3


@given(st.integers(0, 1000).map(lambda thousandths: thousandths / 1000), seeds)
def test_bernoulli_frequency(p, seed):
    hits = random.bernoulli(random.key(seed), p, (2000,)).sum()
    assert stats.binomtest(int(hits), 2000, p).pvalue > 1e-9


def test_bernoulli_takes_an_array_of_probabilities():
    p = np.array([0.0, 1.0, 0.0])
    np.testing.assert_array_equal(random.bernoulli(KEY, p), p == 1)
    assert random.bernoulli(KEY, p, (5, 3)).shape == (5, 3)


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-5, 5), (2**40, 2**40 + 13)])
def test_randint_is_uniform(low, high):
    x = random.randint(KEY, low, high, (N,))
    counts = np.bincount(x - low, minlength=high - low)
    assert len(counts) == high - low
    assert stats.chisquare(counts).pvalue > 1e-3


def test_randint_at_its_limits():
    assert (random.randint(KEY, 5, 6, (10,)) == 5).all()
    for low in (0, -(2**63), 2**63 - 2**32):
        x = random.randint(KEY, low, low + 2**32, (1000,))
        assert x.min() >= low
        assert stats.kstest((x - low) / 2**32, "uniform").pvalue > 1e-3


def test_permutations_of_three_are_equally_likely():
    keys = random.split(KEY, 3000)
    codes = [int(random.permutation(key, 3) @ [9, 3, 1]) for key in keys]
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


@given(seeds, st.integers(0, 40))
def test_permutation_is_one(seed, n):
    order = random.permutation(random.key(seed), n)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    rows = np.arange(2 * n).reshape(n, 2)
    np.testing.assert_array_equal(random.permutation(random.key(seed), rows), rows[order])


@given(seeds, st.integers(1, 9), st.integers(0, 9))
def test_choice(seed, n, count):
    key, population = random.key(seed), np.arange(n) * 10
    assert np.isin(random.choice(key, population, (count,)), population).all()
    if count <= n:
        chosen = random.choice(key, n, (count,), replace=False)
        assert len(set(chosen.tolist())) == count
    else:
        with pytest.raises(OutOfRangeError, match="too few"):
            random.choice(key, n, (count,), replace=False)


# -- independence of streams ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "derive",
    [
        lambda: random.split(KEY),
        lambda: (KEY, random.split(KEY)[0]),
        lambda: (KEY, random.split(KEY)[1]),
        lambda: (random.key(0), random.key(1)),
        lambda: (random.fold_in(KEY, 0), random.fold_in(KEY, 1)),
        lambda: (KEY, random.fold_in(KEY, 0)),
        lambda: (random.split(KEY)[0], random.fold_in(KEY, 0)),
    ],
    ids=["split", "parent-0", "parent-1", "seeds", "fold_in", "parent-fold", "split-fold"],
)
def test_streams_are_independent(derive):
    a, b = (random.bits(key, (N,)) for key in derive())
    x, y = a / 2**32, b / 2**32
    assert stats.pearsonr(x, y).pvalue > 1e-3
    assert stats.kstest((x + y) % 1, "uniform").pvalue > 1e-3
    differing = int(np.bitwise_count(a ^ b).sum())
    assert abs(differing - 16 * N) < 4 * np.sqrt(8 * N)
    assert len(np.intersect1d(a, b)) < 5  # 0.37 expected by chance


def test_neighbours_in_a_stream_are_independent():
    x = random.uniform(KEY, (N,))
    for lag in (1, 2, 3, 64):
        assert stats.pearsonr(x[:-lag], x[lag:]).pvalue > 1e-3


# -- nodes ---------------------------------------------------------------------------------------------------

DRAWS = {
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 7),
    "bits": lambda key: random.bits(key, (2, 3)),
    "uniform32": lambda key: random.uniform(key, (5,), np.float32, low=-1.0, high=2.0),
    "uniform64": lambda key: random.uniform(key, (2, 2)),
    "normal32": lambda key: random.normal(key, (5,), np.float32),
    "normal64": lambda key: random.normal(key, (3, 3)),
    "scalar": lambda key: random.normal(key),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (6,)),
    "randint": lambda key: random.randint(key, -4, 9, (6,)),
    "permutation": lambda key: random.permutation(key, np.arange(5.0)),
    "choice": lambda key: random.choice(key, np.arange(5.0), (4,)),
    "choice without replacement": lambda key: random.choice(key, 5, (4,), replace=False),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_traced_key_gives_the_same_numbers(name):
    draw = DRAWS[name]
    function = fad.trace(draw)(KEY)
    for key in (KEY, random.key(5)):
        result, expected = function(key), draw(key)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_gradients_pass_through_bounds():
    """uniform is low + u (high - low), so the derivatives are 1 - u and u."""
    u = random.uniform(KEY, (4,))
    for argument, expected in ((0, 1 - u), (1, u)):
        derivative = fad.jacfwd(lambda low, high: random.uniform(KEY, (4,), low=low, high=high), argument)(2.0, 3.0)
        np.testing.assert_allclose(derivative, expected, rtol=1e-12)


# -- bad input -----------------------------------------------------------------------------------------------

ALL = {
    **{name: getattr(random, name) for name in ("split", "bits", "uniform", "normal", "bernoulli")},
    "fold_in": lambda key: random.fold_in(key, 1),
    "randint": lambda key: random.randint(key, 0, 3),
    "permutation": lambda key: random.permutation(key, 3),
    "choice": lambda key: random.choice(key, 3, (2,)),
}


@pytest.mark.parametrize("name", ALL)
def test_bad_keys(name):
    with pytest.raises(KeyMissingError, match=r"fad.random.key\(0\)"):
        ALL[name](None)
    for key in (0, np.zeros(2), np.zeros(2, np.int64), "key", [0, 1]):
        with pytest.raises(DtypeError, match=r"fad.random.key\(0\)"):
            ALL[name](key)
    for key in (np.uint32(1), np.zeros(3, np.uint32), np.zeros((2, 2), np.uint32)):
        with pytest.raises(ShapeError, match="shape"):
            ALL[name](key)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: random.key(-1), OutOfRangeError),
        (lambda: random.key(2**64), OutOfRangeError),
        (lambda: random.key(1.5), DtypeError),
        (lambda: random.key("seed"), DtypeError),
        (lambda: random.split(KEY, -1), ShapeError),
        (lambda: random.split(KEY, (2, 3)), DtypeError),
        (lambda: random.fold_in(KEY, -1), OutOfRangeError),
        (lambda: random.fold_in(KEY, 2**32), OutOfRangeError),
        (lambda: random.fold_in(KEY, 0.5), DtypeError),
        (lambda: random.fold_in(KEY, np.arange(2)), DtypeError),
        (lambda: random.bits(KEY, (-1,)), ShapeError),
        (lambda: random.bits(KEY, (1.5,)), ShapeError),
        (lambda: random.bits(KEY, "ab"), ShapeError),
        (lambda: random.uniform(KEY, (2,), np.int64), DtypeError),
        (lambda: random.normal(KEY, (2,), np.complex128), DtypeError),
        (lambda: random.normal(KEY, (2,), np.float16), DtypeError),
        (lambda: random.uniform(KEY, (), low=1.0, high=1.0), OutOfRangeError),
        (lambda: random.uniform(KEY, (), low=0.0, high=np.inf), OutOfRangeError),
        (lambda: random.uniform(KEY, (), low=np.nan), OutOfRangeError),
        (lambda: random.uniform(KEY, (), low=-1.7e308, high=1.7e308), OutOfRangeError),
        (lambda: random.uniform(KEY, (2,), low=np.zeros(3)), ShapeError),
        (lambda: random.uniform(KEY, (), low=np.zeros(3)), ShapeError),
        (lambda: random.bernoulli(KEY, 1.5), OutOfRangeError),
        (lambda: random.bernoulli(KEY, -0.1), OutOfRangeError),
        (lambda: random.bernoulli(KEY, np.nan), OutOfRangeError),
        (lambda: random.bernoulli(KEY, np.array([0.5, 2.0])), OutOfRangeError),
        (lambda: random.bernoulli(KEY, np.zeros(3), (2,)), ShapeError),
        (lambda: random.randint(KEY, 3, 3), OutOfRangeError),
        (lambda: random.randint(KEY, 0, 2**32 + 1), OutOfRangeError),
        (lambda: random.randint(KEY, 2**63, 2**63 + 1), OutOfRangeError),
        (lambda: random.randint(KEY, 0.0, 3), DtypeError),
        (lambda: random.permutation(KEY, -1), ShapeError),
        (lambda: random.permutation(KEY, 2.5), DtypeError),
        (lambda: random.permutation(KEY, np.array(2.5)), DtypeError),
        (lambda: random.choice(KEY, 0, (1,)), OutOfRangeError),
        (lambda: random.choice(KEY, np.zeros((0, 2)), (1,)), OutOfRangeError),
    ],
)
def test_bad_arguments(call, error):
    with pytest.raises(error):
        call()


def test_errors_are_also_the_builtin_ones():
    with pytest.raises(TypeError):
        random.normal(None)
    with pytest.raises(ValueError, match="shape"):
        random.normal(np.zeros(3, np.uint32))


# -- distributions -----------------------------------------------------------------------------------------------------

KEY = random.key(3)
SAMPLES = {
    "exponential": (lambda n: random.exponential(KEY, (n,)), stats.expon()),
    "gumbel": (lambda n: random.gumbel(KEY, (n,)), stats.gumbel_r()),
    "laplace": (lambda n: random.laplace(KEY, (n,)), stats.laplace()),
    "logistic": (lambda n: random.logistic(KEY, (n,)), stats.logistic()),
    "cauchy": (lambda n: random.cauchy(KEY, (n,)), stats.cauchy()),
    "gamma": (lambda n: random.gamma(KEY, 0.7, (n,)), stats.gamma(0.7)),
    "beta": (lambda n: random.beta(KEY, 0.7, 2.0, (n,)), stats.beta(0.7, 2.0)),
    "chisquare": (lambda n: random.chisquare(KEY, 3.0, (n,)), stats.chi2(3.0)),
    "t": (lambda n: random.t(KEY, 4.0, (n,)), stats.t(4.0)),
    "dirichlet": (lambda n: random.dirichlet(KEY, np.array([1.0, 2.0, 0.5]), (n,))[:, 1], stats.beta(2.0, 1.5)),
    "normal": (lambda n: random.multivariate_normal(KEY, np.zeros(2), np.array([[1.0, 0.5], [0.5, 4.0]]), (n,))[:, 1] / 2, stats.norm()),
    "truncated": (lambda n: random.truncated_normal(KEY, -1.0, 2.0, (n,)), stats.truncnorm(-1.0, 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_their_distribution(name):
    draw, distribution = SAMPLES[name]
    x = draw(4000)
    assert np.all(np.isfinite(x))
    assert stats.kstest(x, distribution.cdf).pvalue > 1e-3
    np.testing.assert_allclose(fad.jit(lambda: draw(50))(), draw(50), rtol=1e-10)


def test_samples_are_functions_of_their_parameters():
    check_grads(lambda a: random.gamma(KEY, a, (5,)), (0.7,), order=1)
    check_grads(lambda a, b: random.beta(KEY, a, b, (5,)), (0.7, 2.0), order=1)
    check_grads(lambda v: random.t(KEY, v, (5,)), (4.0,), order=1)
    check_grads(lambda a: random.dirichlet(KEY, a), (np.array([1.0, 2.0, 0.5]),), order=1)
    check_grads(lambda m, h: random.multivariate_normal(KEY, m, h @ h.T + np.eye(2)), (np.ones(2), np.ones((2, 2))), order=1)
    check_grads(lambda low: random.truncated_normal(KEY, low, 2.0, (5,)), (-1.0,), order=1)
    assert random.gamma(KEY, np.array([1.0, 2.0]), dtype=np.float32).shape == (2,)


def test_categories():
    p = np.array([0.2, 0.5, 0.3])
    x = random.categorical(KEY, np.log(p), (6000,))
    np.testing.assert_allclose(np.bincount(x, minlength=3) / 6000, p, atol=0.02)
    assert random.categorical(KEY, np.zeros((4, 3)), (2,)).shape == (2, 4)
