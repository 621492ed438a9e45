"""The NumPy loop a user would write: one matrix product for all gates a step, forward and BPTT, any float dtype.

This is the baseline of the timings, not the oracle (that is `rnnfast.reference`): as fast as plain NumPy stays readable.
x (T, B, I); w_ih (G*H, I); w_hh (G*H, H); b_ih, b_hh (G*H). train returns the gradients of sum(y).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast._types import Array


def sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


def simple_rnn(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
    h = np.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
    y = np.empty((*x.shape[:2], w_hh.shape[1]), x.dtype)
    b = b_ih + b_hh
    for t in range(len(x)):
        h = np.tanh(x[t] @ w_ih.T + h @ w_hh.T + b)
        y[t] = h
    return y


def lstm(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, saved: list[Any] | None = None) -> Array:
    H = w_hh.shape[1]
    h = c = np.zeros((x.shape[1], H), x.dtype)
    y = np.empty((*x.shape[:2], H), x.dtype)
    b = b_ih + b_hh
    for t in range(len(x)):
        a = x[t] @ w_ih.T + h @ w_hh.T + b
        i, f, g, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), np.tanh(a[:, 2 * H : 3 * H]), sigmoid(a[:, 3 * H :])
        c_prev, c = c, f * c + i * g
        tanh_c = np.tanh(c)
        if saved is not None:
            saved.append((h, c_prev, i, f, g, o, tanh_c))
        y[t] = h = o * tanh_c
    return y


def gru(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, saved: list[Any] | None = None) -> Array:
    H = w_hh.shape[1]
    h = np.zeros((x.shape[1], H), x.dtype)
    y = np.empty((*x.shape[:2], H), x.dtype)
    for t in range(len(x)):
        a, u = x[t] @ w_ih.T + b_ih, h @ w_hh.T + b_hh
        rz = sigmoid(a[:, : 2 * H] + u[:, : 2 * H])
        r, z = rz[:, :H], rz[:, H:]
        n = np.tanh(a[:, 2 * H :] + r * u[:, 2 * H :])
        if saved is not None:
            saved.append((h, r, z, n, u[:, 2 * H :]))
        y[t] = h = (1 - z) * n + z * h
    return y


def train_simple_rnn(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    y = simple_rnn(x, w_ih, w_hh, b_ih, b_hh)
    dx, dw_ih, dw_hh, db = np.empty_like(x), np.zeros_like(w_ih), np.zeros_like(w_hh), np.zeros_like(b_ih)
    dh = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        da = (1 + dh) * (1 - y[t] ** 2)
        h_prev = y[t - 1] if t else np.zeros_like(y[0])
        dw_ih += da.T @ x[t]
        dw_hh += da.T @ h_prev
        db += da.sum(axis=0)
        dx[t] = da @ w_ih
        dh = da @ w_hh
    return dx, dw_ih, dw_hh, db, db


def train_lstm(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    saved: list[Any] = []
    y = lstm(x, w_ih, w_hh, b_ih, b_hh, saved)
    dx, dw_ih, dw_hh, db = np.empty_like(x), np.zeros_like(w_ih), np.zeros_like(w_hh), np.zeros_like(b_ih)
    dh = dc = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        h_prev, c_prev, i, f, g, o, tanh_c = saved[t]
        dh = 1 + dh
        dc = dc + dh * o * (1 - tanh_c**2)
        gates = (dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o))
        da = np.concatenate(gates, axis=1)
        dw_ih += da.T @ x[t]
        dw_hh += da.T @ h_prev
        db += da.sum(axis=0)
        dx[t] = da @ w_ih
        dh, dc = da @ w_hh, dc * f
    return dx, dw_ih, dw_hh, db, db


def train_gru(x: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> tuple[Array, ...]:
    saved: list[Any] = []
    y = gru(x, w_ih, w_hh, b_ih, b_hh, saved)
    dx, dw_ih, dw_hh = np.empty_like(x), np.zeros_like(w_ih), np.zeros_like(w_hh)
    db_ih, db_hh = np.zeros_like(b_ih), np.zeros_like(b_hh)
    dh = np.zeros_like(y[0])
    for t in range(len(x) - 1, -1, -1):
        h_prev, r, z, n, hn = saved[t]
        dh = 1 + dh
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * hn * r * (1 - r), dh * (h_prev - n) * z * (1 - z)
        da, du = np.concatenate((dr, dz, dn), axis=1), np.concatenate((dr, dz, dn * r), axis=1)
        dw_ih += da.T @ x[t]
        dw_hh += du.T @ h_prev
        db_ih += da.sum(axis=0)
        db_hh += du.sum(axis=0)
        dx[t] = da @ w_ih
        dh = du @ w_hh + dh * z
    return dx, dw_ih, dw_hh, db_ih, db_hh


FORWARD = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}
TRAIN = {"simple_rnn": train_simple_rnn, "lstm": train_lstm, "gru": train_gru}
