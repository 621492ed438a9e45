"""What formulas use beside NumPy's functions: the same names for arrays and for the values of a formula that is traced.
`rnnfast.ops` is the public name.

On arrays each function is the definition itself, in NumPy, so a formula that runs on float64 arrays is its own reference. All
broadcast as NumPy does: v may be (B, H), a vector (H,), one number for each row (B, 1), or a number. NaN goes through all of
them but `step`, where it is 0, like any comparison with NaN.

A comparison (<, <=, >, >=) is a mask. On arrays it is of dtype bool, in a formula that is traced it counts as 0 and 1; what
means the same on both is accepted: ``mask * v``, ``1 - mask``, ``v + mask``, ``&``, ``|``, ``~``, `where`. Sums, differences
and functions of masks alone are errors: ``np.where(mask, 1.0, 0.0)`` is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from rnnfast.formula.operations import OPERATIONS
from rnnfast.formula.symbols import Symbol

__all__ = [
    "clip",
    "elu",
    "hard_sigmoid",
    "hard_tanh",
    "layer_norm",
    "leaky_relu",
    "lerp",
    "log_sigmoid",
    "mean",
    "relu",
    "sigmoid",
    "softplus",
    "softsign",
    "step",
    "stop_gradient",
    "where",
]


WATCH: ContextVar[Any] = ContextVar(
    "watch", default=None
)  # sees the calls on arrays: rnnfast.check_cell follows a formula by it


@contextmanager
def watched_by(watch: Any) -> Iterator[None]:
    """watch: has `apply` and `step`, which compute in the place of the functions here; or None."""
    token = WATCH.set(watch)
    try:
        yield
    finally:
        WATCH.reset(token)


def _apply(op: str, *values: Any) -> Any:
    for value in values:
        if isinstance(value, Symbol):
            return value._trace.call(op, *values)
    watch = WATCH.get()
    return OPERATIONS[op].compute(*values) if watch is None else watch.apply(op, *values)


def sigmoid(v: Any) -> Any:
    """``1 / (1 + exp(-v))``, without overflow.

    Examples
    --------
    >>> ops.sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return _apply("sigmoid", v)


def log_sigmoid(v: Any) -> Any:
    """``log(sigmoid(v))``, without overflow.

    Examples
    --------
    >>> ops.log_sigmoid(np.array([-1000.0, 1000.0]))
    array([-1000.,    -0.])
    """
    return -softplus(-v)


def softplus(v: Any) -> Any:
    """``log(1 + exp(v))``, without overflow.

    Examples
    --------
    >>> ops.softplus(np.array([-1000.0, 1000.0]))
    array([   0., 1000.])
    """
    return _apply("softplus", v)


