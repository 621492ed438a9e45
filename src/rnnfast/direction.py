"""One layer in one direction on checked arrays: allocates what _layer's two calls need. Functions and stacks go through it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnfast import _layer
from rnnfast._core import Weights, empty
from rnnfast._order import RowOrder
from rnnfast._types import Array
from rnnfast.runtime import get_num_threads
from rnnfast.states import h_and_c


def run_direction(
    weights: Weights,
    x: Array,
    y: Array,
    initial: tuple[Array | None, ...],
    order: RowOrder | None,
    reverse: bool,
    *,
    record: bool = False,
    checkpoint_every: int | None = None,
    final: tuple[Array, ...] | None = None,
) -> tuple[tuple[Array, ...], _layer.Tape | None]:
    """x (T, B, I) -> y (T, B, H), written; returns the final states (B, H), in `final` if given, and the tape if recording.

    initial: (B, H) contiguous or None.
    """
    B, hidden = x.shape[1], y.shape[2]
    if final is None:
        final = tuple(np.empty((B, hidden), x.dtype) for _ in initial)
    start = tuple(np.zeros((B, hidden), x.dtype) if a is None else a.copy() if record else a for a in initial)
    h0, c0 = h_and_c(start)
    h_n, c_n = h_and_c(final)
    every = min(checkpoint_every or 0, max(1, len(x)))
    tape = _layer.forward(weights, x, y, h0, c0, h_n, c_n, reverse, order, record, every, get_num_threads())
    return final, tape


class DirectionGradients(NamedTuple):
    x: Array | None
    initial: tuple[Array, ...]
    w_ih: Array
    w_hh: Array
    b_ih: Array | None
    b_hh: Array | None


def prepare_backward(
    tape: _layer.Tape, x: Array, initial: tuple[Array, ...], dx: Array | None, *, has_bias: bool, gates: int
) -> DirectionGradients:
    """Takes all memory that `run_backward` needs; returns the arrays it will fill. initial: (B, H) contiguous each; dx
    (T, B, I) or None."""
    hidden, inputs, dtype = tape.weights.hidden_size, tape.weights.input_size, x.dtype
    _layer.prepare(tape, get_num_threads())
    return DirectionGradients(
        x=dx,
        initial=initial,
        w_ih=empty((gates * hidden, inputs), dtype),
        w_hh=empty((gates * hidden, hidden), dtype),
        b_ih=np.zeros(gates * hidden, dtype) if has_bias else None,
        b_hh=np.zeros(gates * hidden, dtype) if has_bias else None,
    )


def run_backward(tape: _layer.Tape, g: DirectionGradients, dy: Array | None, dstate: tuple[Array | None, ...]) -> None:
    """Fills g, with no allocation. dy (T, B, H) or None; dstate (B, H) contiguous or None each."""
    dh_n, dc_n = h_and_c(dstate)
    dh0, dc0 = h_and_c(g.initial)
    _layer.backward(tape, dy, dh_n, dc_n, g.x, dh0, dc0, g.w_ih, g.w_hh, g.b_ih, g.b_hh)
