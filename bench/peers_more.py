"""The peers of the extra bench-all: Numba's compiled loops, Keras on TensorFlow. One layer, one direction, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnfast.proof.contenders import Result, Task, arguments


def plain(task: Task) -> bool:
    """Whether a task is one that these peers do."""
    return task.shape.places[-1][0] == "l0" and task.dtype == "float32" and not (task.lengths or task.stateful)


def numba_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """Inference alone: the input's products by NumPy, then one compiled loop over steps, samples and units; one thread."""
    import numba

    compiled = numba.njit(fastmath=True, cache=False)

    @compiled
    def sigmoid(a: Any) -> Any:
        return np.float32(1) / (np.float32(1) + np.exp(-a))

    @compiled
    def products(a: Any, h: Any, u: Any) -> None:
        """a (N) += h (H) @ u (H, N)"""
        for k in range(len(h)):
            for j in range(len(a)):
                a[j] += h[k] * u[k, j]

    @compiled
    def simple_rnn(ax: Any, u: Any, b_hh: Any, y: Any) -> None:
        for t in range(len(ax)):
            for b in range(ax.shape[1]):
                a = ax[t, b] + b_hh
                if t:
                    products(a, y[t - 1, b], u)
                for j in range(len(a)):
                    y[t, b, j] = np.tanh(a[j])

    @compiled
    def lstm(ax: Any, u: Any, b_hh: Any, y: Any) -> None:
        H = len(u)
        c = np.zeros((ax.shape[1], H), np.float32)
        for t in range(len(ax)):
            for b in range(ax.shape[1]):
                a = ax[t, b] + b_hh
                if t:
                    products(a, y[t - 1, b], u)
                for j in range(H):
                    c[b, j] = sigmoid(a[H + j]) * c[b, j] + sigmoid(a[j]) * np.tanh(a[2 * H + j])
                    y[t, b, j] = sigmoid(a[3 * H + j]) * np.tanh(c[b, j])

    @compiled
    def gru(ax: Any, u: Any, b_hh: Any, y: Any) -> None:
        H = len(u)
        zeros = np.zeros(H, np.float32)
        for t in range(len(ax)):
            for b in range(ax.shape[1]):
                h = y[t - 1, b] if t else zeros
                a, r = ax[t, b], b_hh.copy()
                products(r, h, u)
                for j in range(H):
                    z = sigmoid(a[H + j] + r[H + j])
                    n = np.tanh(a[2 * H + j] + sigmoid(a[j] + r[j]) * r[2 * H + j])
                    y[t, b, j] = (np.float32(1) - z) * n + z * h[j]

    loops = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}
    if task.training or task.cell not in loops or not plain(task):
        return None
    shape, x, weights = arguments(task)
    w_ih, w_hh, b_ih, b_hh = weights.values()
    u, loop = np.ascontiguousarray(w_hh.T), loops[task.cell]
    y = np.empty((shape.T, shape.B, shape.H), np.float32)

    def infer() -> Result:
        loop(x @ w_ih.T + b_ih, u, b_hh, y)
        return [y]

    return infer


def keras_task(task: Task, threads: int) -> Callable[[], Result] | None:
    """A Keras layer as one TensorFlow function, compiled by XLA; gate orders: LSTM i f g o, GRU z r h; one bias but for GRU."""
    import tensorflow as tf

    kinds = {"simple_rnn": tf.keras.layers.SimpleRNN, "lstm": tf.keras.layers.LSTM, "gru": tf.keras.layers.GRU}
    if task.cell not in kinds or not plain(task) or task.training:
        return None
    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    shape, x, weights = arguments(task)
    order = [1, 0, 2] if task.cell == "gru" else list(range(len(next(iter(weights.values()))) // shape.H))
    values = [np.concatenate([np.split(w, len(order))[gate] for gate in order]) for w in weights.values()]
    w_ih, w_hh, b_ih, b_hh = values
    layer = kinds[task.cell](shape.H, return_sequences=True)
    layer.build((shape.B, shape.T, shape.I))
    layer.set_weights([w_ih.T, w_hh.T, np.stack([b_ih, b_hh]) if task.cell == "gru" else b_ih + b_hh])
    batch_first = tf.constant(x.swapaxes(0, 1))
    program = tf.function(layer, jit_compile=True)
    return lambda: [program(batch_first).numpy().swapaxes(0, 1)]
