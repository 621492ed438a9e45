"""Types of the compiled module _call. Arrays are checked by the callers."""

from typing import final

from rnnfast._kernels._order import RowOrder
from rnnfast._kernels._weights import Weights
from rnnfast._types import Array

@final
class Record:
    """What one layer and direction keeps from forward to backward."""

    @property
    def weights(self) -> Weights: ...
    @property
    def vectors(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def copy_state(self, state: int, y: Array, to: Array) -> None: ...

def forward(
    w: Weights,
    x: Array,
    y: Array,
    first: tuple[Array, ...],
    last: tuple[Array, ...],
    reverse: bool,
    order: RowOrder | None,
    record: bool,
    checkpoint_every: int,
    threads: int,
    extras: tuple[Array, ...] = (),
) -> Record | None:
    """Writes y and the last states. Returns the Record when recording."""

def prepare(kept: Record, dx: Array | None, threads: int, d_extras: tuple[Array | None, ...] = ()) -> int:
    """Takes all memory that backward with up to so many threads needs; returns the bytes of scratch."""

def backward(
    kept: Record,
    dy: Array | None,
    d_last: tuple[Array | None, ...],
    dx: Array | None,
    d_first: tuple[Array, ...],
    d_params: dict[str, Array],
    d_vectors: Array | None = None,
) -> None:
    """Writes dx, d_first and the weights' gradients; adds to those of biases, vectors and extras."""
