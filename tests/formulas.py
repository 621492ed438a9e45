"""Formulas of cells for tests, and their traces."""

import numpy as np

from rnnfast.formula import ops
from rnnfast.formula.graph import FULL, ROW, VECTOR
from rnnfast.formula.symbols import Block, Trace
from rnnfast.formula.traced import from_graph


class Gates:
    """x or U of a formula."""


def lstm(x, U, h, c):
    i, f, o = (ops.sigmoid(getattr(x, g) + getattr(U, g) @ h) for g in "ifo")
    c = f * c + i * np.tanh(x.g + U.g @ h)
    return o * np.tanh(c), c


def gru(x, U, h):
    r, z = ops.sigmoid(x.r + U.r @ h), ops.sigmoid(x.z + U.z @ h)
    n = np.tanh(x.n + r * (U.n @ h))
    return n + z * (h - n)


def gru_before(x, U, h):
    r, z = ops.sigmoid(x.r + U.r @ h), ops.sigmoid(x.z + U.z @ h)
    n = np.tanh(x.n + U.n @ (r * h))
    return n + z * (h - n)


def simple_rnn(x, U, h):
    return np.tanh(x.a + U.a @ h)


def mgu(x, U, h):
    f = ops.sigmoid(x.z + U.z @ h)
    n = np.tanh(x.n + U.n @ (f * h))
    return h + f * (n - h)


def peephole(x, U, h, c, p_i, p_f, p_o):
    i = ops.sigmoid(x.i + U.i @ h + p_i * c)
    f = ops.sigmoid(x.f + U.f @ h + p_f * c)
    c = f * c + i * np.tanh(x.g + U.g @ h)
    o = ops.sigmoid(x.o + U.o @ h + p_o * c)
    return o * np.tanh(c), c


def layer_norm_lstm(x, U, h, c, gain_x, shift_x, gain_h, gain_c, shift_c):
    i, f, g, o = (
        ops.layer_norm(getattr(x, k), gain_x, shift_x) + ops.layer_norm(getattr(U, k) @ h, gain_h, 0.0) for k in "ifgo"
    )
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * np.tanh(g)
    return ops.sigmoid(o) * np.tanh(ops.layer_norm(c, gain_c, shift_c)), c


def multiplicative_lstm(x, U, h, c):
    m = x.m * (U.m @ h)
    i, f, o = (ops.sigmoid(getattr(x, g) + getattr(U, g) @ m) for g in "ifo")
    c = f * c + i * np.tanh(x.g + U.g @ m)
    return o * np.tanh(c), c


def slstm(x, U, h, c, n, m):
    f = -ops.softplus(-(x.f + U.f @ h))
    i = x.i + U.i @ h
    new = np.maximum(i, f + m)
    i, f = np.exp(i - new), np.exp(f + m - new)
    c = f * c + i * np.tanh(x.z + U.z @ h)
    n = f * n + i
    return ops.sigmoid(x.o + U.o @ h) * (c / n), c, n, new


def t_lstm(x, U, h, c, gap):
    short = np.tanh(U.d @ c)
    c = c - short + short * gap
    i, f, o = (ops.sigmoid(getattr(x, g) + getattr(U, g) @ h) for g in "ifo")
    c = f * c + i * np.tanh(x.g + U.g @ h)
    return o * np.tanh(c), c


def lif(x, U, s, v, *, beta=0.9):
    v = beta * v + x.a + U.a @ s - ops.stop_gradient(s)
    return ops.step(v - 1, lambda u: 1 / (1 + (2 * u) * (2 * u))), v


def leaky(x, U, v, dt, *, tau=1.3):
    keep = np.exp(-dt / tau)
    return keep * v + (1 - keep) * np.tanh(x.a + U.a @ v)


def zoneout(x, U, h, c, m, k):
    new, cell = lstm(x, U, h, c)
    return h + m * (new - h), c + k * (cell - c)


def dropout_lstm(x, U, h, c, m_i, m_f, m_g, m_o):
    i, f, o = (ops.sigmoid(getattr(x, k) + getattr(U, k) @ (h * m)) for k, m in (("i", m_i), ("f", m_f), ("o", m_o)))
    c = f * c + i * np.tanh(x.g + U.g @ (h * m_g))
    return o * np.tanh(c), c


def three_products(x, U, h):
    a = np.tanh(x.a + U.a @ h)
    b = np.tanh(x.b + U.b @ a)
    return h + ops.sigmoid(U.c @ (a * b)) * b


def with_output(x, U, v):
    v = 0.9 * v + 0.1 * (x.a + U.a @ np.tanh(v))
    return np.tanh(v), v


