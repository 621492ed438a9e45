"""Who races in compare.py: the contenders of the main job and more, each by its fastest path; the contract is
rnnfast.proof.contenders'. A peer that has several paths has a row for each, named peer:path, and the fastest counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from peers_more import keras_task, numba_task
from peers_torch import cell_task, compiled_task, padded_task
from rnnfast.cells import CELLS
from rnnfast.proof.contenders import (
    CONTENDERS,
    Contender,
    Result,
    Task,
    Work,
    arguments,
    by_layer,
    numpy_task,
    onnx_model,
    side_by_side,
    valid,
)
from rnnfast.proof.loop import sigmoid


def numpy_or_step(task: Task, threads: int) -> Work | None:
    """The main job's loop; a step of a stream as one writes it by hand."""
    if not task.stateful:
        return numpy_task(task, threads)
    (B, H), x = (task.shape.B, task.shape.H), arguments(task)[1][0]
    w_ih, w_hh, b_ih, b_hh = arguments(task)[2].values()
    w, u, b = w_ih.T, w_hh.T, b_ih + b_hh

    def simple_rnn(h: Any) -> tuple[Any, ...]:
        return (np.tanh(x @ w + h @ u + b),)

    def lstm(h: Any, c: Any) -> tuple[Any, ...]:
        a = x @ w + h @ u + b
        i_f, g, o = sigmoid(a[:, : 2 * H]), np.tanh(a[:, 2 * H : 3 * H]), sigmoid(a[:, 3 * H :])
        c = i_f[:, H:] * c + i_f[:, :H] * g
        return o * np.tanh(c), c

    def gru(h: Any) -> tuple[Any, ...]:
        a, r = x @ w + b_ih, h @ u + b_hh
        r_z = sigmoid(a[:, : 2 * H] + r[:, : 2 * H])
        z = r_z[:, H:]
        return ((1 - z) * np.tanh(a[:, 2 * H :] + r_z[:, :H] * r[:, 2 * H :]) + z * h,)

    one = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}[task.cell]
    state: tuple[Any, ...] = (np.zeros((B, H), task.dtype),) * len(CELLS[task.cell].states)

    def arrange() -> Result:
        return [state[0][None], *(a[None] for a in state)]

    def step() -> Callable[[], Result]:
        nonlocal state
        state = one(*state)
        return arrange

    return step


