"""The operations of formulas: what each computes on NumPy arrays, and its derivative. One list, for the evaluation on arrays,
the derivatives, the interpreter and the tests.

The derivative of an operation is given by nodes: from its arguments, its own value (often cheaper than from the arguments) and
the gradient of its value. Conventions where it does not exist: abs, sign and relu have derivative 0 at 0, minimum and maximum
share the gradient at ties, clip passes it at its bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from rnnfast.formula.build import Builder

Array: TypeAlias = Any
Derive: TypeAlias = "Callable[..., tuple[int | None, ...]]"


class Operation(NamedTuple):
    """arguments: how many. compute: on arrays. derive(b, dy, y, *arguments): the gradients of the arguments as nodes, None
    where it is zero. mask: its value counts as 0 or 1."""

    arguments: int
    compute: Callable[..., Array]
    derive: Derive
    mask: bool = False


def sigmoid(a: Array) -> Array:
    e = np.exp(-np.abs(a))  # never overflows, and keeps the small tail
    return np.where(np.isnan(a), a, np.where(a < 0, e, 1) / (1 + e))


def _maximum(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int, int]:
    """Half and half at ties."""
    half = b.mul(b.number(0.5), b.add(b.le(v, u), b.sub(b.number(1), b.le(u, v))))  # 1 if u > v, 1/2 if equal, 0 if less
    first = b.mul(dy, half)
    return first, b.sub(dy, first)


def _minimum(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int, int]:
    second, first = _maximum(b, dy, y, u, v)
    return first, second


def _mul(b: Builder, dy: int, y: int, u: int, v: int) -> tuple[int | None, ...]:
    return (b.mul(b.mul(b.number(2), dy), u), None) if u == v else (b.mul(dy, v), b.mul(dy, u))


def _nothing(b: Builder, dy: int, y: int, *args: int) -> tuple[None, ...]:
    return (None,) * len(args)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(2, np.add, lambda b, dy, y, u, v: (dy, dy)),
    "sub": Operation(2, np.subtract, lambda b, dy, y, u, v: (dy, b.neg(dy))),
    "mul": Operation(2, np.multiply, _mul),
    "div": Operation(2, np.divide, lambda b, dy, y, u, v: (b.div(dy, v), b.neg(b.div(b.mul(dy, y), v)))),
    "fma": Operation(3, lambda u, v, w: u * v + w, lambda b, dy, y, u, v, w: (*_mul(b, dy, y, u, v), dy)),
    "neg": Operation(1, np.negative, lambda b, dy, y, u: (b.neg(dy),)),
    "abs": Operation(1, np.abs, lambda b, dy, y, u: (b.mul(dy, b.sign(u)),)),
    "sign": Operation(1, np.sign, _nothing),
    "floor": Operation(1, np.floor, _nothing),
    "sqrt": Operation(1, np.sqrt, lambda b, dy, y, u: (b.div(b.mul(b.number(0.5), dy), y),)),
    "exp": Operation(1, np.exp, lambda b, dy, y, u: (b.mul(dy, y),)),
    "expm1": Operation(1, np.expm1, lambda b, dy, y, u: (b.fma(dy, y, dy),)),
    "log": Operation(1, np.log, lambda b, dy, y, u: (b.div(dy, u),)),
    "log1p": Operation(1, np.log1p, lambda b, dy, y, u: (b.div(dy, b.add(u, b.number(1))),)),
    "sin": Operation(1, np.sin, lambda b, dy, y, u: (b.mul(dy, b.cos(u)),)),
    "cos": Operation(1, np.cos, lambda b, dy, y, u: (b.neg(b.mul(dy, b.sin(u))),)),
    "tanh": Operation(1, np.tanh, lambda b, dy, y, u: (b.mul(dy, b.sub(b.number(1), b.mul(y, y))),)),
    "sigmoid": Operation(1, sigmoid, lambda b, dy, y, u: (b.mul(dy, b.sub(y, b.mul(y, y))),)),
    "softplus": Operation(1, lambda u: np.logaddexp(0, u), lambda b, dy, y, u: (b.mul(dy, b.sigmoid(u)),)),
    "relu": Operation(
        1, lambda u: np.where(u <= 0, 0, u), lambda b, dy, y, u: (b.where(b.le(y, b.number(0)), b.number(0), dy),)
    ),
    "maximum": Operation(2, np.maximum, _maximum),
    "minimum": Operation(2, np.minimum, _minimum),
    "clip": Operation(
        3,
        np.clip,
        lambda b, dy, y, u, low, high: (b.mul(dy, b.mul(b.le(low, u), b.le(u, high))), None, None),
    ),
    "lt": Operation(2, np.less, _nothing, mask=True),
    "le": Operation(2, np.less_equal, _nothing, mask=True),
    "both": Operation(2, np.multiply, _nothing, mask=True),
    "either": Operation(2, np.maximum, _nothing, mask=True),
    "not_": Operation(1, lambda m: 1 - np.asarray(m, float), _nothing, mask=True),
    "where": Operation(
        3,
        lambda m, u, v: np.where(np.asarray(m) != 0, u, v),
        lambda b, dy, y, m, u, v: (None, b.where(m, dy, b.number(0)), b.where(m, b.number(0), dy)),
    ),
    "total": Operation(1, lambda u: np.sum(u, axis=-1, keepdims=True), lambda b, dy, y, u: (dy,)),  # over the units of a row
    "step": Operation(1, lambda u: np.greater(u, 0), _nothing, mask=True),  # its derivative is the surrogate's: derive.py
    "stop_gradient": Operation(1, lambda u: u, _nothing),
}
