"""What a layer and its frozen form share: the constructor's arguments, parameter names and shapes, checks, and the forward
pass through stacked and bidirectional layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeAlias

import numpy as np

from rnnfast import _layer, checks
from rnnfast._core import Weights, empty
from rnnfast._order import RowOrder, order_of
from rnnfast._types import Array, FloatDType, S
from rnnfast.cells import Cell
from rnnfast.direction import run_direction
from rnnfast.runtime import get_num_threads
from rnnfast.states import outward

DERIVED = ("_names", "_shapes", "_directions")  # from the fixed attributes, when first asked for
FIXED = frozenset(
    ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "dtype", "rng", "_choice")
)  # a layer whose sizes do not fit its arrays would write past them
MAX_LAYERS = 10_000  # more is a mistake, and its parameters alone would take minutes to name
DRAWN_AT_ONCE = 1 << 17  # elements of a dropout mask: their random bits stay in L2
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


class Inputs(NamedTuple):
    """Checked arguments of a call: x (T, B, I) view; initial state (num_layers*D, B, H) or None each; the order of work."""

    x: Array
    initial: tuple[Array | None, ...]
    order: RowOrder | None
    unbatched: bool


class Recorded(NamedTuple):
    """What record keeps of one layer: its input before dropout, its tapes (one a direction), what dropout kept of the input
    (None: all). Tapes of layers with dropout read its result in `dropped`, one array for all such layers of a record: it
    holds what the last of them read, and backward fills it again for each of the others."""

    x: Array
    tapes: list[_layer.Tape]
    kept: Mask | None
    dropped: Array | None


class Stack(Generic[S]):
    """Not public. Attributes as the constructors of `rnnfast.LSTM` and its kin document them."""

    cell: Cell

    def __init__(
        self,
        choice: Any,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
    ) -> None:
        cell = self.cell
        self._choice = checks.one_of(cell.option, choice, cell.choices) if cell.option else None
        self.input_size = checks.positive("input_size", input_size)
        self.hidden_size = checks.positive("hidden_size", hidden_size)
        self.num_layers = checks.positive("num_layers", num_layers, MAX_LAYERS)
        self.bias = checks.flag("bias", bias)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.probability("dropout", dropout)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.dtype: FloatDType = checks.float_dtype(dtype)
        widest = max(self.input_size, self.hidden_size * self._directions)
        checks.representable(
            lambda: "hidden_size * input_size",
            len(cell.gates),
            self.hidden_size,
            widest,
            self.dtype.itemsize,
            self.num_layers * self._directions,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if (name in self.__dict__ and name in FIXED) or name == "cell":
            raise AttributeError(f"{name}: expected the value of the constructor, {getattr(self, name)!r}; make a new layer")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in FIXED:
            raise AttributeError(f"{name}: expected to stay as the constructor made it; make a new layer")
        super().__delattr__(name)

    @cached_property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    # ---- parameters ------------------------------------------------------------------------------------------------------
    @cached_property
    def _names(self) -> list[tuple[str, ...]]:
        """For each layer and direction, in the order of states: the names of w_ih, w_hh and, with biases, b_ih, b_hh."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if self.bias else 2]
        suffixes = [f"l{layer}{way}" for layer in range(self.num_layers) for way in ("", "_reverse")[: self._directions]]
        return [tuple(f"{kind}_{suffix}" for kind in kinds) for suffix in suffixes]

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in PyTorch's order."""
        D, rows = self._directions, len(self.cell.gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for place, names in enumerate(self._names):
            inputs = self.hidden_size * D if place >= D else self.input_size
            shapes.update(zip(names, ((rows, inputs), (rows, self.hidden_size), (rows,), (rows,)), strict=False))
        return shapes

    def _pack(self, params: dict[str, Array], isa: int, *, trainable: bool) -> list[Weights]:
        """One Weights a layer and direction."""
        kernel = self.cell.kernel(self._choice)
        for name, shape in self._shapes.items():
            checks.unchanged(name, params[name], shape, self.dtype)
        return [Weights(kernel, isa, trainable, get_num_threads(), *[params[name] for name in names]) for names in self._names]

    # ---- shapes of a call ------------------------------------------------------------------------------------------------
    def _state_shape(self, B: int, unbatched: bool) -> tuple[tuple[int, ...], str]:
        count = self.num_layers * self._directions
        if unbatched:
            return (count, self.hidden_size), "num_layers*num_directions, hidden"
        return (count, B, self.hidden_size), "num_layers*num_directions, batch, hidden"

    def _state(self, name: str, value: Any, B: int, unbatched: bool) -> tuple[Array | None, ...]:
        """A state argument as (num_layers*D, B, H) arrays or None."""
        shape, meaning = self._state_shape(B, unbatched)
        parts = checks.state(name, value, self.cell.states, shape, meaning, self.dtype)
        full = (self.num_layers * self._directions, B, self.hidden_size)
        return tuple(None if a is None else a.reshape(full) for a in parts)

    def _check(self, x: Any, state: Any, lengths: Any) -> Inputs:
        view, unbatched = checks.sequence(x, self.input_size, batch_first=self.batch_first)
        if view.dtype != self.dtype:
            raise TypeError(
                f"x: expected dtype {self.dtype}, the layer's, got {view.dtype}; use x.astype(np.{self.dtype.name})"
            )
        T, B, _ = view.shape
        checks.representable(
            lambda: "x", T, B, self._directions * (len(self.cell.gates) + 2), self.hidden_size, self.dtype.itemsize
        )
        initial = self._state("state", state, B, unbatched)
        return Inputs(view, initial, order_of(checks.lengths(lengths, T, B, unbatched=unbatched), T), unbatched)

    def _empty_y(self, T: int, B: int, *, last: bool) -> Array:
        """A new y as a (T, B, D*H) view; the last layer's lies batch first where the user wants it so."""
        width = self.hidden_size * self._directions
        if last and self.batch_first:
            return empty((B, T, width), self.dtype).swapaxes(0, 1)
        return empty((T, B, width), self.dtype)

    def _outward(self, y: Array, state: tuple[Array, ...], unbatched: bool) -> tuple[Array, S]:
        """(T, B, D*H) and (num_layers*D, B, H) in the forms the user sees."""
        if unbatched:
            y, state = y[:, 0], tuple(a[:, 0] for a in state)
        elif self.batch_first:
            y = y.swapaxes(0, 1)
        return y, outward(state)

    # ---- forward ---------------------------------------------------------------------------------------------------------
    def _forward(
        self,
        weights: Sequence[Weights],
        inputs: Inputs,
        *,
        y: Array | None = None,
        final: tuple[Array, ...] | None = None,
        recorded: list[Recorded] | None = None,
        rng: np.random.Generator | None = None,
        checkpoint_every: int | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """All layers: y (T, B, D*H) and the final states (num_layers*D, B, H), in the arrays given if any.

        recorded: a list that receives what backward needs, layer by layer; rng then draws the dropout.
        """
        x, order = inputs.x, inputs.order
        T, B, _ = x.shape
        H = self.hidden_size
        dropped = None
        if final is None:
            shape = (self.num_layers * self._directions, B, H)
            final = tuple(np.empty(shape, self.dtype) for _ in self.cell.states)
        for layer in range(self.num_layers):
            last = layer == self.num_layers - 1
            out = y if last and y is not None else self._empty_y(T, B, last=last)
            kept = None
            if layer and recorded is not None and self.dropout:
                assert rng is not None
                kept = draw_kept(rng, x.shape, self.dropout)
                dropped = drop(x, kept, self.dropout, np.empty_like(x) if dropped is None else dropped)
            tapes = []
            for direction in range(self._directions):
                place = layer * self._directions + direction
                _, tape = run_direction(
                    weights[place],
                    x if kept is None or dropped is None else dropped,
                    out[..., direction * H : (direction + 1) * H],
                    tuple(None if a is None else a[place] for a in inputs.initial),
                    order,
                    bool(direction),
                    record=recorded is not None,
                    checkpoint_every=checkpoint_every,
                    final=tuple(a[place] for a in final),
                )
                if tape is not None:
                    tapes.append(tape)
            if recorded is not None:
                recorded.append(Recorded(x, tapes, kept, dropped))
            x = out
        return x, final

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments, in its order."""
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "dtype")
        arguments = {name: getattr(self, name) for name in names}
        if self.cell.option:
            arguments[self.cell.option] = self._choice
        return arguments

    def __repr__(self) -> str:
        arguments = self._arguments()
        shown = [str(arguments.pop("input_size")), str(arguments.pop("hidden_size"))]
        defaults: dict[str, Any] = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "dtype": np.dtype(np.float32),
        }
        if self.cell.option:
            defaults[self.cell.option] = self.cell.choices[0]
        for name, value in arguments.items():
            if value != defaults[name]:
                shown.append(f"{name}={(value.name if name == 'dtype' else value)!r}")
        return f"rnnfast.{self.cell.layer}({', '.join(shown)})"


def draw_kept(rng: np.random.Generator, shape: tuple[int, ...], dropout: float) -> Mask:
    """True where dropout keeps: each element with probability 1 - dropout, in steps of 1/65536."""
    kept = np.empty(shape, np.bool_)
    flat, dropped_below = kept.reshape(-1), round(dropout * 65536)
    for start in range(0, flat.size, DRAWN_AT_ONCE):
        part = flat[start : start + DRAWN_AT_ONCE]
        words = rng.integers(0, 2**64 - 1, -(-part.size // 4), np.uint64, endpoint=True)  # all bits: the fastest to draw
        np.greater_equal(words.view(np.uint16)[: part.size], dropped_below, out=part)
    return kept


def drop(x: Array, kept: Mask, dropout: float, out: Array) -> Array:
    """out (it may be x): x scaled by 1 / (1 - dropout) where kept, else 0."""
    np.multiply(x, 0 if dropout == 1 else 1 / (1 - dropout), out=out)
    bits = out.view(f"i{out.itemsize}")
    np.multiply(bits, kept, out=bits)  # ten times as fast as an assignment under the mask, and 0 also for an infinity
    return out
