"""The descriptor of a cell, and of a cell with its options chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Variant:
    """A cell with its options chosen.

    options: the choices by keyword; kernel: name of the C cell that computes it (csrc/cells/list.h); slots: values that a step
    keeps for each unit and sample, beside the states; states: their letters, h first; initial: what they are where the caller
    gives none. A formula (cells/formula.py) may have inputs and draws as well.
    """

    inputs: tuple[str, ...] = ()
    draws: Mapping[str, UsedDraw] = MappingProxyType({})

    def __init__(self, cell: Cell, options: Mapping[str, Any], kernel: str, slots: int, states: tuple[str, ...]) -> None:
        self.cell, self.options, self.kernel, self.slots, self.states = cell, options, kernel, slots, states
        self.initial = (0.0,) * len(states)

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


class Cell:
    """What distinguishes one cell from another, as seen from Python.

    name: of the function (and of the reference's); layer: of the class; gates: their letters in the order of the weights'
    row blocks; states: their letters, h first; options: for each keyword its choices, the default first; kernels: for each
    combination of choices, in the order of options, the name of the C cell.
    """  # no dataclass: that module and what it generates took a sixth of the time of importing rnnfast

    def __init__(
        self,
        name: str,
        layer: str,
        gates: tuple[str, ...],
        states: tuple[str, ...],
        options: Mapping[str, tuple[Any, ...]],
        kernels: Mapping[tuple[Any, ...], str],
    ) -> None:
        """Makes the variants; a descriptor that does not agree with the C cells, or numbers that the loops cannot work with,
        are a ValueError."""
        self.name, self.layer, self.gates, self.states, self.options = name, layer, gates, states, options
        found = {}
        for choices in product(*options.values()):
            if choices not in kernels:
                raise ValueError(f"cell {name}: expected a kernel for the choices {choices}, got none")
            kernel = kernels[choices]
            numbers = cell_numbers(kernel)
            for what, own in (("gates", gates), ("states", states)):
                if numbers[what] != len(own):
                    raise ValueError(f"cell {name}: expected the {what} {own}, got {numbers[what]} in the C cell {kernel}")
            chosen = MappingProxyType(dict(zip(options, choices, strict=True)))
            found[choices] = Variant(self, chosen, kernel, numbers["slots"], states)
        self.by_choice: Mapping[tuple[Any, ...], Variant] = MappingProxyType(found)

    @property
    def shown(self) -> str:
        """How a layer's repr begins."""
        return f"rnnfast.{self.layer}"

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The options of the first variant."""
        return self.variants[0].options

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All of them, the one of the defaults first."""
        return tuple(self.by_choice.values())

    def flops(self, T: int, B: int, input_size: int, hidden_size: int, *, training: bool = False) -> float:
        """Floating point operations of the products: 2 T B G H (I + H), three times that for a training step."""
        return 2.0 * T * B * len(self.gates) * hidden_size * (input_size + hidden_size) * (3 if training else 1)