def ind_rnn(x, U, h, u):
    return np.maximum(x.a + u * h, 0)


def min_gru(x, U, h):
    z = ops.sigmoid(x.z)
    return h + z * (np.where(x.n < 0, ops.sigmoid(x.n), x.n + 0.5) - h)


def cfc(x, U, h, ts, w):
    a = 1.7159 * np.tanh(0.666 * (x.b + U.b @ h))
    t = ops.sigmoid(U.t @ a * ts + ops.softplus(w) * ops.mean(w))
    return np.tanh(U.f @ a) * (1 - t) + t * np.tanh(U.g @ a)


def truncated(x, U, h, c, s):
    """Odd things: a product of a state without its gradient, states that move on, that stay, that nobody reads, an input
    multiplied, a gate twice."""
    a = np.tanh(x.a + U.a @ ops.stop_gradient(h) + U.b @ h + U.d @ s)
    return a + 0.5 * ops.mean(c * x.e), h, x.e


def shared(x, U, h, c, p, q):
    """Products on both sides of two operands, so that gradients cannot all be neighbours."""
    a = np.tanh(x.a + U.a @ h) * ops.sigmoid(p * (U.b @ h) + q)
    b = np.tanh(x.c + U.c @ c) * ops.mean(U.d @ c)
    return a + b * ops.mean(p * q), a * x.e + b - ops.mean(a)


def exchange(x, U, h, c):
    return np.tanh(x.a), c, h


def stopped(x, U, h):
    return np.tanh(x.a + U.a @ h) * (x.b + 0.5) * (U.b @ ops.stop_gradient(h))


def of(formula, gates, states, *, vectors="", inputs="", draws="", output=False, rows=""):
    return locals()


FORMULAS = {
    "lstm": of(lstm, "i f g o", "h c"),
    "gru": of(gru, "r z n", "h"),
    "gru_before": of(gru_before, "r z n", "h"),
    "simple_rnn": of(simple_rnn, "a", "h"),
    "mgu": of(mgu, "z n", "h"),
    "peephole": of(peephole, "i f g o", "h c", vectors="p_i p_f p_o"),
    "layer_norm_lstm": of(layer_norm_lstm, "i f g o", "h c", vectors="gain_x shift_x gain_h gain_c shift_c"),
    "multiplicative_lstm": of(multiplicative_lstm, "m i f g o", "h c"),
    "slstm": of(slstm, "i f z o", "h c n m"),
    "t_lstm": of(t_lstm, "d i f g o", "h c", inputs="gap", rows="gap"),
    "lif": of(lif, "a", "s v"),
    "leaky_row": of(leaky, "a", "v", inputs="dt", rows="dt"),
    "leaky": of(leaky, "a", "v", inputs="dt"),
    "zoneout": of(zoneout, "i f g o", "h c", draws="m k"),
    "dropout_lstm": of(dropout_lstm, "i f g o", "h c", draws="m_i m_f m_g m_o"),
    "three_products": of(three_products, "a b c", "h"),
    "with_output": of(with_output, "a", "v", output=True),
    "ind_rnn": of(ind_rnn, "a", "h", vectors="u"),
    "min_gru": of(min_gru, "z n", "h"),
    "cfc": of(cfc, "b t f g", "h", vectors="w", inputs="ts", rows="ts"),
    "truncated": of(truncated, "a b d e", "h c s"),
    "stopped": of(stopped, "a b", "h"),
    "exchange": of(exchange, "a", "h c", output=True),
    "shared": of(shared, "a b c d e", "h c", vectors="p q"),
}


def trace(formula, gates, states, vectors, inputs, draws, output, rows):
    t = Trace(formula)
    b = t.builder
    gates, states, vectors, inputs, draws = (names.split() for names in (gates, states, vectors, inputs, draws))
    x, U = Gates(), Gates()
    leaves = {gate: b.input("x", gate, FULL) for gate in gates}
    for gate in gates:
        setattr(x, gate, t.symbol(leaves[gate]))
        setattr(U, gate, Block(t, gate))
    kinds = {"state": states, "vector": vectors, "input": inputs, "draw": draws}
    nodes = {
        kind: {
            name: b.input(kind, name, VECTOR if kind == "vector" else ROW if name in rows.split() else FULL) for name in names
        }
        for kind, names in kinds.items()
    }
    results = formula(x, U, **{name: t.symbol(n) for group in nodes.values() for name, n in group.items()})
    results = [t.node(r) for r in (results if isinstance(results, tuple) else (results,))]
    return from_graph(b, (gates, gates), nodes["state"].values(), tuple(results), t.surrogates)
