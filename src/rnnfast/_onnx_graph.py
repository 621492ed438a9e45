"""The graph of an ONNX model that computes layers, for `rnnfast.onnx.export`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from rnnfast._engine.stack import Stack
from rnnfast._onnx_nodes import INPUTS
from rnnfast._onnx_written import Node, attributes_of, weights_of
from rnnfast._types import Array

onnx: Any = import_module("onnx")  # as Any, since mypy knows its types only where it is installed


def graph_of(net: Stack[Any], node: Node, sizes: Mapping[str, int | str], state: bool, lengths: bool) -> Any:
    """node: that of each layer; sizes: of batch and time."""
    make, dtype = onnx.helper.make_node, onnx.helper.np_dtype_to_tensor_dtype(net.dtype)
    D, H, L, letters = 2 if net.bidirectional else 1, net.hidden_size, net.num_layers, net._form.variant.states
    attributes = attributes_of(net, node)
    constants, nodes, source = dict[str, Array](), [], "x"
    if net.batch_first:  # by an own node: ONNX Runtime does not know the attribute layout
        source = "x_time_first"
        nodes.append(make("Transpose", ["x"], [source], perm=[1, 0, 2]))
    initial = {
        letter: [f"{letter}0" if L == 1 else f"{letter}0_l{k}" for k in range(L)] if state else [""] * L for letter in letters
    }
    final = {letter: [f"{letter}_n" if L == 1 else f"{letter}_n_l{k}" for k in range(L)] for letter in letters}
    if state and L > 1:
        constants["directions"] = np.full(L, D)
        nodes += [make("Split", [f"{letter}0", "directions"], initial[letter], axis=0) for letter in letters]
    if D > 1:
        constants["side_by_side"] = np.array([0, 0, D * H])  # 0 keeps a size
    else:
        constants["direction_axis"] = np.array([1])

    for k, weights in enumerate(weights_of(net, node)):
        given = {letter: f"{letter}_l{k}" for letter in weights}
        constants.update({given[letter]: a for letter, a in weights.items()})
        starts = {f"initial_{of}": initial[s][k] for of, s in zip("hc", node.states, strict=False)}
        named = {"X": source, **given, "sequence_lens": "lengths" if lengths else "", **starts}
        inputs = [named.get(name, "") for name in INPUTS]
        while not inputs[-1]:
            inputs.pop()
        results = [f"Y_l{k}", *[final[s][k] for s in dict.fromkeys(node.states)]]
        nodes.append(make(node.operator, inputs, results, f"l{k}", **attributes))
        source = f"y_l{k}" if k < L - 1 or net.batch_first else "y"
        if D > 1:  # (T, D, B, H) to (T, B, D*H)
            nodes.append(make("Transpose", [f"Y_l{k}"], [f"Y_l{k}_batch"], perm=[0, 2, 1, 3]))
            nodes.append(make("Reshape", [f"Y_l{k}_batch", "side_by_side"], [source]))
        else:
            nodes.append(make("Squeeze", [f"Y_l{k}", "direction_axis"], [source]))
    if net.batch_first:
        nodes.append(make("Transpose", [source], ["y"], perm=[1, 0, 2]))
    if L > 1:
        nodes += [make("Concat", final[letter], [f"{letter}_n"], axis=0) for letter in letters]

    value = onnx.helper.make_tensor_value_info
    order = ("batch", "time") if net.batch_first else ("time", "batch")
    lead, states = [sizes[name] for name in order], [L * D, sizes["batch"], H]
    inputs = [value("x", dtype, [*lead, net.input_size])]
    inputs += [value("lengths", onnx.TensorProto.INT32, [sizes["batch"]])] if lengths else []
    inputs += [value(f"{letter}0", dtype, states) for letter in letters] if state else []
    outputs = [value("y", dtype, [*lead, D * H]), *[value(f"{letter}_n", dtype, states) for letter in letters]]
    return onnx.helper.make_graph(
        nodes, net.cell.name, inputs, outputs, [onnx.numpy_helper.from_array(a, name) for name, a in constants.items()]
    )
