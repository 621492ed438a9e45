"""Cells of the zoo written once more, as a careful user of JAX or PyTorch writes them: a step, in the words that both share.

What does not depend on the states is computed for all steps before the loop: the projections of x, and what `before` does. The
gates that multiply the same vector are one product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Kit(NamedTuple):
    """What a step has. m: functions of the library (`jax_functions`, `torch_functions`). x: of each group of gates the blocks
    of the projection, side by side. weights: of each group (H, n*H) and, if it is not in x, the bias. v: vectors; t: inputs,
    (B, 1) each; both by name."""

    m: Any
    x: list[Any]
    weights: list[tuple[Any, Any]]
    v: Mapping[str, Any]
    t: Mapping[str, Any]

    def product(self, group: int, operand: Any) -> Any:
        """W_hh operand + b_hh."""
        weight, bias = self.weights[group]
        return self.m.addmm(bias, operand, weight)

    def sum(self, group: int, operand: Any) -> Any:
        """x + W_hh operand, the bias is in x."""
        return self.m.addmm(self.x[group], operand, self.weights[group][0])


class Cell(NamedTuple):
    """groups: gates that are computed together, in the order of the blocks. step(kit, *states) returns y and the new states.
    apart: groups whose b_hh stands beside the product, not in x. before(kit): the kit of all steps, x and t replaced by what
    the steps need."""

    groups: tuple[str, ...]
    step: Callable[..., Any]
    apart: tuple[str, ...] = ()
    before: Callable[[Kit], Kit] = lambda kit: kit


def finish_lstm(m: Any, sums: Any, c: Any) -> Any:
    i, f, g, o = m.split(sums, 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    h = m.sigmoid(o) * m.tanh(c)
    return h, h, c


def peephole(k: Kit, h: Any, c: Any) -> Any:
    m, v = k.m, k.v
    i, f, g, o = m.split(k.sum(0, h), 4)
    c = m.sigmoid(f + v["p_f"] * c) * c + m.sigmoid(i + v["p_i"] * c) * m.tanh(g)
    h = m.sigmoid(o + v["p_o"] * c) * m.tanh(c)
    return h, h, c


def gains(k: Kit, of: str) -> Any:
    return k.m.join([k.v[f"g{of}_{gate}"] for gate in "ifgo"])


def layer_norm_before(k: Kit) -> Kit:
    shift = k.m.join([k.v[f"b_{gate}"] for gate in "ifgo"])
    return k._replace(x=[k.m.layer_norm(k.x[0], gains(k, "x"), shift)])


def layer_norm(k: Kit, h: Any, c: Any) -> Any:
    m = k.m
    i, f, g, o = m.split(k.x[0] + m.layer_norm(k.product(0, h), gains(k, "h"), None), 4)
    c = m.sigmoid(f) * c + m.sigmoid(i) * m.tanh(g)
    h = m.sigmoid(o) * m.tanh(m.layer_norm(c, k.v["g_c"], k.v["b_c"]))
    return h, h, c


def multiplicative(k: Kit, h: Any, c: Any) -> Any:
    return finish_lstm(k.m, k.sum(1, k.x[0] * k.product(0, h)), c)


def slstm(k: Kit, h: Any, c: Any, n: Any, top: Any) -> Any:
    m = k.m
    i, f, z, o = m.split(k.sum(0, h), 4)
    f = m.log_sigmoid(f) + top
    top = m.maximum(f, i)
    i, f = m.exp(i - top), m.exp(f - top)
    c, n = f * c + i * m.tanh(z), f * n + i
    h = m.sigmoid(o) * (c / n)
    return h, h, c, n, top


def tlstm_before(k: Kit) -> Kit:
    return k._replace(t={"dt": 1 / k.m.log(2.718281828459045 + k.t["dt"])})


def tlstm(k: Kit, h: Any, c: Any) -> Any:
    short = k.m.tanh(k.product(1, c))
    return finish_lstm(k.m, k.sum(0, h), c - short + short * k.t["dt"])


def mgu(k: Kit, h: Any) -> Any:
    f = k.m.sigmoid(k.sum(0, h))
    h = h + f * (k.m.tanh(k.sum(1, f * h)) - h)
    return h, h


def lem(k: Kit, h: Any, z: Any) -> Any:
    m = k.m
    s, t, new = m.split(k.sum(0, h), 3)
    z = z + m.sigmoid(s) * (m.tanh(new) - z)
    h = h + m.sigmoid(t) * (m.tanh(k.sum(1, z)) - h)
    return h, h, z


def cfc(k: Kit, h: Any) -> Any:
    m = k.m
    f, g, s, t = m.split(k.product(1, 1.7159 * m.tanh(0.666 * k.sum(0, h))), 4)
    f = m.tanh(f)
    h = f + m.sigmoid(k.t["dt"] * s + t) * (m.tanh(g) - f)
    return h, h


def ind_rnn(k: Kit, h: Any) -> Any:
    h = k.m.relu(k.x[0] + k.v["u"] * h)
    return h, h


def sru(k: Kit, c: Any) -> Any:
    m, (n, f, r, s) = k.m, k.x
    f, r = m.sigmoid(f + k.v["v_f"] * c), m.sigmoid(r + k.v["v_r"] * c)
    c = n + f * (c - n)
    return s + r * (c - s), c


def min_gru_before(k: Kit) -> Kit:
    m, (z, n) = k.m, k.x
    return k._replace(x=[m.sigmoid(z), m.where(n >= 0, n + 0.5, m.sigmoid(n))])


def min_gru(k: Kit, h: Any) -> Any:
    z, n = k.x
    h = h + z * (n - h)
    return h, h


PRODUCTS = {  # cells with products of the states
    "LSTM peephole": Cell(("i f g o",), peephole),
    "LayerNormLSTM": Cell(("i f g o",), layer_norm, apart=("i f g o",), before=layer_norm_before),
    "MultiplicativeLSTM": Cell(("m", "i f g o"), multiplicative, apart=("m",)),
    "SLSTM": Cell(("i f z o",), slstm),
    "TLSTM": Cell(("i f g o", "d"), tlstm, apart=("d",), before=tlstm_before),
    "MGU": Cell(("f", "n"), mgu),
    "LEM": Cell(("s t z", "h"), lem),
    "CfC": Cell(("b", "f g s t"), cfc, apart=("f g s t",)),
}
MEMORY = {  # cells without: what limits them is how fast memory is read and written
    "IndRNN": Cell(("a",), ind_rnn),
    "SRU": Cell(("n", "f", "r", "s"), sru),
    "MinGRU": Cell(("z", "n"), min_gru, before=min_gru_before),
}
STEPS = {**PRODUCTS, **MEMORY}
