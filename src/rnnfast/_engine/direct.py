"""One layer in one direction whose weights are arguments: checks everything, then runs. Compiled cells and formulas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnfast._engine import checks, settings
from rnnfast._engine.form import NONE, Form, Inputs
from rnnfast._engine.forward import Recorded, forward
from rnnfast._engine.tapes import Tape
from rnnfast._kernels import _fast_path, _weights
from rnnfast._kernels._order import order_of
from rnnfast._types import Array
from rnnfast.cells.base import AnyVariant, Packed


def run(
    variant: AnyVariant,
    x: Any,
    weights: tuple[Any, Any, Any, Any],
    initial: tuple[Any, ...],
    *,
    lengths: Any = None,
    reverse: bool = False,
    record: bool = False,
    batch_first: bool = False,
    blocks: tuple[int, ...] | None = None,
    draws: Mapping[str, Any] | None = None,
) -> tuple[Array, Any, Tape | None]:
    """x (T, B, I), with batch_first (B, T, I), or (T, I); weights: w_ih, w_hh, b_ih, b_hh, the biases or None; initial: a state
    or None each. Returns y, the final state and, with record, the tape, which keeps x and y: whoever gets y must not change it.

    blocks: of each gate, which block of rows it has in the weights. draws: all that a formula draws, (B, H) or (T, B, H) each.
    """
    isa, threads = settings.here.isa, settings.num_threads
    w_ih, w_hh, b_ih, b_hh = checks.weights(*weights, gates=len(variant.gates))
    values = (*weights[:2], x, *weights[2:], *initial)
    x, unbatched = checks.sequence(x, w_ih.shape[1], batch_first=batch_first)
    T, B, inputs = x.shape
    bias = b_ih is not None or b_hh is not None
    form = Form(variant, inputs, w_hh.shape[1], 1, 1, bias, batch_first, 0.0, w_ih.dtype, stacked=False)
    form.check_size(T, B)
    shape, meaning = form.state_shape(B, unbatched)
    names = variant.states
    start = {f"{s}0": checks.optional(f"{s}0", value, shape, meaning) for s, value in zip(names, initial, strict=True)}
    checks.one_dtype(w_ih, w_hh, {"x": x, "b_ih": b_ih, "b_hh": b_hh, **start}, values)
    order = order_of(checks.lengths(lengths, T, B, unbatched=unbatched, batch_first=batch_first), T)
    args = Inputs(x, form.inner_state(B, tuple(start.values())), order, unbatched)
    drawn = form.check_draws(draws, T, B, unbatched)

    if variant.kernel is None:
        packed = variant.pack((w_ih, w_hh, b_ih, b_hh), isa, threads, NONE, trainable=record, blocks=blocks)
    elif not record and _fast_path.used_once(T, B):
        packed = Packed(_weights.point_at(variant.kernel, isa, w_ih, w_hh, b_ih, b_hh, blocks), {})
    else:
        packed = Packed(_weights.pack(variant.kernel, isa, record, threads, w_ih, w_hh, b_ih, b_hh, blocks), {})
    recorded: list[Recorded] | None = [] if record else None
    y, final = forward(form, [packed], args, recorded=recorded, reverse=reverse, draws=drawn)
    y, state = form.outer(y, unbatched), form.outer_state(final, unbatched)
    if recorded is None:
        return y, state, None
    return y, state, Tape(form, recorded, args, y, blocks, (b_ih is not None, b_hh is not None))
