"""Puts the fused loop into Keras's layers and takes it out again, and decides call by call which of the two loops runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from rnnfast.keras import _report
from rnnfast.keras._layers import compute
from rnnfast.keras._recipes import KINDS, Recipe, recipe_of

BACKENDS = ("numpy", "torch")
_BUILDING = "a symbolic call"  # that only asks for shapes: not worth a line in the report
_FUSED = tuple(kind.layer for kind in KINDS)
_originals: dict[Any, Any] = {}  # class -> its own inner_loop, or None where it inherits one


def put_in() -> None:
    if _originals:
        return
    if (name := keras.backend.backend()) not in BACKENDS:
        raise RuntimeError(
            f"rnnfast.keras.enable: expected Keras's numpy or torch backend, got {name}; set KERAS_BACKEND=torch "
            "before Keras is imported"
        )
    _report.forget()
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
        if owner is keras.layers.RNN and isinstance(self, _FUSED):
            return original(self, sequences, initial_state, mask, training=training)  # noted already, by the layer's own
        states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        training = bool(training)
        recipe = _recipe_for(self, sequences, states, mask, training)
        if isinstance(recipe, str):
            if recipe != _BUILDING:
                _note(self.name, type(self).__name__, False, recipe)
            return original(self, sequences, initial_state, mask, training=training)
        _note(self.name, type(self).__name__, True, recipe.how)
        return compute(self, recipe, sequences, tuple(states), mask, training)

    return inner_loop


def _recipe_for(layer: Any, x: Any, states: Any, mask: Any, training: bool) -> Recipe | str:
    """How to compute this call, or why it is left to Keras."""
    if _compiling():
        return "compiled by torch.compile (jit_compile=True), which needs to see every operation"
    if in_symbolic_scope():
        return _BUILDING
    rates = [getattr(layer.cell, name, 0) if training else 0 for name in ("dropout", "recurrent_dropout")]
    recipe = recipe_of(layer, recurrent_dropout=rates[1] > 0)
    if isinstance(recipe, str):
        return recipe
    if getattr(layer, "use_cudnn", None) is True:
        return "use_cudnn=True"
    if max(rates) >= 1:
        return "dropout of 1"
    weights = [w for w in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias) if w is not None]
    for tensor in (x, *states, *map(keras.ops.convert_to_tensor, weights)):
        if problem := _unfit(tensor):
            return problem
    kernel = keras.ops.convert_to_tensor(layer.cell.kernel)
    if len({str(t.dtype) for t in (kernel, *states)}) > 1 or (x.dtype != kernel.dtype and "float" in str(x.dtype)):
        return "arrays of several dtypes"
    if x.ndim != 3 or any(tuple(s.shape) != (x.shape[0], layer.cell.units) for s in states):
        return f"an initial state that is not (batch, {layer.cell.units})"
    if mask is not None:
        if tuple(mask.shape) != tuple(x.shape[:2]):
            return f"a mask of shape {tuple(mask.shape)}, not (batch, time)"
        if layer.unroll and layer.go_backwards and keras.backend.backend() == "torch":
            return "unroll, go_backwards and a mask together"
    return recipe


if keras.backend.backend() == "torch":
    import torch

    def _compiling() -> bool:
        return torch.compiler.is_compiling() or bool(torch._C._get_tracing_state())

    def _unfit(tensor: Any) -> str | None:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or torch._C._are_functorch_transforms_active():
            return f"a {type(tensor).__name__} inside a transformation of torch"
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return f"a tensor on {tensor.device.type}, {tensor.layout}"
        return None if tensor.dtype in (torch.float32, torch.float64) else f"dtype {tensor.dtype}"

    # runs while it is traced, so that compiled code does not count
    _note = torch._dynamo.assume_constant_result(_report.note)  # type: ignore[no-untyped-call]
else:

    def _compiling() -> bool:
        return False

    def _unfit(tensor: Any) -> str | None:
        if not isinstance(tensor, np.ndarray):
            return f"a {type(tensor).__name__}"
        return None if tensor.dtype in (np.float32, np.float64) else f"dtype {tensor.dtype}"

    _note = _report.note
