"""The NumPy loop a careful user would write: the input's products for all steps at once, one matrix product a step for all
gates, weight gradients in one product after the loop. Any float dtype.

This is the baseline of the timings, not the oracle (that is `rnnfast.reference`). x (T, B, I); w_ih (G*H, I); w_hh (G*H, H);
b_ih, b_hh (G*H). train returns the gradients of sum(y) in the order x, w_ih, w_hh, b_ih, b_hh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast._types import Array


def sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


def simple_rnn(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
    h = np.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
    y: Array = x @ w_ih.T + (b_ih + b_hh)
    for t in range(len(x)):
        y[t] = h = np.tanh(y[t] + h @ w_hh.T)
    return y


def lstm(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, saved: list[Any] | None = None) -> Array:
    H = w_hh.shape[1]
    h = c = np.zeros((x.shape[1], H), x.dtype)
    y = np.empty((*x.shape[:2], H), x.dtype)
    ax = x @ w_ih.T + (b_ih + b_hh)
    for t in range(len(x)):
        a = ax[t] + h @ w_hh.T
        i_f, g, o = sigmoid(a[:, : 2 * H]), np.tanh(a[:, 2 * H : 3 * H]), sigmoid(a[:, 3 * H :])
        i, f = i_f[:, :H], i_f[:, H:]
        c_prev, c = c, f * c + i * g
        tanh_c = np.tanh(c)
        if saved is not None:
            saved.append((c_prev, i, f, g, o, tanh_c))
        y[t] = h = o * tanh_c
    return y


def gru(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, saved: list[Any] | None = None) -> Array:
    H = w_hh.shape[1]
    h = np.zeros((x.shape[1], H), x.dtype)
    y = np.empty((*x.shape[:2], H), x.dtype)
    ax = x @ w_ih.T + b_ih
    for t in range(len(x)):
        a, u = ax[t], h @ w_hh.T + b_hh
        rz = sigmoid(a[:, : 2 * H] + u[:, : 2 * H])
        r, z = rz[:, :H], rz[:, H:]
        n = np.tanh(a[:, 2 * H :] + r * u[:, 2 * H :])
        if saved is not None:
            saved.append((h, r, z, n, u[:, 2 * H :]))
        y[t] = h = (1 - z) * n + z * h
    return y


def products(da: Array, du: Array, x: Array, y: Array, w_ih: Array) -> tuple[Array, ...]:
    """Gradients of x, w_ih, w_hh, b_ih, b_hh from those of the pre-activations, (T, B, G*H): da of the input's side, du of
    the recurrent side; h_{t-1} is y one step earlier, zeros at first."""
    h_prev = np.concatenate([np.zeros_like(y[:1]), y[:-1]])

    def flat(a: Array) -> Array:
        return a.reshape(-1, a.shape[-1])

    dw_ih, dw_hh = flat(da).T @ flat(x), flat(du).T @ flat(h_prev)
    return da @ w_ih, dw_ih, dw_hh, da.sum(axis=(0, 1)), du.sum(axis=(0, 1))


def train_simple_rnn(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    y = simple_rnn(x, w_ih, w_hh, b_ih, b_hh)
    da = 1 - y**2
    dh = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        da[t] *= 1 + dh
        dh = da[t] @ w_hh
    return products(da, da, x, y, w_ih)


def train_lstm(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    saved: list[Any] = []
    y = lstm(x, w_ih, w_hh, b_ih, b_hh, saved)
    da = np.empty((*x.shape[:2], len(b_ih)), x.dtype)
    dh = dc = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        c_prev, i, f, g, o, tanh_c = saved[t]
        dh = 1 + dh
        dc = dc + dh * o * (1 - tanh_c**2)
        gates = (dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o))
        np.concatenate(gates, axis=1, out=da[t])
        dh, dc = da[t] @ w_hh, dc * f
    return products(da, da, x, y, w_ih)


def train_gru(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    saved: list[Any] = []
    y = gru(x, w_ih, w_hh, b_ih, b_hh, saved)
    da, du = (np.empty((*x.shape[:2], len(b_ih)), x.dtype) for _ in range(2))
    dh = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        h_prev, r, z, n, hn = saved[t]
        dh = 1 + dh
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * hn * r * (1 - r), dh * (h_prev - n) * z * (1 - z)
        np.concatenate((dr, dz, dn), axis=1, out=da[t])
        np.concatenate((dr, dz, dn * r), axis=1, out=du[t])
        dh = du[t] @ w_hh + dh * z
    return products(da, du, x, y, w_ih)


FORWARD = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}
TRAIN = {"simple_rnn": train_simple_rnn, "lstm": train_lstm, "gru": train_gru}
