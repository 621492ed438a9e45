"""The descriptor of a cell, and of a cell with its options chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from rnnfast._kernels import _weights
from rnnfast._kernels._core import cell_numbers
from rnnfast._kernels._weights import Weights
from rnnfast._types import Array

if TYPE_CHECKING:
    from rnnfast.cells.formula import FormulaCell, FormulaVariant, StoredCell, UsedDraw

AnyCell: TypeAlias = "Cell | FormulaCell | StoredCell"
AnyVariant: TypeAlias = "Variant | FormulaVariant"
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # parameters of every cell, in PyTorch's order


class Packed(NamedTuple):
    """Parameters of one layer and direction as the kernels read them, copies of its vectors by kind, and which of the cell's
    inputs are one number a row."""

    weights: Weights
    vectors: Mapping[str, Array]
    row_inputs: frozenset[str] = frozenset()


class Extras(NamedTuple):
    """Names of what a cell reads at each step beside x and states, in the kernels' order: inputs and draws of every unit, then
    inputs of one number a row."""

    full: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


NO_EXTRAS = Extras()


@dataclass(frozen=True, eq=False)
class Variant:
    """A cell with its options chosen.

    options: the choices by keyword; kernel: name of the C cell that computes it (csrc/cells/list.h); slots: values that a step
    keeps for each unit and sample, beside the states; states: their letters, h first; initial: what they are where the caller
    gives none. A formula (cells/formula.py) may have inputs and draws as well.
    """

    cell: Cell
    options: Mapping[str, Any]
    kernel: str
    slots: int
    states: tuple[str, ...]
    initial: tuple[float, ...]
    inputs: tuple[str, ...] = ()
    draws: Mapping[str, UsedDraw] = field(default_factory=dict)

    @property
    def gates(self) -> tuple[str, ...]:
        """Their letters, in the order of the weights' blocks of rows."""
        return self.cell.gates

    def blocks(self, kind: str) -> tuple[str, ...]:
        """The gates of a parameter's blocks of rows, in their order."""
        return self.gates

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Kind -> shape of the parameters of a layer in one direction."""
        rows = len(self.cell.gates) * hidden_size
        return {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}

    def extras(self, row_inputs: frozenset[str], *, trainable: bool) -> Extras:
        """Names of what the kernels read at each step beside x. row_inputs: those of the inputs that are (T, B) in a call."""
        return NO_EXTRAS

    def pack(self, params: Sequence[Array], isa: int, threads: int, row_inputs: frozenset[str], *, trainable: bool) -> Packed:
        """Parameters of a layer in one direction, in the order of `shapes`, biases perhaps missing, for one ISA."""
        w_ih, w_hh, *biases = params
        b_ih, b_hh = biases or (None, None)
        return Packed(_weights.pack(self.kernel, isa, trainable, threads, w_ih, w_hh, b_ih, b_hh), {})

    def vector_gradients(self, packed: Packed, d_vectors: Array) -> dict[str, Array]:
        """Gradients of the vectors by kind, from those of what the kernels read instead."""
        return {}


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

    @property
    def shown(self) -> str:
        """How a layer's repr begins."""
        return f"rnnfast.{self.layer}"

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The options of the first variant."""
        return self.variants[0].options

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
            found[choices] = Variant(self, chosen, kernel, numbers["slots"], self.states, (0.0,) * len(self.states))
        object.__setattr__(self, "by_choice", MappingProxyType(found))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the one of the defaults first."""
        return tuple(self.by_choice.values())

    def flops(self, T: int, B: int, input_size: int, hidden_size: int, *, training: bool = False) -> float:
        """Floating point operations of the products: 2 T B G H (I + H), three times that for a training step."""
        return 2.0 * T * B * len(self.gates) * hidden_size * (input_size + hidden_size) * (3 if training else 1)
