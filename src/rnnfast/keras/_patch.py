"""Puts the fused loop into Keras's layers and takes it out again, and decides call by call which of the two loops runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from rnnfast.keras._layers import BACKENDS, Call, compute, is_traced, note, unfit
from rnnfast.keras._recipes import KINDS, Recipe, recipe_of
from rnnfast.keras._report import forget

_FUSED = tuple(kind.layer for kind in KINDS)
_COMPILED = "torch.compile must see every operation, and cannot see into rnnfast; compile the model with jit_compile=False"
_originals: dict[Any, Any] = {}  # class -> its own inner_loop, or None where it inherits one


def put_in() -> None:
    if _originals:
        return
    if (name := keras.backend.backend()) not in BACKENDS:
        raise RuntimeError(
            f"rnnfast.keras.enable: expected Keras's numpy or torch backend, got {name}; set KERAS_BACKEND=torch "
            "before Keras is imported"
        )
    forget()
    for layer in (*_FUSED, keras.layers.RNN):  # RNN itself for the report only
        _originals[layer] = vars(layer).get("inner_loop")
    for layer, replacement in [(layer, _replacing(layer, layer.inner_loop)) for layer in _originals]:
        layer.inner_loop = replacement


def take_out() -> None:
    while _originals:
        layer, original = _originals.popitem()
        if original is None:
            del layer.inner_loop
        else:
            layer.inner_loop = original


def _replacing(owner: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    """inner_loop as Keras's RNN.call calls it: sequences (B, T, I), initial_state a list of (B, U), mask (B, T) or None."""

    @functools.wraps(original)
    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: Any = False) -> Any:
        if is_traced():
            note(self.name, type(self).__name__, False, _COMPILED)
        elif not in_symbolic_scope():  # where only shapes are asked for
            found = _decide(self, sequences, initial_state, mask, bool(training))
            if not isinstance(found, str):
                call, recipe = found
                note(self.name, type(self).__name__, True, recipe.how)
                return compute(call, recipe)
            if owner is not keras.layers.RNN or not isinstance(self, _FUSED):  # else the layer's own loop noted it already
                note(self.name, type(self).__name__, False, found)
        return original(self, sequences, initial_state, mask, training=training)

    return inner_loop


def _decide(layer: Any, x: Any, states: Any, mask: Any, training: bool) -> tuple[Call, Recipe] | str:
    """The call and how to compute it, or why it is left to Keras."""
    rates = [getattr(layer.cell, name, 0) if training else 0 for name in ("dropout", "recurrent_dropout")]
    recipe = recipe_of(layer, recurrent_dropout=rates[1] > 0)
    if isinstance(recipe, str):
        return recipe
    if getattr(layer, "use_cudnn", None) is True:
        return "use_cudnn=True asks for cuDNN, which runs on GPUs only; make the layer with use_cudnn='auto'"
    if max(rates) >= 1:
        return "a dropout rate of 1 drops everything, which rnnfast leaves to Keras; make the layer with a lower rate"
    kernel, recurrent_kernel, bias = (
        None if w is None else keras.ops.convert_to_tensor(w)
        for w in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    )
    states = tuple(states) if isinstance(states, (list, tuple)) else (states,)
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    call = Call(layer, x, states, mask, kernel, recurrent_kernel, bias, training)
    return unfit(call) or (call, recipe)
