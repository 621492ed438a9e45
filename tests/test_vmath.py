"""The functions of the kernels in ULP against mpmath-free high precision: NumPy's longdouble (64 bits of mantissa)."""

import numpy as np
import pytest

from rnnfast._engine import settings
from rnnfast._kernels import _testing

# ULP, where the result is a normal number
BOUNDS = {"tanh": 4.0, "sigmoid": 2.5, "exp": 2.0, "expm1": 3.0, "log": 2.0, "log1p": 3.0, "sin": 3.0, "cos": 3.0}
BOUNDS["softplus"] = 4.0
DOMAIN = {"sin": 2.0**20, "cos": 2.0**20}  # |x|, where that is not every number


def exact(function, x):
    """x: float64 or longdouble, in whose precision the result is."""
    if function not in ("sigmoid", "softplus"):
        return getattr(np, function)(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e) if function == "sigmoid" else np.where(x < 0, 0, x) + np.log1p(e)


def grid(dtype):
    """Every exponent: 2,000 mantissas in each binade, both signs."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    exponents = np.repeat(np.arange(info.minexp, info.maxexp), 2000 if dtype.itemsize == 4 else 250)
    x = np.ldexp(rng.uniform(1, 2, exponents.size), exponents).astype(dtype)
    common = np.concatenate([np.linspace(-20, 20, 400_001), np.linspace(-110, 0, 100_001)]).astype(dtype)
    return np.concatenate([x, -x, common])


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="longdouble is no wider than float64 here")
@pytest.mark.parametrize("function", BOUNDS)
def test_error_in_ulp(function, dtype, isa):
    x = grid(dtype)
    x = x[np.abs(x) <= DOMAIN.get(function, np.inf)]
    with np.errstate(all="ignore"):  # logarithms of negative numbers, exponentials beyond the largest
        y, e = _testing.apply(function, settings.here.isa, x), exact(function, x.astype(np.longdouble))
    assert np.array_equal(np.isnan(y), np.isnan(e))
    beyond = np.abs(e) > np.finfo(dtype).max
    assert (np.abs(y[beyond]) >= np.finfo(dtype).max).all()
    x, y, e = (a[~(beyond | np.isnan(e))] for a in (x, y, e))
    normal = np.abs(e) >= np.finfo(dtype).tiny
    ulp = np.spacing(np.abs(e[normal]).astype(dtype)).astype(np.longdouble)
    errors = np.abs(y[normal] - e[normal]) / ulp
    assert errors.max() <= BOUNDS[function], (x[normal][errors.argmax()], float(errors.max()))
    below = np.abs(y[~normal])
    assert (below <= np.finfo(dtype).tiny).all()  # zero or subnormal, or rounded up to the smallest normal


@pytest.mark.parametrize("function", BOUNDS)
def test_special_values(function, dtype, isa):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], dtype)
    inf, nan = np.inf, np.nan
    expected = {
        "tanh": [0.0, -0.0, 1, -1, nan, 1, -1],
        "sigmoid": [0.5, 0.5, 1, 0, nan, 1, 0],
        "exp": [1, 1, inf, 0, nan, inf, 0],
        "expm1": [0.0, -0.0, inf, -1, nan, inf, -1],
        "log": [-inf, -inf, inf, nan, nan, np.log(dtype.type(1e4)), nan],
        "log1p": [0.0, -0.0, inf, nan, nan, np.log1p(dtype.type(1e4)), nan],
        "sin": [0.0, -0.0, nan, nan, nan, np.sin(1e4), -np.sin(1e4)],
        "cos": [1, 1, nan, nan, nan, np.cos(1e4), np.cos(1e4)],
        "softplus": [np.log(2), np.log(2), inf, 0, nan, 1e4, 0],
    }[function]
    y = _testing.apply(function, settings.here.isa, x)
    ulps = 0 if function in ("tanh", "sigmoid", "exp", "expm1") else 2
    assert np.allclose(y, np.array(expected, dtype), rtol=ulps * np.finfo(dtype).eps, atol=0, equal_nan=True)
    assert np.array_equal(np.signbit(y[:2]), np.signbit(np.array(expected[:2])))


def test_tanh_is_odd_exactly(dtype, isa):
    x = grid(dtype)
    number = settings.here.isa
    assert np.array_equal(_testing.apply("tanh", number, x), -_testing.apply("tanh", number, -x))


@pytest.mark.parametrize("function", BOUNDS)
def test_tail_of_a_vector_gives_the_same_bits(function, dtype, isa):
    x = np.random.default_rng(1).standard_normal(40).astype(dtype)
    number = settings.here.isa
    whole = _testing.apply(function, number, x)
    for n in range(1, 40):
        assert np.array_equal(_testing.apply(function, number, x[:n].copy()), whole[:n], equal_nan=True)
