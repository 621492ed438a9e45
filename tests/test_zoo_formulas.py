"""Every formula of the zoo on float64 arrays (`rnnfast.reference.run`) and in the kernels, against PyTorch's own layers, or
against the cell written once more in PyTorch, in this file's words; gradients against those of PyTorch's autograd."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from formula_layers import layer
from stacks import as_argument, as_tuple

from rnnfast import reference, zoo
from rnnfast.formula.evaluate import evaluate
from rnnfast.formula.graph import NUMBER
from rnnfast.formula.tracing import trace
from rnnfast.proof.prove import error

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

T, B, I, H = 7, 4, 3, 5
s, tanh, relu = torch.sigmoid, torch.tanh, torch.relu


def tensor(a):
    return torch.from_numpy(np.asarray(a, np.float64))


class Sums:
    """One layer: p.x("i") = W_i x + b_i; p.u("i", v) = U_i v + b_i; p.a("i") = both, of the first state; p.v.name: a vector.
    x_order, u_order: the gates in the order of their blocks, stated by each test."""

    def __init__(self, net, x_order, u_order):
        self.params = {name.removesuffix("_l0"): tensor(a) for name, a in net.params.items()}
        self.v = SimpleNamespace(**self.params)
        self.x_order, self.u_order = x_order.split(), u_order.split()
        assert self.params.get("weight_ih", torch.empty(0)).shape[0] == H * len(self.x_order)
        assert self.params.get("weight_hh", torch.empty(0)).shape[0] == H * len(self.u_order)

    def block(self, kind, order, gate, v):
        at = slice(order.index(gate) * H, (order.index(gate) + 1) * H)
        return torch.nn.functional.linear(v, self.params[f"weight_{kind}"][at], self.params[f"bias_{kind}"][at])

    def x(self, gate):
        return self.block("ih", self.x_order, gate, self.now)

    def u(self, gate, v):
        return self.block("hh", self.u_order, gate, v)

    def a(self, gate):
        return self.x(gate) + self.u(gate, self.first)


def compare(cell, step, x_order, u_order=None, states=1, inputs=None, draws=None, scale=1.0, **options):
    """step(p, t, *states) returns y and the new states; t has the inputs and draws of the step. inputs: shapes by name; draws:
    a callable of a generator that returns arrays by name; scale: of x."""
    rng = np.random.default_rng(7)
    net = layer(cell, I, H, **options)
    p = Sums(net, x_order, x_order if u_order is None else u_order)
    x = scale * rng.standard_normal((T, B, I))
    given = {name: rng.uniform(0.1, 2, shape) for name, shape in (inputs or {}).items()}
    random = draws(rng) if draws else {}
    begin = [rng.standard_normal((1, B, H)) for _ in range(states)]
    found, final = reference.run(net, x, as_argument(begin), inputs=given, draws=random, training=bool(draws))
    leaves = {"x": tensor(x)} | {f"state {i}": tensor(a) for i, a in enumerate(begin)}
    leaves |= {name: tensor(a) for name, a in given.items()} | {name: p.params[name.removesuffix("_l0")] for name in net.params}
    for leaf in leaves.values():
        leaf.requires_grad_()
    state, y = [leaves[f"state {i}"][0] for i in range(states)], []
    for t in range(T):
        p.now, p.first = leaves["x"][t], state[0]
        at_t = {name: leaves[name][t] if a.ndim == 3 else leaves[name][t][:, None] for name, a in given.items()}
        at_t |= {name: tensor(a[t] if a.ndim == 3 else a) for name, a in random.items()}
        one, *state = step(p, at_t, *state)
        y.append(one)
    expected = [torch.stack(y), *state]
    assert expected[0].abs().max() > 0.1  # it computes something
    as_list = lambda y, final: [y, *(a[0] for a in (final if states > 1 else (final,)))]  # noqa: E731
    for ours, theirs in zip(as_list(found, final), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    kernels = cell(I, H, dtype=np.float64, **options)
    kernels.load_params(net.params)
    arguments = {"inputs": given or None}
    if not draws:
        for ours, theirs in zip(as_list(*kernels(x, as_argument(begin), **arguments)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    if kernels._form.variant.draws and not draws:
        return  # inference has no gradients
    y, final, tape = kernels.record(x, as_argument(begin), **arguments, draws=random)
    for ours, theirs in zip(as_list(y, final), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    d = [rng.standard_normal(a.shape) for a in expected]
    theirs = torch.autograd.grad(expected, list(leaves.values()), list(map(tensor, d)), materialize_grads=True)
    g = tape.backward(d[0], as_argument([a[None] for a in d[1:]]))
    ours = {"x": g.x, **{f"state {i}": a for i, a in enumerate(as_tuple(g.state))}, **(g.inputs or {}), **g.params}
    for name, expected in zip(leaves, theirs, strict=True):
        assert error(ours[name], expected.numpy()) < 1e-9, name


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


# ---- LSTM and its relatives -----------------------------------------------------------------------------------------------
def lstm_step(i, f, g, o, c):
    c = f * c + i * g
    return o * tanh(c), c


def test_lstm_peephole_is_onnxs():
    """ONNX's formula: it = f(.. + Pi * Ct-1), ft = f(.. + Pf * Ct-1), ot = f(.. + Po * Ct), with clip on each sum."""

    def step(p, t, h, c):
        i = s((p.a("i") + p.v.p_i * c).clamp(-0.8, 0.8))
        f = s((p.a("f") + p.v.p_f * c).clamp(-0.8, 0.8))
        c = f * c + i * tanh(p.a("g").clamp(-0.8, 0.8))
        h = s((p.a("o") + p.v.p_o * c).clamp(-0.8, 0.8)) * tanh(c)
        return h, h, c

    compare(zoo.LSTM, step, "i f g o", states=2, peephole=True, clip=0.8)


