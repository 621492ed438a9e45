"""Who can be timed: rnnfast, the NumPy loop, and the peers that are installed, each by its fastest path, same threads.

A contender makes, for a task (cell, shape, training or not), a function without arguments that does the work once and
returns y and, when training, the gradients of sum(y) of x and the parameters in PyTorch's order: or a function that arranges
them as NumPy arrays in this layout, which is not timed. Imports are inside, so that naming a contender costs nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnnfast._types import Array
from rnnfast.cells import CELLS
from rnnfast.shapes import Shape

Result = list[Array]
Work = Callable[[], Result | Callable[[], Result]]


class Task(NamedTuple):
    """cell: name in CELLS; training: forward and backward, else inference; lengths: steps of each sample of a ragged batch;
    stateful: one step of a stream, the state goes in and comes out."""

    cell: str
    shape: Shape
    training: bool
    dtype: str = "float32"
    lengths: tuple[int, ...] | None = None
    stateful: bool = False

    @property
    def maskable(self) -> bool:
        """Whether it may be computed padded, y masked after: not where a reverse direction would begin in the padding."""
        return not (self.lengths and self.shape.bidirectional)

    @property
    def flops(self) -> float:
        """Of the products of all layers and directions."""
        _, I, H, B, T, *_ = self.shape
        return sum(CELLS[self.cell].flops(T, B, size, H, training=self.training) for _, size in self.shape.places)


def arguments(task: Task) -> tuple[Shape, Array, dict[str, Array]]:
    """The shape, x (T, B, I) and the weights of a task, by PyTorch's names: the same for every contender."""
    shape, rng = task.shape, np.random.default_rng(7)
    rows, bound = len(CELLS[task.cell].gates) * shape.H, shape.H**-0.5
    weights = {}
    for suffix, size in shape.places:
        sizes = {"weight_ih": (rows, size), "weight_hh": (rows, shape.H), "bias_ih": (rows,), "bias_hh": (rows,)}
        for name, s in sizes.items():
            weights[f"{name}_{suffix}"] = rng.uniform(-bound, bound, s).astype(task.dtype)
    return shape, rng.standard_normal((shape.T, shape.B, shape.I)).astype(task.dtype), weights


def by_layer(shape: Shape, weights: dict[str, Array]) -> list[list[tuple[Array, ...]]]:
    """For each layer, for each direction: w_ih, w_hh, b_ih, b_hh."""
    values, D = list(weights.values()), shape.directions
    places = [tuple(values[i : i + 4]) for i in range(0, len(values), 4)]
    return [places[i : i + D] for i in range(0, len(places), D)]


def valid(task: Task) -> Array:
    """(T, B, 1): 1 where a sample of a ragged batch has a step, 0 in its padding."""
    return (np.arange(task.shape.T)[:, None, None] < np.array(task.lengths)[:, None]).astype(task.dtype)


def side_by_side(y: Array) -> Array:
    """(T, D, B, H) -> (T, B, D*H)."""
    T, D, B, H = y.shape
    return y.transpose(0, 2, 1, 3).reshape(T, B, D * H)


def rnnfast_task(task: Task, threads: int) -> Callable[[], Result]:
    """The cell's layer class: see `layer_work`."""
    import rnnfast
    from rnnfast.layers import LAYERS

    rnnfast.set_num_threads(threads)
    shape, x, weights = arguments(task)
    make: Any = LAYERS[task.cell]
    net = make(shape.I, shape.H, shape.num_layers, bidirectional=shape.bidirectional, dtype=task.dtype)
    net.load_params(weights)
    return layer_work(net, task, x)


