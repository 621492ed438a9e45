"""Weights of PyTorch in layers of rnnfast, and back; both conventions of z; layers of the zoo."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import stacks
from foreign import LAYER, close, configuration, same_params

import rnnfast
from rnnfast import onnx_ops, weights, zoo
from rnnfast.cells.conventions import TORCH


@pytest.mark.parametrize("seed", range(60))
def test_torch(torch, seed):
    cell, arguments = configuration(seed)
    option = {"nonlinearity": random.Random(seed).choice(["tanh", "relu"])} if cell == "simple_rnn" else {}
    shared = {**arguments, "dtype": getattr(torch, arguments["dtype"].name), "batch_first": seed % 2 == 0, "dropout": 0.25}
    shared["dropout"] *= arguments["num_layers"] > 1
    module = getattr(torch.nn, TORCH.classes[cell])(**shared, **option).eval()
    x = np.random.default_rng(seed).standard_normal((3, 5, arguments["input_size"])).astype(arguments["dtype"])
    with torch.no_grad():
        y, state = module(torch.from_numpy(x))
    model = torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict({"rnn": module}), "head": torch.nn.Linear(2, 3)})
    state_dict = model.state_dict()
    more = {"batch_first": shared["batch_first"], "dropout": shared["dropout"], **option}
    for net in (
        weights.from_torch(module),
        weights.from_torch(model),
        weights.from_torch(model, "encoder.rnn"),
        weights.from_torch(state_dict, prefix="encoder.rnn", **more),
        weights.from_torch(state_dict, "encoder", **more),
        weights.from_torch({name: a.numpy() for name, a in state_dict.items()}, "encoder.rnn.", **more),
    ):
        assert type(net) is LAYER[cell] and net.dtype == arguments["dtype"] and net.rng is None
        assert (net.batch_first, net.dropout) == (shared["batch_first"], shared["dropout"])
        own_y, own_state = net(x)
        assert close(own_y, y)
        assert all(close(a, b) for a, b in zip(stacks.as_tuple(own_state), stacks.as_tuple(state), strict=True))
    back = weights.to_torch(net, "encoder.rnn")
    assert all(np.array_equal(back[name], state_dict[name]) for name in back)
    model.load_state_dict({**state_dict, **{name: torch.from_numpy(a + 1) for name, a in back.items()}})
    assert not any(np.shares_memory(a, b) for a in back.values() for b in net.params.values())
    assert same_params(weights.from_torch(weights.to_torch(net), **more), net)
    assert same_params(weights.from_torch(weights.to_torch(net.freeze()), **more), net)


def test_torch_cells(torch):
    x = torch.randn(5, 3, dtype=torch.float64)
    for name, kind in (("LSTMCell", rnnfast.LSTM), ("GRUCell", rnnfast.GRU), ("RNNCell", rnnfast.SimpleRNN)):
        cell = getattr(torch.nn, name)(3, 4, dtype=torch.float64)
        for source in (cell, cell.state_dict()):
            net = weights.from_torch(source)
            expected = cell(x)
            assert type(net) is kind and close(net(x[None])[0][0], stacks.as_tuple(expected)[0].detach())


def test_torch_weights_that_are_computed(torch):
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.GRU(3, 4, dtype=torch.float64), "weight_hh_l0")
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    assert close(weights.from_torch(module)(x)[0], module(x)[0].detach())


def test_torch_halves_and_dtypes(torch):
    """What has 16 bits becomes float32 exactly; another dtype is rounded to when it is asked for."""
    module = torch.nn.LSTM(3, 4)
    for half in (torch.float16, torch.bfloat16):
        state_dict = {name: a.to(half) for name, a in module.state_dict().items()}
        for source in (state_dict, torch.nn.LSTM(3, 4, dtype=half)):
            net = weights.from_torch(source)
            given = source if isinstance(source, dict) else source.state_dict()
            assert net.dtype == np.float32
            assert all(np.array_equal(net.params[name], a.float().numpy()) for name, a in given.items())
    double = weights.from_torch(module, dtype=np.float64)
    assert double.dtype == np.float64 and same_params(double, weights.from_torch(weights.to_torch(double)))
    with pytest.raises(TypeError, match="^dtype: expected np.float32 or np.float64"):
        weights.from_torch(module, dtype=np.float16)
    with pytest.raises(TypeError, match="^weight_hh_l0: expected dtype float32 or float64, got int8"):
        weights.from_torch({**module.state_dict(), "weight_hh_l0": torch.zeros(16, 4, dtype=torch.int8)})
    with pytest.raises(TypeError, match="^weight_hh_l0: expected an array on the CPU, got Tensor on meta"):
        weights.from_torch({**module.state_dict(), "weight_hh_l0": torch.nn.LSTM(3, 4, device="meta").weight_hh_l0})


def test_torch_without_torch():
    """Arrays by name need no framework."""
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; from rnnfast import weights, LSTM; n = LSTM(3, 4, rng=0);"
    )
    code += "m = weights.from_torch({'a.' + k: v for k, v in weights.to_torch(n).items()}); x = np.ones((2, 3), 'f');"
    code += "assert np.array_equal(m(x)[0], n(x)[0]); weights.to_keras(n); weights.to_onnx(n);"
    code += "assert not {'onnx', 'keras', 'safetensors', 'jax', 'rnnfast.zoo'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_errors(torch, tmp_path):
    def refuse(text, source, *arguments, error=ValueError, **options):
        with pytest.raises(error, match=text):
            weights.from_torch(source, *arguments, **options)

    two = torch.nn.ModuleDict({"a": torch.nn.GRU(3, 4), "b": torch.nn.ModuleList([torch.nn.LSTM(3, 4)])})
    for source in (two, two.state_dict()):
        refuse("^prefix: expected the path of one recurrent module, got '', and several: 'a', 'b.0'$", source)
        refuse("^prefix: .* got 'c', and none there; there are 'a', 'b.0'$", source, "c")
        assert type(weights.from_torch(source, "b")) is rnnfast.LSTM
    refuse("^source: expected a module with nn.RNN, nn.LSTM or nn.GRU, got Linear$", torch.nn.Linear(2, 3))
    for source, keys in (({}, "none"), ({"weight": 1, 3: 4}, "'weight', 3"), ({"state_dict": {}}, "'state_dict'")):
        refuse(f"^source: expected names such as weight_ih_l0, got the keys {keys}; pass the state_dict itself$", source)
    refuse("^source: expected weight_ih_l0 among .*, got weight_hh_l0$", {"weight_hh_l0": np.ones((8, 2))})
    refuse('^prefix: expected a path such as "encoder.rnn", got int$', two.state_dict(), 0, error=TypeError)
    refuse(r"^source: expected a module or a mapping .*, got str; load a file first: read_safetensors", "a.pt", error=TypeError)
    for source in (torch.nn.LSTM(3, 4, proj_size=2), torch.nn.LSTM(3, 4, proj_size=2).state_dict()):
        refuse("^proj_size: expected 0, got an LSTM with projections", source)
    good = torch.nn.LSTM(3, 4, 2, bidirectional=True).state_dict()
    for name in good:
        if name != "weight_ih_l0":
            refuse("got (missing|unknown) |expected shape", {k: v for k, v in good.items() if k != name})
        for wrong in (good[name][:-1], good[name][None], torch.zeros(()), torch.zeros(0, 3), good[name].float().flip(0)[1:]):
            refuse("expected shape", {**good, name: wrong})
    refuse("got unknown weight_ih_l9", {**good, "weight_ih_l999999999_reverse": good["weight_ih_l0"]})
    refuse("got missing", {**good, "weight_ih_l999999999": good["weight_ih_l0"]})
    refuse(r"^weight_hh_l0: expected shape .* G, the number of gates, is 1 \(simple_rnn\), 4 \(lstm\), 3 \(gru\)",
           {**good, "weight_hh_l0": torch.zeros(8, 4)})  # fmt: skip
    for option in ({"num_layers": 2}, {"bias": True}, {"reset_after": True}, {"rng": 0}, {"update": "new"}, {"hidden_size": 2}):
        refuse("^options: expected some of .*batch_first.*, which weights do not tell, got", good, error=TypeError, **option)
    relu = torch.nn.RNN(2, 3, nonlinearity="relu")
    refuse("^nonlinearity: expected 'relu', as the source of the weights says, got 'tanh'", relu, nonlinearity="tanh")
    refuse("^dropout: expected a number between 0 and 1", good, dropout=2)
    with pytest.raises(TypeError, match="^net: expected a layer of rnnfast"):
        weights.to_torch(torch.nn.LSTM(3, 4))
    for net in (
        rnnfast.GRU(2, 3, reset_after=False),
        rnnfast.SimpleRNN(2, 3, nonlinearity="sigmoid"),
        zoo.LSTM(2, 3, clip=1.0),
    ):
        with pytest.raises(ValueError, match="^net: expected options that modules of PyTorch have as well, got {"):
            weights.to_torch(net)


# ---- both conventions of z, and the zoo --------------------------------------------------------------------------------------
@pytest.mark.parametrize("bias", [False, True])
def test_update_conventions(bias):
    """h = (1 - z) h + z n is the other way round; negating the parameters of z turns one into the other."""
    new = zoo.GRU(3, 4, update="new", bias=bias, rng=0, dtype=np.float64)
    x = stacks.draw(5, 2, 3, dtype=np.float64)
    named = dict(new.params)
    assert close(weights.from_torch(named, update="new")(x)[0], new(x)[0])
    assert close(weights.from_torch(weights.to_torch(new))(x)[0], new(x)[0])
    assert close(weights.from_keras(weights.to_keras(new), batch_first=False, reset_after=True)(x)[0], new(x)[0])
    assert close(weights.from_onnx(weights.to_onnx(new), reset_after=True)(x)[0], new(x)[0])
    assert stacks.same(tuple(weights.to_torch(weights.from_torch(named)).values()), tuple(named.values()))
    with pytest.raises(ValueError, match="^update: expected one of 'old', 'new', got 'other'"):
        weights.from_torch(named, update="other")


def test_a_prefix_of_what_has_none():
    params = rnnfast.GRU(2, 3).params
    mixed = {**params, **{f"decoder.{name}": a for name, a in params.items()}}
    for source, got in (
        (params, "none there; the source is the module itself, so leave the prefix out"),
        (mixed, "none there; there are 'decoder', one without a prefix"),
    ):
        with pytest.raises(ValueError, match=f"^prefix: expected the path of one recurrent module, got 'encoder', and {got}$"):
            weights.from_torch(source, "encoder")
    assert same_params(weights.from_torch(mixed), weights.from_torch(mixed, "decoder"))


def test_cells_that_pytorch_does_not_have(torch):
    """Their weights beside those of an LSTM must not be left out silently."""
    import rnnfast.torch

    peephole = zoo.LSTM(2, 3, peephole=True, rng=0)
    for prefix in ("", "encoder.rnn."):
        state_dict = {f"{prefix}{name}": a for name, a in peephole.params.items()}
        with pytest.raises(
            ValueError, match="^source: expected the weights of an RNN, .*, got p_i_l0, p_f_l0, p_o_l0 as well; make"
        ):
            weights.from_torch({**state_dict, "head.norm_l0": np.ones(3)})
    assert weights.from_torch({**rnnfast.GRU(2, 3).params, "head.norm_l0": np.ones(3)})  # of another module
    own = dict(rnnfast.LSTM(2, 3).params)
    with pytest.raises(ValueError, match="^source: .*, got weight_ch as well; make"):
        weights.from_torch({**own, "weight_ch": np.ones((12, 3))})

    class Peephole(torch.nn.LSTM):
        def __init__(self):
            super().__init__(2, 3)
            self.p_i = torch.nn.Parameter(torch.ones(3))

    for source in (Peephole(), Peephole().state_dict(), torch.nn.Sequential(Peephole())):
        with pytest.raises(ValueError, match="^source: .*, got p_i as well; make"):
            weights.from_torch(source)
    cell = rnnfast.torch.Cell(zoo.MGU, 2, 3)
    for source in (cell, torch.nn.Sequential(cell)):
        with pytest.raises(
            ValueError, match="^source: expected a module with nn.RNN, .*; for an rnnfast.torch.Cell make its layer"
        ):
            weights.from_torch(source)
    net = zoo.MGU(2, 3)
    net.load_params(cell.state_dict())  # as the error says
    x = torch.ones(5, 4, 2)
    assert np.array_equal(net(x)[0], cell(x)[0].detach().numpy())


def test_odd_arguments(torch):
    params = dict(rnnfast.LSTM(2, 3).params)
    with pytest.raises(TypeError, match="^bias_ih_l0: expected dtype float32 or float64, got None$"):
        weights.from_torch({**params, "bias_ih_l0": None})
    whole = {name: torch.from_numpy(a).long() for name, a in params.items()}
    with pytest.raises(TypeError, match=r"^weight_ih_l0: .*, got int64; cast it, e\.g\. weight_ih_l0\.float\(\)$"):
        weights.from_torch(whole)
    for call in (
        weights.from_torch,
        lambda source, prefix: weights.to_torch(rnnfast.LSTM(2, 3), prefix),
        weights.read_safetensors,
    ):
        with pytest.raises(TypeError, match='^prefix: expected a path such as "encoder.rnn", got int$'):
            call(params, 3)
    kernel, recurrent, bias = weights.to_keras(rnnfast.LSTM(2, 3))[0]
    with pytest.raises(ValueError, match=r"^recurrent_kernel: expected shape \(H, G\*H\) = .*, got \(12, 3\); G, the number"):
        weights.from_keras([kernel.T, recurrent.T, bias])


def test_update_needs_a_gate_whose_mirror_image_it_is():
    """Negating the weights of z turns h + z (n - h) into n + z (h - n) only if 1 - f(a) is f(-a)."""
    hard = zoo.GRU(4, 6, update="new", recurrent_activation="hard_sigmoid", rng=0)
    W, R, B = weights.to_onnx(hard)[0]
    y, _ = onnx_ops.gru(
        x := np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32), W, R, B, linear_before_reset=1,
        activations=["HardSigmoid", "Tanh"], activation_alpha=[1 / 6], activation_beta=[0.5],
    )  # fmt: skip
    assert close(y[:, 0], hard(x)[0])
    soft = zoo.GRU(4, 6, update="new", recurrent_activation="softsign")
    for convert in (weights.to_onnx, weights.to_keras):
        with pytest.raises(
            ValueError, match="^update: expected 'old' with recurrent_activation='softsign', got 'new'; only sig"
        ):
            convert(soft)


def test_layers_of_the_zoo():
    for net in (zoo.LSTM(3, 4, rng=0), zoo.GRU(3, 4, rng=0), zoo.SimpleRNN(3, 4, rng=0)):
        again = weights.from_torch(weights.to_torch(net))
        assert type(again) is getattr(rnnfast, type(net).__name__) and same_params(again, net)
    for net in (zoo.LSTM(3, 4, peephole=True), zoo.LSTM(3, 4, coupled=True), zoo.MGU(3, 4), zoo.LayerNormLSTM(3, 4).freeze()):
        for to in (weights.to_torch, weights.to_keras, weights.to_onnx):
            with pytest.raises(
                ValueError, match="^net: expected a layer with the weights of SimpleRNN, LSTM or GRU and no others"
            ):
                to(net)

    @rnnfast.cell(gates="r z n", states="h")
    def GRU(x, U, h):
        return h + (x.r + x.z + x.n + U.r @ h + U.z @ h + U.n @ h)

    with pytest.raises(ValueError, match="^net: expected a layer with the weights of"):
        weights.to_torch(GRU(3, 4))
