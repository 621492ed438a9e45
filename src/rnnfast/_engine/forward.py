"""The forward pass through stacked and bidirectional layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnnfast._engine import settings
from rnnfast._engine.dropout import Mask, draw_kept, drop
from rnnfast._engine.form import Form, Inputs
from rnnfast._kernels import _call
from rnnfast._types import Array
from rnnfast.cells.base import Packed


class Recorded(NamedTuple):
    """What record keeps of one layer: its input before dropout, the records of its directions and their parameters, what
    dropout kept of the input (None: all). Layers with dropout read its result in `dropped`, one array for all such layers of a
    pass: it holds what the last of them read, and backward fills it again for each of the others."""

    x: Array
    records: list[_call.Record]
    packed: Sequence[Packed]
    kept: Mask | None
    dropped: Array | None


def forward(
    form: Form,
    packed: Sequence[Packed],
    inputs: Inputs,
    *,
    y: Array | None = None,
    final: tuple[Array, ...] | None = None,
    recorded: list[Recorded] | None = None,
    rng: np.random.Generator | None = None,
    checkpoint_every: int | None = None,
    draws: Mapping[str, Array] | None = None,
    reverse: bool = False,
    trainable: bool | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """All layers: y (T, B, D*H), or arranged as x is, and the final states (num_layers*D, B, H), in the arrays given if any.

    recorded: a list that receives what backward needs, layer by layer; rng then draws the dropout, and what the cell draws but
    for `draws`, name -> (num_layers*D, [T,] B, H). reverse: of layers in one direction, that it is the one from the end.
    trainable: what the parameters were packed for, if not what `recorded` says.
    """
    x, order = inputs.x, inputs.order
    T, B = inputs.size
    H, D, recording = form.hidden_size, form.directions, recorded is not None
    checkpoint_every = min(checkpoint_every or 0, max(1, T))
    dropped, draws = None, draws or {}
    extras = form.variant.extras(inputs.row_inputs, trainable=recording if trainable is None else trainable)
    names = extras.full + extras.rows
    if final is None:
        final = tuple([np.empty((form.places, B, H), form.dtype) for _ in inputs.initial])
    zeros: tuple[Array, ...] = ()  # what all states of all layers begin with, where the caller and the cell give nothing else
    if not any(form.variant.initial) and all(state is None for state in inputs.initial):
        zeros = (np.zeros((B, H), form.dtype),) * len(inputs.initial)
    for layer in range(form.num_layers):
        last = layer == form.num_layers - 1
        out = y if last and y is not None else form.empty_y(inputs, last=last, lockable=last and recording)
        kept = None
        if layer and recording and form.dropout:
            assert rng is not None
            kept = draw_kept(rng, x.shape, form.dropout)
            dropped = drop(x, kept, form.dropout, np.empty_like(x) if dropped is None else dropped)
        read = x if kept is None or dropped is None else dropped
        records = []
        drawn: dict[str, Array] = {}
        for name, draw in form.variant.draws.items():
            if name in draws:
                drawn[name] = draws[name][layer * D : (layer + 1) * D]
            elif name in extras.full:
                assert rng is not None
                drawn[name] = draw.draw(rng, draw.shape(D, T, B, H), form.dtype)
        for direction in range(D):
            place = layer * D + direction
            first = zeros or tuple([_initial(form, i, a, place, B, copy=recording) for i, a in enumerate(inputs.initial)])
            ends = tuple([a[place] for a in final])
            part = out if D == 1 else out[..., direction * H : (direction + 1) * H]
            way, weights, threads = reverse or direction == 1, packed[place].weights, settings.num_threads
            read_too = tuple([_every_step(name, inputs.given, drawn, direction, T) for name in names]) if names else ()
            record = _call.forward(weights, read, part, first, ends, way, order, recording, checkpoint_every, threads, read_too)
            if record is not None:
                records.append(record)
        if recorded is not None:
            recorded.append(Recorded(x, records, packed[layer * D : (layer + 1) * D], kept, dropped))
        x = out
    return x, final


def trajectories(form: Form, packed: Sequence[Packed], inputs: Inputs) -> tuple[Array, ...]:
    """Every state of the last layer after every step, (T, B, D*H) each; packed for inference."""
    keeping = [p._replace(weights=p.weights.keeping_states()) for p in packed]
    recorded: list[Recorded] = []
    y, _ = forward(form, keeping, inputs, recorded=recorded, trainable=False)
    H, found = form.hidden_size, []
    for i in range(len(form.variant.states)):
        whole = form.empty_y(inputs, last=True)
        for direction, record in enumerate(recorded[-1].records):
            record.copy_state(i, y[..., direction * H : (direction + 1) * H], whole[..., direction * H : (direction + 1) * H])
        found.append(whole)
    return tuple(found)


def _every_step(name: str, given: Mapping[str, Array], drawn: Mapping[str, Array], direction: int, T: int) -> Array:
    """An input or a draw, (T, B, H) or (T, B)."""
    if name in given:
        return given[name]
    draw = drawn[name][direction]
    return draw if draw.ndim == 3 else np.broadcast_to(draw, (T, *draw.shape))


def _initial(form: Form, number: int, state: Array | None, place: int, B: int, *, copy: bool) -> Array:
    """(B, H) of (num_layers*D, B, H) or None; a copy where it must stay as it is until backward."""
    if state is None:
        return np.full((B, form.hidden_size), form.variant.initial[number], form.dtype)
    part: Array = state[place]
    return part.copy() if copy else part
