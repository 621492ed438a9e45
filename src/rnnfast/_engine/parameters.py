"""What everything with parameters has: recurrent layers, their frozen forms, and the layers of the training kit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from rnnfast._types import Array


def joined(arrays: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
    """A new 1-D array with the values of all, at least one and all of one dtype; and its views by their names and shapes."""
    flat = np.concatenate([a.ravel() for a in arrays.values()])
    ends = np.cumsum([a.size for a in arrays.values()]).tolist()
    return flat, {n: flat[end - a.size : end].reshape(a.shape) for end, (n, a) in zip(ends, arrays.items(), strict=True)}


class Parameters:
    """Not public."""

    _params: dict[str, Array]

    @property
    def params(self) -> Mapping[str, Array]:
        """Read-only mapping of names to the live arrays: an optimizer updates them in place."""
        return MappingProxyType(self._params)

    @property
    def num_params(self) -> int:
        """The number of all weights and biases."""
        return sum(value.size for value in self.params.values())
