"""The descriptor of a cell, and of a cell with its options chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Any

from rnnfast._kernels._core import cell_numbers


@dataclass(frozen=True, eq=False)
class Variant:
    """A cell with its options chosen.

    options: the choices by keyword; kernel: name of the C cell that computes it (csrc/cells/list.h); slots: values that a step
    keeps for each unit and sample, beside the states.
    """

    cell: Cell
    options: Mapping[str, Any]
    kernel: str
    slots: int


@dataclass(frozen=True, eq=False)
class Cell:
    """What distinguishes one cell from another, as seen from Python.

    name: of the function (and of the reference's); layer: of the class; gates: their letters in the order of the weights'
    row blocks; states: their letters, h first; options: for each keyword its choices, the default first; kernels: for each
    combination of choices, in the order of options, the name of the C cell.
    """

    name: str
    layer: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    options: Mapping[str, tuple[Any, ...]]
    kernels: Mapping[tuple[Any, ...], str]
    by_choice: Mapping[tuple[Any, ...], Variant] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Makes the variants; a descriptor that does not agree with the C cells, or numbers that the loops cannot work with,
        are a ValueError."""
        found = {}
        for choices in product(*self.options.values()):
            if choices not in self.kernels:
                raise ValueError(f"cell {self.name}: expected a kernel for the choices {choices}, got none")
            kernel = self.kernels[choices]
            numbers = cell_numbers(kernel)
            for name, own in (("gates", self.gates), ("states", self.states)):
                if numbers[name] != len(own):
                    raise ValueError(f"cell {self.name}: expected the {name} {own}, got {numbers[name]} in the C cell {kernel}")
            chosen = MappingProxyType(dict(zip(self.options, choices, strict=True)))
            found[choices] = Variant(self, chosen, kernel, numbers["slots"])
        object.__setattr__(self, "by_choice", MappingProxyType(found))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the one of the defaults first."""
        return tuple(self.by_choice.values())

    def flops(self, T: int, B: int, input_size: int, hidden_size: int, *, training: bool = False) -> float:
        """Floating point operations of the products: 2 T B G H (I + H), three times that for a training step."""
        return 2.0 * T * B * len(self.gates) * hidden_size * (input_size + hidden_size) * (3 if training else 1)
