"""Every formula of the zoo on float64 arrays (`rnnfast.reference.run`) and in the kernels, against PyTorch's own layers, or
against the cell written once more in PyTorch, in this file's words; gradients against those of PyTorch's autograd."""

import math

import numpy as np
import pytest
from formula_layers import layer
from zoo_in_torch import B, H, I, T, compare, relu, s, tanh, tensor, torch

from rnnfast import reference, zoo
from rnnfast.formula.evaluate import evaluate
from rnnfast.formula.graph import NUMBER
from rnnfast.formula.tracing import trace


# ---- PyTorch's own layers -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_plain_options_are_pytorchs_layers(name, bias):
    """Two layers, two directions, lengths, batch first, initial states: the parameters go over by name."""
    ours = layer(zoo.SimpleRNN if name == "RNN" else zoo.CELLS[name], I, H, 2, bidirectional=True, bias=bias, batch_first=True)
    theirs = getattr(torch.nn, name)(I, H, 2, bidirectional=True, bias=bias, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({key: tensor(a) for key, a in ours.params.items()})
    rng, lengths = np.random.default_rng(1), [7, 2, 5, 1]
    x, state = rng.standard_normal((B, T, I)), [rng.standard_normal((4, B, H)) for _ in range(1 + (name == "LSTM"))]
    begin = tuple(state) if name == "LSTM" else state[0]
    packed = torch.nn.utils.rnn.pack_padded_sequence(tensor(x), lengths, batch_first=True, enforce_sorted=False)
    expected, last = theirs(packed, tuple(map(tensor, state)) if name == "LSTM" else tensor(state[0]))
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True, total_length=T)
    y, final = reference.run(ours, x, begin, lengths=lengths)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    for a, e in zip(final if name == "LSTM" else (final,), last if name == "LSTM" else (last,), strict=True):
        np.testing.assert_allclose(a, e.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_unbatched_and_empty():
    """(T, I) is one sample; at T = 0 and length 0 the initial values come out."""
    net, rng = layer(zoo.SLSTM, I, H, 2, bidirectional=True), np.random.default_rng(2)
    x = rng.standard_normal((T, I))
    y, state = reference.run(net, x)
    batched, states = reference.run(net, x[:, None])
    np.testing.assert_array_equal(y, batched[:, 0])
    np.testing.assert_array_equal(state, np.asarray(states)[:, :, 0])
    for none in (reference.run(net, x[:0, None])[1], reference.run(net, x[:, None], lengths=[0])[1]):
        assert [a.shape for a in none] == [(4, 1, H)] * 4 and (none[3] == -np.inf).all() and not np.any(none[:3])


# ---- without gates --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, tanh),
        ({"activation": "sigmoid"}, s),
        ({"activation": "relu"}, relu),
        ({"activation": "identity"}, lambda v: v),
        ({"activation": "linear"}, lambda v: v),
        ({"activation": "softsign"}, torch.nn.functional.softsign),
        ({"activation": "softplus"}, torch.nn.functional.softplus),
        ({"activation": "elu"}, torch.nn.functional.elu),
        ({"activation": "elu", "alpha": 0.4}, lambda v: torch.nn.functional.elu(v, 0.4)),
        ({"activation": "leaky_relu"}, torch.nn.functional.leaky_relu),
        ({"activation": "leaky_relu", "alpha": 0.2}, lambda v: torch.nn.functional.leaky_relu(v, 0.2)),
        ({"activation": "hard_tanh"}, torch.nn.functional.hardtanh),
        ({"activation": "hard_tanh", "alpha": -0.2, "beta": 0.5}, lambda v: torch.nn.functional.hardtanh(v, -0.2, 0.5)),
        ({"activation": "hard_sigmoid"}, lambda v: (v / 6 + 0.5).clamp(0, 1)),  # hardsigmoid's own slope is a float32 1/6
        ({"activation": "hard_sigmoid", "alpha": 0.2, "beta": 0.5}, lambda v: (0.2 * v + 0.5).clamp(0, 1)),
    ],
)
def test_simple_rnn(options, expected):
    def step(p, t, h):
        h = expected(p.a("a"))
        return h, h

    compare(zoo.SimpleRNN, step, "a", scale=0.5, **options)


def test_every_activation_is_compared():
    options = test_simple_rnn.pytestmark[0].args[1]
    assert {o.get("activation", "tanh") for o, _ in options} == set(zoo.ACTIVATIONS)


