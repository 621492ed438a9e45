"""What tests of weights from other libraries share: layers that show any exchange of gates, and files."""

from __future__ import annotations

import io
import json
import random
import struct

import numpy as np
import pytest
import stacks

import rnnfast
from rnnfast.cells.conventions import ONNX

BOUNDS = {"float64": 1e-12, "float32": 2e-6}  # of the largest difference, for values that are about 1
LAYER = {"simple_rnn": rnnfast.SimpleRNN, "lstm": rnnfast.LSTM, "gru": rnnfast.GRU}


def needs(name, reason):
    return pytest.importorskip(name, reason=f"{reason} is not installed (pip install {name})")


def same_params(a, b):
    return list(a.params) == list(b.params) and stacks.same(tuple(a.params.values()), tuple(b.params.values()))


def close(a, b):
    return np.max(np.abs(a - np.asarray(b)), initial=0) <= BOUNDS[a.dtype.name]


def configuration(seed):
    """Arguments of a layer, at random."""
    rng = random.Random(seed)
    cell = rng.choice(stacks.CELL_NAMES)
    row = {"bias": rng.random() < 0.7, "bidirectional": rng.random() < 0.5, "num_layers": rng.choice([1, 1, 2, 3])}
    sizes = {"input_size": rng.randint(1, 9), "hidden_size": rng.randint(1, 12)}
    return cell, {**sizes, **row, "dtype": np.dtype(rng.choice(["float32", "float64"]))}


def filled(cell, arguments, seed, **more):
    """A layer of large enough random weights that any exchange of gates shows, and an x."""
    net = stacks.make(cell, seed=seed, **arguments, **more)
    rng = np.random.default_rng(seed)
    for value in net.params.values():
        value[...] = rng.standard_normal(value.shape) / np.sqrt(value.shape[-1] if value.ndim == 2 else 2)
    return net, rng.standard_normal((3, 5, net.input_size)).astype(net.dtype)


def node_model(onnx, cell, arrays, H, *, layout=0, constants=False, inner=False, **attributes):
    """A model of one node: X -> Y."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    names = dict(zip("WRB", arrays, strict=False))
    given = [name for name, a in names.items() if a is not None]
    D = len(arrays[0])
    if D == 2:
        attributes["direction"] = "bidirectional"
    node = helper.make_node(ONNX.classes[cell], ["X", *given], ["Y"], hidden_size=H, name="rnn", **attributes)
    if layout:
        node.attribute.append(helper.make_attribute("layout", layout))
    tensors = [numpy_helper.from_array(names[name], name) for name in given]
    nodes, initializers = [node], tensors
    if constants:
        nodes = [*(helper.make_node("Constant", [], [t.name], value=t) for t in tensors), node]
        initializers = []
    kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
    X, Y = helper.make_tensor_value_info("X", kind, [None] * 3), helper.make_tensor_value_info("Y", kind, [None] * 4)
    graph = helper.make_graph(nodes, "g", [X], [Y], initializers)
    if inner:
        branch = helper.make_graph(nodes, "inner", [], [Y])
        test = helper.make_tensor_value_info("C", onnx.TensorProto.BOOL, [])
        other = helper.make_node("If", ["C"], ["Y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([other], "g", [X, test], [Y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(net, name="net.safetensors"):
    """The content of its file; one in memory that has a name has the format of the name."""
    file = io.BytesIO()
    file.name = name
    net.save(file)
    return file.getvalue()


def a_file(header, data=b"", size=None):
    """The content of a safetensors file with this header, as an object or as bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def tensor(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
