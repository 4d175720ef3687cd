"""docs/special.md: every ufunc of scipy.special has derivatives or a reason, and derivatives are mpmath's at some points."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.special as sc

import fad
from fad.core.primitive import registry
from fad.errors import TraceError
from fad.primitives.refused import REFUSED
from fad.primitives.special import BY_SCIPY, COMPOSED, UNKNOWN

PATH = Path(__file__).parents[2] / "docs" / "make_special.py"
spec = importlib.util.spec_from_file_location("make_special", PATH)
make_special = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_special)
ROUGH = dict.fromkeys(("ber", "bei", "ker", "kei", "hyperu", "itairy"), 1e-8)


def test_every_ufunc_has_derivatives_or_a_reason():
    known = {id(getattr(sc, name)) for name in (*BY_SCIPY, *COMPOSED, *REFUSED) if hasattr(sc, name)}
    assert [name for name, ufunc in make_special.ufuncs().items() if id(ufunc) not in known] == []
    assert not set(REFUSED) & (set(BY_SCIPY) | set(COMPOSED))


def test_the_page_names_them_all():
    text = make_special.PAGE.read_text()
    for name in (*make_special.ufuncs(), *REFUSED, *(name for name, _ in UNKNOWN)):
        assert f"| `{name}` |" in text, f"{name}: run python docs/make_special.py"
    for reason in (*REFUSED.values(), *UNKNOWN.values()):
        assert reason in text


@pytest.mark.parametrize("name", make_special.CASES)
def test_derivatives_are_mpmaths(name):
    for i in make_special.variables(name):
        for point in make_special.points(name, 3):
            assert make_special.error(name, point, i) < ROUGH.get(name, 1e-9), (point, i)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_reason_is_said(name):
    ufunc = getattr(sc, name)
    with pytest.raises(TraceError, match="no derivative here"):
        fad.trace(lambda x: ufunc(*[x] * ufunc.nin))(np.float64(0.5))


def test_all_results_of_a_function_with_several():
    for name, x in (("airy", 0.7), ("airye", 0.7), ("fresnel", 0.7), ("sici", 0.7), ("shichi", 0.7), ("kelvin", 0.7)):
        found = fad.jit(lambda x, name=name: getattr(sc, name)(x))(x)
        for y, want in zip(found, getattr(sc, name)(x), strict=True):
            np.testing.assert_allclose(y, want, rtol=1e-13)
    for i, y in enumerate(fad.jacfwd(lambda u: sc.ellipj(u, 0.3))(0.7)):
        step = (sc.ellipj(0.7 + 1e-6, 0.3)[i] - sc.ellipj(0.7 - 1e-6, 0.3)[i]) / 2e-6
        np.testing.assert_allclose(y, step, rtol=1e-8)
    assert registry["airy"].derivative is not None


def test_functions_of_complex_numbers():
    z, step = 0.7 + 0.4j, 1e-6
    for name in ("erf", "erfc", "erfcx", "erfi", "dawsn", "wofz", "exp1", "expi", "gamma", "rgamma", "loggamma", "psi", "spence"):
        f = getattr(sc, name)
        slope = fad.jvp(lambda x, f=f: f(x), (z,), (1.0 + 0j,))[1]
        np.testing.assert_allclose(slope, (f(z + step) - f(z - step)) / (2 * step), rtol=1e-8, err_msg=name)
    for name in ("jv", "yv", "iv", "kv", "kve", "hankel1", "hankel2", "hankel1e", "hankel2e"):
        f = lambda x, name=name: getattr(sc, name)(1.5, x)
        slope = fad.jvp(f, (z,), (1.0 + 0j,))[1]
        np.testing.assert_allclose(slope, (f(z + step) - f(z - step)) / (2 * step), rtol=1e-8, err_msg=name)
    assert fad.grad(lambda x: sc.hankel1(0, x).imag)(1.3) == pytest.approx(-sc.y1(1.3), rel=1e-12)


def test_functions_in_python():
    for kind in ("jn", "yn", "in", "kn"):
        f = getattr(sc, f"spherical_{kind}")
        for n in (0, 2):
            g = lambda z, f=f, n=n: f(n, z)
            assert fad.grad(g)(1.3) == pytest.approx(f(n, 1.3, True), rel=1e-12)
            assert fad.grad(lambda z, f=f, n=n: f(n, z, True))(1.3) == pytest.approx(fad.grad(fad.grad(g))(1.3), rel=1e-12)
    with pytest.raises(TraceError, match="order"):
        fad.grad(lambda n: sc.spherical_jn(n, 1.3))(1.0)
    assert fad.grad(lambda x: sc.lambertw(x).real)(0.5) == pytest.approx(
        1 / (np.exp(sc.lambertw(0.5).real) * (1 + sc.lambertw(0.5).real))
    )
    assert fad.grad(lambda q: sc.zeta(2.5, q))(1.7) == pytest.approx(-2.5 * sc.zeta(3.5, 1.7), rel=1e-13)
    assert fad.grad(sc.zeta)(2.5, 1.7) == pytest.approx((sc.zeta(2.5 + 1e-6, 1.7) - sc.zeta(2.5 - 1e-6, 1.7)) / 2e-6, rel=1e-8)
