"""Recurrent nodes of ONNX models: their weights, and what their attributes say of the cell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any

from rnnfast._engine import checks, container
from rnnfast._engine.exchange import floats, one_of_them
from rnnfast._types import Array
from rnnfast.cells.conventions import ONNX

CELLS = {op: cell for cell, op in ONNX.classes.items()}
ACTIVATIONS = {  # of one direction, in the order of the attribute: what `rnnfast.zoo` calls each, and its default
    "simple_rnn": {"activation": "Tanh"},
    "lstm": {"recurrent_activation": "Sigmoid", "activation": "Tanh", "cell_activation": "Tanh"},
    "gru": {"recurrent_activation": "Sigmoid", "activation": "Tanh"},
}
WITHOUT = {  # attributes and inputs that change what a node computes: what has the same
    "clip": "the option clip of rnnfast.zoo.LSTM and GRU",
    "input_forget": "rnnfast.zoo.LSTM(coupled=True)",
    "activation_alpha": "rnnfast.zoo.SimpleRNN(activation=..., alpha=...), or a formula of your own",
    "activation_beta": "rnnfast.zoo.SimpleRNN(activation=..., beta=...), or a formula of your own",
    "P": "rnnfast.zoo.LSTM(peephole=True)",
}
W, R, B, P = 1, 2, 3, 7  # places of the inputs


def recurrent(source: Any, name: Any) -> tuple[dict[str, Any], list[tuple[str, list[Array]]]]:
    """What the chosen nodes say of their cell, in the words of `rnnfast.zoo`, and of each its label and [W, R(, B)]."""
    model = _loaded(source)
    found = {node.name or next(filter(None, node.output), ""): (node, tensors) for node, tensors in _nodes(model.graph, {})}
    if not isinstance(name, (str, list, tuple, NoneType)):
        raise checks.wrong_type("name", "that of a recurrent node, or a list of several to stack", name)
    names = list(found) if name is None else [name] if isinstance(name, str) else list(name)
    if not names or not set(names) <= set(found) or (name is None and len(names) > 1):
        there = checks.listed(map(repr, found)) or "none"
        raise ValueError(f"name: expected that of a recurrent node, or of several to stack, got {name!r}; there are {there}")
    chosen = [(label, *found[label]) for label in names]
    settings = one_of_them("nodes", [_settings(label, node) for label, node, _ in chosen], "convert each by itself")
    return settings, [(label, _weights(label, node, tensors)) for label, node, tensors in chosen]


def _loaded(source: Any) -> Any:
    """A ModelProto."""
    try:
        import onnx.helper  # which a folder of models that is called onnx has not
    except ModuleNotFoundError:
        text = 'onnx: expected the package for models, got none; install it with pip install "rnnfast[onnx]"'
        raise ModuleNotFoundError(text, name="onnx") from None
    if isinstance(source, onnx.ModelProto):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise checks.wrong_type("source", "an onnx.ModelProto, a path, or arrays (W, R, B)", source)
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

    with container.naming(source):
        try:
            return onnx.load(source, format="protobuf")
        except (DecodeError, onnx.checker.ValidationError) as error:
            raise ValueError(f"expected a whole ONNX model, got: {error}") from None


def _nodes(graph: Any, outer: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The recurrent nodes of a graph and of the graphs in its nodes, each with the tensors by name that it sees. The depth is
    bounded: protobuf reads no more than 100 messages inside one another."""
    tensors = {**outer, **{tensor.name: tensor for tensor in graph.initializer}}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    for node in graph.node:
        if node.op_type in CELLS and node.domain in ("", "ai.onnx"):
            yield node, tensors
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner, tensors)


def _settings(label: str, node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    said: dict[str, Any] = {a.name: get_attribute_value(a) for a in node.attribute}
    if len(node.input) > P and node.input[P]:
        said["P"] = node.input[P]
    for name, remedy in WITHOUT.items():
        if said.get(name):
            what, got = ("peepholes (input P)", "some") if name == "P" else (name, said[name])
            raise ValueError(
                f"{label}: expected no {what}, got {got}; {remedy} has it, to load the arrays into, and rnnfast.onnx.load runs "
                "the model as it is"
            )
    direction = _text(said.get("direction", b"forward"))
    if direction not in ("forward", "bidirectional"):
        remedy = "give its arrays to the function, e.g. rnnfast.lstm(..., reverse=True)"
        raise ValueError(f"{label}: expected the direction forward or bidirectional, got {direction}; {remedy}")
    cell = CELLS[node.op_type]
    usual = ACTIVATIONS[cell]
    given = list(map(_text, said.get("activations", []))) or [*usual.values()]
    if len(given) % len(usual):
        raise checks.wrong_value(f"{label}: activations", f"{len(usual)} names for each direction", given)
    ways = [given[i : i + len(usual)] for i in range(0, len(given), len(usual))]
    found: dict[str, Any] = {}
    known_names = {name.lower(): own for name, own in ONNX.activations.items()}  # their case does not count
    for zoo_name, one in zip(usual, one_of_them(f"{label}: activations", ways, "convert W, R, B by themselves"), strict=True):
        if one.lower() not in known_names:
            known = checks.listed(ONNX.activations)
            raise ValueError(
                f"{label}: expected activations that are some of {known}, got {one}; rnnfast.cell takes any formula"
            )
        found[zoo_name] = known_names[one.lower()]
    if cell == "gru":
        found["reset_after"] = said.get("linear_before_reset", 0) == 1
    return {**found, "batch_first": said.get("layout", 0) == 1}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _weights(label: str, node: Any, tensors: Mapping[str, Any]) -> list[Array]:
    inputs: Sequence[str] = node.input
    return [
        _array(f"{label}: {letter}", inputs[i], tensors)
        for i, letter in ((W, "W"), (R, "R"), (B, "B"))
        if inputs[i : i + 1] and inputs[i]
    ]


def _array(name: str, key: str, tensors: Mapping[str, Any]) -> Array:
    from onnx.numpy_helper import to_array

    if key not in tensors:
        remedy = "fold constants first, e.g. with onnxsim"
        raise ValueError(f"{name}: expected an initializer or a Constant, got {key!r}, which is computed or given; {remedy}")
    try:
        return floats(name, to_array(tensors[key]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name}: expected a tensor of floats, got {str(error)[:200]}") from None
