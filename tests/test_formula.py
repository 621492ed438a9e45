"""Formulas: traced, evaluated, derived, and what a step keeps for backward."""

import math

import numpy as np
import pytest
from formulas import Gates, gru, gru_before, lstm, mgu, simple_rnn

from rnnfast.formula import ops
from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import evaluate
from rnnfast.formula.graph import FULL, ROW, VECTOR
from rnnfast.formula.saved import minimal
from rnnfast.formula.symbols import Block, Trace

B, H = 3, 5
SHAPES = {FULL: (B, H), VECTOR: (H,), ROW: (B, 1)}


def peephole(xi, xf, xg, xo, c, p, q, r):
    i, f = ops.sigmoid(xi + p * c), ops.sigmoid(xf + q * c)
    c = f * c + i * np.tanh(xg)
    o = ops.sigmoid(xo + r * c)
    return o * np.tanh(c), c


def normed(a, gain, shift):
    return ops.layer_norm(a, gain, shift)


def leaky(a, v, dt):
    keep = np.exp(-abs(dt))
    return keep * v + (1 - keep) * np.tanh(a)


def every_operation(a, b):
    return (
        ops.softplus(a) + ops.log_sigmoid(b) + ops.elu(a) + ops.leaky_relu(b) + ops.softsign(a) + ops.relu(a - b)
        + ops.hard_sigmoid(b, 0.2, 0.5) + ops.hard_tanh(a * b) + np.maximum(a, b) * np.minimum(a, b) + np.sqrt(abs(a) + 1)
        + np.log1p(a * a) + np.expm1(b) * np.sin(a) + np.cos(b) + a**3 + (a * a + 1) ** -0.5 + ops.lerp(a, b, 0.3)
        + np.where((a > 0) & ~(b < a), a, b * b) - a / (2 + b * b) + (1 - a) * b + np.sign(a) * np.floor(b) + np.log(1 + b * b)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "axes"),
    [
        (peephole, [FULL] * 5 + [VECTOR] * 3),
        (normed, [FULL, VECTOR, VECTOR]),
        (leaky, [FULL, FULL, ROW]),
        (every_operation, [FULL, FULL]),
    ],
)
def test_derivatives(formula, axes):
    """The graph gives what the formula gives on arrays; gradients agree with central differences."""
    rng, trace = np.random.default_rng(0), Trace(formula)
    b = trace.builder
    leaves = [b.input("in", str(i), a) for i, a in enumerate(axes)]
    results = formula(*map(trace.symbol, leaves))
    results = [trace.node(r) for r in (results if isinstance(results, tuple) else (results,))]
    dys = [b.input("dy", str(i), FULL) for i in range(len(results))]
    gradients = backward(b, dict(zip(results, dys, strict=True)), trace.surrogates)
    values = {leaf: rng.standard_normal(SHAPES[a]) for leaf, a in zip(leaves, axes, strict=True)}
    given = {d: rng.standard_normal((B, H)) for d in dys} | {b.input("size", "1/H", (False, False)): 1 / H}

    def loss(values):
        found = evaluate(b, results, {**values, **given})
        return sum(float((found[r] * given[d]).sum()) for r, d in zip(results, dys, strict=True))

    direct = formula(*values.values())
    for one, r in zip(direct if isinstance(direct, tuple) else (direct,), results, strict=True):
        np.testing.assert_allclose(evaluate(b, [r], {**values, **given})[r], one, rtol=1e-12, atol=1e-12)
    for leaf, a in zip(leaves, axes, strict=True):
        found = np.broadcast_to(evaluate(b, [gradients[leaf]], {**values, **given})[gradients[leaf]], (B, H if a.units else 1))
        found = found if a.rows else found.sum(axis=0)
        numeric = np.empty(SHAPES[a])
        for at in np.ndindex(numeric.shape):
            moved = [{**values, leaf: values[leaf].copy()} for _ in range(2)]
            moved[0][leaf][at] += 1e-6
            moved[1][leaf][at] -= 1e-6
            numeric[at] = (loss(moved[0]) - loss(moved[1])) / 2e-6
        np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("formula", "gates", "states", "kept"),
    [
        (lstm, "ifgo", "hc", ["sigmoid", "sigmoid", "sigmoid", "tanh", "fma"]),
        (gru, "rzn", "h", ["product", "sigmoid", "sigmoid", "tanh"]),
        (gru_before, "rzn", "h", ["sigmoid", "sigmoid", "tanh"]),
        (simple_rnn, "a", "h", []),
        (mgu, "zn", "h", ["sigmoid", "tanh"]),
    ],
)
def test_what_is_kept(formula, gates, states, kept):
    """LSTM keeps i, f, g, o and c; GRU r, z, n and U_n h + b; GRU with the reset before r, z, n; SimpleRNN nothing but y."""
    trace, x, U = Trace(formula), Gates(), Gates()
    b = trace.builder
    for gate in gates:
        setattr(x, gate, trace.symbol(b.input("x", gate, FULL)))
        setattr(U, gate, Block(trace, gate))
    old = [b.input("state", s, FULL) for s in states]
    results = formula(x, U, *map(trace.symbol, old))
    new = [trace.node(r) for r in (results if isinstance(results, tuple) else (results,))]
    ours = len(b.nodes)
    gradients = backward(b, {n: b.input("d", s, FULL) for n, s in zip(new, states, strict=True)}, trace.surrogates)
    read, seen, stack = set(), set(), list(gradients.values())
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            (read.add(node) if node < ours else stack.extend(b.nodes[node].args))
    read |= {node.args[0] for node in b.nodes[:ours] if node.op == "product"}
    gone = {i for i, node in enumerate(b.nodes[:ours]) if node.op == "product" or node.what in [("x", g) for g in gates]}
    found = minimal(b, gone, read, {old[0], new[0]}, dict(zip(new[1:], old[1:], strict=True)))
    assert sorted(b.nodes[node].op for node in found) == sorted(kept)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda a, b: a if a > b else b, "expected no decision on a value"),
        (lambda a, b: max(a, b), "expected no decision on a value"),
        (lambda a, b: a > 0 and b > 0, "expected no decision on a value"),
        (lambda a, b: math.tanh(a), "expected NumPy's functions"),
        (lambda a, b: a == b, "==, !="),
        (lambda a, b: a % 2, "//, %"),
        (lambda a, b: a**b, "expected a number n"),
        (lambda a, b: np.mean(a), "ops.mean"),
        (lambda a, b: np.sinh(a), "np.sinh: expected one of"),
        (lambda a, b: a + np.ones(3), "got an array of shape"),
        (lambda a, b: a & b, "expected comparisons"),
        (lambda a, b: a @ b, "expected a block of U"),
        (lambda a, b: sum(a), "no loop over a value"),
        (lambda a, b: a + "1", "got str"),
    ],
)
def test_errors(formula, text):
    """Each names the file and line of the formula."""
    trace = Trace(formula)
    line = formula.__code__.co_firstlineno
    with pytest.raises(TypeError, match=rf"^.*test_formula\.py:{line}: .*{text.replace('*', '.')}"):
        formula(*[trace.symbol(trace.builder.input("in", name, FULL)) for name in "ab"])
