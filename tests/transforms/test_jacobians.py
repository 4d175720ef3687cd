"""Jacobians: every mode gives the same, between real and complex numbers and for every dtype."""

import numpy as np
import pytest

import fad
from fad.errors import DtypeError

MODES = ("forward", "reverse", "auto")
R = np.array([0.3, -0.5, 1.2])
Z = R + 1j * np.array([0.7, 0.2, -0.4])
A = np.arange(6.0).reshape(2, 3) / 5 + 1j * np.array([[1, -1, 0.5], [0.2, 0, -2]])

FUNCTIONS = {  # f and where
    "real to real": (lambda x: np.sin(A.real @ x), R),
    "real to complex": (lambda x: np.exp(A @ x), R),
    "real to a complex scalar": (lambda x: np.sum(x) ** 2 * (1 + 2j), R),
    "real scalar to complex": (lambda x: (x + 1j) ** 2, 1.0),
    "complex to real": (lambda z: np.abs(A @ z) ** 2, Z),
    "complex to a real scalar": (lambda z: np.sum(np.abs(z)), Z),
    "complex scalar to real": (np.abs, 3 + 4j),
    "complex to its real part": (np.real, Z),
    "complex to complex": (lambda z: np.exp(A @ z) * z[0], Z),
    "complex scalar to complex": (lambda z: z**3 / (z + 1), 0.5 - 1j),
    "real to real through complex": (lambda x: np.imag(np.exp(1j * x)), R),
    "a constant": (lambda x: np.array([1.0, 2j]) + 0 * x[0], R),
}


def by_differences(f, x, h=1e-6):
    """df/dx for real x; d/dx - i d/dy for complex x, which is the holomorphic derivative where f is complex and has one."""
    x = np.asarray(x)
    real_result = not np.iscomplexobj(f(x))
    columns = []
    for index in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        slope = (f(x + e) - f(x - e)) / (2 * h)
        if np.iscomplexobj(x) and real_result:
            slope = slope - 1j * (f(x + 1j * e) - f(x - 1j * e)) / (2 * h)
        columns.append(slope)
    return np.moveaxis(np.array(columns), 0, -1).reshape((*np.shape(f(x)), *x.shape))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_between_reals_and_complex_numbers(name, mode, compiled):
    f, x = FUNCTIONS[name]
    jacobian = fad.jacobian(f, mode=mode)
    got = (fad.jit(jacobian) if compiled else jacobian)(x)
    np.testing.assert_allclose(got, by_differences(f, x), rtol=1e-7, atol=1e-8)
    assert np.iscomplexobj(got) == (np.iscomplexobj(x) or np.iscomplexobj(f(x)))


@pytest.mark.smoke
@pytest.mark.parametrize("jacobian", [fad.jacobian, fad.jacfwd, fad.jacrev])
def test_closed_forms_of_complex_derivatives(jacobian):
    assert np.isclose(jacobian(lambda x: (x + 1j) ** 2)(1.0), 2 + 2j)  # jax#22948, autograd#577
    assert np.allclose(jacobian(lambda x: np.sum(x) ** 2 * (1 + 2j))(np.ones(3)), 6 + 12j)  # jax#22948
    assert np.isclose(jacobian(np.abs)(3 + 4j), 0.6 - 0.8j)  # jax#610: conj(z)/|z|, as grad gives
    assert np.allclose(jacobian(lambda z: np.sum(np.abs(z) ** 2))(Z), 2 * np.conj(Z))  # jax#610
    assert np.allclose(jacobian(np.exp)(Z), np.diag(np.exp(Z)))


