"""Who can be timed: rnnfast, the NumPy loop, and the peers that are installed, each by its fastest path, same threads.

A contender makes, for a task (cell, shape, training or not), a function without arguments that does the work once and
returns y and, when training, the gradients of sum(y) in the order x, w_ih, w_hh, b_ih, b_hh. Imports are inside, so that
naming a contender costs nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnfast._types import Array
from rnnfast.cells import CELLS
from rnnfast.shapes import BY_NAME, Shape

Result = list[Array]


class Task(NamedTuple):
    """cell: name in CELLS; shape: name in SHAPES; training: forward and backward, else inference."""

    cell: str
    shape: str
    training: bool


def arguments(task: Task) -> tuple[Shape, Array, dict[str, Array]]:
    """The shape, x and the weights of a task: the same for every contender."""
    shape, rng = BY_NAME[task.shape], np.random.default_rng(7)
    rows, bound = len(CELLS[task.cell].gates) * shape.H, shape.H**-0.5
    shapes = {"w_ih": (rows, shape.I), "w_hh": (rows, shape.H), "b_ih": (rows,), "b_hh": (rows,)}
    weights = {name: rng.uniform(-bound, bound, s).astype(np.float32) for name, s in shapes.items()}
    return shape, rng.standard_normal((shape.T, shape.B, shape.I)).astype(np.float32), weights


def rnnfast_task(task: Task, threads: int) -> Callable[[], Result]:
    """Inference: a frozen layer, for one step `step`; training: record and backward, packing included."""
    import rnnfast
    from rnnfast.layers import LAYERS

    rnnfast.set_num_threads(threads)
    shape, x, weights = arguments(task)
    net = LAYERS[task.cell](shape.I, shape.H)  # type: ignore[call-arg]
    kinds = {"w": "weight", "b": "bias"}
    net.load_params({f"{kinds[name[0]]}{name[1:]}_l0": w for name, w in weights.items()})
    if task.training:
        dy = np.ones((shape.T, shape.B, shape.H), np.float32)

        def train() -> Result:
            y, _, tape = net.record(x)
            g = tape.backward(dy)
            return [y, g.x, *g.params.values()]  # type: ignore[list-item]

        return train
    fast = net.freeze()
    if shape.T == 1:
        x_t = x[0]
        y, state = fast.step(x_t)

        def step() -> Result:
            fast.step(x_t, out=(y, state))
            return [y[None]]

        return step
    return lambda: [fast(x)[0]]


def numpy_task(task: Task, threads: int) -> Callable[[], Result]:
    """The loop of loop.py; its BLAS takes its threads from the environment that race.py gives the process."""
    from rnnfast.proof import loop

    _, x, weights = arguments(task)
    forward, train = loop.FORWARD[task.cell], loop.TRAIN[task.cell]
    if task.training:
        return lambda: [np.zeros(0, np.float32), *train(x, **weights)]
    return lambda: [forward(x, **weights)]


def torch_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """Inference under inference_mode (else PyTorch leaves its fast LSTM path), training by autograd."""
    import torch

    torch.set_num_threads(threads)
    shape, x_np, weights = arguments(task)
    kinds: dict[str, Any] = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    if task.cell not in kinds:
        return None
    net = kinds[task.cell](shape.I, shape.H)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights.values(), strict=True):
            parameter.copy_(torch.from_numpy(value))
    if task.training:

        def train() -> Result:
            x = torch.from_numpy(x_np).requires_grad_()
            net.zero_grad()
            y = net(x)[0]
            y.backward(torch.ones_like(y))
            return [a.detach().numpy() for a in (y, x.grad, *(p.grad for p in net.parameters())) if a is not None]

        return train
    x = torch.from_numpy(x_np)

    def infer() -> Result:
        with torch.inference_mode():
            return [net(x)[0].numpy()]

    return infer


def onnxruntime_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """Inference alone; the model is built with onnx. Gate orders: LSTM i o f c, GRU z r h."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    orders = {"simple_rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
    if task.training or task.cell not in orders:
        return None
    shape, x, weights = arguments(task)
    order = orders[task.cell]

    def reorder(w: Array) -> Array:
        return np.concatenate([np.split(w, len(order))[gate] for gate in order])[None]

    constants = {
        "W": reorder(weights["w_ih"]),
        "R": reorder(weights["w_hh"]),
        "B": np.concatenate([reorder(weights["b_ih"]), reorder(weights["b_hh"])], axis=1),
    }
    attributes: dict[str, Any] = {"linear_before_reset": 1} if task.cell == "gru" else {}
    node = helper.make_node(
        {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[task.cell],
        ["X", "W", "R", "B"],
        ["Y"],
        hidden_size=shape.H,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        task.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, (shape.T, 1, shape.B, shape.H))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: [session.run(None, {"X": x})[0][:, 0]]


class Contender(NamedTuple):
    """title: as printed; modules: what must be importable; make: (task, threads) -> the work, None where it cannot."""

    title: str
    modules: tuple[str, ...]
    make: Callable[[Task, int], Callable[[], Result] | None]

    def missing(self) -> list[str]:
        return [m for m in self.modules if importlib.util.find_spec(m) is None]

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {m: version(m) for m in self.modules}


CONTENDERS: dict[str, Contender] = {
    "rnnfast": Contender("rnnfast", (), rnnfast_task),
    "numpy": Contender("NumPy loop", ("numpy",), numpy_task),
    "torch": Contender("PyTorch", ("torch",), torch_task),
    "onnxruntime": Contender("ONNX Runtime", ("onnxruntime", "onnx"), onnxruntime_task),
}
