"""Plans of formulas, run by a simulator: values against the formula on arrays, gradients against finite differences."""

import numpy as np
import pytest
from formulas import FORMULAS, of, trace
from simulate import Data, Simulation

from rnnfast.formula import ops
from rnnfast.formula.plan import plan

T, B, H = 3, 2, 3


class Numbers:
    """x or U of a formula on arrays."""


class Block:
    def __init__(self, w, bias):
        self.w, self.bias = w, bias

    def __matmul__(self, v):
        return v @ self.w.T + self.bias


class Replay:
    """stop_gradient and step of a run near another one, whose values they take: what finite differences need."""

    def __init__(self, base=None):
        self.base, self.calls = base, []

    def next(self, value):
        self.calls.append(np.array(value))
        return None if self.base is None else self.base.calls[len(self.calls) - 1]

    def stop_gradient(self, v):
        known = self.next(v)
        return v if known is None else known

    def step(self, u, surrogate):
        known = self.next(u)
        base = u if known is None else known
        return np.where(base > 0, 1.0, 0.0) + surrogate(base) * (u - base)


def reference(formula, data, replay, monkeypatch):
    """y (T, B, H) and the states after the last step."""
    monkeypatch.setattr(ops, "stop_gradient", replay.stop_gradient)
    monkeypatch.setattr(ops, "step", replay.step)
    states, ys = dict(data.states), []
    for t in range(T):
        x, U = Numbers(), Numbers()
        for gate in formula["gates"].split():
            setattr(x, gate, data.projections[gate][t])
            setattr(U, gate, Block(data.w[gate], data.bias[gate]))
        at = {name: value[t] if value.ndim == 3 else value[t][:, None] for name, value in {**data.inputs, **data.draws}.items()}
        results = formula["formula"](x, U, **states, **data.vectors, **at)
        results = [np.broadcast_to(r, (B, H)) for r in (results if isinstance(results, tuple) else (results,))]
        ys.append(results[0])
        states = dict(zip(states, results[1:] if formula["output"] else results, strict=True))
    return np.array(ys), list(states.values())


def random_data(formula, rng):
    names = {key: formula[key].split() for key in ("gates", "states", "vectors", "inputs", "draws", "rows")}
    return Data(
        projections={gate: rng.standard_normal((T, B, H)) for gate in names["gates"]},
        w={gate: rng.standard_normal((H, H)) for gate in names["gates"]},
        bias={gate: rng.standard_normal(H) for gate in names["gates"]},
        states={name: rng.standard_normal((B, H)) for name in names["states"]},
        vectors={name: rng.standard_normal(H) for name in names["vectors"]},
        inputs={name: rng.standard_normal((T, B) if name in names["rows"] else (T, B, H)) for name in names["inputs"]},
        draws={name: rng.standard_normal((T, B, H)) for name in names["draws"]},
    )


def check(formula, data, monkeypatch, rtol=2e-6):
    """Everything of a formula."""
    rng, traced = np.random.default_rng(1), trace(**formula)
    base = Replay()
    y, states = reference(formula, data, base, monkeypatch)
    inference, training = plan(traced, False), plan(traced, True)
    ways = [(inference, False), *([(inference, True)] if inference.spec.ahead else []), (training, False)]
    for planned, hoists in ways:
        simulation = Simulation(planned, data, hoists)
        found, ends = simulation.forward()
        np.testing.assert_allclose(found, y, rtol=1e-9, atol=1e-9)
        for end, state in zip(ends, states, strict=True):
            np.testing.assert_allclose(end, state, rtol=1e-9, atol=1e-9)
    dy, dstates = rng.standard_normal((T, B, H)), [rng.standard_normal((B, H)) for _ in states]
    gradients = simulation.backward(dy, dstates)

    def loss():
        y, states = reference(formula, data, Replay(base), monkeypatch)
        return (y * dy).sum() + sum((d * s).sum() for d, s in zip(dstates, states, strict=True))

    for (kind, name), gradient in gradients.items():
        value = getattr(data, kind)[name]
        assert gradient.shape == value.shape
        if not np.isfinite(value).all():
            continue
        numeric = np.empty(value.shape)
        for at in np.ndindex(value.shape):
            kept, sides = value[at], []
            for move in (1e-5, -1e-5):
                value[at] = kept + move
                sides.append(loss())
            value[at] = kept
            numeric[at] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(gradient, numeric, rtol=rtol, atol=rtol, err_msg=f"{kind} {name}")


