"""Losses, each with its gradient, and metrics.

A loss takes predictions and targets and returns ``(value, gradient)``: the mean over all elements as a float, and the gradient
of that mean with respect to the predictions. A metric returns the value alone. Sums are computed in float64. Elements whose
`mask` is False, or whose target is `ignore_index`, do not count in the mean, and their gradient is 0. If no element counts, the
value is 0.

All of them raise a TypeError or ValueError that names the argument if a dtype, shape or value does not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array


def _pair(y: Any, target: Any, mask: Any) -> tuple[Array, Array, Array | None, int]:
    """Predictions and targets of one shape, the mask broadcast to that shape, and how many elements count (at least 1)."""
    y = checks.float_array("y", y)
    target = np.asarray(target)
    if target.shape != y.shape:
        raise checks.wrong_shape("target", y.shape, "as y", target.shape)
    if mask is None:
        return y, target.astype(y.dtype, copy=False), None, max(y.size, 1)
    mask = _bools(mask)
    if mask.shape != y.shape[: mask.ndim]:
        raise checks.wrong_shape("mask", y.shape, "as y, or without its last axes", mask.shape)
    mask = np.broadcast_to(mask.reshape(mask.shape + (1,) * (y.ndim - mask.ndim)), y.shape)
    return y, target.astype(y.dtype, copy=False), mask, max(int(np.count_nonzero(mask)), 1)


def _bools(mask: Any) -> Array:
    bools: Array = np.asarray(mask)
    if bools.dtype != np.bool_:
        raise TypeError(f"mask: expected bools, got dtype {bools.dtype}")
    return bools


def _total(values: Array, mask: Array | None) -> float:
    return float(values.sum(dtype=np.float64) if mask is None else values.sum(dtype=np.float64, where=mask))


def _only(gradient: Array, mask: Array | None) -> Array:
    if mask is not None:
        gradient[~mask] = 0
    return gradient


def mean_squared_error(y: Any, target: Any, *, mask: Any = None) -> tuple[float, Array]:
    """The mean of ``(y - target)^2``.

    Parameters
    ----------
    y : array_like, float32 or float64
    target : array_like, shape of y
    mask : array_like of bool, optional
        Which elements count. Its shape is that of y, or that of y without its last axes.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of y

    Examples
    --------
    >>> value, gradient = nn.mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    >>> value
    2.0
    >>> gradient
    array([0., 2.])
    """
    y, target, mask, count = _pair(y, target, mask)
    d = y - target
    return _total(d * d, mask) / count, _only(d * y.dtype.type(2 / count), mask)


def binary_cross_entropy(logits: Any, target: Any, *, mask: Any = None) -> tuple[float, Array]:
    """The mean of ``log(1 + exp(z)) - target z``, the cross entropy of yes and no if yes has the probability sigmoid(z).

    It is computed as ``max(z, 0) - target z + log1p(exp(-|z|))``, in which no exp overflows. The gradient is
    ``(sigmoid(z) - target) / count``.

    Parameters
    ----------
    logits : array_like, float32 or float64
        z.
    target : array_like, shape of logits
        Values from 0 to 1.
    mask : array_like of bool, optional
        Which elements count. Its shape is that of logits, or that of logits without its last axes.

    Returns
    -------
    value : float
    gradient : ndarray, shape and dtype of logits

    Examples
    --------
    >>> value, gradient = nn.binary_cross_entropy(np.zeros(2), np.array([1.0, 0.0]))
    >>> round(value, 3)
    0.693
    >>> gradient
    array([-0.25,  0.25])
    """
    z, target, mask, count = _pair(logits, target, mask)
    if target.size and not (target.min() >= 0 and target.max() <= 1):
        raise ValueError(f"target: expected 0 <= target <= 1, got {target.min()} to {target.max()}")
    small = np.exp(-np.abs(z))
    value = np.maximum(z, 0) - target * z + np.log1p(small)
    sigmoid = np.where(z >= 0, 1, small) / (1 + small)
    return _total(value, mask) / count, _only((sigmoid - target) * z.dtype.type(1 / count), mask)


def cross_entropy(logits: Any, target: Any, *, ignore_index: int | None = None, mask: Any = None) -> tuple[float, Array]:
    """The mean of ``-log softmax(logits)[target]``, with the softmax over the last axis.

    Parameters
    ----------
    logits : (..., classes) array_like, float32 or float64
    target : (...) array_like of int
        0 <= target < classes, or `ignore_index`.
    ignore_index : int, optional
        Elements with this target do not count.
    mask : (...) array_like of bool, optional
        Which elements count.

    Returns
    -------
    value : float
    gradient : (..., classes) ndarray, dtype of logits
        ``(softmax - one_hot) / count``.

    Examples
    --------
    >>> value, gradient = nn.cross_entropy(np.zeros((2, 4)), [3, -1], ignore_index=-1)
    >>> round(value, 3)
    1.386
    >>> gradient
    array([[ 0.25,  0.25,  0.25, -0.75],
           [ 0.  ,  0.  ,  0.  ,  0.  ]])
    """
    logits = checks.float_array("logits", logits)
    target = np.asarray(target)
    if logits.ndim == 0 or target.shape != logits.shape[:-1]:
        raise checks.wrong_shape("target", logits.shape[:-1], "as logits without classes", target.shape)
    if target.dtype.kind not in "iu":
        raise TypeError(f"target: expected integers, got dtype {target.dtype}")
    counts = np.ones(target.shape, np.bool_) if mask is None else _bools(mask)
    if counts.shape != target.shape:
        raise checks.wrong_shape("mask", target.shape, "as target", counts.shape)
    if ignore_index is not None:
        counts = counts & (target != ignore_index)
    chosen = np.where(counts, target, 0).reshape(-1, 1)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < logits.shape[-1]:
        raise ValueError(f"target: expected 0 <= target < {logits.shape[-1]} (classes), got {chosen.min()} to {chosen.max()}")
    rows = logits.reshape(-1, logits.shape[-1])
    p = rows - rows.max(axis=1, keepdims=True)  # so that exp cannot overflow
    value = -np.take_along_axis(p, chosen, axis=1)[:, 0]
    np.exp(p, out=p)
    sums = p.sum(axis=1, keepdims=True)
    value += np.log(sums[:, 0])
    count = max(int(np.count_nonzero(counts)), 1)
    p /= sums
    np.put_along_axis(p, chosen, np.take_along_axis(p, chosen, axis=1) - 1, axis=1)
    p *= p.dtype.type(1 / count)
    p[~counts.reshape(-1)] = 0
    return float(value.sum(dtype=np.float64, where=counts.reshape(-1))) / count, p.reshape(logits.shape)


def mean_absolute_error(y: Any, target: Any, *, mask: Any = None) -> float:
    """The mean of ``|y - target|``, a metric. The arguments are those of `mean_squared_error`.

    Examples
    --------
    >>> nn.mean_absolute_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    1.0
    """
    y, target, mask, count = _pair(y, target, mask)
    return _total(np.abs(y - target), mask) / count


def accuracy(logits: Any, target: Any, *, ignore_index: int | None = None) -> float:
    """The share of right answers, a metric.

    Parameters
    ----------
    logits : array_like
        (..., classes), and the answer is the class of the largest logit; or of the shape of target, and the answer is yes if
        the logit is above 0.
    target : array_like
        (...) of int, the right classes; or of the shape of logits, and then values above 0.5 mean yes.
    ignore_index : int, optional
        Elements with this target do not count.

    Returns
    -------
    float

    Examples
    --------
    >>> nn.accuracy(np.array([[0.1, 2.0], [3.0, 1.0]]), [1, 1])
    0.5
    """
    logits, target = np.asarray(logits), np.asarray(target)
    if target.shape == logits.shape:
        right = (logits > 0) == (target > 0.5)
    elif target.shape == logits.shape[:-1] and logits.shape[-1] > 1:
        right = logits.argmax(axis=-1) == target
    else:
        raise checks.wrong_shape("target", logits.shape[:-1], "as logits without classes, or as logits", target.shape)
    counts = np.ones(target.shape, np.bool_) if ignore_index is None else target != ignore_index
    return int(np.count_nonzero(right & counts)) / max(int(np.count_nonzero(counts)), 1)