def relu(v: Any) -> Any:
    """``max(v, 0)``, with derivative 0 at 0.

    Examples
    --------
    >>> ops.relu(np.array([-1.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    return _apply("relu", v)


def leaky_relu(v: Any, slope: Any = 0.01) -> Any:
    """``v`` where v > 0, else ``slope * v``. The default is that of PyTorch and ONNX; Keras 3 has 0.2.

    Examples
    --------
    >>> ops.leaky_relu(np.array([-1.0, 0.0, 3.0]))
    array([-0.01,  0.  ,  3.  ])
    """
    return where(v > 0, v, slope * v)


def elu(v: Any, alpha: Any = 1.0) -> Any:
    """``v`` where v > 0, else ``alpha * (exp(v) - 1)``, with derivative alpha at 0.

    Examples
    --------
    >>> ops.elu(np.array([-1000.0, 0.0, 3.0]))
    array([-1.,  0.,  3.])
    """
    return where(v > 0, v, alpha * np.expm1(where(v > 0, 0.0, v)))


def softsign(v: Any) -> Any:
    """``v / (1 + abs(v))``

    Examples
    --------
    >>> ops.softsign(np.array([-1.0, 0.0, 3.0]))
    array([-0.5 ,  0.  ,  0.75])
    """
    return v / (1 + abs(v))


def hard_sigmoid(v: Any, slope: Any, offset: Any) -> Any:
    """``clip(slope * v + offset, 0, 1)``. PyTorch and Keras 3 have 1/6 and 1/2, ONNX and Keras 2 have 0.2 and 0.5.

    Examples
    --------
    >>> ops.hard_sigmoid(np.array([-1.0, 0.0, 3.0]), 0.2, 0.5)
    array([0.3, 0.5, 1. ])
    """
    return clip(slope * v + offset, 0, 1)


def hard_tanh(v: Any, low: Any = -1.0, high: Any = 1.0) -> Any:
    """``clip(v, low, high)``

    Examples
    --------
    >>> ops.hard_tanh(np.array([-1.0, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return clip(v, low, high)


def where(mask: Any, v: Any, w: Any) -> Any:
    """``v`` where the mask holds, else ``w``, as np.where. The mask is a comparison, or made of comparisons by & | ~.

    Examples
    --------
    >>> v = np.array([-1.0, 0.0, 3.0])
    >>> ops.where((v > 0) & (v < 5), v, -1.0)
    array([-1., -1.,  3.])
    """
    return _apply("where", mask, v, w)


def clip(v: Any, low: Any, high: Any) -> Any:
    """``v``, not below low and not above high, as np.clip. The gradient of v passes at the bounds; the bounds get none.

    Examples
    --------
    >>> ops.clip(np.array([-1.0, 0.0, 3.0]), -0.5, 2)
    array([-0.5,  0. ,  2. ])
    """
    return _apply("clip", v, low, high)


def lerp(v: Any, w: Any, weight: Any) -> Any:
    """``v + weight * (w - v)``: v where weight is 0.

    Examples
    --------
    >>> ops.lerp(np.array([-1.0, 0.0, 3.0]), 10.0, 0.5)
    array([4.5, 5. , 6.5])
    """
    return weight * (w - v) + v


def mean(v: Any) -> Any:
    """The mean over the units of each row, one number for each row: (B, H) to (B, 1). A number is its own mean.

    Examples
    --------
    >>> ops.mean(np.array([[1.0, 3.0], [0.0, 4.0]]))
    array([[2.],
           [2.]])
    """
    if isinstance(v, Symbol):
        return v._trace.call("mean", v)
    return np.mean(v, axis=-1, keepdims=True) if np.ndim(v) else v


def layer_norm(v: Any, gain: Any, shift: Any, eps: float = 1e-5) -> Any:
    """``gain * (v - mean(v)) / sqrt(mean((v - mean(v))**2) + eps) + shift``, over the units of each row (Ba et al. 2016).

    Parameters
    ----------
    v : (B, H) value
    gain, shift : (H,) vectors, or numbers
    eps : float

    Examples
    --------
    >>> ops.layer_norm(np.array([[1.0, 3.0]]), 1.0, 0.0, eps=0.0)
    array([[-1.,  1.]])
    """
    centred = v - mean(v)
    return gain * (centred / np.sqrt(mean(centred * centred) + eps)) + shift


def stop_gradient(v: Any) -> Any:
    """``v``, whose gradient is taken to be zero.

    Examples
    --------
    >>> ops.stop_gradient(np.array([-1.0, 0.0, 3.0]))
    array([-1.,  0.,  3.])
    """
    return _apply("stop_gradient", v)


def step(u: Any, surrogate: Callable[[Any], Any]) -> Any:
    """1 where u > 0, else 0 (at 0 and NaN too), with a derivative for backward: the step itself has none but zero.

    Parameters
    ----------
    u : value
    surrogate : callable
        u -> what stands for the derivative, for example ``lambda u: 1 / (1 + (np.pi * u)**2)``. It is run when the formula is
        traced; on arrays it is not used.

    Returns
    -------
    value
        Of floats, no mask: write ``1 - step(u, ...)``, since ~ would lose the gradient.

    Examples
    --------
    >>> ops.step(np.array([-1.0, 0.0, 3.0]), lambda u: 1 / (1 + (np.pi * u) ** 2))
    array([0., 0., 1.])
    """
    if isinstance(u, Symbol):
        return u._trace.step(u, surrogate)
    watch = WATCH.get()
    return np.where(np.greater(u, 0), 1.0, 0.0) if watch is None else watch.step(u, surrogate)
