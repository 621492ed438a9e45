"""LSTM, GRU and their relatives in the zoo, against PyTorch; see test_zoo_formulas.py."""

import math

import numpy as np
import pytest
from formula_layers import layer
from zoo_in_torch import B, H, I, Sums, T, compare, relu, s, tanh, tensor, torch

from rnnfast import reference, zoo


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