def layer_work(net: Any, task: Task, x: Array, inputs: Any = None, state: Any = None) -> Callable[[], Result]:
    """Inference: a frozen layer, for one step `step`, which writes into given arrays; training: record and backward, packing
    included. inputs and state (the initial one, whose gradients then follow those of the parameters): of a sequence alone."""
    shape, lengths = task.shape, None if task.lengths is None else np.array(task.lengths)
    if task.training:
        dy = np.ones((shape.T, shape.B, shape.directions * shape.H), task.dtype)

        def train() -> Result:
            y, _, tape = net.record(x, state, lengths=lengths, inputs=inputs)
            g = tape.backward(dy, need_inputs=False)
            initial = () if state is None else g.state if isinstance(g.state, tuple) else (g.state,)
            return [y, g.x, *g.params.values(), *initial]

        return train
    fast = net.freeze()
    if shape.T == 1 and not shape.bidirectional:
        x_t = x[0]
        y, after = fast.step(x_t)
        arrays = list(after) if isinstance(after, tuple) else [after]
        for a in arrays:
            a[...] = 0
        initial = after if task.stateful else None

        written = (y, after)
        results: Result = [y[None], *arrays] if task.stateful else [y[None]]

        def step() -> Result:
            fast.step(x_t, initial, out=written)
            return results

        return step
    return lambda: [fast(x, state, lengths=lengths, inputs=inputs)[0]]


def numpy_task(task: Task, threads: int) -> Work | None:
    """The loop of loop.py; its BLAS takes its threads from the environment that race.py gives the process."""
    from rnnfast.proof import loop

    shape, x, weights = arguments(task)
    layers = by_layer(shape, weights)
    forward, train = loop.FORWARD[task.cell], loop.TRAIN[task.cell]
    if task.lengths or task.stateful or (task.training and len(weights) > 4):
        return None
    if task.training:
        return lambda: [np.zeros(0, np.float32), *train(x, *layers[0][0])]

    def infer() -> Result:
        y = x
        for layer in layers:
            parts = [forward(y[::way], *w)[::way] for way, w in zip((1, -1), layer, strict=False)]
            y = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return [y]

    return infer


modes = contextlib.ExitStack()  # PyTorch's inference mode: entered once for all calls of a task, as a program would


