"""Peers beyond those of the main job: OpenVINO and JAX, each by its fastest path; the contract is rnnfast.proof.contenders'."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from peers_more import keras_task, numba_task
from rnnfast.proof.contenders import CONTENDERS, Contender, Result, Task, arguments, by_layer, onnx_model


def openvino_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """Inference alone: the ONNX model compiled for latency, one stream, in float32; the input is in place."""
    import openvino

    model = onnx_model(task)
    if model is None or task.stateful:
        return None
    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(model), "CPU", {**hints, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    shape, x, _ = arguments(task)
    request.get_input_tensor(0).data[...] = x
    y = request.get_output_tensor(0).data  # (T, D, B, H)

    results = [y[:, 0]]

    def infer() -> Result:
        request.infer()
        if shape.bidirectional:  # to the layout of all others: a copy
            results[0] = y.transpose(0, 2, 1, 3).reshape(shape.T, shape.B, -1)
        return results

    return infer


def jax_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """One compiled program: the input's products for all steps at once, then lax.scan; training by value_and_grad."""
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    from jax import lax, nn
    from jax import numpy as jnp

    if task.cell not in ("simple_rnn", "lstm", "gru") or task.dtype != "float32" or task.lengths or task.stateful:
        return None
    shape, x_np, weights = arguments(task)
    B, H = shape.B, shape.H

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
    zeros = jnp.zeros((B, H), jnp.float32)
    initial = (zeros, zeros) if task.cell == "lstm" else zeros

    def forward(x: Any, layers: Any) -> Any:
        for layer in layers:
            parts = []
            for reverse, (w, u, b_ih, b_hh) in zip((False, True), layer, strict=False):

                def step(state: Any, ax: Any, u: Any = u, b_hh: Any = b_hh) -> Any:
                    state = cell(state, ax, u, b_hh)
                    return state, state[0] if task.cell == "lstm" else state

                parts.append(lax.scan(step, initial, x @ w + b_ih, reverse=reverse)[1])
            x = jnp.concatenate(parts, axis=-1)
        return x

    # the weights are kept transposed, as a program of its own would: gradients are turned back
    kept = jax.tree.map(lambda a: jnp.asarray(np.ascontiguousarray(a.T)), by_layer(shape, weights))
    x, layers = jnp.asarray(x_np), kept
    if task.training:

        def loss(x: Any, layers: Any) -> Any:
            y = forward(x, layers)
            return y.sum(), y

        program = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

        def train() -> Result:
            (_, y), (dx, gradients) = jax.block_until_ready(program(x, layers))
            return [np.asarray(y), np.asarray(dx), *(np.asarray(a).T for a in jax.tree.leaves(gradients))]

        return train
    compiled = jax.jit(forward)
    return lambda: [np.asarray(compiled(x, layers).block_until_ready())]


PEERS: dict[str, Contender] = {
    **CONTENDERS,
    "openvino": Contender("OpenVINO", ("openvino", "onnx"), openvino_task),
    "jax": Contender("JAX", ("jax",), jax_task),
    "keras": Contender("Keras", ("tensorflow",), keras_task),
    "numba": Contender("Numba", ("numba",), numba_task),
}