def test_parameters_that_an_activation_lacks():
    with pytest.raises(ValueError, match="alpha, beta: expected at most 0 parameters for activation 'tanh'"):
        layer(zoo.SimpleRNN, I, H, alpha=0.5)
    with pytest.raises(ValueError, match="activation: expected one of 'tanh', .*, got 'tan'"):
        layer(zoo.SimpleRNN, I, H, activation="tan")


def test_sru():
    def step(p, t, c):
        f, r = s(p.x("f") + p.v.v_f * c), s(p.x("r") + p.v.v_r * c)
        c = f * c + (1 - f) * p.x("n")
        return r * tanh(c) + (1 - r) * p.x("s"), c

    compare(zoo.SRU, step, "n f r s", "", activation="tanh")


def test_indrnn():
    def step(p, t, h):
        h = relu(p.x("a") + p.v.u * h)
        return h, h

    compare(zoo.IndRNN, step, "a", "")


# ---- differential equations -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("form", ["rate", "voltage"])
def test_leaky_rnn(form, noise):
    def step(p, t, v):
        drive = relu(p.a("a")) if form == "rate" else p.x("a") + p.u("a", relu(v))
        v = 0.9 * v + 0.1 * drive
        if noise:
            v = v + noise * math.sqrt(0.2) * t["xi"]
        return (v if form == "rate" else relu(v)), v

    draws = (lambda rng: {"xi": rng.standard_normal((T, B, H))}) if noise else None
    compare(zoo.LeakyRNN, step, "a", draws=draws, form=form, alpha=0.1, noise=noise, activation="relu")


@pytest.mark.parametrize("implicit", [False, True])
def test_cornn(implicit):
    def step(p, t, h, z):
        a = tanh(p.x("a") + p.u("a", h) + p.u("b", z)) - 1.5 * h
        z = (z + 0.3 * a) / (1 + 0.3 * 2.0) if implicit else z + 0.3 * (a - 2.0 * z)
        h = h + 0.3 * z
        return h, h, z

    compare(zoo.CoRNN, step, "a", "a b", states=2, dt=0.3, gamma=1.5, epsilon=2.0, implicit=implicit)


def test_lem():
    def step(p, t, h, z):
        one, two = 0.5 * s(p.a("s")), 0.5 * s(p.a("t"))
        z = (1 - one) * z + one * tanh(p.a("z"))
        h = (1 - two) * h + two * tanh(p.x("h") + p.u("h", z))
        return h, h, z

    compare(zoo.LEM, step, "s t z h", states=2, dt=0.5)


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("shape", [(T, B), (T, B, H)])
def test_cfc(mode, shape):
    def step(p, t, h):
        b = 1.7159 * tanh(0.666 * p.a("b"))
        if mode == "pure":
            f = p.u("f", b)
            h = -p.v.A * torch.exp(-t["dt"] * (p.v.w.abs() + f.abs())) * f + p.v.A
            return h, h
        f, g, gate = tanh(p.u("f", b)), tanh(p.u("g", b)), s(p.u("s", b) * t["dt"] + p.u("t", b))
        h = f + gate * g if mode == "no_gate" else f * (1 - gate) + gate * g
        return h, h

    compare(zoo.CfC, step, "b", "b f" if mode == "pure" else "b f g s t", inputs={"dt": shape}, mode=mode)


# ---- spiking --------------------------------------------------------------------------------------------------------------
class Spike(torch.autograd.Function):
    """1 where u > 0, whose gradient is slope(u)."""

    @staticmethod
    def forward(ctx, u, slope):
        ctx.slope = slope(u)
        return (u > 0).double()

    @staticmethod
    def backward(ctx, d):
        return d * ctx.slope, None


SLOPES = {
    "atan": lambda u: 1 / (1 + (math.pi * u) ** 2),
    "fast_sigmoid": lambda u: 1 / (1 + 25 * u.abs()) ** 2,
    "sigmoid": lambda u: 25 * s(25 * u) * (1 - s(25 * u)),
    "triangular": lambda u: 0.3 * relu(1 - u.abs()),
}


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_lif(reset, surrogate):
    def step(p, t, spikes, v):
        fired = (v - 0.6 > 0).double()
        base = 0.8 * v + p.x("a") + p.u("a", spikes)
        v = base - fired * 0.6 if reset == "subtract" else base - fired * base
        spikes = Spike.apply(v - 0.6, SLOPES[surrogate])
        return spikes, spikes, v

    compare(zoo.LIF, step, "a", states=2, decay=0.8, threshold=0.6, reset=reset, surrogate=surrogate)


