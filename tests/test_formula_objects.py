"""Layers of formulas as objects: options, attributes, parameters, draws, interrupts; and what check_cell says."""

import inspect
import re

import numpy as np
import pytest
from formula_cells import data, differing, make
from stacks import same
from test_interrupt import interrupt, split  # noqa: F401

import rnnfast
from rnnfast import ops, zoo


# ---- options ------------------------------------------------------------------------------------------------------------
@rnnfast.cell(gates="a", states="h")
def Optional(x, U, h, *, number=1.5, whole=2, flag=False, name="tanh", maybe=None):
    """What it is for."""
    new = getattr(np, name)(number * x.a + U.a @ h) * whole
    return new if maybe is None else new + maybe * h * flag


def test_options():
    net = Optional(3, 4, number=2, maybe=1)
    assert net.number == 2.0 and type(net.number) is float and net.maybe == 1 and net.whole == 2
    assert dict(net.options) == {"number": 2.0, "whole": 2, "flag": False, "name": "tanh", "maybe": 1}
    assert (
        repr(net) == "Optional(3, 4, number=2.0, maybe=1)" and repr(Optional(3, 4, bias=False)) == "Optional(3, 4, bias=False)"
    )
    assert repr(net.freeze()) == repr(net) + ".freeze()"
    with pytest.raises(TypeError):
        net.options["number"] = 3
    x = np.ones((2, 1, 3), np.float32)
    assert same(Optional(3, 4, number=2, rng=0)(x), Optional(3, 4, number=2.0, rng=0)(x))
    for wrong, text in (
        ({"other": 1}, "other"),
        ({"number": "1"}, "number: expected"),
        ({"number": None}, "number: expected"),
        ({"whole": 1.5}, "whole: expected"),
        ({"flag": 1}, "flag: expected"),
        ({"name": 3}, "name: expected"),
        ({"maybe": [1]}, "maybe: expected"),
        ({"number": True}, "number: expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            Optional(3, 4, **wrong)


def test_the_class_is_what_a_user_expects():
    assert Optional.__name__ == "Optional" and Optional.__doc__ == "What it is for." and Optional.__module__ == __name__
    assert issubclass(Optional, rnnfast.declared.FormulaLayer)
    names = list(inspect.signature(Optional).parameters)
    assert names[:3] == ["input_size", "hidden_size", "num_layers"]
    assert set(names) >= {"number", "whole", "flag", "name", "maybe", "bias", "dropout", "rng", "dtype", "bidirectional"}
    assert inspect.signature(Optional).parameters["number"].default == 1.5
    assert Optional.formula(type("x", (), {"a": np.ones(2)}), type("U", (), {"a": np.eye(2)}), np.ones(2)).shape == (2,)
    assert "multiply" in str(Optional.plan(number=2)).lower()


def test_plan_of_inference_and_of_inputs_of_one_number_a_row():
    cls = rnnfast.zoo.CfC
    rows, full = str(cls.plan(["dt"])), str(cls.plan())
    assert "total(" in rows and "total(" not in full  # the gradient of a number a row is a sum over units
    assert "backward" in full and "backward, phase" not in str(cls.plan("dt", training=False))
    with pytest.raises(ValueError, match="row_inputs: expected inputs of the cell, dt, got 'tau'"):
        cls.plan(["tau"])
    with pytest.raises(TypeError, match="training"):
        cls.plan(training=1)


@pytest.mark.parametrize("frozen", [False, True])
def test_attributes_are_protected(frozen):
    net = Optional(3, 4, number=2)
    net = net.freeze() if frozen else net
    for name in ("number", "maybe", "hidden_size", "num_layers", "dtype", "cell", "rng", "params"):
        before = getattr(net, name)
        with pytest.raises(AttributeError):
            setattr(net, name, 1)
        with pytest.raises(AttributeError):
            delattr(net, name)
        assert getattr(net, name) is before or getattr(net, name) == before


def test_wrong_sizes_of_live_parameters():
    net = make("LSTM", peephole=True)
    net._params["p_i_l0"] = np.zeros(3)
    with pytest.raises((TypeError, ValueError), match="p_i_l0: expected"):
        net(np.zeros((2, 1, 3)))


# ---- parameters ---------------------------------------------------------------------------------------------------------
def test_parameters():
    """Names, shapes, initial values."""
    net = make("LSTM", peephole=True, num_layers=2, bidirectional=True, H=5)
    assert list(net.params)[:7] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "p_i_l0", "p_f_l0", "p_o_l0"]
    assert net.params["p_o_l1_reverse"].shape == (5,) and net.params["weight_ih_l1"].shape == (20, 10)
    assert all(abs(a).max() <= 1 / np.sqrt(5) for a in net.params.values())
    bare = make("LSTM", peephole=True, bias=False, H=5)
    assert list(bare.params) == ["weight_ih_l0", "weight_hh_l0", "p_i_l0", "p_f_l0", "p_o_l0"]
    none = make("SRU", H=5)
    assert list(none.params) == ["weight_ih_l0", "bias_ih_l0", "v_f_l0", "v_r_l0"]
    cfc = make("CfC", H=5)
    assert cfc.params["weight_ih_l0"].shape == (5, 3) and cfc.params["weight_hh_l0"].shape == (25, 5)

    @rnnfast.cell(
        gates="a b", states="h", vectors="p q",
        init={"p": 2.0, "bias_ih.b": 1.0, "weight_hh": lambda rng, shape: np.eye(*shape) + 0 * rng.random(shape)},
    )  # fmt: skip
    def Initial(x, U, h, p, q):
        return p * np.tanh(x.a + U.b @ h) + q * x.b

    one = Initial(3, 4, num_layers=2, bidirectional=True, rng=0)
    for place in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert (one.params[f"p_{place}"] == 2).all() and abs(one.params[f"q_{place}"]).max() <= 0.5
        assert (one.params[f"bias_ih_{place}"][4:] == 1).all() and (one.params[f"bias_ih_{place}"][:4] != 1).all()
        assert same(one.params[f"weight_hh_{place}"], np.eye(4, dtype=np.float32))
    assert same(tuple(Initial(3, 4, rng=3).params.values()), tuple(Initial(3, 4, rng=3).params.values()))


def test_load_params_in_another_gate_order():
    for name, order, options in (("LSTM", "i o f g", {}), ("LSTM", "o g i", {"coupled": True}), ("GRU", "z r n", {})):
        net, again = make(name, **options), make(name, rng=5, **options)
        gates, places = list(net._form.variant.gates), order.split()
        blocks = {k: v.reshape(len(gates), -1) for k, v in net.params.items()}
        turned = {k: np.concatenate([v[gates.index(g)] for g in places]) for k, v in blocks.items()}
        again.load_params({k: v.reshape(net.params[k].shape) for k, v in turned.items()}, gate_order=order)
        assert same(tuple(again.params.values()), tuple(net.params.values()))
        with pytest.raises(ValueError, match="gate_order: expected"):
            net.load_params(net.params, gate_order=order + " x")


@pytest.mark.parametrize("name", ["LSTM", "SRU", "TLSTM", "CfC"])
def test_gate_orders_of_uneven_cells(name):
    """Vectors have no blocks; sides that lack gates have the others, in the order given."""
    options = {"peephole": True} if name == "LSTM" else {}
    net, again = make(name, H=4, **options), make(name, H=4, rng=5, **options)
    variant = net._form.variant
    order = variant.gates[::-1]
    given = {}
    for key, value in net.params.items():
        own = variant.x_gates if key[-5:] == "ih_l0" else variant.h_gates if key[-5:] == "hh_l0" else None
        blocks = {} if own is None else dict(zip(own, value.reshape(len(own), -1), strict=True))
        turned = [blocks[gate] for gate in order if gate in blocks]
        given[key] = np.concatenate(turned).reshape(value.shape) if turned else value
    again.load_params(given, gate_order=" ".join(order))
    for key, value in net.params.items():
        assert same(again.params[key], value), key


# ---- draws --------------------------------------------------------------------------------------------------------------
DRAWS = {
    "m": ("dropout", "sequence", "p"),
    "k": ("dropout", "step", "p"),
    "z": ("bernoulli", "step", "q"),
    "w": ("bernoulli", "sequence", "q"),
    "xi": ("normal", "step"),
    "eta": ("normal", "sequence"),
}


@rnnfast.cell(gates="a", states="m_ k_ z_ w_ xi_ eta_", draws=DRAWS)
def Shown(x, U, m_, k_, z_, w_, xi_, eta_, m, k, z, w, xi, eta, *, p=0.25, q=0.125):
    """Its states are its draws."""
    none = 0 * (x.a + U.a @ m_)
    return m + none, k + none, z + none, w + none, xi + none, eta + none


def test_statistics_of_draws():
    """Kinds, probabilities, what is drawn once; independent of each other, of the layer and of the direction."""
    net = Shown(2, 50, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    x = np.zeros((200, 40, 2))
    y, final, _ = net.record(x, rng=3)
    m, k, z, w, xi, eta = final
    for drop in (m, k):
        assert set(np.unique(drop)) == {0, 4 / 3} and abs((drop > 0).mean() - 0.75) < 0.02
    for keep in (z, w):
        assert set(np.unique(keep)) == {0, 1} and abs(keep.mean() - 0.125) < 0.015
    for normal in (xi, eta):
        assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    y = y.reshape(200, 40, 2, 50)
    assert (y == y[0]).all()  # one mask for a sequence
    for value in final:
        flat = value.reshape(4, -1)
        assert all((flat[i] != flat[j]).any() for i in range(4) for j in range(i))


def test_per_step_draws_differ_from_step_to_step():
    @rnnfast.cell(gates="a", states="h", draws={"xi": ("normal", "step"), "k": ("dropout", "step", "p")}, output="r")
    def Noise(x, U, h, xi, k, *, p=0.5):
        return xi * k + 0 * x.a, h

    net = Noise(2, 30, bidirectional=True, dtype=np.float64, rng=0)
    y, _, _ = net.record(np.zeros((50, 20, 2)), rng=1)
    assert len(np.unique(y)) > 0.45 * y.size and abs((y == 0).mean() - 0.5) < 0.02
    assert abs(y.std() - np.sqrt(2)) < 0.05  # E[xi^2 k^2] = 1/p


def test_the_same_rng_draws_the_same():
    for name, options in (("LSTM", {"zoneout_h": 0.3, "recurrent_dropout": 0.2}), ("LeakyRNN", {"noise": 0.5})):
        net = make(name, num_layers=3, dropout=0.4, bidirectional=True, **options)
        d = data(net)
        results = [d.train(net, draws=None, rng=rng) for rng in (1, 1, np.random.default_rng(1), 2)]
        assert not differing(results[0], results[1]) and not differing(results[0], results[2])
        assert differing(results[0], results[3])
        assert differing(d.train(net, draws=None), d.train(net, draws=None))
        by_hand = d.train(net, rng=1)
        assert not differing(by_hand, d.train(net, rng=1))
        if not options.get("noise"):
            part = {k: v for k, v in d.draws.items() if k != "m_i"}
            assert differing(by_hand, d.train(net, draws=part, rng=1)) != []


def test_draws_are_their_means_at_inference():
    net = make("LSTM", zoneout_h=0.3, recurrent_dropout=0.2)
    plain = make("LSTM")
    d = data(net)
    half = make("LSTM", zoneout_h=0.0, zoneout_c=0.0, recurrent_dropout=0.0)
    assert same(half(d.x), plain(d.x)) and not half._form.variant.draws
    kept = rnnfast.reference.run(net, d.x)[0]
    np.testing.assert_allclose(net(d.x)[0], kept, rtol=1e-12, atol=1e-14)
    y, _, _ = net.record(d.x, draws={k: np.full(v.shape[1:], 0.3 if k == "z_h" else 1.0) for k, v in d.draws.items()})
    np.testing.assert_allclose(net(d.x)[0], y, rtol=1e-12, atol=1e-14)


def test_shapes_of_draws():
    both = make("LeakyRNN", np.float32, noise=0.5, num_layers=2, bidirectional=True)
    one = make("LSTM", np.float32, recurrent_dropout=0.5)
    x = np.zeros((4, 2, 3), np.float32)
    good = {"xi": np.zeros((4, 4, 2, 19), np.float32)}
    both.record(x, draws=good)
    one.record(x, draws={"m_i": np.ones((2, 19), np.float32)}, rng=0)
    one.record(x[:, 0], draws={"m_i": np.ones(19, np.float32)}, rng=0)
    for net, draws, text in (
        (both, {"xi": good["xi"][0]}, r"draws\['xi'\]: expected shape \(4, 4, 2, 19\)"),
        (both, {"xi": good["xi"].astype("f8")}, r"draws\['xi'\]: expected dtype float32"),
        (both, {"z": good["xi"]}, r"draws: expected names of the cell's draws with its options \(xi\), got 'z'"),
        (both, [good["xi"]], "draws: expected a mapping"),
        (one, {"m_i": np.ones((1, 2, 19), np.float32)}, r"draws\['m_i'\]: expected shape \(2, 19\)"),
        (one, {"z_h": np.ones((4, 2, 19), np.float32)}, r"draws: expected names .*\(m_i, m_f, m_g, m_o\), got 'z_h'"),
        (rnnfast.LSTM(3, 4), {"xi": good["xi"]}, r"draws: expected names .*\(none\), got 'xi'"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            net.record(x, draws=draws)


def test_training_changes_the_formula():
    @rnnfast.cell(gates="a", states="h")
    def Scaled(x, U, h, *, training):
        return np.tanh(x.a + U.a @ h) * (2.0 if training else 1.0)

    net = Scaled(3, 4, rng=0)
    x = np.ones((1, 2, 3), np.float32)
    assert same(net.record(x)[0], 2 * net(x)[0]) and same(net.freeze()(x)[0], net(x)[0])
    assert same(net.freeze().step(x[0])[0], net(x)[0][0])
    with pytest.raises((TypeError, ValueError), match="training"):
        Scaled(3, 4, training=True)
    rnnfast.check_cell(Scaled)


# ---- check_cell ---------------------------------------------------------------------------------------------------------
@rnnfast.cell(gates="a", states="h", vectors="p")
def Kinks(x, U, h, p):
    return np.tanh(x.a + U.a @ h) + abs(h) * ops.relu(p) + np.floor(3 * x.a) + ops.clip(x.a, -0.3, 0.3)


def test_the_report_of_check_cell():
    report = rnnfast.check_cell(Kinks, state=np.zeros((2, 4, 9)))
    assert report.isas == rnnfast.runtime.PRESENT
    text = str(report)
    assert "Kinks: kernels of" in text and "gradient of p_l0_reverse" in text and "y (record)" in text
    assert re.search("skipped: gradient of state h in a direction across a kink of absolute", text)
    assert max(v for k, v in report.errors.items() if "gradient" in k) < 1e-6


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            lambda f: lambda x, U, h, p: f(x, U, h, p) + 1e-9 * h,
            r"Wrong: y \(call, .*\)\[\d+, \d+, \d+\]: expected .* got .* \(of the kernels\)",
        ),
        (
            lambda f: lambda x, U, h, p: f(x, U, h, p) + 1e-4 * (h - ops.stop_gradient(h)),
            r"Wrong: gradient of x \(.*\)\[0, 0, 0\]: expected .* \(of the formula\), got",
        ),
        (
            lambda f: lambda x, U, h, p: f(x, U, h, p) + 1e-3 * (p - ops.stop_gradient(p)),
            r"Wrong: gradient of p_l0 \(.*\)\[0\]: expected",
        ),
    ],
)  # fmt: skip
def test_check_cell_finds_faults(wrong, text):
    """Of kernels that compute another formula than the one at hand, in values or in derivatives alone."""

    @rnnfast.cell(gates="a", states="h", vectors="p")
    def Wrong(x, U, h, p):
        return np.tanh(x.a + U.a @ h) * (1 + p)

    rnnfast.check_cell(Wrong)
    Wrong(3, 9)  # traced as it is
    Wrong.formula = staticmethod(wrong(Wrong.formula))
    with pytest.raises(AssertionError, match=text):
        rnnfast.check_cell(Wrong)


def test_check_cell_follows_surrogates_and_stopped_gradients():
    """One with a wrong surrogate is found; the step has its slope however many spikes there are."""

    @rnnfast.cell(gates="a", states="s v")
    def Spiking(x, U, s, v, *, wrong=False):
        v = 0.8 * v + x.a + U.a @ s - 0.5 * ops.stop_gradient(s) * v
        return ops.step(v - 0.2, lambda u: 1 / (1 + abs(u)) ** 2), v

    x = np.random.default_rng(0).standard_normal((6, 3, 4)) * 2
    y, _ = Spiking(4, 9, dtype=np.float64, rng=0)(x)
    assert 0.1 < y.mean() < 0.9
    report = rnnfast.check_cell(Spiking, x=x)
    assert report.errors["gradient of weight_hh_l0"] < 1e-7 and not report.skipped
    original = Spiking.formula

    def other(x, U, s, v, *, wrong=False):
        _, new = original(x, U, s, v)
        return ops.step(new - 0.2, lambda u: 1.01 / (1 + abs(u)) ** 2), new

    Spiking.formula = staticmethod(other)
    with pytest.raises(AssertionError, match=r"Spiking: gradient of x \(scalar\)\[\d, \d, \d\]: expected"):
        rnnfast.check_cell(Spiking, x=x)


def test_arguments_of_check_cell():
    x, dt = np.random.default_rng(0).standard_normal((3, 2, 2)), np.full((3, 2), 0.5)
    report = rnnfast.check_cell(
        zoo.TLSTM, x=x, state=(None, np.ones((4, 2, 3))), inputs={"dt": dt}, lengths=[3, 1], num_layers=2, decay="inverse"
    )
    assert "gradient of input dt" in report.errors and "gradient of weight_hh_l1_reverse" in report.errors
    rnnfast.check_cell(zoo.LSTM, x=x[:, 0], hidden_size=2, bidirectional=False, recurrent_dropout=0.5, zoneout_h=0.5)
    rnnfast.check_cell(zoo.LSTM, batch_first=True, hidden_size=2, bias=False, zoneout_h=0.5)
    rnnfast.check_cell(zoo.LeakyRNN, batch_first=True, noise=0.5)
    rnnfast.check_cell(zoo.SLSTM, x=x[:0])
    for arguments, text in (
        ({"x": x, "lengths": [4, 1]}, "lengths"),
        ({"nonsense": 3}, "nonsense"),
        ({"dtype": np.float32}, "dtype: expected none"),
        ({"state": np.zeros(3)}, "state"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            rnnfast.check_cell(zoo.LSTM, **arguments)
    for other in (rnnfast.LSTM, "LSTM", zoo.LSTM(3, 4), None):
        with pytest.raises(TypeError, match="cls: expected a class made by rnnfast.cell"):
            rnnfast.check_cell(other)


# ---- interrupts ---------------------------------------------------------------------------------------------------------
def long_call(split):  # noqa: F811
    net = zoo.TLSTM(64, 256, dtype=np.float64, rng=0)
    T, B = 30_000, 4 if split == "rows" else 1
    return net, np.zeros((T, B, 64)), {"dt": np.ones((T, B))}


def test_signals_end_a_forward_pass(split):  # noqa: F811
    net, x, inputs = long_call(split)
    for call in (lambda: net(x, inputs=inputs), lambda: net.record(x, inputs=inputs, checkpoint_every=1000)):
        late, problem = interrupt(call)
        assert isinstance(problem, KeyboardInterrupt), "the call ended by itself"
        assert late < 1, late
    assert np.isfinite(net(x[:50], inputs={"dt": inputs["dt"][:50]})[0]).all()


def test_signals_end_a_backward_pass(split):  # noqa: F811
    net, x, inputs = long_call(split)
    x, inputs = x[:5000], {"dt": inputs["dt"][:5000]}
    y, _, tape = net.record(x, inputs=inputs, checkpoint_every=2500)
    late, problem = interrupt(lambda: tape.backward(y), after=0.1)
    assert isinstance(problem, KeyboardInterrupt) and late < 1
    with pytest.raises(RuntimeError, match="^tape: expected"):
        tape.backward(y)
    d = data(net, 3, 2, rows=True)
    assert np.isfinite(d.train(net)["dx"]).all()


def test_projection_is_refused():
    with pytest.raises(TypeError, match="^proj_size: expected none, since all states of a formula have hidden_size units"):
        zoo.LSTM(3, 8, proj_size=4)
