"""The oracle: SimpleRNN, LSTM and GRU in plain NumPy, forward and back-propagation through time; and `run`, the forward pass of
layers whose cell is a formula.

Same signatures, returns and tape as `rnnfast.simple_rnn`, `rnnfast.lstm`, `rnnfast.gru`, for any float dtype. It is written
to be read and shares no line with the kernels. Letters: T steps, B batch, I input size, H hidden size; gates i f g o and
r z n; dW is the gradient of W. It trusts its arguments: `rnnfast`'s own functions check theirs.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["gru", "lstm", "run", "simple_rnn"]  # noqa: F822 (run: below)


def __getattr__(name):
    """`run` is imported when it is first used: most programs have no formulas."""
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rnnfast.formula.reference import run

    return run


def sigmoid(a):
    e = np.exp(-np.abs(a))  # never overflows; keeps the small tail
    return np.where(a < 0, e, 1) / (1 + e)


# f(a), and dh f'(a) from dh and h = f(a)
NONLINEARITIES: dict[str, Any] = {
    "tanh": (np.tanh, lambda dh, h: dh * (1 - h * h)),
    "relu": (lambda a: np.maximum(a, 0), lambda dh, h: np.where(h <= 0, 0, dh)),
    "identity": (lambda a: a, lambda dh, h: dh),
    "sigmoid": (sigmoid, lambda dh, h: dh * (h * (1 - h))),
}

# ---- one step of each cell ------------------------------------------------------------------------------------------------
# forward:  step(x (B, I), state, weights) -> state, saved            state is (h,) or (h, c), each (B, H)
# backward: unstep(dstate, saved, weights, grads) -> dx, dstate_prev    adds to grads w_ih w_hh b_ih b_hh


def add_products(grads, da_ih, da_hh, x, h_prev):
    """Gradients of W_ih x + b_ih (da_ih) and W_hh h_prev + b_hh (da_hh); da (B, G*H)."""
    grads.w_ih += da_ih.T @ x
    grads.w_hh += da_hh.T @ h_prev
    grads.b_ih += da_ih.sum(axis=0)
    grads.b_hh += da_hh.sum(axis=0)


class SimpleRNNCell:
    """h = f(W_ih x + b_ih + W_hh h_prev + b_hh)"""

    states = 1

    def __init__(self, nonlinearity="tanh"):
        self.f, self.slope = NONLINEARITIES[nonlinearity]

    def step(self, x, state, w):
        (h_prev,) = state
        h = self.f(x @ w.w_ih.T + w.b_ih + h_prev @ w.w_hh.T + w.b_hh)
        return (h,), (x, h_prev, h)

    def unstep(self, dstate, saved, w, grads):
        (dh,), (x, h_prev, h) = dstate, saved
        da = self.slope(dh, h)
        add_products(grads, da, da, x, h_prev)
        return da @ w.w_ih, (da @ w.w_hh,)


class LSTMCell:
    """i, f, o = sigmoid(...), g = tanh(...), c = f c_prev + i g, h = o tanh(c)"""

    states = 2

    def step(self, x, state, w):
        h_prev, c_prev = state
        a = x @ w.w_ih.T + w.b_ih + h_prev @ w.w_hh.T + w.b_hh
        ai, af, ag, ao = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(ai), sigmoid(af), np.tanh(ag), sigmoid(ao)
        c = f * c_prev + i * g
        h = o * np.tanh(c)
        return (h, c), (x, h_prev, c_prev, i, f, g, o, c)

    def unstep(self, dstate, saved, w, grads):
        (dh, dc), (x, h_prev, c_prev, i, f, g, o, c) = dstate, saved
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        do = dh * np.tanh(c)
        di, df, dg = dc * g, dc * c_prev, dc * i
        da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)], axis=1)
        add_products(grads, da, da, x, h_prev)
        return da @ w.w_ih, (da @ w.w_hh, dc * f)


class GRUCell:
    """r, z = sigmoid(...), h = (1 - z) n + z h_prev, with
    reset_after:      n = tanh(W_in x + b_in + r (W_hn h_prev + b_hn))
    not reset_after:  n = tanh(W_in x + b_in + W_hn (r h_prev) + b_hn)"""

    states = 1

    def __init__(self, reset_after=True):
        self.reset_after = reset_after

    def step(self, x, state, w):
        (h_prev,) = state
        xr, xz, xn = np.split(x @ w.w_ih.T + w.b_ih, 3, axis=1)
        w_hr, w_hz, w_hn = np.split(w.w_hh, 3)
        b_hr, b_hz, b_hn = np.split(w.b_hh, 3)
        r = sigmoid(xr + h_prev @ w_hr.T + b_hr)
        z = sigmoid(xz + h_prev @ w_hz.T + b_hz)
        if self.reset_after:
            hn = h_prev @ w_hn.T + b_hn
            n = np.tanh(xn + r * hn)
        else:
            hn = None
            n = np.tanh(xn + (r * h_prev) @ w_hn.T + b_hn)
        h = (1 - z) * n + z * h_prev
        return (h,), (x, h_prev, r, z, n, hn)

    def unstep(self, dstate, saved, w, grads):
        (dh,), (x, h_prev, r, z, n, hn) = dstate, saved
        w_hr, w_hz, w_hn = np.split(w.w_hh, 3)
        dn, dz = dh * (1 - z), dh * (h_prev - n)
        dh_prev = dh * z
        dan, daz = dn * (1 - n * n), dz * z * (1 - z)
        if self.reset_after:
            dr, dhn = dan * hn, dan * r
            dh_prev = dh_prev + dhn @ w_hn
            left_n, right_n = dhn, h_prev
        else:
            drh = dan @ w_hn
            dr = drh * h_prev
            dh_prev = dh_prev + drh * r
            left_n, right_n = dan, r * h_prev
        dar = dr * r * (1 - r)
        dh_prev = dh_prev + dar @ w_hr + daz @ w_hz
        da_ih = np.concatenate([dar, daz, dan], axis=1)
        grads.w_ih += da_ih.T @ x
        grads.b_ih += da_ih.sum(axis=0)
        grads.w_hh += np.concatenate([dar.T @ h_prev, daz.T @ h_prev, left_n.T @ right_n])
        grads.b_hh += np.concatenate([dar, daz, left_n], axis=1).sum(axis=0)
        return da_ih @ w.w_ih, (dh_prev,)


# ---- a sequence -----------------------------------------------------------------------------------------------------------
class Sequence:
    """One pass over (T, B, I): the y, the final states, and what backward needs."""

    def __init__(self, cell, x, weights, initial, lengths, reverse):
        w_ih, w_hh, b_ih, b_hh = weights
        T, B, _ = x.shape
        H = w_hh.shape[1]
        zeros = np.zeros(w_ih.shape[0], x.dtype)
        self.cell, self.missing = cell, [name for name, b in (("b_ih", b_ih), ("b_hh", b_hh)) if b is None]
        self.w = SimpleNamespace(
            w_ih=w_ih, w_hh=w_hh, b_ih=zeros if b_ih is None else b_ih, b_hh=zeros if b_hh is None else b_hh
        )
        lengths = np.full(B, T) if lengths is None else np.asarray(lengths, np.intp)
        # alive[s, b]: sample b is at work at step s, at time[s, b]
        steps = np.arange(T)[:, None]
        self.alive = steps < lengths
        self.time = np.where(self.alive, lengths - 1 - steps if reverse else steps, 0)
        self.x_shape, self.y = x.shape, np.zeros((T, B, H), x.dtype)
        state = tuple(np.zeros((B, H), x.dtype) if s is None else np.array(s) for s in initial)
        self.saved = []
        for s in range(T):
            rows = np.flatnonzero(self.alive[s])
            new, saved = cell.step(x[self.time[s, rows], rows], tuple(a[rows] for a in state), self.w)
            for a, value in zip(state, new, strict=True):
                a[rows] = value
            self.y[self.time[s, rows], rows] = new[0]
            self.saved.append((rows, saved))
        self.state = state

    def backward(self, dy, dstate):
        grads = SimpleNamespace(**{name: np.zeros_like(value) for name, value in vars(self.w).items()})
        grads.x = np.zeros(self.x_shape, self.y.dtype)
        d = tuple(np.zeros_like(a) if g is None else np.array(g) for a, g in zip(self.state, dstate, strict=True))
        for s, (rows, saved) in reversed(list(enumerate(self.saved))):
            part = [a[rows] for a in d]
            if dy is not None:
                part[0] = part[0] + dy[self.time[s, rows], rows]
            grads.x[self.time[s, rows], rows], new = self.cell.unstep(tuple(part), saved, self.w, grads)
            for a, value in zip(d, new, strict=True):
                a[rows] = value
        for name in self.missing:
            setattr(grads, name, None)
        return grads, d


class Tape:
    """tape.backward(dy, dstate): gradients of sum(dy * y) + sum(dstate * state); usable once."""

    def __init__(self, sequence, unbatched, inner, outer, gates):
        self.sequence, self.unbatched, self.inner, self.outer, self.gates = sequence, unbatched, inner, outer, gates

    def backward(self, dy=None, dstate=None, *, need_x=True):
        if self.sequence is None:
            raise RuntimeError("tape: backward was already called; record again")
        dstate = tuple(dstate) if isinstance(dstate, (tuple, list)) else (dstate,) * self.sequence.cell.states
        dy = None if dy is None else self.inner(dy)
        if self.unbatched:
            dstate = tuple(None if a is None else a[None] for a in dstate)
        g, d = self.sequence.backward(dy, dstate)
        self.sequence = None
        g.x = self.outer(g.x)
        if self.unbatched:
            d = tuple(a[0] for a in d)
        for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
            setattr(g, name, self.gates.arrange(getattr(g, name), self.gates.to_user))
        g.h0, g.c0 = d[0], d[1] if len(d) == 2 else None
        if not need_x:
            g.x = None
        return g


class Gates:
    """Weights whose blocks of rows stand in another order of gates than the cell's, and their gradients."""

    def __init__(self, order, own):
        letters = list(own) if order is None else [letter for letter in order if letter in own]
        self.count, self.from_user = len(own), [letters.index(gate) for gate in own]
        self.to_user = [own.index(letter) for letter in letters]

    def arrange(self, array, order):
        return None if array is None else np.concatenate([np.split(np.asarray(array), self.count)[i] for i in order])


