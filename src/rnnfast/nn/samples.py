"""The samples that fit, evaluate and predict take batches of."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array


def take(a: Array, rows: Array, axis: int) -> Array:
    """These rows of axis 0 or 1, contiguous. (Of an array that is not contiguous, ndarray.take copies all, at every call.)"""
    if a.flags.c_contiguous:
        return a.take(rows, axis)
    return np.ascontiguousarray(a[rows] if axis == 0 else a[:, rows])


def batches(order: Array, size: int) -> Iterator[Array]:
    """The numbers of the samples in each batch; the last one may have fewer."""
    for start in range(0, len(order), size):
        yield order[start : start + size]


class Samples(NamedTuple):
    """Inputs and targets, which axis of each counts samples, and lengths (N,) or None."""

    x: Array
    y: Array
    lengths: Array | None
    axes: tuple[int, int]

    @property
    def number(self) -> int:
        return int(self.x.shape[self.axes[0]])

    def take(self, rows: Array, batch: Array) -> tuple[Array, Array, Array | None]:
        """These samples of a batch, contiguous; with lengths and time first, they end where the batch's longest sample ends."""
        x, y = take(self.x, rows, self.axes[0]), take(self.y, rows, self.axes[1])
        if self.lengths is None:
            return x, y, None
        longest = int(self.lengths[batch].max())
        if self.axes[0] == 1:
            x = x[:longest]
        if self.axes[1] == 1:
            y = y[:longest]
        return x, y, self.lengths[rows]

    def fingerprint(self) -> list[int]:
        """Sizes and a checksum of some samples, by which a checkpoint recognises other data."""
        rows = np.unique(np.linspace(0, self.number - 1, 16).astype(np.intp))
        x, y, _ = self.take(rows, rows)
        return [*self.x.shape, *self.y.shape, zlib.crc32(y.tobytes(), zlib.crc32(x.tobytes()))]


def samples(x: Any, y: Any, lengths: Any, axes: tuple[int, int], name: str) -> Samples:
    x, y = np.asarray(x), np.asarray(y)
    if tuple(axes) not in ((0, 0), (0, 1), (1, 0), (1, 1)):
        raise checks.wrong_value("batch_axes", "a pair of 0 or 1", axes)
    if x.ndim <= axes[0] or y.ndim <= axes[1] or x.shape[axes[0]] != y.shape[axes[1]]:
        raise ValueError(
            f"{name}: expected as many samples on axis {axes[0]} of x as on axis {axes[1]} of y, "
            f"got shapes {x.shape} and {y.shape}; batch_axes says which axes count samples"
        )
    if not x.shape[axes[0]]:
        raise ValueError(f"{name}: expected at least one sample, got none")
    if lengths is not None:
        lengths = checks.lengths(lengths, x.shape[1 - axes[0]], x.shape[axes[0]], unbatched=False)
    return Samples(x, y, lengths, axes)
