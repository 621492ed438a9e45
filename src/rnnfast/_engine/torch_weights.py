"""Recurrent modules of PyTorch: which there are in a module or a state_dict, and what one has for `rnnfast.weights`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rnnfast._engine import checks
from rnnfast._engine.exchange import Place, floats
from rnnfast.cells.base import KINDS
from rnnfast.cells.conventions import TORCH

# path, kind, place; no place in nn.LSTMCell
PARAMETER = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(_l\d+(?:_reverse)?)?")


def recurrent(source: Any, prefix: Any) -> tuple[list[list[Place]], dict[str, Any], dict[str, Any]]:
    """Of each layer of the module at the prefix its directions; what the module says of its cell; and the arguments of a layer
    that are its own unless the user gives others."""
    chosen = _at(_found(source), checks.path("prefix", prefix).rstrip("."))
    settings: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    if isinstance(chosen, Mapping):
        values = dict(chosen)
    else:
        values = _of_module(chosen)
        settings = {"nonlinearity": chosen.nonlinearity} if hasattr(chosen, "nonlinearity") else {}
        defaults = {name: getattr(chosen, name) for name in ("batch_first", "dropout") if hasattr(chosen, name)}
    if any(name.startswith("weight_hr") for name in values):
        raise ValueError(
            "proj_size: expected 0, got an LSTM with projections, whose h is narrower than its c; rnnfast has none"
        )
    if not any(name.startswith("weight_ih_l") for name in values):
        raise ValueError(f"source: expected weight_ih_l0 among the names of the module, got {checks.listed(values)}")
    count = sum(name.startswith("weight_ih_l") and not name.endswith("_reverse") for name in values)
    ways = ("", "_reverse")[: 1 + any(name.endswith("_reverse") for name in values)]
    kinds = KINDS[: 4 if any(name.startswith("bias") for name in values) else 2]
    names = [[[f"{kind}_l{k}{way}" for kind in kinds] for way in ways] for k in range(count)]
    known = [name for of_layer in names for place in of_layer for name in place]
    if others := [name for name in values if not PARAMETER.fullmatch(name)]:
        remedy = "make the layer of rnnfast that has them, and use its load_params"
        raise ValueError(f"source: expected the weights of an RNN, LSTM or GRU, got {checks.listed(others)} as well; {remedy}")
    checks.exact_names("source", values, known)
    return (
        [[Place(*[floats(name, values[name]) for name in place]) for place in of_layer] for of_layer in names],
        settings,
        defaults,
    )


def _found(source: Any) -> dict[str, Any]:
    """Recurrent modules by path, or their parameters by name."""
    if isinstance(source, Mapping):
        found: dict[str, Any] = {}
        for key, value in source.items():
            if isinstance(key, str) and (match := PARAMETER.fullmatch(key)):
                path, kind, place = match.groups("")
                found.setdefault(path, {})[f"{kind}{place or '_l0'}"] = value
        if not found:
            keys = checks.listed(map(repr, source)) or "none"
            raise ValueError(f"source: expected names such as weight_ih_l0, got the keys {keys}; pass the state_dict itself")
        for key, value in source.items():
            path, _, name = key.rpartition(".") if isinstance(key, str) else ("", "", "")
            if name and path in found and not PARAMETER.fullmatch(key):  # of a cell that PyTorch does not have, such as p_i_l0
                found[path][name] = value
        return found
    if hasattr(source, "named_modules"):
        import torch

        known = tuple([getattr(torch.nn, f"{name}{end}") for name in TORCH.classes.values() for end in ("", "Cell")])
        found = {path: module for path, module in source.named_modules() if isinstance(module, known)}
        if not found:
            own = any(type(module).__module__ == "rnnfast.torch.cell" for module in source.modules())
            remedy = "; for an rnnfast.torch.Cell make its layer, and use net.load_params(cell.state_dict())" if own else ""
            raise ValueError(f"source: expected a module with nn.RNN, nn.LSTM or nn.GRU, got {type(source).__name__}{remedy}")
        return found
    remedy = 'load a file first: read_safetensors(path), or torch.load(path, weights_only=True) of a ".pt" file'
    raise TypeError(f"source: expected a module or a mapping of names to tensors, got {type(source).__name__}; {remedy}")


def _at(found: Mapping[str, Any], prefix: str) -> Any:
    """Of the recurrent modules by path, the one at the prefix, or the only one below it."""
    below = [path for path in found if path == prefix or not prefix or path.startswith(f"{prefix}.")]
    if prefix in below or len(below) == 1:
        return found[prefix if prefix in below else below[0]]
    got = f"several: {checks.listed(map(repr, below))}"
    if not below:
        there = [*[repr(path) for path in found if path], *(["one without a prefix"] if "" in found else [])]
        got = f"none there; there are {checks.listed(there)}"
        if set(found) == {""}:
            got = "none there; the source is the module itself, so leave the prefix out"
    raise ValueError(f"prefix: expected the path of one recurrent module, got {prefix!r}, and {got}")


def _of_module(module: Any) -> dict[str, Any]:
    """The weights of a recurrent module by name. They may be no parameters, but what torch.nn.utils.parametrize computes."""
    values = {}
    for place in [f"_l{k}{way}" for k in range(getattr(module, "num_layers", 0)) for way in ("", "_reverse")] or [""]:
        for kind in (*KINDS, "weight_hr"):
            if (value := getattr(module, f"{kind}{place}", None)) is not None:
                values[f"{kind}{place or '_l0'}"] = value
    own = (*KINDS, "weight_hr")  # also with what torch.nn.utils.weight_norm appends
    return values | {name: p for name, p in module.named_parameters(recurse=False) if not name.startswith(own)}
