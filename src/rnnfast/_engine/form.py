"""What a pass must know of the layers it goes through, and the shapes and names that follow from it."""

from __future__ import annotations

from typing import Any, NamedTuple

from rnnfast._engine import checks
from rnnfast._engine.states import outward
from rnnfast._kernels import _weights
from rnnfast._kernels._core import empty
from rnnfast._kernels._order import RowOrder, order_of
from rnnfast._kernels._weights import Weights
from rnnfast._types import Array, FloatDType
from rnnfast.cells import Variant

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # parameters of a place, a layer in one direction


class Inputs(NamedTuple):
    """Checked arguments of a call: x (T, B, I) view; initial state (num_layers*D, B, H) or None each; the order of work."""

    x: Array
    initial: tuple[Array | None, ...]
    order: RowOrder | None
    unbatched: bool


class Form(NamedTuple):
    """Layers as the constructors of `rnnfast.LSTM` and its kin document them; directions D is 1 or 2. stacked: states have a
    first axis of layers and directions; those of functions, which are one layer in one direction, have not."""

    variant: Variant
    input_size: int
    hidden_size: int
    num_layers: int
    directions: int
    bias: bool
    batch_first: bool
    dropout: float
    dtype: FloatDType
    stacked: bool = True

    # ---- parameters ------------------------------------------------------------------------------------------------------
    @property
    def places(self) -> int:
        """Layers times directions, in the order of states: layer 0 forward, layer 0 reverse, layer 1 forward, ..."""
        return self.num_layers * self.directions

    def parameter_names(self) -> list[tuple[str, ...]]:
        """For each place the names of w_ih, w_hh and, with biases, b_ih, b_hh: PyTorch's."""
        suffixes = [f"l{layer}{way}" for layer in range(self.num_layers) for way in ("", "_reverse")[: self.directions]]
        return [tuple(f"{kind}_{suffix}" for kind in KINDS[: 4 if self.bias else 2]) for suffix in suffixes]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in PyTorch's order."""
        H, D, rows = self.hidden_size, self.directions, len(self.variant.cell.gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for place, names in enumerate(self.parameter_names()):
            inputs = H * D if place >= D else self.input_size
            shapes.update(zip(names, ((rows, inputs), (rows, H), (rows,), (rows,)), strict=False))
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
        shape, meaning = self.state_shape(B, unbatched)
        return self.inner_state(B, checks.state(name, value, self.variant.cell.states, shape, meaning, self.dtype))

    def check(self, x: Any, state: Any, lengths: Any) -> Inputs:
        """The arguments of a layer's call."""
        view, unbatched = checks.sequence(x, self.input_size, self.dtype, batch_first=self.batch_first)
        T, B, _ = view.shape
        self.check_size(T, B)
        initial = self.check_state("state", state, B, unbatched)
        return Inputs(
            view,
            initial,
            order_of(checks.lengths(lengths, T, B, unbatched=unbatched, batch_first=self.batch_first), T),
            unbatched,
        )

    def check_size(self, T: int, B: int) -> None:
        """The largest array of a call can be addressed: what one direction keeps, or y of all of them."""
        kept = max(self.variant.slots + len(self.variant.cell.states), self.directions)
        checks.representable(lambda: "x", T, B, kept, self.hidden_size, self.dtype.itemsize)

    def empty_y(self, T: int, B: int, *, last: bool, lockable: bool = False) -> Array:
        """A new y as a (T, B, D*H) view; the last layer's lies batch first where the user wants it so."""
        width = self.hidden_size * self.directions
        if last and self.batch_first:
            return empty((B, T, width), self.dtype, lockable).swapaxes(0, 1)
        return empty((T, B, width), self.dtype, lockable)

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
    *,
    trainable: bool,
) -> list[Weights]:
    """One Weights a place. names, shapes: of the form's parameters."""
    form.check_params(shapes, params)
    packed = []
    for place in names:
        w_ih, w_hh, *biases = [params[name] for name in place]
        b_ih, b_hh = biases or (None, None)
        packed.append(_weights.pack(form.variant.kernel, isa, trainable, threads, w_ih, w_hh, b_ih, b_hh))
    return packed
