"""custom_jvp and custom_vjp: either rule gives both modes, to order three, in batches, loops and programs."""

import pickle

import numpy as np
import pytest

import fad
from fad.errors import NotLinearError, ShapeError, TraceError, TreeError
from fad.testing import check_grads


@fad.custom_jvp
def by_jvp(x, y):
    return np.sin(x) * y


@by_jvp.defjvp
def _(primals, tangents):
    (x, y), (a, b) = primals, tangents
    return by_jvp(x, y), np.cos(x) * y * a + np.sin(x) * b


@fad.custom_vjp
def by_vjp(x, y):
    return np.sin(x) * y


by_vjp.defvjp(lambda x, y: (by_vjp(x, y), (np.cos(x), np.sin(x), y)), lambda res, ct: (ct * res[0] * res[2], ct * res[1]))


@fad.custom_jvp
def by_parts(x, y):
    return np.sin(x) * y


by_parts.defjvps(lambda t, out, x, y: np.cos(x) * y * t, lambda t, out, x, y: np.sin(x) * t)


@fad.custom_jvp
def by_both(x, y):
    return np.sin(x) * y


by_both.defjvps(lambda t, out, x, y: np.cos(x) * y * t, lambda t, out, x, y: np.sin(x) * t)
by_both.defvjp(lambda x, y: (by_both(x, y), (x, y)), lambda r, ct: (ct * np.cos(r[0]) * r[1], ct * np.sin(r[0])))


def plain(x, y):
    return np.sin(x) * y


TRANSFORMS = {
    "value": lambda f: f,
    "reverse": lambda f: fad.grad(f, (0, 1)),
    "forward": lambda f: lambda x, y: fad.jvp(f, (x, y), (1.0, 2.0)),
    "reverse over reverse": lambda f: fad.grad(fad.grad(f), (0, 1)),
    "forward over reverse": lambda f: fad.jacfwd(fad.grad(f), (0, 1)),
    "reverse over forward": lambda f: fad.grad(fad.jacfwd(f), (0, 1)),
    "third order": lambda f: fad.grad(fad.grad(fad.grad(f), 1)),
    "batch": lambda f: lambda x, y: fad.vmap(fad.grad(f), (0, None))(np.stack([x, y, 0.3]), y),
    "second order in a batch": lambda f: lambda x, y: fad.vmap(fad.jacfwd(fad.grad(f)))(np.stack([x, y]), np.stack([y, x])),
    "in a loop": lambda f: fad.grad(lambda x, y: fad.scan(lambda c, _: (f(c, y), None), x, length=4)[0], (0, 1)),
    "in a branch": lambda f: fad.grad(lambda x, y: fad.cond(x > 0, f, lambda x, y: x * y, x, y), (0, 1)),
}


@pytest.mark.parametrize("f", [by_jvp, by_vjp, by_parts, by_both], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transformation(name, f):
    transform = TRANSFORMS[name]
    want = transform(plain)(0.5, 1.5)
    for g in (transform(f), fad.jit(transform(f))):
        for a, b in zip(fad.tree.leaves(g(0.5, 1.5)), fad.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_compiled_programs_have_the_body_in_its_place():
    f = fad.jit(lambda x: np.sum(by_jvp(x, 2.0) + 1))
    x = np.linspace(0, 1, 5)
    np.testing.assert_allclose(f(x), np.sum(np.sin(x) * 2 + 1))
    assert f.lower(x).loops.count("loops") == 1 and "by NumPy" not in f.explain()


def test_a_rule_is_what_counts():
    @fad.custom_vjp
    def clipped(x):
        return 3.0 * x

    clipped.defvjp(lambda x: (3.0 * x, None), lambda _, ct: (np.clip(ct, -1, 1),))
    assert fad.grad(lambda x: 5 * clipped(x))(2.0) == 1 == fad.jit(fad.grad(lambda x: 5 * clipped(x)))(2.0)


def test_pytrees_static_arguments_keywords_and_closures():
    scale = np.array([1.0, 2.0])

    @fad.custom_jvp(nondiff_argnums=1)
    def f(params, power, shift=0.0):
        return {"y": scale * params["w"] ** power + shift, "n": np.zeros(2, int)}

    @f.defjvp
    def f_jvp(power, primals, tangents):
        (params, shift), (dot, shift_dot) = primals, tangents
        return f(params, power, shift), {"y": scale * power * params["w"] ** (power - 1) * dot["w"] + shift_dot, "n": np.zeros(2)}

    loss = lambda p: np.sum(f(p, 3, shift=p["b"])["y"])
    p = {"w": np.array([1.0, 2.0]), "b": 0.5}
    for g in (fad.grad(loss), fad.jit(fad.grad(loss))):
        np.testing.assert_allclose(g(p)["w"], scale * 3 * p["w"] ** 2)
        assert g(p)["b"] == 2


def test_the_modes_of_two_rules_are_compared():
    x = np.linspace(0.1, 1, 3)
    check_grads(by_both, (x, x + 1))
    assert fad.compare_modes(lambda x: by_both(x, x + 1), x).agree

    @fad.custom_jvp
    def wrong(x):
        return x**2

    wrong.defjvps(lambda t, out, x: 2 * x * t)
    wrong.defvjp(lambda x: (wrong(x), x), lambda x, ct: (1.001 * 2 * x * ct,))
    with pytest.raises(AssertionError):
        check_grads(wrong, (x,))
    assert not fad.compare_modes(wrong, x).agree


def test_pickles_by_name():
    assert pickle.loads(pickle.dumps(by_jvp)) is by_jvp


def bad(fwd=None, bwd=None, jvp=None):
    @fad.custom_vjp
    def f(x):
        return np.sin(x)

    if jvp:
        f.defjvp(jvp)
    if bwd:
        f.defvjp(fwd or (lambda x: (np.sin(x), x)), bwd)
    return f


X = np.ones(3)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TraceError, lambda: fad.grad(bad())(1.0)),
        (TreeError, lambda: fad.grad(bad(bwd=lambda x, ct: ct))(1.0)),
        (TreeError, lambda: fad.grad(bad(bwd=lambda x, ct: (ct, ct)))(1.0)),
        (TreeError, lambda: fad.grad(bad(bwd=lambda x, ct: ([ct],)))(1.0)),
        (TreeError, lambda: fad.grad(bad(fwd=np.sin, bwd=lambda x, ct: (ct,)))(1.0)),
        (ShapeError, lambda: fad.grad(lambda x: np.sum(bad(bwd=lambda x, ct: (np.sum(ct),))(x)))(X)),
        (ShapeError, lambda: fad.jvp(bad(jvp=lambda p, t: (np.sin(p[0]), np.sum(t[0]))), (X,), (X,))),
        (TreeError, lambda: fad.jvp(bad(jvp=lambda p, t: np.cos(p[0])), (X,), (X,))),
        (NotLinearError, lambda: fad.grad(lambda x: np.sum(bad(jvp=lambda p, t: (np.sin(p[0]), t[0] ** 2))(x)))(X)),
        (TraceError, lambda: fad.grad(lambda w: bad_closure(w))(1.0)),
    ],
)
def test_errors_say_what_to_do(error, call):
    with pytest.raises(error, match="fix:"):
        call()


def bad_closure(w):
    f = fad.custom_jvp(lambda x: x * w)
    f.defjvps(lambda t, out, x: t)
    return f(w * 2.0)
