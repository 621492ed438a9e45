"""What a pass must know of the layers it goes through, and the shapes and names that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.states import outward
from rnnfast._kernels._core import empty
from rnnfast._kernels._order import RowOrder, order_of
from rnnfast._types import Array, FloatDType
from rnnfast.cells.base import AnyVariant, Packed

if TYPE_CHECKING:
    from rnnfast.cells.formula import UsedDraw

Index: TypeAlias = np.ndarray[tuple[int], np.dtype[np.intp]]
NONE: frozenset[str] = frozenset()
NO_INPUTS: Mapping[str, Array] = MappingProxyType({})


@lru_cache(4096)
def _kinds(variant: AnyVariant, input_size: int, hidden_size: int, bias: bool) -> Mapping[str, tuple[int, ...]]:
    shapes = variant.shapes(input_size, hidden_size)
    return MappingProxyType({kind: shape for kind, shape in shapes.items() if bias or not kind.startswith("bias_")})


class Layout(NamedTuple):
    """Where the parameters of a place lie in one array of all: of each kind its range, and its shape if that is not 1-D; and
    the range of all that are 1-D, which come last."""

    kinds: tuple[tuple[str, slice, tuple[int, ...] | None], ...]
    vectors: slice


@lru_cache(4096)
def layouts(form: Form) -> tuple[int, tuple[Layout, ...]]:
    """The number of all parameters, and the layout of each place, in the order of `Form.parameter_shapes`."""
    end, found = 0, []
    for place in range(form.places):
        kinds: list[tuple[str, slice, tuple[int, ...] | None]] = []
        for kind, shape in form.kinds(place).items():
            start, end = end, end + prod(shape)
            kinds.append((kind, slice(start, end), shape if len(shape) > 1 else None))
        found.append(Layout(tuple(kinds), slice(next((at.start for _, at, shape in kinds if shape is None), end), end)))
    return end, tuple(found)


class Rows(NamedTuple):
    """x without padding, as other parts of the package may give it in place of an array: values (sum of lengths, I), the rows
    of time 0, then those of time 1, and so on, each time's in the order of the samples; lengths (B,), falling, none of them 0.
    y, dy and dx are then arranged as values are. The layer must not be batch first."""

    values: Array
    lengths: Index


class Inputs(NamedTuple):
    """Checked arguments of a call: x (T, B, I) view, or (sum of lengths, I), see Rows; initial state (num_layers*D, B, H) or
    None each; the order of work; inputs of the cell by name, (T, B) or (T, B, H) views, and those that are (T, B)."""

    x: Array
    initial: tuple[Array | None, ...]
    order: RowOrder | None
    unbatched: bool
    given: Mapping[str, Array] = NO_INPUTS
    row_inputs: frozenset[str] = NONE

    @property
    def size(self) -> tuple[int, int]:
        """T and B."""
        if self.x.ndim == 2:
            assert self.order is not None
            return self.order.steps, self.order.batch
        return self.x.shape[:2]

    @property
    def within(self) -> tuple[int, ...]:
        """Shape of what goes from layer to layer, but for the last axis: without padding, (sum of lengths,)."""
        return self.x.shape[:-1] if self.order is None else (self.order.rows,)


class Form(NamedTuple):
    """Layers as the constructors of `rnnfast.LSTM` and its kin document them; directions D is 1 or 2. stacked: states have a
    first axis of layers and directions; those of functions, which are one layer in one direction, have not."""

    variant: AnyVariant
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int
    bias: bool
    batch_first: bool
    dropout: float
    dtype: FloatDType
    stacked: bool = True

    @property
    def plain(self) -> bool:
        """Whether there is one direction, and a call needs nothing but x and states."""
        return self.directions == 1 and not self.variant.inputs

    # ---- parameters ------------------------------------------------------------------------------------------------------
    @property
    def places(self) -> int:
        """Layers times directions, in the order of states: layer 0 forward, layer 0 reverse, layer 1 forward, ..."""
        return self.num_layers * self.directions

    def kinds(self, place: int = 0) -> Mapping[str, tuple[int, ...]]:
        """Kind -> shape of the parameters of a place."""
        inputs = self.input_size if place < self.directions else self.hidden_size * self.directions
        return _kinds(self.variant, inputs, self.hidden_size, self.bias)

    def parameter_names(self) -> list[tuple[str, ...]]:
        """For each place the names of its parameters, in the order of their kinds: PyTorch's."""
        suffixes = [f"l{layer}{way}" for layer in range(self.num_layers) for way in ("", "_reverse")[: self.directions]]
        kinds = tuple(self.kinds())
        return [tuple([f"{kind}_{suffix}" for kind in kinds]) for suffix in suffixes]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in PyTorch's order."""
        shapes: dict[str, tuple[int, ...]] = {}
        for place, names in enumerate(self.parameter_names()):
            shapes.update(zip(names, self.kinds(place).values(), strict=True))
        return shapes

    def check_params(self, shapes: dict[str, tuple[int, ...]], params: dict[str, Array]) -> None:
        """Parameters whose values may have changed are still of these shapes."""
        for name, shape in shapes.items():
            checks.unchanged(name, params[name], shape, self.dtype)

    # ---- arguments and results of a call ---------------------------------------------------------------------------------
    def state_shape(self, B: int, unbatched: bool) -> tuple[tuple[int, ...], str]:
        """Of a state as the user sees it, and what its axes mean."""
        lead, axes = ((self.places,), "num_layers*num_directions, ") if self.stacked else ((), "")
        if unbatched:
            return (*lead, self.hidden_size), axes + "hidden"
        return (*lead, B, self.hidden_size), axes + "batch, hidden"

    def inner_state(self, B: int, parts: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """Each part, of state_shape, as (num_layers*D, B, H)."""
        full = (self.places, B, self.hidden_size)
        return tuple([None if a is None else a.reshape(full) for a in parts])

    def check_state(self, name: str, value: Any, B: int, unbatched: bool) -> tuple[Array | None, ...]:
        """A state argument as (num_layers*D, B, H) arrays or None."""
        if value is None:
            return (None,) * len(self.variant.states)
        shape, meaning = self.state_shape(B, unbatched)
        return self.inner_state(B, checks.state(name, value, self.variant.states, shape, meaning, self.dtype))

    def check(self, x: Any, state: Any, lengths: Any, inputs: Any = None) -> Inputs:
        """The arguments of a layer's call."""
        order: RowOrder | None
        if isinstance(x, Rows):
            view, unbatched, order = checks.rows_contiguous(x.values), False, RowOrder(x.lengths)
            T, B = order.steps, order.batch
        else:
            view, unbatched = checks.sequence(x, self.input_size, self.dtype, batch_first=self.batch_first)
            T, B, _ = view.shape
            order = order_of(checks.lengths(lengths, T, B, unbatched=unbatched, batch_first=self.batch_first), T)
        self.check_size(T, B)
        initial = self.check_state("state", state, B, unbatched)
        if inputs is None and not self.variant.inputs:
            return Inputs(view, initial, order, unbatched)
        return Inputs(view, initial, order, unbatched, *self.check_inputs(inputs, T, B, unbatched))

    def check_inputs(self, inputs: Any, T: int, B: int, unbatched: bool) -> tuple[Mapping[str, Array], frozenset[str]]:
        """The cell's inputs as (T, B) or (T, B, H) views, and the names of those that are (T, B)."""
        steps = (T,) if unbatched else (B, T) if self.batch_first else (T, B)
        axes = "time" if unbatched else "batch, time" if self.batch_first else "time, batch"
        given = checks.inputs(inputs, self.variant.inputs, steps, axes, self.hidden_size, self.dtype)
        rows = frozenset([name for name, value in given.items() if value.ndim == len(steps)])
        return {name: self.inner(value, unbatched) for name, value in given.items()}, rows

    def draw_shape(self, draw: UsedDraw, T: int, B: int, unbatched: bool) -> tuple[int, ...]:
        """Of a cell's draw as the user gives it: time comes before the batch with batch_first too."""
        places, *middle, H = draw.shape(self.places, T, B, self.hidden_size)
        return (*((places,) if places > 1 else ()), *(middle[:-1] if unbatched else middle), H)

    def check_draws(self, draws: Any, T: int, B: int, unbatched: bool) -> Mapping[str, Array]:
        """Draws that the caller gives, as (num_layers*D, T, B, H) or (num_layers*D, B, H)."""
        if draws is None:
            return NO_INPUTS
        cell = self.variant.draws
        shapes = {name: self.draw_shape(draw, T, B, unbatched) for name, draw in cell.items()}
        given = checks.draws(draws, shapes, self.dtype)
        full = {name: cell[name].shape(self.places, T, B, self.hidden_size) for name in given}
        return {name: value.reshape(full[name]) for name, value in given.items()}

    def check_size(self, T: int, B: int) -> None:
        """The largest array of a call can be addressed: what one direction keeps, or y of all of them."""
        kept = max(self.variant.slots + len(self.variant.states), self.directions)
        checks.representable(lambda: "x", T, B, kept, self.hidden_size, self.dtype.itemsize)

    def empty_y(self, inputs: Inputs, *, last: bool, lockable: bool = False) -> Array:
        """A new y, the last layer's arranged as x is, batch first where the user wants it so; of others see `Inputs.within`."""
        lead, width = inputs.x.shape[:-1] if last else inputs.within, self.hidden_size * self.directions
        if last and self.batch_first:
            return empty((*lead[::-1], width), self.dtype, lockable).swapaxes(0, 1)
        return empty((*lead, width), self.dtype, lockable)

    def outer(self, array: Array, unbatched: bool) -> Array:
        """(T, B, n) in the form the user sees."""
        return array[:, 0] if unbatched else array.swapaxes(0, 1) if self.batch_first else array

    def inner(self, array: Array, unbatched: bool) -> Array:
        """Back to (T, B, n)."""
        return array[:, None] if unbatched else array.swapaxes(0, 1) if self.batch_first else array

    def outer_state(self, parts: tuple[Array, ...], unbatched: bool) -> Any:
        """(num_layers*D, B, H) each, in the form the user sees."""
        if unbatched:
            parts = tuple([a[:, 0] for a in parts])
        return outward(parts if self.stacked else tuple([a[0] for a in parts]))


def pack(
    form: Form,
    names: list[tuple[str, ...]],
    shapes: dict[str, tuple[int, ...]],
    params: dict[str, Array],
    isa: int,
    threads: int,
    row_inputs: frozenset[str] = NONE,
    *,
    trainable: bool,
) -> list[Packed]:
    """One a place. names, shapes: of the form's parameters."""
    form.check_params(shapes, params)
    packed = []
    for place in names:
        packed.append(form.variant.pack([params[name] for name in place], isa, threads, row_inputs, trainable=trainable))
    return packed
