"""The fused loop of a Keras layer: dropout, direction and masks as the active backend has them, around one pass of rnnfast.

All that needs a gradient is done by keras.ops, so that the same lines serve both backends; positions are computed with NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from rnnfast._types import Array
from rnnfast.keras._pass import Pass
from rnnfast.keras._recipes import Recipe

if keras.backend.backend() == "torch":
    from rnnfast.keras._on_torch import array_of, foreign, is_traced, note, recur
else:
    from rnnfast.keras._on_numpy import array_of, foreign, is_traced, note, recur

__all__ = ["BACKENDS", "Call", "compute", "is_traced", "note", "unfit"]

BACKENDS = ("numpy", "torch")


class Call(NamedTuple):
    """x (B, T, I), states (B, U) each, mask (B, T) or None, weights as Keras has them."""

    layer: Any
    x: Any
    states: tuple[Any, ...]
    mask: Any
    kernel: Any
    recurrent_kernel: Any
    bias: Any
    training: bool


def unfit(call: Call) -> str | None:
    """What keeps rnnfast from computing this call, if anything does."""
    layer, x, kernel, mask = call.layer, call.x, call.kernel, call.mask
    tensors = [t for t in (x, *call.states, mask, kernel, call.recurrent_kernel, call.bias) if t is not None]
    for problem in map(foreign, tensors):
        if problem:
            return problem
    dtype = keras.backend.standardize_dtype(kernel.dtype)
    if dtype not in ("float32", "float64"):
        return f"rnnfast computes in float32 and float64, and the weights are {dtype}; make the layer with dtype='float32'"
    for s in call.states:
        if tuple(s.shape) != (expected := (x.shape[0], layer.cell.units)):
            got = tuple(s.shape)
            return f"rnnfast needs initial states of shape {expected} = (batch, units), and one has {got}; repeat or reshape it"
    if mask is not None and tuple(mask.shape) != (expected := tuple(x.shape[:2])):
        return f"rnnfast needs a mask of shape {expected} = (batch, time), and it has {tuple(mask.shape)}; reshape it"
    if mask is not None and layer.unroll and layer.go_backwards and keras.backend.backend() == "torch":
        return (
            "Keras's torch backend has an error for unroll, go_backwards and a mask together; make the layer with unroll=False"
        )
    return None


def compute(call: Call, recipe: Recipe) -> tuple[Any, Any, Any]:
    """What Keras's inner_loop returns: the last output (B, U), all outputs (B, T, U) in the order of the steps, or (B, 1, U)
    where they are not asked for, and the final states."""
    layer, x, states, mask, kernel, recurrent_kernel, bias, training = call
    cell, backwards = layer.cell, layer.go_backwards
    x, states = ops.cast(x, kernel.dtype), tuple([ops.cast(s, kernel.dtype) for s in states])  # integers, for example
    draws: dict[str, Array] = {}
    if training and cell.dropout:
        x, kernel = _dropped(x, kernel, cell.get_dropout_mask(call.x[:, 0, :]))
    if training and cell.recurrent_dropout:
        kept = cell.get_recurrent_dropout_mask(states[0])
        kept = kept if isinstance(kept, list) else [kept]
        draws = dict(zip(recipe.kind.draws, map(array_of, kept), strict=True))

    steps = None if mask is None else _steps(array_of(mask).astype(bool), backwards)
    if steps is not None and steps.gathered is not None:
        x = _rows(x, steps.gathered)
    job = Pass(recipe, None if steps is None else steps.lengths, backwards, draws)
    y, *final = recur(job, x, kernel, recurrent_kernel, bias, states)

    h = final[0]
    if steps is None:
        outputs = (ops.flip(y, axis=1) if backwards else y) if layer.return_sequences else h[:, None]
        return h, outputs, final
    rule = _rule(layer)
    before = states[0] if rule.before_is_state else ops.zeros_like(h)
    last = h  # the state after no step at all is the initial one
    if not rule.before_is_state and not steps.lengths.all():
        last = ops.where(steps.lengths[:, None] > 0, last, before)
    if rule.zero and not steps.valid[:, -1].all():
        last = ops.where(steps.valid[:, -1:], last, ops.zeros_like(h))
    if not layer.return_sequences:
        return last, last[:, None], final
    if steps.gathered is None and (rule.zero or (backwards and not rule.before_is_state)):
        return last, ops.flip(y, axis=1) if backwards else y, final  # all that is left out is padding, where y is 0
    outputs = _rows(y, steps.position)
    if rule.zero:
        outputs = ops.where(steps.valid[..., None], outputs, ops.zeros_like(outputs))
    elif steps.early.any():
        outputs = ops.where(steps.early[..., None], before[:, None], outputs)
    return last, outputs, final


# ---- dropout ---------------------------------------------------------------------------------------------------------------
def _dropped(x: Any, kernel: Any, masks: Any) -> tuple[Any, Any]:
    """x (B, T, I) and kernel (I, G*U) so that their product is that of the input dropped by masks, (B, I) each: one for all
    gates or, with recurrent dropout, one for each gate. There x holds all of them, (B, T, G*I), and the kernel is block
    diagonal, (G*I, G*U)."""
    if not isinstance(masks, list):
        return x * masks[:, None], kernel
    gates, inputs = len(masks), kernel.shape[0]
    blocks = np.kron(np.eye(gates), np.ones((inputs, kernel.shape[1] // gates)))
    x = ops.concatenate([x * m[:, None] for m in masks], axis=-1)
    return x, ops.tile(kernel, (gates, 1)) * ops.cast(ops.convert_to_tensor(blocks), kernel.dtype)


# ---- masks -----------------------------------------------------------------------------------------------------------------
class Rule(NamedTuple):
    """What a backend gives for a step that the mask leaves out: 0, or the output of the step before; and before the first step
    0, or the initial state."""

    zero: bool
    before_is_state: bool


def _rule(layer: Any) -> Rule:
    """From `rnn` in keras/src/backend/numpy/rnn.py and keras/src/backend/torch/rnn.py of Keras 3.15."""
    if keras.backend.backend() == "torch":
        return Rule(layer.zero_output_for_mask, before_is_state=False)
    if layer.unroll:
        return Rule(False, before_is_state=False)
    return Rule(layer.zero_output_for_mask, before_is_state=True)


class Steps(NamedTuple):
    """A mask, as the kernels and the output need it. lengths (B,): valid steps of each sample; gathered (B, T): which step
    comes at which place if the valid ones come first, or None if they do. In the order in which Keras has the outputs, (B, T):
    valid: whether the step is; position: which of the gathered steps gives its output; early: whether none has come yet."""

    lengths: Array
    gathered: Array | None
    valid: Array
    position: Array
    early: Array


def _steps(valid: Array, backwards: bool) -> Steps | None:
    """valid: (B, T) of bool. None if all steps are."""
    if valid.all():
        return None
    T = valid.shape[1]
    lengths = valid.sum(axis=1)
    first = np.array_equal(valid, np.arange(T) < lengths[:, None])
    gathered = None if first else np.argsort(~valid, axis=1, kind="stable")
    before = np.cumsum(valid, axis=1) - valid  # valid steps before each
    position = before if backwards else before + valid - 1
    if backwards:
        valid, position = valid[:, ::-1], position[:, ::-1]
    early = (position < 0) | (position >= lengths[:, None])
    return Steps(lengths, gathered, np.ascontiguousarray(valid), np.where(early, 0, position), early)


def _rows(a: Any, index: Array) -> Any:
    """(B, T, n) by index (B, T): of each sample the steps of these numbers."""
    B, T, n = a.shape
    flat = index + T * np.arange(B)[:, None]
    return ops.take(ops.reshape(a, (B * T, n)), ops.convert_to_tensor(flat), axis=0)