@pytest.mark.parametrize("mode", MODES)
def test_of_a_real_scalar_it_is_the_gradient(mode):
    for f, x in (
        (lambda x: np.sum(x**3), R),
        (lambda z: np.sum(np.abs(z) ** 3), Z),
        (lambda x: np.sum(x * R), R.astype(np.float32)),
    ):
        gradient, jacobian = fad.grad(f)(x), fad.jacobian(f, mode=mode)(x)
        assert np.allclose(jacobian, gradient) and jacobian.dtype == gradient.dtype


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "f",
    [
        np.conj,
        lambda z: z * np.abs(z),
        lambda z: z + np.real(z),
        lambda z: np.imag(z) + 0j,
        lambda z: z * np.sum(np.conj(z) * z),
        lambda z: np.exp(np.conj(z)),
    ],
)
def test_what_is_not_holomorphic_is_refused_in_every_mode(f, mode):
    with pytest.raises(DtypeError, match="holomorphic"):
        fad.jacobian(f, mode=mode)(Z)
    with pytest.raises(DtypeError, match="holomorphic"):
        fad.jit(fad.jacobian(f, mode=mode))(Z)
    parts = fad.jacobian(lambda z: (np.real(f(z)), np.imag(f(z))), mode=mode)(Z)  # the fix
    for part, number in zip(parts, (lambda z: np.real(f(z)), lambda z: np.imag(f(z))), strict=True):
        np.testing.assert_allclose(part, by_differences(number, Z), rtol=1e-7, atol=1e-8)


def test_hessians_by_complex_arguments():
    holomorphic = fad.hessian(lambda z: np.real(np.sum(z**3)))(Z)  # grad is 3 z^2
    assert np.allclose(holomorphic, np.diag(6 * Z))
    with pytest.raises(DtypeError, match="holomorphic"):
        fad.hessian(lambda z: np.sum(np.abs(z) ** 2))(Z)


@pytest.mark.parametrize("mode", MODES)
def test_trees_of_reals_and_complex_numbers(mode):
    def f(p):
        return {"complex": np.exp(p["z"] * p["x"])[:2], "real": np.real(p["z"] ** 2) @ p["x"]}

    got = fad.jacobian(f, mode=mode)({"x": R, "z": Z})
    for result in ("complex", "real"):
        by_x = by_differences(lambda x, result=result: f({"x": x, "z": Z})[result], R)
        by_z = by_differences(lambda z, result=result: f({"x": R, "z": z})[result], Z)
        np.testing.assert_allclose(got[result]["x"], by_x, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(got[result]["z"], by_z, rtol=1e-7, atol=1e-8)
    assert got["real"]["x"].dtype == np.float64


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "x, factor, dtype",
    [
        (np.float32, np.float64, np.float32),
        (np.float64, np.float32, np.float64),
        (np.float32, np.complex128, np.complex64),
        (np.complex64, np.float64, np.complex64),
        (np.complex128, np.float32, np.complex128),
        (np.float16, np.float32, np.float16),
    ],
)
def test_precision_is_the_arguments(x, factor, dtype, mode):
    def f(v):
        y = v * np.ones(2, factor)
        return y.astype(np.float32) if factor == np.float32 and x == np.float64 else y

    assert fad.jacobian(f, mode=mode)(np.ones(2, x)).dtype == dtype


def test_nested_in_other_transformations():
    outer = fad.grad(lambda s: np.sum(np.abs(fad.jacobian(lambda z: np.abs(z * s))(Z)) ** 2))
    assert np.isclose(outer(2.0), 12.0)  # |s conj(z)/|z||^2 summed is 3 s^2
    twice = fad.jacfwd(fad.jacrev(lambda x: np.exp(1j * x)))(R)
    assert np.allclose(np.einsum("iii->i", twice), -np.exp(1j * R))
    assert np.allclose(fad.vmap(fad.jacrev(lambda x: np.exp(1j * x)))(R), 1j * np.exp(1j * R))


def test_passes_are_counted_for_complex_numbers():
    from fad.transforms import cost

    for f, x, passes in (
        (lambda x: np.exp(1j * x), R, (3, 6)),
        (lambda z: np.abs(z), Z, (6, 3)),
        (lambda z: z**2, Z, (3, 3)),
        (lambda p: (np.exp(p[0] + p[1]), np.real(p[1])), (R, Z), (9, 9)),
    ):
        report = fad.compare_modes(f, x, repeats=1)
        assert (report.forward.passes, report.reverse.passes) == passes and report.agree
    assert cost.seeds(Z, [R]) == 2 and cost.seeds(Z, [Z]) == cost.seeds(R, [Z]) == 1
