"""tanh and sigmoid of the kernels in ULP against mpmath-free high precision: NumPy's longdouble (64 bits of mantissa)."""

import numpy as np
import pytest

from rnnfast._engine import settings
from rnnfast._kernels import _testing

BOUNDS = {"tanh": 4.0, "sigmoid": 2.5}  # ULP, where the result is a normal number


def exact(function, x):
    x = x.astype(np.longdouble)
    if function == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


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
    y, e = _testing.apply(function, settings.here.isa, x), exact(function, x)
    normal = np.abs(e) >= np.finfo(dtype).tiny
    ulp = np.spacing(np.abs(e[normal]).astype(dtype)).astype(np.longdouble)
    errors = np.abs(y[normal] - e[normal]) / ulp
    assert errors.max() <= BOUNDS[function], (x[normal][errors.argmax()], float(errors.max()))
    below = np.abs(y[~normal])
    assert (below <= np.finfo(dtype).tiny).all()  # zero or subnormal, or rounded up to the smallest normal


@pytest.mark.parametrize("function", BOUNDS)
def test_special_values(function, dtype, isa):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], dtype)
    expected = {"tanh": [0.0, -0.0, 1, -1, np.nan, 1, -1], "sigmoid": [0.5, 0.5, 1, 0, np.nan, 1, 0]}[function]
    y = _testing.apply(function, settings.here.isa, x)
    assert np.array_equal(y, np.array(expected, dtype), equal_nan=True)
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
        assert np.array_equal(_testing.apply(function, number, x[:n].copy()), whole[:n])