def torch_task(
    task: Task, threads: int, *, padded: bool = False, prepare: Callable[[Any], Any] = lambda net: net
) -> Work | None:
    """Inference under inference_mode (else PyTorch leaves its fast LSTM path), training by autograd; a ragged batch as a packed
    sequence, or padded and y masked. prepare: what is done to the module before it is used."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    modes.close()
    torch.set_num_threads(threads)
    shape, x_np, weights = arguments(task)
    kinds: dict[str, Any] = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    if task.cell not in kinds:
        return None
    dtype = getattr(torch, task.dtype)
    net = kinds[task.cell](shape.I, shape.H, shape.num_layers, bidirectional=shape.bidirectional, dtype=dtype)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name]))
    net = prepare(net.train(task.training))
    lengths, mask = None, None
    if task.lengths and padded:
        mask = torch.from_numpy(valid(task))
    elif task.lengths:
        lengths = torch.tensor(task.lengths)

    def run(x: Any) -> Any:
        if lengths is None:
            y = net(x)[0]
            return y if mask is None else y * mask
        packed = net(pack_padded_sequence(x, lengths, enforce_sorted=False))[0]
        return pad_packed_sequence(packed, total_length=shape.T)[0]

    if task.training:
        dy = torch.ones((shape.T, shape.B, shape.directions * shape.H), dtype=dtype)

        def train() -> Callable[[], Result]:
            x = torch.from_numpy(x_np).requires_grad_()
            net.zero_grad()
            y = run(x)
            y.backward(dy)
            return lambda: [a.detach().numpy() for a in (y, x.grad, *(p.grad for p in net.parameters())) if a is not None]

        return train
    x, y = torch.from_numpy(x_np), None
    zeros = torch.zeros(shape.num_layers, shape.B, shape.H, dtype=dtype)
    state = (zeros, zeros) if task.cell == "lstm" else zeros
    modes.enter_context(torch.inference_mode())

    def arrange() -> Result:
        states = state if isinstance(state, tuple) else (state,)
        return [a.numpy() for a in (y, *(states if task.stateful else ()))]

    def infer() -> Callable[[], Result]:
        nonlocal y
        y = run(x)
        return arrange

    def step() -> Callable[[], Result]:
        nonlocal y, state
        y, state = net(x, state)
        return arrange

    return step if task.stateful else infer


def onnx_model(task: Task, *, padded: bool = False) -> bytes | None:
    """The task as an ONNX model, X (T, B, I) -> Y (T, D, B, H) of the last layer; stateful: also h0, c0 -> h, c, each
    (1, B, H). A ragged batch by the operators' own lengths, or padded and Y masked. Inference in float32 alone. Gate orders:
    LSTM i o f c, GRU z r h."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    orders = {"simple_rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
    if task.training or task.cell not in orders or task.dtype != "float32":
        return None
    shape, x, weights = arguments(task)
    order, D, H = orders[task.cell], shape.directions, shape.H

    def reorder(w: Array) -> Array:
        return np.concatenate([np.split(w, len(order))[gate] for gate in order])

    constants, nodes, source, lengths = dict[str, Any](), [], "X", ""
    if task.lengths and not padded:
        lengths, constants["lengths"] = "lengths", np.array(task.lengths, np.int32)
    states = CELLS[task.cell].states if task.stateful else ()
    attributes: dict[str, Any] = {"linear_before_reset": 1} if task.cell == "gru" else {}
    for i, layer in enumerate(by_layer(shape, weights)):
        if i:  # (T, D, B, H) -> (T, B, D*H); one direction: nothing to transpose, so that nothing is copied
            constants[f"shape{i}"] = np.array([shape.T, shape.B, D * H])
            if D > 1:
                nodes.append(helper.make_node("Transpose", [f"Y{i}"], [f"S{i}"], perm=[0, 2, 1, 3]))
            source = f"X{i}"
            nodes.append(helper.make_node("Reshape", [f"S{i}" if D > 1 else f"Y{i}", f"shape{i}"], [source]))
        constants[f"W{i}"] = np.stack([reorder(w[0]) for w in layer])
        constants[f"R{i}"] = np.stack([reorder(w[1]) for w in layer])
        constants[f"B{i}"] = np.stack([np.concatenate([reorder(w[2]), reorder(w[3])]) for w in layer])
        nodes.append(
            helper.make_node(
                {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[task.cell],
                [source, f"W{i}", f"R{i}", f"B{i}", lengths, *(f"{s}0" for s in states)],
                [f"Y{i + 1}", *states],
                hidden_size=H,
                direction="bidirectional" if shape.bidirectional else "forward",
                **attributes,
            )
        )
    if task.lengths and padded:
        constants["mask"] = valid(task)[:, None]
        nodes.append(helper.make_node("Mul", [nodes[-1].output[0], "mask"], ["Y"]))
    else:
        nodes[-1].output[0] = "Y"

    def value(name: str, *sizes: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

    graph = helper.make_graph(
        nodes,
        task.cell,
        [value("X", *x.shape), *(value(f"{s}0", 1, shape.B, H) for s in states)],
        [value("Y", shape.T, D, shape.B, H), *(value(s, 1, shape.B, H) for s in states)],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def onnxruntime_task(task: Task, threads: int) -> Work | None:
    """Inference alone, into given arrays; a stream's state goes to and fro between two sets of arrays."""
    import onnxruntime

    model = onnx_model(task)
    if model is None:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shape, x_np, _ = arguments(task)
    x = onnxruntime.OrtValue.ortvalue_from_shape_and_type(x_np.shape, np.float32)
    x.update_inplace(x_np)
    y = np.empty((shape.T, shape.directions, shape.B, shape.H), np.float32)
    letters = CELLS[task.cell].states if task.stateful else ()
    sets = [{s: np.zeros((1, shape.B, shape.H), np.float32) for s in letters} for _ in range(2)]

    def bind(before: dict[str, Array], after: dict[str, Array]) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input("X", x)
        for name, a in before.items():
            binding.bind_input(f"{name}0", "cpu", 0, np.float32, a.shape, a.ctypes.data)
        for name, a in {"Y": y, **after}.items():
            binding.bind_output(name, "cpu", 0, np.float32, a.shape, a.ctypes.data)
        return binding

    def turn(before: dict[str, Array], after: dict[str, Array]) -> tuple[Any, Callable[[], Result]]:
        return bind(before, after), lambda: [side_by_side(y), *after.values()]

    turns = [turn(sets[0], sets[1]), turn(sets[1], sets[0])]

    def infer() -> Callable[[], Result]:
        binding, arrange = turns[0]
        session.run_with_iobinding(binding)
        if letters:
            turns.reverse()
        return arrange

    return infer


class Contender(NamedTuple):
    """title: as printed; modules: what must be importable; make: (task, threads) -> the work, None where it cannot."""

    title: str
    modules: tuple[str, ...]
    make: Callable[[Task, int], Work | None]

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
