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
    def nbytes(self) -> int: ...

def forward(
    w: Weights,
    x: Array,
    y: Array,
    h0: Array,
    c0: Array | None,
    h_n: Array,
    c_n: Array | None,
    reverse: bool,
    order: RowOrder | None,
    record: bool,
    checkpoint_every: int,
    threads: int,
) -> Record | None:
    """Writes y, h_n and c_n. Returns the Record when recording."""

def prepare(kept: Record, dx: Array | None, threads: int) -> int:
    """Takes all memory that backward with up to so many threads needs; returns the bytes of scratch."""

def backward(
    kept: Record,
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    dx: Array | None,
    dh0: Array,
    dc0: Array | None,
    d_w_ih: Array,
    d_w_hh: Array,
    d_b_ih: Array | None,
    d_b_hh: Array | None,
) -> None:
    """Writes dx, dh0, dc0 and the weights' gradients; adds to the biases' gradients."""