@pytest.mark.parametrize("surrogate", SLOPES)
def test_alif(surrogate):
    def step(p, t, spikes, v, a):
        v, a = 0.8 * v + p.a("a") - 0.6 * spikes.detach(), 0.9 * a + spikes
        spikes = Spike.apply((v - 0.6 - 0.5 * a) / 0.6, SLOPES[surrogate])
        return spikes, spikes, v, a

    options = {"decay": 0.8, "threshold": 0.6, "adaptation_decay": 0.9, "adaptation": 0.5, "surrogate": surrogate}
    compare(zoo.ALIF, step, "a", states=3, **options)


@pytest.mark.parametrize("name", zoo.SURROGATES)
def test_surrogates_are_slopes(name):
    """Each is even, largest at 0, and nowhere negative."""
    u = np.linspace(-2, 2, 401)
    slope = zoo.SURROGATES[name](u)
    np.testing.assert_allclose(slope, slope[::-1], rtol=1e-9)
    assert slope.argmax() == 200 and (slope >= 0).all() and slope.max() > 0.1


# ---- the traced formula ---------------------------------------------------------------------------------------------------
OPTIONS = {
    "LSTM": [
        {"peephole": True, "clip": 2.0, "zoneout_c": 0.3},
        {"coupled": True, "activation": "elu", "recurrent_dropout": 0.2},
    ],
    "GRU": [{"reset_after": False, "zoneout": 0.2}, {"update": "new", "recurrent_activation": "hard_sigmoid"}],
    "SimpleRNN": [{"activation": name} for name in zoo.ACTIVATIONS],
    "LayerNormLSTM": [{"carry_normalized": True}],
    "TLSTM": [{"decay": "inverse"}],
    "LeakyRNN": [{"form": "voltage", "noise": 0.5}],
    "CoRNN": [{"implicit": True}],
    "CfC": [{"mode": "no_gate"}, {"mode": "pure"}],
    "LIF": [{"reset": "zero"}],
}


@pytest.mark.parametrize(("name", "options"), [(name, o) for name in zoo.CELLS for o in [{}, *OPTIONS.get(name, [])]])
def test_the_graph_computes_the_formula(name, options):
    """One step at inference: the traced graph on arrays, products by hand, against the reference."""
    net, rng = layer(zoo.CELLS[name], I, H, **options), np.random.default_rng(6)
    d = net.declaration
    x, dt = rng.standard_normal((1, B, I)), rng.uniform(0.1, 2, (1, B))
    states = [rng.uniform(0.1, 1, (1, B, H)) for _ in d.states_of(net.options)]
    traced = trace(d, options, training=False, row_inputs=d.inputs)
    b, params = traced.builder, {key.removesuffix("_l0"): a for key, a in net.params.items()}
    sums = np.split(x[0] @ params["weight_ih"].T + params["bias_ih"], len(traced.x_gates), axis=1)
    values = dict(zip(traced.x_gates.values(), sums, strict=True)) | {b.input("size", "1/H", NUMBER): 1 / H}
    values |= {node: a[0] for node, a in zip(traced.states.values(), states, strict=True)}
    values |= {node: params[key] for key, node in traced.vectors.items()} | dict.fromkeys(
        traced.inputs.values(), dt[0][:, None]
    )
    blocks = {gate: slice(i * H, (i + 1) * H) for i, gate in enumerate(traced.products)}
    for gate, product in sorted(traced.products.items(), key=lambda item: item[1]):  # operands come after what they are made of
        (v,) = b.nodes[product].args
        values[product] = evaluate(b, [v], values)[v] @ params["weight_hh"][blocks[gate]].T + params["bias_hh"][blocks[gate]]
    inputs = dict.fromkeys(d.inputs, dt)
    y, final = reference.run(net, x, tuple(states) if len(states) > 1 else states[0], inputs=inputs)
    first = traced.new[0] if traced.output is None else traced.output
    found = evaluate(b, [first, *traced.new], values)
    np.testing.assert_allclose(found[first], y[0], rtol=1e-12, atol=1e-12)
    for node, a in zip(traced.new, final if len(states) > 1 else (final,), strict=True):
        np.testing.assert_allclose(found[node], a[0], rtol=1e-12, atol=1e-12)