def call(cell, x, weights, initial, lengths, reverse, record, batch_first, gates):
    x = np.asarray(x)
    weights = [gates.arrange(w, gates.from_user) for w in weights]
    unbatched = x.ndim == 2
    axes = (lambda a: a[:, 0]) if unbatched else (lambda a: a.swapaxes(0, 1)) if batch_first else (lambda a: a)
    inner = (lambda a: a[:, None]) if unbatched else axes
    x = inner(x)
    if unbatched:
        initial = tuple(None if a is None else np.asarray(a)[None] for a in initial)
    sequence = Sequence(cell, x, weights, initial, lengths, reverse)
    y, state = axes(sequence.y.copy()), sequence.state
    if unbatched:
        state = tuple(a[0] for a in state)
    result = (y, state if len(state) == 2 else state[0])
    if not record:
        return result
    y.flags.writeable = False
    return (*result, Tape(sequence, unbatched, inner, axes, gates))


def simple_rnn(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    nonlinearity: str = "tanh",
    lengths: Any = None,
    reverse: bool = False,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """See `rnnfast.simple_rnn`."""
    weights = (w_ih, w_hh, b_ih, b_hh)
    return call(SimpleRNNCell(nonlinearity), x, weights, (h0,), lengths, reverse, record, batch_first, Gates(None, "a"))


def lstm(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    c0: Any = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """See `rnnfast.lstm`."""
    weights = (w_ih, w_hh, b_ih, b_hh)
    return call(LSTMCell(), x, weights, (h0, c0), lengths, reverse, record, batch_first, Gates(gate_order, "ifgo"))


def gru(
    x: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    h0: Any = None,
    *,
    reset_after: bool = True,
    lengths: Any = None,
    reverse: bool = False,
    gate_order: str | None = None,
    batch_first: bool = False,
    record: bool = False,
) -> Any:
    """See `rnnfast.gru`."""
    weights = (w_ih, w_hh, b_ih, b_hh)
    return call(GRUCell(reset_after), x, weights, (h0,), lengths, reverse, record, batch_first, Gates(gate_order, "rzn"))