def test_lstm_coupled_with_activations():
    def step(p, t, h, c):
        i = (p.a("i") / 6 + 0.5).clamp(0, 1)
        c = ((1 - i) * c + i * torch.nn.functional.softsign(p.a("g"))).clamp(-0.6, 0.6)
        h = (p.a("o") / 6 + 0.5).clamp(0, 1) * relu(c)
        return h, h, c

    options = {"activation": "softsign", "recurrent_activation": "hard_sigmoid", "cell_activation": "relu", "cell_clip": 0.6}
    compare(zoo.LSTM, step, "i g o", states=2, coupled=True, **options)


def masks(p, shape):
    return lambda rng: (rng.random(shape) >= p) / (1 - p)


def test_lstm_recurrent_dropout_is_keras():
    """The masks stay for the whole sequence, one per gate."""

    def step(p, t, h, c):
        i, f, g, o = (p.x(k) + p.u(k, h * t[f"m_{k}"]) for k in "ifgo")
        h, c = lstm_step(s(i), s(f), tanh(g), s(o), c)
        return h, h, c

    draw = masks(0.3, (B, H))
    compare(zoo.LSTM, step, "i f g o", states=2, draws=lambda r: {f"m_{k}": draw(r) for k in "ifgo"}, recurrent_dropout=0.3)


@pytest.mark.parametrize("training", [True, False])
def test_lstm_zoneout(training):
    def step(p, t, h, c):
        new_h, new_c = lstm_step(s(p.a("i")), s(p.a("f")), tanh(p.a("g")), s(p.a("o")), c)
        if training:
            h, c = torch.where(t["z_h"] > 0, h, new_h), torch.where(t["z_c"] > 0, c, new_c)
        else:
            h, c = 0.2 * h + 0.8 * new_h, 0.4 * c + 0.6 * new_c
        return h, h, c

    def draws(rng):
        return {name: (rng.random((T, B, H)) < p).astype(float) for name, p in (("z_h", 0.2), ("z_c", 0.4))}

    compare(zoo.LSTM, step, "i f g o", states=2, draws=draws if training else None, zoneout_h=0.2, zoneout_c=0.4)