@pytest.mark.parametrize("name", FORMULAS)
def test_cells(name, monkeypatch):
    formula = FORMULAS[name]
    data = random_data(formula, np.random.default_rng(0))
    if name == "slstm":
        data.states["m"][...] = -np.inf
        data.states["n"][...] = data.states["c"][...] = 0
    check(formula, data, monkeypatch)


@pytest.mark.parametrize(
    ("name", "slots", "ih", "hh", "saves"),
    [
        ("lstm", 4, "ifgo", "ifgo", True),
        ("gru", 4, "nrz", "-rzn", True),
        ("gru_before", 4, "nrz", "nrz-", True),
        ("simple_rnn", 1, "a", "a", False),
    ],
)
def test_slots(name, slots, ih, hh, saves):
    """Those of the hand-written kernels."""
    found = plan(trace(**FORMULAS[name]), True)
    assert found.spec.slots == slots and found.spec.saves == saves
    assert "".join(found.x_gates[gate] for gate in found.spec.ih_of_slot) == ih
    assert "".join("-" if gate < 0 else found.h_gates[gate] for gate in found.spec.hh_of_slot) == hh


def test_runs():
    """Weight gradients of as many neighbours as there are, those of the same slots together."""
    found = plan(trace(**FORMULAS["gru"]), True).spec.weight_gradients
    assert [(run.of, run.slot, run.gate, run.gates) for run in found] == [("ih", 0, 2, 1), ("ih", 1, 0, 2), ("hh", 1, 0, 3)]


def test_text():
    """What people read names gates, states and vectors."""
    lstm, cfc = (str(plan(trace(**FORMULAS[name]), True)).splitlines() for name in ("lstm", "cfc"))
    assert "  slot.i = sigmoid(slot.i + sum.i)" in lstm
    assert "  c.after = slot.f * c.before + r0" in lstm
    assert "kept for backward: slot.i, slot.f, slot.g, slot.o; states h, c" in lstm
    assert "  vector.0 = softplus(w) * (1/H * total(w))" in cfc


def test_registers():
    """A formula with more values at work than there are registers is refused."""

    def wide(x, U, h):
        values, total = [np.sin(x.a * k) for k in range(2, 80)], 0
        for value in values:
            total = np.tanh(total + value)
        for value in values:
            total = np.cos(total * value)
        return total

    with pytest.raises(ValueError, match="expected at most 64 values at work at once"):
        plan(trace(**of(wide, "a", "h")), False)


FUNCTIONS = [
    np.tanh,
    ops.sigmoid,
    np.sin,
    ops.softplus,
    lambda a: a * a / (1 + a * a),
    lambda a: -a,
    lambda a: 1 - a,
    lambda a: ops.stop_gradient(a),
]
JOINS = [
    np.add,
    np.subtract,
    np.maximum,
    lambda a, b: a * np.tanh(b),
    lambda a, b: np.where(a < b, a, np.sin(b)),
    lambda a, b: a / (2 + b * b),
]


def random_formula(seed, output):
    """Anything: products of products, means of everything, states that move or stay."""

    def formula(x, U, h, c, s, p, q, dt, e, m):
        rng = np.random.default_rng(seed)
        products = list("abcdef")
        values = [h, c, s, p, q, dt, e, m] + [getattr(x, gate) for gate in "abcde"[: rng.integers(1, 6)]]
        for _ in range(rng.integers(4, 25)):
            kind = rng.integers(10)
            v, w = (values[-1 - min(int(rng.exponential(5)), len(values) - 1)] for _ in range(2))
            if kind < 2 and products:
                v = v + h if rng.integers(2) else (h, c, e)[rng.integers(3)]
                values.append(getattr(U, products.pop()) @ (0.5 * v if rng.integers(2) else v))
            elif kind == 2:
                values.append(ops.mean(v + h * 0.3))
            elif kind < 6:
                values.append(FUNCTIONS[rng.integers(len(FUNCTIONS))](v))
            else:
                values.append(JOINS[rng.integers(len(JOINS))](v, w))
        ends = [values[-1], *(values[-1 - rng.integers(4)] for _ in range(2 + output))]
        if rng.integers(3) == 0:
            ends[rng.integers(1, 3)] = (h, c, x.a, x.b * h, dt, e, p)[rng.integers(7)]
        return tuple(np.tanh(end) if rng.integers(4) else end for end in ends)

    return formula


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("output", [False, True])
def test_random_formulas(seed, output):
    formula = of(
        random_formula(seed, output), "a b c d e f", "h c s", vectors="p q", inputs="dt e", rows="dt", draws="m", output=output
    )
    with pytest.MonkeyPatch.context() as patch:
        check(formula, random_data(formula, np.random.default_rng(seed)), patch, rtol=1e-4)
