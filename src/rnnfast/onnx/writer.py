"""Layers that are written as ONNX models: `export`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import NoneType
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.stack import Stack
from rnnfast._onnx_nodes import INPUTS
from rnnfast._types import Array
from rnnfast.onnx.nodes import Node, attributes_of, node_of, weights_of
from rnnfast.version import __version__

onnx: Any = import_module("onnx")  # as Any, since mypy knows its types only where it is installed


def export(
    net: Any,
    file: Any = None,
    *,
    opset: int = 22,
    batch: int | str = "batch",
    time: int | str = "time",
    state: bool = False,
    lengths: bool = False,
) -> Any:
    """Make an ONNX model of layers, for inference with ONNX Runtime and others.

    Parameters
    ----------
    net : SimpleRNN, LSTM or GRU
        Layers, frozen or not. Dropout is left out, as in a call. Of `rnnfast.zoo` also LSTM, GRU and SimpleRNN with their
        options, JANET, MGU, LiGRU, MinGRU, IndRNN and LeakyRNN, as far as ONNX's operators compute the same.
    file : str or os.PathLike, optional
        Where to write the model as well.
    opset : int
        The version of ONNX's operators, 14 or later.
    batch, time : int or str
        Sizes in the shapes of the model's inputs: a number is a fixed size, a text the name of one that is open.
    state : bool
        Whether the model has the initial states as inputs, (num_layers*D, B, H) each: h0 and, for LSTM, c0, or the letters of
        the cell's states with a 0; otherwise they are zeros.
    lengths : bool
        Whether it has the input lengths, (B,) of int32: the number of steps of each sequence, at most T. (ONNX Runtime sets
        the final state of a sequence of length 0 to zeros, unlike rnnfast.)

    Returns
    -------
    onnx.ModelProto
        It was checked by onnx.checker. Inputs: x, and those asked for; x is (T, B, I), or (B, T, I) if the layers are
        batch_first. Outputs: y, h_n and, for LSTM, c_n. The dtype is that of the layers; ONNX Runtime 1.32 computes the
        operators in float32 alone.

    Raises
    ------
    TypeError
        For a cell that no operator computes; the text says why.
    ValueError
        For an option that the operators do not have, such as zoneout, or an argument that does not fit.

    Notes
    -----
    A cell of the zoo is written as an operator with some of its gates tied or held constant: JANET as an LSTM whose output
    gate is open, for example. The result is the same up to rounding, and costs what the operator costs. Attributes of ONNX,
    such as clip and the slope of an activation, are numbers of float32, also for layers of float64.

    Examples
    --------
    >>> import rnnfast.onnx
    >>> model = rnnfast.onnx.export(rnnfast.LSTM(2, 3), "net.onnx")
    >>> [output.name for output in model.graph.output]
    ['y', 'h_n', 'c_n']
    """
    node = node_of(net)
    if not isinstance(file, (str, os.PathLike, NoneType)):
        raise checks.wrong_type("file", "a path or None", file)
    newest = onnx.defs.onnx_opset_version()
    if checks.positive("opset", opset, newest) < 14:
        raise checks.wrong_value("opset", f"a version from 14 to {newest}", opset)
    sizes = {name: _size(name, value) for name, value in (("batch", batch), ("time", time))}
    if isinstance(batch, str) and batch == time:  # the model would declare that the two sizes are equal
        raise checks.wrong_value("time", "another name than that of batch", time)
    graph = _graph_of(net, node, sizes, checks.flag("state", state), checks.flag("lengths", lengths))
    imports = [onnx.helper.make_opsetid("", int(opset))]
    version = onnx.helper.find_min_ir_version_for(imports)  # the newest one may be too new for runtimes
    model = onnx.helper.make_model(
        graph, opset_imports=imports, ir_version=version, producer_name="rnnfast", producer_version=__version__
    )
    onnx.checker.check_model(model, full_check=True)
    if file is not None:
        onnx.save(model, os.fspath(file))
    return model


def _size(name: str, value: Any) -> int | str:
    if not isinstance(value, str):
        return checks.positive(name, value)
    if not value:
        raise checks.wrong_value(name, "an integer >= 1 or the name of an open size", value)
    return value


def _graph_of(net: Stack[Any], node: Node, sizes: Mapping[str, int | str], state: bool, lengths: bool) -> Any:
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
