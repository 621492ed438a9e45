"""What everything with parameters has: recurrent layers, their frozen forms, and the layers of the training kit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rnnfast._types import Array


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
