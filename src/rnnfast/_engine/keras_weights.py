"""Recurrent layers of Keras 3, or the lists of their arrays: what they have for `rnnfast.weights`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.exchange import EACH, Place, cell_of, floats, one_of_them
from rnnfast.cells.conventions import KERAS


def recurrent(source: Any, options: Mapping[str, Any]) -> tuple[list[list[Place]], dict[str, Any]]:
    """Of each layer its directions, and what Keras says of their cell. options: what the user says."""
    several = isinstance(source, (list, tuple)) and not (source and _is_array(source[0]))
    found = [_of_keras(one) for one in (source if several else [source])]
    if not found:
        raise checks.wrong_value("source", "at least one layer", source)
    settings = one_of_them("settings", [settings for settings, _ in found], EACH)
    places = [[_of_kernels(arrays) for arrays in directions] for _, directions in found]
    if cell_of("recurrent_kernel", places[0][0].w_hh, turned=True) == "gru" and "reset_after" not in settings:
        two_rows = [np.ndim(arrays[2]) == 2 for _, directions in found for arrays in directions if len(arrays) == 3]
        if two_rows:
            settings = {"reset_after": one_of_them("bias", two_rows, EACH)}
        elif "reset_after" not in options:
            raise ValueError("reset_after: expected True or False for a GRU without biases, which do not tell, got none")
    return places, settings


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _of_keras(source: Any) -> tuple[dict[str, Any], list[list[Any]]]:
    """What a Keras layer says of its cell, and the arrays of each direction. Of arrays alone, nothing and these."""
    if isinstance(source, (list, tuple)):
        if not all(map(_is_array, source)) or len(source) not in (2, 3, 4, 6):
            expected = "arrays [kernel, recurrent_kernel, bias], bias if there is one, once or for both directions"
            raise ValueError(f"source: expected {expected}, got {checks.listed(type(a).__name__ for a in source) or 'none'}")
        half = len(source) if len(source) < 4 else len(source) // 2
        return {}, [list(source[:half]), list(source[half:])][: len(source) // half]
    ways = [source]
    if "Bidirectional" in _keras_classes(source):
        if source.merge_mode != "concat":
            remedy = "convert get_weights(), and combine the halves of y's last axis yourself"
            raise ValueError(f"merge_mode: expected 'concat', got {source.merge_mode!r}; {remedy}")
        ways = [source.forward_layer, source.backward_layer]
    if not all(set(KERAS.classes.values()) & _keras_classes(way) for way in ways):
        expected = "SimpleRNN, LSTM, GRU, Bidirectional of one of them, all of Keras 3, or lists of their arrays"
        raise checks.wrong_type("source", expected, source)
    for way, backwards in zip(ways, (False, True), strict=False):
        if way.go_backwards != backwards:
            remedy = "convert get_weights(), and give it x[:, ::-1]"
            raise ValueError(f"go_backwards: expected {backwards}, got {way.go_backwards} of {way.name!r}; {remedy}")
        if not way.get_weights():
            raise ValueError(f"source: expected a layer that is built, got {way.name!r} without weights; call it once")
    return one_of_them("settings", map(_keras_settings, ways), EACH), [way.get_weights() for way in ways]


def _keras_classes(source: Any) -> set[str]:
    return {base.__name__ for base in type(source).__mro__ if base.__module__.startswith("keras.")}


def _keras_settings(source: Any) -> dict[str, Any]:
    settings = {}
    for name in ("activation", "recurrent_activation"):
        if hasattr(source, name):
            function = getattr(source, name)
            own = str(getattr(function, "__module__", "")).startswith("keras.")
            shown = (getattr(function, "__name__", "") if own else "") or repr(function)  # an object has no name
            settings[name] = _activation(KERAS.activations, shown)
    return settings | ({"reset_after": source.reset_after} if hasattr(source, "reset_after") else {})


def _activation(known: Mapping[str, str], name: str) -> str:
    if name not in known:
        remedy = "rnnfast.cell makes a layer of any formula, to load the weights into"
        raise ValueError(f"activation: expected one of {checks.listed(known)}, got {name}; {remedy}")
    return known[name]


def _of_kernels(arrays: Sequence[Any]) -> Place:
    """kernel (I, G*H), recurrent_kernel (H, G*H) and, if there are biases, (G*H,) or (2, G*H)."""
    kernel, recurrent, *biases = [
        floats(name, a) for name, a in zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=False)
    ]
    if not biases:
        return Place(kernel.T, recurrent.T)
    bias = biases[0]
    return Place(kernel.T, recurrent.T, *(bias if bias.ndim == 2 and len(bias) == 2 else (bias, np.zeros_like(bias))))
