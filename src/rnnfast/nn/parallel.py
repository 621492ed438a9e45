"""One training run in several processes: each computes a part of every batch, and a function of the user averages the results.

The package has no communication of its own. The user's function, the few lines of ``reduce`` below, is all that the processes
have in common: it gets an array of means over this process's samples, and their number, and leaves in the array the means over
the samples of all processes. Everything that the processes must share is said by such means.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array

Reduce = Callable[[Array, int], Any]


def checksum(*values: Any) -> int:
    return zlib.crc32(repr(values).encode())


class Part:
    """The part that this process has in a run; without `reduce`, all of it."""

    def __init__(self, reduce: Reduce | None, part: tuple[int, int] | None) -> None:
        if (reduce is None) != (part is None):
            raise ValueError("reduce, part: expected both or none; part is (number of this process, number of processes)")
        self._reduce, (self.number, self.processes) = reduce, part or (0, 1)
        if not 0 <= self.number < self.processes:
            raise checks.wrong_value("part", "a pair (number, processes) with 0 <= number < processes", part)
        if reduce is not None:
            # A test: process k has the values 1 and k, and k + 1 samples. Sums, means without weights, and means over other
            # processes than those of part would give something else.
            probe = np.array([1.0, self.number])
            self.mean(probe, self.number + 1)
            expected = [1.0, 2 * (self.processes - 1) / 3]  # the second is sum(k * (k + 1)) / sum(k + 1)
            if not np.allclose(probe, expected):
                raise ValueError(
                    f"reduce: expected means over the samples of all {self.processes} processes of part, left in the array, "
                    f"which are {expected} in a test, got {probe.tolist()}"
                )

    @property
    def alone(self) -> bool:
        return self._reduce is None

    def of(self, rows: Array) -> Array:
        """Those of these samples that this process computes, maybe none."""
        return rows[self.number :: self.processes]

    def mean(self, values: Array, samples: int) -> None:
        """Writes into values (n,), means over `samples` samples of this process, those over the samples of all."""
        if self._reduce is not None:
            self._reduce(values, samples)

    def first(self, a: Array) -> None:
        """Writes into the array the values that it has in process 0: the only one with a sample."""
        values = a.ravel() if self.number == 0 else np.zeros(a.size, a.dtype)
        self.mean(values, int(self.number == 0))
        a[...] = values.reshape(a.shape)

    def agree(self, numbers: Mapping[str, float]) -> None:
        """A ValueError in every process if one of these numbers differs between them."""
        own = np.array(list(numbers.values()), np.float64)
        first = own.copy()
        self.first(first)
        differing = (own != first).astype(np.float64)
        self.mean(differing, 1)
        for name, share in zip(numbers, differing, strict=True):
            if share:
                raise ValueError(
                    f"{name}: expected the same in all {self.processes} processes, got another than process 0 in "
                    f"{round(share * self.processes)} of them"
                )