def openvino_task(task: Task, threads: int) -> Work | None:
    """Inference alone: the ONNX model compiled for latency, one stream, in float32; the input is in place, and the output is
    read where it lies. A stream's state stays inside of the model. Ragged batches padded: with lengths OpenVINO 2026.4 leaves
    its own operator for a general loop, which took twice as long."""
    import openvino
    from openvino._offline_transformations import apply_make_stateful_transformation

    model = onnx_model(task, padded=True)
    if model is None or not task.maskable:
        return None
    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    graph = core.read_model(model)
    letters = CELLS[task.cell].states if task.stateful else ()
    if letters:
        apply_make_stateful_transformation(graph, {f"{s}0": s for s in letters})
    if both := task.shape.bidirectional:  # what it computes is (B, D, T, H): left so, else it would be transposed
        steps = openvino.preprocess.PrePostProcessor(graph)
        steps.output(0).postprocess().convert_layout([2, 1, 0, 3])
        graph = steps.build()
    compiled = core.compile_model(graph, "CPU", {**hints, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.get_input_tensor(0).data[...] = arguments(task)[1]
    y = request.get_output_tensor(0).data

    def arrange() -> Result:
        states = {kept.name: kept.state.data for kept in request.query_state()}
        return [side_by_side(y.transpose(2, 1, 0, 3) if both else y), *(states[f"{s}0{s}"] for s in letters)]

    def infer() -> Callable[[], Result]:
        request.infer(share_outputs=True)
        return arrange

    return infer


def configure_jax(task: Task, threads: int) -> None:
    """Before its first use in a process; no asynchronous dispatch."""
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.config.update("jax_enable_x64", task.dtype == "float64")


def jax_task(task: Task, threads: int, *, unroll: int = 1) -> Work | None:
    """One compiled program: the input's products for all steps at once, then lax.scan, so many steps unrolled; training by
    value_and_grad, weights as arguments; else they are part of the program. Ragged batches padded, y masked."""
    configure_jax(task, threads)
    import jax
    from jax import lax, nn
    from jax import numpy as jnp

    if task.cell not in ("simple_rnn", "lstm", "gru") or not task.maskable or unroll > 1 == task.shape.T:
        return None
    shape, x_np, weights = arguments(task)

    def simple_rnn(h: Any, ax: Any, u: Any, b_hh: Any) -> Any:
        return jnp.tanh(ax + h @ u + b_hh)

    def lstm(state: Any, ax: Any, u: Any, b_hh: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(ax + h @ u + b_hh, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        return nn.sigmoid(o) * jnp.tanh(c), c

    def gru(h: Any, ax: Any, u: Any, b_hh: Any) -> Any:
        r, z, n = jnp.split(ax, 3, axis=-1)
        ur, uz, un = jnp.split(h @ u + b_hh, 3, axis=-1)
        z = nn.sigmoid(z + uz)
        return (1 - z) * jnp.tanh(n + nn.sigmoid(r + ur) * un) + z * h

    cell = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}[task.cell]
    zeros = jnp.zeros((shape.B, shape.H), task.dtype)
    initial = (zeros, zeros) if task.cell == "lstm" else zeros
    mask = jnp.asarray(valid(task)) if task.lengths else None

    def forward(x: Any, layers: Any, state: Any) -> Any:
        """y, and the last state of the last direction of the last layer."""
        for layer in layers:
            parts = []
            for reverse, (w, u, b_ih, b_hh) in zip((False, True), layer, strict=False):

                def step(state: Any, ax: Any, u: Any = u, b_hh: Any = b_hh) -> Any:
                    state = cell(state, ax, u, b_hh)
                    return state, state[0] if task.cell == "lstm" else state

                last, y = lax.scan(step, state, x @ w + b_ih, reverse=reverse, unroll=unroll)
                parts.append(y)
            x = jnp.concatenate(parts, axis=-1)
        return x if mask is None else x * mask, last

    # the weights are kept transposed, as a program of its own would: gradients are turned back
    layers = jax.tree.map(lambda a: jnp.asarray(np.ascontiguousarray(a.T)), by_layer(shape, weights))
    x = jnp.asarray(x_np)
    if task.training:

        def loss(x: Any, layers: Any) -> Any:
            y = forward(x, layers, initial)[0]
            return y.sum(), y

        gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

        def train() -> Callable[[], Result]:
            (_, y), (dx, dlayers) = jax.block_until_ready(gradients(x, layers))
            return lambda: [np.asarray(y), np.asarray(dx), *(np.asarray(a).T for a in jax.tree.leaves(dlayers))]

        return train
    program = jax.jit(lambda x, state: forward(x, layers, state))  # zeros known to it would rid it of the first product
    y, state = None, initial

    def arrange() -> Result:
        return [np.asarray(y), *(np.asarray(a)[None] for a in jax.tree.leaves(state if task.stateful else ()))]

    def infer() -> Callable[[], Result]:
        nonlocal y, state
        y, after = program(x, state)
        y.block_until_ready()
        if task.stateful:
            state = after
        return arrange

    return infer


PEERS: dict[str, Contender] = {
    **CONTENDERS,
    "numpy": Contender("NumPy loop", ("numpy",), numpy_or_step),
    "torch:cell": Contender("PyTorch, cell", ("torch",), cell_task),
    "torch:padded": Contender("PyTorch, padded", ("torch",), padded_task),
    "torch:compiled": Contender("PyTorch, compiled", ("torch",), compiled_task),
    "openvino": Contender("OpenVINO", ("openvino", "onnx"), openvino_task),
    "jax": Contender("JAX", ("jax",), jax_task),
    "jax:unrolled": Contender("JAX, unrolled", ("jax",), partial(jax_task, unroll=8)),
    "keras": Contender("Keras", ("tensorflow",), keras_task),
    "numba": Contender("Numba", ("numba",), numba_task),
}

HOW: dict[str, str] = {  # in words: how each peer is run
    "rnnfast": "A frozen layer; a single step writes into given arrays. Training: `record` and `backward`, packing included.",
    "numpy": "A loop over the steps as a careful user writes it: the input's products for all steps at once, then one product "
    "a step for all gates; NumPy's BLAS has as many threads as all others.",
    "torch": "`nn.RNN`, `nn.LSTM`, `nn.GRU` under `inference_mode`, training by autograd. Single steps also by the cells "
    "(*cell*). LSTM forward and single steps also through `torch.compile` with frozen weights (*compiled*): an LSTM is then "
    "oneDNN's, its weights packed once. The rest is not compiled, as its time loop is unrolled: forward, GRUs of 25 to 100 "
    "steps took 0.5 to 2.5 minutes to compile and became 0.7 to 1.4 times as fast; training, LSTMs of 25 and 60 steps took 1 "
    "and 7 minutes and became slower. Unequal lengths: packed sequences, packing included, or padded and masked (*padded*).",
    "onnxruntime": "A prepared session with bound inputs and outputs; the state of a stream in two sets of arrays that change "
    "places; unequal lengths by the operators' own argument.",
    "openvino": "Compiled for latency, one stream, float32; input in place, output shared and not copied; the state of a "
    "stream inside of the model; unequal lengths padded and masked, as its operators leave their fast path for lengths.",
    "jax": "One compiled program, the input's products outside of `lax.scan`; weights are part of the program but in training, "
    "the state is an argument; with 1 and with 8 steps unrolled (*unrolled*); no asynchronous dispatch; unequal lengths padded "
    "and masked.",
    "keras": "A layer as one TensorFlow function compiled by XLA.",
    "numba": "Loops over steps, samples and units, compiled; one thread.",
}