@pytest.mark.parametrize("carry", [False, True])
def test_layer_norm_lstm(carry):
    """PyTorch's layer_norm over the 4 H sums."""

    def step(p, t, h, c):
        def normed(parts, gains):
            gain = torch.cat([getattr(p.v, f"{gains}_{k}") for k in "ifgo"])
            return torch.nn.functional.layer_norm(torch.cat(parts, -1), (4 * H,), gain, eps=1e-3)

        bias = torch.cat([getattr(p.v, f"b_{k}") for k in "ifgo"])
        a = normed([p.x(k) for k in "ifgo"], "gx") + normed([p.u(k, h) for k in "ifgo"], "gh") + bias
        i, f, g, o = a.chunk(4, -1)
        c = s(f) * c + s(i) * tanh(g)
        normal = torch.nn.functional.layer_norm(c, (H,), p.v.g_c, p.v.b_c, eps=1e-3)
        h = s(o) * tanh(normal)
        return h, h, (normal if carry else c)

    compare(zoo.LayerNormLSTM, step, "i f g o", states=2, carry_normalized=carry, eps=1e-3)


def test_janet():
    def step(p, t, h):
        a = p.a("f")
        h = s(a) * h + (1 - s(a - 0.7)) * tanh(p.a("g"))
        return h, h

    compare(zoo.JANET, step, "f g", beta=0.7)


def test_multiplicative_lstm():
    def step(p, t, h, c):
        m = p.x("m") * p.u("m", h)
        i, f, g, o = (p.x(k) + p.u(k, m) for k in "ifgo")
        h, c = lstm_step(s(i), s(f), tanh(g), s(o), c)
        return h, h, c

    compare(zoo.MultiplicativeLSTM, step, "m i f g o", states=2)


