"""Laws that every primitive of the registry obeys, on its own samples; and proof that they notice a rule off by 1.001.

The laws are plain functions ``law(op, rng, shape, dtype)``. The tests below run them on drawn seeds, shapes and dtypes,
and once more on primitives whose derivative was perturbed, where they must fail.
"""

import dataclasses
import itertools
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fad
import fad.nn
import fad.random
import fad.stax  # so that every record is in the registry
from fad.core.function import freeze
from fad.core.primitive import ByMode, Joint, Jvp, Linear, LinearIn, Partials, Weights, registry
from fad.custom.primitive import USER
from fad.primitives import factor, load_primitives
from fad.primitives.families import as_float, elementwise
from fad.testing import GradientError, OracleError, assert_close, check_grads, layouts, shapes

load_primitives()
OPS = {name: op for name, op in registry.items() if op.source != USER}

# -- what the laws leave out, by name ------------------------------------------------------------------------

NO_SAMPLE = {
    "alias": "the argument of a transformation under a new name: it is only ever made from a node",
    "branch": "its parameters hold Functions: tests/control compares it with Python's `if`",
    "loop": "its parameters hold Functions: tests/control compares it with Python's `for` and `while`",
    "call": "its parameters hold a Function and a rule: tests/custom compares it with plain functions",
    "recompute": "its parameters hold a Function: tests/control compares it with plain functions",
    "pure_callback": "it has no derivative: tests/custom",
    "result": "one of the results of these",
    "nextafter": "its steps are below the resolution of any difference",
}
PIECEWISE_CONSTANT = {
    "sign",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "floor_divide",
    "spacing",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "isfinite",
    "isinf",
    "isnan",
    "signbit",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "gcd",
    "lcm",
    "invert",
    "any",
    "all",
    "argmax",
    "argmin",
    "argsort",
    "stop_gradient",
    "random_bits",
    "singular_basis",
    "lu",
    "lu_solve",
    "gammasgn",
}


def _eigh_without_phase(packed, a, *, lower):
    w, v = factor.unpack(packed, *factor.eigen_shapes(a))
    return np.concatenate([w[..., None, :], _weighted(v) @ np.conj(np.swapaxes(v, -1, -2))], axis=-2)


def _svd_without_phase(packed, a, *, full):
    u, s, vh = factor.unpack(packed, *factor.svd_shapes(a, full))
    k = s.shape[-1]
    return np.concatenate([s, np.reshape(_weighted(u[..., :k]) @ vh[..., :k, :], (*a.shape[:-2], -1))], axis=-1)


def _weighted(v):
    """Columns, each with a weight of its own."""
    return v * np.arange(1, v.shape[-1] + 1, dtype=np.real(v).dtype)


# Results whose complex phase is the algorithm's choice: differences are taken of what does not depend on it.
WITHOUT_PHASE = {"eigh": _eigh_without_phase, "svd": _svd_without_phase}

# Complex matrices are conjugated or sized inside, so the complex step is no oracle for real ones.
NOT_ANALYTIC = {"slogdet", "pinv", "cholesky", "qr", "eigh", "eig", "svd"}


def _of_reals(f):
    def real(*xs):
        if any(x.dtype.kind == "c" for x in xs):
            raise TypeError("of real numbers")
        return f(*xs)

    return real


SAMPLED = sorted(name for name, op in OPS.items() if op.sample)
DIFFERENTIABLE = sorted(name for name in SAMPLED if OPS[name].derivative is not None)


@pytest.mark.smoke
def test_every_primitive_is_under_the_laws_or_listed_here():
    assert {name for name, op in OPS.items() if op.sample is None} == set(NO_SAMPLE)
    assert {name for name, op in OPS.items() if op.derivative is None} == PIECEWISE_CONSTANT


# -- applying a primitive ----------------------------------------------------------------------------------------


def sample(op, rng, shape, dtype):
    args, params = op.sample(rng, shape, np.dtype(dtype))
    return tuple(np.asarray(a) for a in args), params


def of_floats(op, args, params):
    """The primitive as a function of its float arguments alone, and those."""
    places = [i for i, a in enumerate(args) if a.dtype.kind in "fc"]

    def apply(*floats):
        inner = list(args)
        for i, x in zip(places, floats, strict=True):
            inner[i] = x
        return op(*inner, **params)

    apply.__name__ = op.name
    return apply, tuple(args[i] for i in places)


