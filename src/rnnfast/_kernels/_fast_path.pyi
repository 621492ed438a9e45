"""Types of the compiled module _fast_path."""

from typing import Any

from rnnfast._kernels._weights import Weights
from rnnfast._types import Array

class FrozenLayers:
    weights: tuple[Weights, ...]
    def __init__(self, weights: tuple[Weights, ...], initial: tuple[float, ...]) -> None:
        """Layers of one direction; initial: of each state, what it is where the caller gives none."""

def step(
    layers: FrozenLayers,
    x: Array,
    state: tuple[Array | None, ...],
    y: Array,
    state_out: tuple[Array, ...],
    threads: int,
) -> None:
    """x (B, I), y (B, H), each state (layers, B, H) or None for its initial value; contiguous, checked. A state_out may be its
    state."""

def used_once(T: int, B: int) -> bool:
    """Whether the call uses each weight so few times that packing it does not pay."""

def try_frozen(
    layers: FrozenLayers, one_step: bool, x: Any, state: Any, out: Any, threads: int, inputs: tuple[Array, ...] = ()
) -> tuple[Array, Any] | None:
    """(y, state), or None if anything is unusual; then nothing is done. inputs: of the cell, in the order of its `extras`."""

def try_live(
    cell: str,
    isa: int,
    weights: tuple[Any, ...],
    each: int,
    blocks: tuple[int, ...] | None,
    layers: int,
    x: Any,
    state: Any,
    threads: int,
) -> tuple[Array, Any] | None:
    """The same with the weights as arrays, `each` of a layer; blocks: of each gate, which block of rows it has; layers 0: a
    function's call."""
