"""Types of the compiled module _layer. Arrays are checked by the callers."""

from typing import final

from rnnfast._core import Weights
from rnnfast._order import RowOrder
from rnnfast._types import Array

@final
class Tape:
    """What one layer and direction keeps from forward to backward."""

    @property
    def weights(self) -> Weights: ...
    @property
    def nbytes(self) -> int: ...

def set_cost_model(call: float, phase: float) -> tuple[float, float]:
    """Work below which a call or a phase of a step takes no further thread; returns the values before (for tests)."""

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
    every: int,
    threads: int,
) -> Tape | None:
    """Writes y, h_n and c_n. Returns the Tape when recording."""

def prepare(tape: Tape, threads: int) -> None:
    """Takes all memory that backward with up to so many threads needs; after a MemoryError the tape is as usable as before."""

def backward(
    tape: Tape,
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
    """Writes dx, dh0, dc0; adds to the weights' and biases' gradients."""
