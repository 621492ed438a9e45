"""What a user's typed code looks like; mypy --strict must accept it (test_typing.py)."""

import io
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rnnfast
from rnnfast import nn


def train_step(net: rnnfast.LSTM, x: NDArray[np.float32]) -> float:
    y, (h, c), tape = net.record(x, lengths=[3, 2], rng=0)
    g = tape.backward(np.ones_like(y))
    for name, value in net.params.items():
        value -= 0.01 * g.params[name]
    return float(y.sum() + h.sum() + c.sum())


def functions(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    y, h_n = rnnfast.gru(x, w, w, reset_after=False)
    y, (h_n, c_n), tape = rnnfast.lstm(x, w, w, record=True)
    g = tape.backward(dy=y, dstate=(h_n, None))
    if g.x is not None and g.b_ih is None:
        return g.x
    return np.asarray(y)


def stream(net: rnnfast.GRU, x: NDArray[np.float32]) -> None:
    fast = net.freeze()
    y, state = np.empty((1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    for x_t in x:
        fast.step(x_t, state, out=(y, state))
    threads: int = rnnfast.get_num_threads()
    rnnfast.set_num_threads(threads)
    with rnnfast.use_isa("scalar"), rnnfast.num_threads(1):
        config = rnnfast.show_config("dicts")
    print(config["CPU"], rnnfast.__version__)


def states(lstm: rnnfast.LSTM, gru: rnnfast.GRU, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """A state is one array or a pair, as the layer says: nothing is left to be narrowed."""
    y, h_n = gru(x)
    y, h_n = gru.freeze()(y[..., :2], h_n)
    _, (h, c) = lstm.freeze().step(x[0])
    _, (h, c), tape = lstm.record(x, (h, c))
    dh, dc = tape.backward(dstate=(h, None)).state
    return h_n, h, c, dh, dc


def files(net: rnnfast.SimpleRNN, path: Path) -> rnnfast.SimpleRNN:
    net.save(path)
    net.freeze().save(io.BytesIO())
    again: rnnfast.SimpleRNN = rnnfast.load(str(path))
    sizes: list[int] = [net.num_params, net.freeze().num_params, nn.Sequential(net, nn.Dense(4, 1)).num_params]
    print(sizes)
    return again


train_step(rnnfast.LSTM(2, 4, bidirectional=False), np.zeros((3, 2, 2), np.float32))
states(rnnfast.LSTM(2, 4), rnnfast.GRU(2, 4), np.zeros((3, 2, 2), np.float32))
with tempfile.TemporaryDirectory() as folder:
    files(rnnfast.SimpleRNN(2, 4), Path(folder) / "net.npz")
stream(rnnfast.GRU(2, 4), np.zeros((5, 1, 2), np.float32))
