"""The forward pass through stacked and bidirectional layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnfast._engine import settings
from rnnfast._engine.dropout import Mask, draw_kept, drop
from rnnfast._engine.form import Form, Inputs
from rnnfast._engine.states import h_and_c
from rnnfast._kernels import _call
from rnnfast._kernels._weights import Weights
from rnnfast._types import Array


class Recorded(NamedTuple):
    """What record keeps of one layer: its input before dropout, the records of its directions, what dropout kept of the input
    (None: all). Layers with dropout read its result in `dropped`, one array for all such layers of a pass: it holds what the
    last of them read, and backward fills it again for each of the others."""

    x: Array
    records: list[_call.Record]
    kept: Mask | None
    dropped: Array | None


def forward(
    form: Form,
    weights: Sequence[Weights],
    inputs: Inputs,
    *,
    y: Array | None = None,
    final: tuple[Array, ...] | None = None,
    recorded: list[Recorded] | None = None,
    rng: np.random.Generator | None = None,
    checkpoint_every: int | None = None,
    reverse: bool = False,
) -> tuple[Array, tuple[Array, ...]]:
    """All layers: y (T, B, D*H) and the final states (num_layers*D, B, H), in the arrays given if any.

    recorded: a list that receives what backward needs, layer by layer; rng then draws the dropout. reverse: of layers in one
    direction, that it is the one from the end.
    """
    x, order = inputs.x, inputs.order
    T, B, _ = x.shape
    H, D, recording = form.hidden_size, form.directions, recorded is not None
    checkpoint_every = min(checkpoint_every or 0, max(1, T))
    dropped = None
    if final is None:
        final = tuple([np.empty((form.places, B, H), form.dtype) for _ in inputs.initial])
    for layer in range(form.num_layers):
        last = layer == form.num_layers - 1
        out = y if last and y is not None else form.empty_y(T, B, last=last, lockable=last and recording)
        kept = None
        if layer and recording and form.dropout:
            assert rng is not None
            kept = draw_kept(rng, x.shape, form.dropout)
            dropped = drop(x, kept, form.dropout, np.empty_like(x) if dropped is None else dropped)
        read = x if kept is None or dropped is None else dropped
        records = []
        for direction in range(D):
            place = layer * D + direction
            h0, c0 = h_and_c(tuple([_initial(a, place, B, form, copy=recording) for a in inputs.initial]))
            h_n, c_n = h_and_c(tuple([a[place] for a in final]))
            part = out if D == 1 else out[..., direction * H : (direction + 1) * H]
            way = reverse or direction == 1
            record = _call.forward(
                weights[place], read, part, h0, c0, h_n, c_n, way, order, recording, checkpoint_every, settings.num_threads
            )
            if record is not None:
                records.append(record)
        if recorded is not None:
            recorded.append(Recorded(x, records, kept, dropped))
        x = out
    return x, final


def _initial(state: Array | None, place: int, B: int, form: Form, *, copy: bool) -> Array:
    """(B, H) of (num_layers*D, B, H) or None; a copy where it must stay as it is until backward."""
    if state is None:
        return np.zeros((B, form.hidden_size), form.dtype)
    part: Array = state[place]
    return part.copy() if copy else part