def test_slstm():
    """Without the stabiliser m: c and n grow freely, h is the same."""
    net, rng = layer(zoo.SLSTM, I, H), np.random.default_rng(3)
    p, x = Sums(net, "i f z o", "i f z o"), rng.standard_normal((T, B, I))
    y, (h_last, c_last, n_last, m_last) = reference.run(net, x)
    h = c = n = torch.zeros(B, H, dtype=torch.float64)
    for t in range(T):
        p.now, p.first = tensor(x[t]), h
        i, f = torch.exp(p.a("i")), s(p.a("f"))
        c, n, h = f * c + i * tanh(p.a("z")), f * n + i, s(p.a("o"))
        h = h * c / n
        np.testing.assert_allclose(y[t], h.numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(c_last[0] * np.exp(m_last[0]), c.numpy(), rtol=1e-12)
    np.testing.assert_allclose(n_last[0] * np.exp(m_last[0]), n.numpy(), rtol=1e-12)
    big = reference.run(net, 1e4 * x)[0]
    assert np.isfinite(big).all()  # what m is for


@pytest.mark.parametrize("decay", ["log", "inverse"])
@pytest.mark.parametrize("shape", [(T, B), (T, B, H)])
def test_time_lstm(decay, shape):
    def step(p, t, h, c):
        short = tanh(p.u("d", c))
        weight = 1 / torch.log(math.e + t["dt"]) if decay == "log" else 1 / t["dt"]
        h, c = lstm_step(s(p.a("i")), s(p.a("f")), tanh(p.a("g")), s(p.a("o")), (c - short) + short * weight)
        return h, h, c

    compare(zoo.TLSTM, step, "i f g o", "i f g o d", states=2, inputs={"dt": shape}, decay=decay)


@pytest.mark.parametrize("positive", [True, False])
def test_minimal_lstm_and_gru(positive):
    def g(v):
        return torch.where(v < 0, s(v), v + 0.5) if positive else v

    def lstm(p, t, h):
        f, i = s(p.x("f")), s(p.x("i"))
        h = f / (f + i) * h + i / (f + i) * g(p.x("n"))
        return h, h

    def gru(p, t, h):
        z = s(p.x("z"))
        h = (1 - z) * h + z * g(p.x("n"))
        return h, h

    compare(zoo.MinLSTM, lstm, "f i n", "", positive=positive)
    compare(zoo.MinGRU, gru, "z n", "", positive=positive)


def test_minimal_lstm_of_closed_gates():
    """f / (f + i) is no 0 / 0 where both sigmoids are 0."""
    net = layer(zoo.MinLSTM, 1, 1)
    net.params = {"weight_ih_l0": np.array([[-1.0], [-1.0], [0.0]]), "bias_ih_l0": np.array([0.0, 0.0, 2.0])}
    y, _ = reference.run(net, np.full((1, 1, 1), 2000.0), np.full((1, 1, 1), 1.0))
    np.testing.assert_allclose(y, 0.5 * 1 + 0.5 * 2.5)


# ---- GRU and its relatives ------------------------------------------------------------------------------------------------
def gru_step(r, z, n, h):
    return (1 - z) * n + z * h


@pytest.mark.parametrize("after", [True, False])
def test_gru_options(after):
    def step(p, t, h):
        m_r, m_z, m_n = (h * t[f"m_{k}"] for k in "rzn")
        r, z = (s((p.x(k) + p.u(k, m)).clamp(-0.9, 0.9)) for k, m in (("r", m_r), ("z", m_z)))
        a = p.x("n") + (r * p.u("n", m_n) if after else p.u("n", r * m_n))
        new = gru_step(r, z, torch.nn.functional.elu(a.clamp(-0.9, 0.9)), h)
        h = torch.where(t["z_h"] > 0, h, new)
        return h, h

    def draws(rng):
        draw = masks(0.25, (B, H))
        return {f"m_{k}": draw(rng) for k in "rzn"} | {"z_h": (rng.random((T, B, H)) < 0.3).astype(float)}

    options = {"activation": "elu", "clip": 0.9, "recurrent_dropout": 0.25, "zoneout": 0.3, "reset_after": after}
    compare(zoo.GRU, step, "r z n", draws=draws, **options)


@pytest.mark.parametrize("after", [True, False])
def test_gru_update_conventions(after):
    """Negating the parameters of z turns one into the other."""
    old = layer(zoo.GRU, I, H, 2, bidirectional=True, update="old", reset_after=after)
    new = layer(zoo.GRU, I, H, 2, bidirectional=True, update="new", reset_after=after)
    for name, a in old.params.items():
        turned = a.copy()
        turned[H : 2 * H] *= -1  # r z n
        new.params[name] = turned
    x = np.random.default_rng(4).standard_normal((T, B, I))
    np.testing.assert_allclose(reference.run(new, x)[0], reference.run(old, x)[0], rtol=1e-12, atol=1e-12)


def test_gru_is_the_built_in_one_with_the_reset_before():
    net, x = layer(zoo.GRU, I, H, reset_after=False), np.random.default_rng(5).standard_normal((T, B, I))
    expected, last = reference.gru(
        x, *(net.params[f"{k}_l0"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")), reset_after=False
    )
    y, state = reference.run(net, x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state[0], last, rtol=1e-12, atol=1e-12)


def test_layer_norm_gru():
    def step(p, t, h):
        def normed(parts, gains):
            gain = torch.cat([getattr(p.v, f"{gains}_{k}") for k in "rzn"])
            return torch.nn.functional.layer_norm(torch.cat(parts, -1), (3 * H,), gain).chunk(3, -1)

        x_r, x_z, x_n = normed([p.x(k) for k in "rzn"], "gx")
        h_r, h_z, h_n = normed([p.u(k, h) for k in "rzn"], "gh")
        r, z = s(x_r + h_r + p.v.b_r), s(x_z + h_z + p.v.b_z)
        h = gru_step(r, z, tanh(x_n + p.v.b_n + r * (h_n + p.v.b_h)), h)
        return h, h

    compare(zoo.LayerNormGRU, step, "r z n")


def test_mgu():
    def step(p, t, h):
        f = s(p.a("f"))
        h = (1 - f) * h + f * tanh(p.x("n") + p.u("n", f * h))
        return h, h

    compare(zoo.MGU, step, "f n")


def test_ligru():
    def step(p, t, h):
        z = s(p.a("z"))
        h = z * h + (1 - z) * relu(p.a("n"))
        return h, h

    compare(zoo.LiGRU, step, "z n")


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
