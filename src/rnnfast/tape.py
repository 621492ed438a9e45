"""Tapes: what record=True and `net.record` return, and the gradients their backward gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np

from rnnfast import _layer, checks
from rnnfast._core import empty
from rnnfast._types import Array, S
from rnnfast.cells import Cell
from rnnfast.direction import prepare_backward, run_backward


class Once:
    """Holds what a backward pass uses up: taken once, given back if the pass fails before it began."""

    def __init__(self, value: Any) -> None:
        self._values = [value]

    def take(self) -> Any:
        try:
            return self._values.pop()  # atomic: of two threads one gets it
        except IndexError:
            raise RuntimeError("tape: expected its first backward, got a second one; record again") from None

    def give_back(self, value: Any) -> None:
        self._values.append(value)


def shapes(gradients: Any) -> str:
    """A short repr: what is there, by shape."""
    parts = {**vars(gradients), **vars(gradients).get("params", {})}
    shown = (f"{k} {a.shape}" for k, a in parts.items() if isinstance(a, np.ndarray))
    return f"{type(gradients).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Gradients:
    """Gradients named like the arguments; c0 is None for cells without c, b_ih and b_hh where no biases were given."""

    x: Array | None
    w_ih: Array
    w_hh: Array
    b_ih: Array | None
    b_hh: Array | None
    h0: Array
    c0: Array | None = None
    __repr__ = shapes


class Tape:
    """The record of one call of `simple_rnn`, `lstm` or `gru`, for one backward pass."""

    def __init__(self, cell: Cell, tape: _layer.Tape, x: Array, y: Array, *, has_bias: bool, unbatched: bool) -> None:
        self._cell, self._once = cell, Once(tape)
        self._x, self._y_shape = x, y.shape
        self._has_bias, self._unbatched = has_bias, unbatched

    def backward(self, dy: Any = None, dstate: Any = None, *, need_x: bool = True) -> Gradients:
        """Back-propagation through time.

        Parameters
        ----------
        dy : array_like, shape and dtype of y, optional
            Gradient of y; None is zeros. Past a sample's end it is not read.
        dstate : array_like of the shape of h_n, or a pair for LSTM, optional
            Gradient of the final state; None is zeros, also inside the pair.
        need_x : bool
            False leaves ``g.x`` None and skips that product.

        Returns
        -------
        g : Gradients
            ``g.x, g.w_ih, g.w_hh, g.b_ih, g.b_hh, g.h0`` and for LSTM ``g.c0``: gradients of
            ``sum(dy * y) + sum(dstate * state)``, with the weights as they were when recording.

        Raises
        ------
        TypeError, ValueError
            For a dy or dstate that does not fit; the tape stays usable.
        RuntimeError
            If backward was called before.
        MemoryError
            The tape stays usable.
        """
        x, dtype = self._x, self._x.dtype
        _, B, _ = x.shape
        hidden = self._y_shape[-1]
        need_x = checks.flag("need_x", need_x)
        dy = checks.gradient_of_y(dy, self._y_shape, dtype)
        if dy is not None:
            dy = dy[:, None] if self._unbatched else dy
        shape, meaning = ((hidden,), "hidden") if self._unbatched else ((B, hidden), "batch, hidden")
        parts = checks.state("dstate", dstate, self._cell.states, shape, meaning, dtype)
        tape = self._once.take()
        try:
            g = prepare_backward(
                tape,
                x,
                tuple(np.empty((B, hidden), dtype) for _ in parts),
                empty(x.shape, dtype) if need_x else None,
                has_bias=self._has_bias,
                gates=len(self._cell.gates),
            )
        except BaseException:
            self._once.give_back(tape)
            raise
        run_backward(tape, g, dy, tuple(None if a is None else a.reshape(B, hidden) for a in parts))
        dx, initial = g.x, g.initial
        if self._unbatched:
            dx, initial = None if dx is None else dx[:, 0], tuple(a[0] for a in initial)
        return Gradients(dx, g.w_ih, g.w_hh, g.b_ih, g.b_hh, *initial)


@dataclass(frozen=True, repr=False)
class LayerGradients(Generic[S]):
    """x: gradient of x, or None; state: of the initial state, in its form; params: by parameter name."""

    x: Array | None
    state: S
    params: Mapping[str, Array]
    __repr__ = shapes
