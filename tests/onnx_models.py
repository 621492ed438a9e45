"""Small ONNX models for tests, and the package onnx; modules that import this are skipped where it is not installed."""

import importlib

import numpy as np
import pytest

from rnnfast import onnx_ops
from rnnfast.proof.prove import error

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed (pip install onnx)")
ReferenceEvaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
doors = importlib.import_module("rnnfast.onnx")
TensorProto, helper, numpy_helper, export, load = onnx.TensorProto, onnx.helper, onnx.numpy_helper, doors.export, doors.load
OPS = {"RNN": onnx_ops.rnn, "GRU": onnx_ops.gru, "LSTM": onnx_ops.lstm}
BOUNDS = {"float32": 2e-5, "float64": 1e-9}
OUTPUTS = ["Y", "Y_h", "Y_c"]
ORDER = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]


def outputs_of(op):
    return OUTPUTS if op == "LSTM" else OUTPUTS[:2]


def value(name, array):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def model_of(nodes, given, outputs, *, constants=None, functions=(), opset=22):
    """A model of these nodes. given: arrays like its inputs; outputs: name -> dtype; constants: initializers."""
    results = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(d)), None) for n, d in outputs.items()]
    initializers = [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", [value(name, a) for name, a in given.items()], results, initializers)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("own", 1)] if functions else [])
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


def node_of(op, given, outputs=None, *, name="cell", **attributes):
    """A node with the inputs that there are, by the names of the operator; without attributes that are None."""
    names = [n if n in given else "" for n in ORDER]
    while not names[-1]:
        names.pop()
    attributes = {n: a for n, a in attributes.items() if a is not None}
    hidden_size = given["R"].shape[2]
    return helper.make_node(op, names, outputs or outputs_of(op), name=name, hidden_size=hidden_size, **attributes)


def single(op, given, **attributes):
    return model_of([node_of(op, given, **attributes)], given, dict.fromkeys(outputs_of(op), given["X"].dtype))


def runtime(model):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install onnxruntime)")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def same(found, expected, bound=None):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert error(a, b) < (bound or BOUNDS[a.dtype.name])