def inner_product(xs, ys):
    """The real part of sum x y, and the sum of the absolute values of its terms."""
    terms = [np.ravel(x * y).astype(complex) for x, y in zip(xs, ys, strict=True)]
    return sum(float(t.real.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)


def normal(rng, like):
    """Random arrays of the shapes and dtypes of these."""
    return tuple(
        np.asarray(rng.normal(size=np.shape(x)) + (1j * rng.normal(size=np.shape(x)) if x.dtype.kind == "c" else 0), dtype=x.dtype)
        for x in like
    )


# -- the laws -----------------------------------------------------------------------------------------------------


def abstract_is_what_evaluate_gives(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    out = op.evaluate(*args, **params)
    expected_shape, expected_dtype = op.abstract(*args, **params)
    assert (np.shape(out), out.dtype) == (tuple(expected_shape), np.dtype(expected_dtype))


def evaluate_leaves_its_arguments_alone(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    before, params_before = [a.copy() for a in args], freeze(params)
    op.evaluate(*args, **params)
    assert_close(args, tuple(before), ulp=0)
    assert freeze(params) == params_before


def memory_layout_does_not_matter(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    expected = op.evaluate(*args, **params)
    for i, a in enumerate(args):
        for _, view in layouts(a):
            found = op.evaluate(*args[:i], view, *args[i + 1 :], **params)
            # the order of a summation may follow the layout
            assert_close(np.asarray(found), np.asarray(expected), ulp=8, atol=64 * _eps(expected))


def _eps(x):
    return float(np.finfo(x.dtype).eps) if x.dtype.kind in "fc" else 0.0


def derivatives_match_differences(op, rng, shape, dtype, order=2):
    args, params = sample(op, rng, shape, dtype)
    f, floats = of_floats(op, args, params)
    if np.dtype(dtype).kind == "c" and op.name in WITHOUT_PHASE:
        f = lambda *xs: WITHOUT_PHASE[op.name](op(*xs, **params), *xs, **params)
    elif np.dtype(dtype).kind == "f" and op.name in NOT_ANALYTIC:
        f = _of_reals(f)
    if _has_elements(f, floats):
        check_grads(f, floats, order=order, seed=int(rng.integers(2**31)))


def _has_elements(f, floats):
    return bool(sum(x.size for x in floats) and np.size(f(*floats)))


def modes_are_transposes(op, rng, shape, dtype):
    """<J v, w> = <v, J^T w>, where rules see plain arrays and where they see nodes."""
    f, floats = of_floats(op, *sample(op, rng, shape, dtype))
    y = np.asarray(f(*floats))
    vs, ws = normal(rng, floats), normal(rng, (y,))
    push = lambda *xs: fad.jvp(f, xs, vs)[1]
    pull = lambda *xs: fad.vjp(f, *xs)[1](ws[0])
    for forward, reverse in ((push, pull), (fad.trace(push)(*floats), fad.trace(pull)(*floats))):
        dot, bars = forward(*floats), reverse(*floats)
        assert (np.shape(dot), dot.dtype) == (y.shape, y.dtype)
        for bar, x in zip(bars, floats, strict=True):
            assert (np.shape(bar), bar.dtype) == (x.shape, x.dtype)
        (a, a_size), (b, b_size) = inner_product((dot,), ws), inner_product(bars, vs)
        eps = max(_eps(v) for v in (y, *floats))
        if not abs(a - b) <= 16 * eps * (a_size + b_size):
            raise GradientError(f"{op.name}: modes differ", got=f"{a!r} forward, {b!r} reverse", rule="<J v, w> = <v, J^T w>")


def batching_is_a_loop(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    columns = [np.stack(column) for column in zip(*_alike(op, rng, shape, dtype, args, params, 3), strict=True)]
    for flags in itertools.product((False, True), repeat=len(args)):
        for size in (0, 1, 3) if any(flags) else ():
            batched = tuple(c[:size] if b else a for c, a, b in zip(columns, args, flags, strict=True))
            found = op.batch(size, batched, flags, **params)
            out_shape, out_dtype = op.abstract(*args, **params)
            assert (found.shape, found.dtype) == ((size, *out_shape), out_dtype), f"batched {flags}, size {size}"
            for k in range(size):
                one = op.evaluate(*(c[k] if b else a for c, a, b in zip(columns, args, flags, strict=True)), **params)
                assert_close(found[k], np.asarray(one)[()], ulp=16, atol=64 * _eps(found))


def _alike(op, rng, shape, dtype, args, params, count):
    """Further samples with these parameters and shapes."""
    found, wanted = [args], (freeze(params), [a.shape for a in args])
    for _ in range(1000):
        more, their_params = sample(op, rng, shape, dtype)
        if (freeze(their_params), [a.shape for a in more]) == wanted:
            found.append(more)
        if len(found) == count:
            return found
    raise AssertionError(f"{op.name} does not draw the same parameters twice")


def flops_are_counted(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    flops = op.flops(np.asarray(op.evaluate(*args, **params)), *args, **params)
    assert isinstance(flops, int | np.integer)
    assert flops >= 0


def tracing_keeps_the_meaning(op, rng, shape, dtype):
    args, params = sample(op, rng, shape, dtype)
    expected = np.asarray(op.evaluate(*args, **params))
    for concrete in (False, True):
        function = fad.trace(lambda *xs: op(*xs, **params), concrete=concrete)(*args)
        assert_close(np.asarray(function(*args)), expected, ulp=0)
        (line,) = [line for line in str(function).splitlines() if f" {op.name}" in line]
        assert line.strip().split(" = ")[0].endswith(":" + fad.core.expr.aval_text(expected.shape, expected.dtype))


VALUE_LAWS = (
    abstract_is_what_evaluate_gives,
    evaluate_leaves_its_arguments_alone,
    memory_layout_does_not_matter,
    batching_is_a_loop,
    flops_are_counted,
    tracing_keeps_the_meaning,
)

# -- the tests --------------------------------------------------------------------------------------------------------


def examples(n):
    """n examples in the usual profile, more in a thorough one."""
    return settings(max_examples=max(1, n * settings().max_examples // 50))


seeds = st.integers(0, 2**31 - 1)
real_dtypes = st.sampled_from([np.float64, np.float32])
small = shapes(max_dims=3, max_side=3)


@pytest.mark.parametrize("name", SAMPLED)
@examples(6)
@given(seed=seeds, shape=small, dtype=real_dtypes)
def test_values(name, seed, shape, dtype):
    for law in VALUE_LAWS:
        law(OPS[name], np.random.default_rng(seed), shape, dtype)


@pytest.mark.parametrize("name", [name for name in SAMPLED if not OPS[name].real_only])
@examples(3)
@given(seed=seeds, shape=small, dtype=st.sampled_from([np.complex128, np.complex64]))
def test_values_of_complex_arguments(name, seed, shape, dtype):
    for law in VALUE_LAWS:
        law(OPS[name], np.random.default_rng(seed), shape, dtype)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@examples(4)
@given(seed=seeds, shape=small, dtype=real_dtypes)
def test_derivatives(name, seed, shape, dtype):
    modes_are_transposes(OPS[name], np.random.default_rng(seed), shape, dtype)
    try:
        derivatives_match_differences(OPS[name], np.random.default_rng(seed), shape, dtype)
    except OracleError:  # the draw fell on a kink; hypothesis complains if that is the rule
        assume(False)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if not OPS[name].real_only])
@examples(2)
@given(seed=seeds, shape=small, dtype=st.sampled_from([np.complex128, np.complex64]))
def test_derivatives_by_complex_arguments(name, seed, shape, dtype):
    modes_are_transposes(OPS[name], np.random.default_rng(seed), shape, dtype)
    try:
        derivatives_match_differences(OPS[name], np.random.default_rng(seed), shape, dtype, order=1)
    except OracleError:
        assume(False)


@pytest.mark.parametrize("name", SAMPLED)
def test_complex_arguments_raise_or_work(name):
    args, params = sample(OPS[name], np.random.default_rng(0), (2,), np.complex128)
    if OPS[name].real_only and any(np.asarray(a).dtype.kind == "c" for a in args):
        with pytest.raises(TypeError):
            OPS[name].evaluate(*args, **params)
    else:
        OPS[name].evaluate(*args, **params)


# -- a rule off by 1.001 is noticed ----------------------------------------------------------------------------------------

FACTOR = 1.001


def scaled(rule):
    """A rule, or a number that stands for one, times 1.001."""
    if callable(rule):
        return lambda *args, **params: rule(*args, **params) * FACTOR
    return rule * FACTOR


def scaled_each(rule):
    """A rule with several results, times 1.001."""
    return lambda *args, **params: [None if r is None else r * FACTOR for r in rule(*args, **params)]


def perturbations(op):
    """(what was perturbed, the derivative with that rule off by 1.001): every rule of the record, one at a time."""
    fact = op.derivative

    def one_of(field):
        rules = getattr(fact, field) or ()
        for i, rule in enumerate(rules[:2] if op.name == "einsum" else rules):  # its 32 rules are one, and samples take two
            if rule is not None and not (isinstance(rule, int | float) and rule == 0) and getattr(rule, "__name__", "") != "refuse":
                yield f"{field}[{i}]", dataclasses.replace(fact, **{field: (*rules[:i], scaled(rule), *rules[i + 1 :])})

    if isinstance(fact, Partials):
        yield from one_of("rules")
        if fact.ties:
            yield "ties", dataclasses.replace(fact, ties=scaled_each(fact.ties))
    elif isinstance(fact, Weights):
        yield "weight", Weights(scaled(fact.weight))
    elif isinstance(fact, Linear):
        yield from one_of("transpose")
        yield from one_of("push")
    elif isinstance(fact, Joint | ByMode):
        yield "push", type(fact)(scaled(fact.push), fact.pull)
        yield "pull", type(fact)(fact.push, scaled_each(fact.pull))
    elif isinstance(fact, LinearIn):
        yield "pull", dataclasses.replace(fact, pull=scaled(fact.pull))
        yield "rule", dataclasses.replace(fact, rule=scaled(fact.rule))
    elif isinstance(fact, Jvp):
        yield "rule", Jvp(scaled(fact.rule))


@contextmanager
def derivative_of(op, fact):
    """The primitive with another derivative, for a while."""
    right = op.derivative
    object.__setattr__(op, "derivative", fact)
    try:
        yield
    finally:
        object.__setattr__(op, "derivative", right)


def notices(op, dtype):
    """Run the laws of derivatives at fixed seeds; raises where one is broken."""
    for seed, shape in enumerate([(3,), (2, 3)]):
        modes_are_transposes(op, np.random.default_rng(seed), shape, dtype)
        derivatives_match_differences(op, np.random.default_rng(seed), shape, dtype, order=1)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_perturbed_rule_is_caught(name):
    op = OPS[name]
    dtype = np.complex128 if name == "imag" else np.float64  # the imaginary part of real numbers is no test
    notices(op, dtype)
    found = [(what, fact) for what, fact in perturbations(op)]
    assert found, "no rule to perturb"
    for what, fact in found:
        if (name, what) in (("heaviside", "rules[1]"), ("sign_slope", "rules[0]")):  # 0 wherever samples fall; checked below
            continue
        with derivative_of(op, fact), pytest.raises(GradientError):
            notices(op, dtype)
            raise AssertionError(f"{name}: {what} times {FACTOR} went unnoticed")
    notices(op, dtype)


def test_a_perturbed_heaviside_is_caught():
    op = OPS["heaviside"]
    at_the_jump = lambda y: op(np.zeros(3), y)
    check_grads(at_the_jump, (np.ones(3),))
    (fact,) = (fact for what, fact in perturbations(op) if what == "rules[1]")
    with derivative_of(op, fact), pytest.raises(GradientError):
        check_grads(at_the_jump, (np.ones(3),))


@pytest.mark.parametrize("factor", [1.0, FACTOR])
def test_the_primitives_without_samples(factor):
    """`alias` is met by the outer of two nested transformations; `nextafter` moves with its first argument."""
    right = OPS["alias"].derivative
    off = Linear(tuple(lambda ct, x: ct * factor for _ in right.transpose), push=(lambda t, x: t * factor,))
    nested = lambda x: fad.grad(lambda y: np.tanh(y) * np.sin(x))(x)
    t = np.tanh(0.5)
    wanted = (1 - t * t) * (np.cos(0.5) - 2 * t * np.sin(0.5))
    with derivative_of(OPS["alias"], off):
        for found in (fad.grad(nested)(0.5), fad.jvp(nested, (0.5,), (1.0,))[1]):
            assert (abs(found - wanted) < 1e-12) == (factor == 1.0)
    assert fad.grad(np.nextafter, (0, 1))(1.0, 2.0) == (1.0, 0.0)
    assert fad.jvp(np.nextafter, (1.0, 2.0), (3.0, 5.0))[1] == 3.0


# -- a primitive of one's own ---------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("wrong", [None, "partials", "lower"])
def test_a_new_primitive_with_native_code_is_one_paragraph(wrong):
    """The record below is all that there is of softsign; what is wrong in it, the laws find."""
    softsign = elementwise(
        f"softsign, wrong: {wrong}",  # programs are kept by the names of their primitives
        lambda x: x / (1 + np.abs(x)),
        (lambda y, x: np.square(1 - (y if wrong == "partials" else np.abs(y))),),
        flops=4,
        dtype=lambda dtypes: as_float(dtypes[0]),
        real_only=True,
        lower=lambda x: x / (1.0 + (x if wrong == "lower" else abs(x))),
    )
    try:
        assert "call " not in fad.jit(softsign).lower(np.ones(9)).loops
        with pytest.raises((AssertionError, OracleError, GradientError)) if wrong else nullcontext():
            for seed, dtype in itertools.product(range(3), (np.float64, np.float32)):
                for law in VALUE_LAWS:
                    law(softsign, np.random.default_rng(seed), (2, 3), dtype)
                derivatives_match_differences(softsign, np.random.default_rng(seed), (2, 3), dtype, order=1)
                modes_are_transposes(softsign, np.random.default_rng(seed), (2, 3), dtype)
                args, _ = softsign.sample(np.random.default_rng(seed), (2, 17), dtype)
                assert_close(fad.jit(softsign)(*args), softsign.evaluate(*args), ulp=2)
    finally:
        del registry[softsign.name]
