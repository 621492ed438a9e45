"""Weights of PyTorch, Keras and ONNX in layers of rnnfast, and back: the same numbers come out, and what does not fit is a
clear error."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import stacks

import rnnfast
from rnnfast import onnx_ops, weights, zoo
from rnnfast.cells.conventions import CONVENTIONS, KERAS, ONNX, TORCH

BOUNDS = {"float64": 1e-12, "float32": 2e-6}  # of the largest difference, for values that are about 1
LAYER = {"simple_rnn": rnnfast.SimpleRNN, "lstm": rnnfast.LSTM, "gru": rnnfast.GRU}


def needs(name, reason):
    return pytest.importorskip(name, reason=f"{reason} is not installed (pip install {name})")


@pytest.fixture
def torch():
    found = needs("torch", "PyTorch")
    found.set_num_threads(1)
    return found


@pytest.fixture
def keras():
    try:
        import torch  # noqa: F401
    except ImportError:
        backend = "numpy"
    else:
        backend = "torch"
    os.environ.setdefault("KERAS_BACKEND", backend)
    return needs("keras", "Keras")


@pytest.fixture
def onnx():
    return needs("onnx", "ONNX")


@pytest.fixture
def runtime():
    return needs("onnxruntime", "ONNX Runtime")


def same_params(a, b):
    return list(a.params) == list(b.params) and stacks.same(tuple(a.params.values()), tuple(b.params.values()))


def close(a, b):
    return np.max(np.abs(a - np.asarray(b)), initial=0) <= BOUNDS[a.dtype.name]


def configuration(seed):
    """Arguments of a layer, at random."""
    rng = random.Random(seed)
    cell = rng.choice(stacks.CELL_NAMES)
    row = {"bias": rng.random() < 0.7, "bidirectional": rng.random() < 0.5, "num_layers": rng.choice([1, 1, 2, 3])}
    sizes = {"input_size": rng.randint(1, 9), "hidden_size": rng.randint(1, 12)}
    return cell, {**sizes, **row, "dtype": np.dtype(rng.choice(["float32", "float64"]))}


def filled(cell, arguments, seed, **more):
    """A layer of large enough random weights that any exchange of gates shows, and an x."""
    net = stacks.make(cell, seed=seed, **arguments, **more)
    rng = np.random.default_rng(seed)
    for value in net.params.values():
        value[...] = rng.standard_normal(value.shape) / np.sqrt(value.shape[-1] if value.ndim == 2 else 2)
    return net, rng.standard_normal((3, 5, net.input_size)).astype(net.dtype)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------------
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


# ---- Keras -----------------------------------------------------------------------------------------------------------------
def keras_layer(keras, cell, arguments, options):
    config = {"units": arguments["hidden_size"], "use_bias": arguments["bias"], "return_sequences": True, **options}
    one = getattr(keras.layers, KERAS.classes[cell])(**config, dtype=arguments["dtype"].name)
    return keras.layers.Bidirectional(one, dtype=arguments["dtype"].name) if arguments["bidirectional"] else one


def keras_bound(keras, cell, after, y):
    """keras.ops.matmul rounds products of float64 to float32 (Keras 3.15), so that only what goes past it, on the backend of
    PyTorch, can be compared to the last bits."""
    exact = keras.backend.backend() == "torch" and (cell == "lstm" or (cell == "gru" and after))
    return BOUNDS[y.dtype.name if exact else "float32"] * max(1, np.max(np.abs(y)))


def keras_output(keras, layers, x):
    for one in layers:
        x = one(x)
    x = keras.ops.convert_to_numpy(x)
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


@pytest.mark.parametrize("seed", range(40))
def test_keras(keras, seed):
    cell, arguments = configuration(seed)
    if keras.backend.backend() == "numpy":  # whose weights are float32 in any case
        arguments["dtype"] = np.dtype(np.float32)
    after = random.Random(seed).random() < 0.5
    theirs, ours = ({"reset_after": after}, {"reset_after": after}) if cell == "gru" else ({}, {})
    if cell == "simple_rnn" and seed % 3:
        theirs, ours = [
            ({"activation": "relu"}, {"nonlinearity": "relu"}),
            ({"activation": None}, {"nonlinearity": "identity"}),
        ][seed % 2]
    layers = [keras_layer(keras, cell, arguments, theirs) for _ in range(arguments["num_layers"])]
    net, x = filled(cell, arguments, seed, **ours, batch_first=True)
    x *= 0.1 if "nonlinearity" in ours else 1  # without a bound, values grow
    keras_output(keras, layers, x)  # builds them
    lists = weights.to_keras(net)
    for one, arrays in zip(layers, lists, strict=True):
        assert [a.shape for a in one.get_weights()] == [a.shape for a in arrays]
        one.set_weights(arrays)
    expected = keras_output(keras, layers, x)
    y, _ = net(x)
    assert np.max(np.abs(y - expected)) <= keras_bound(keras, cell, after, y)
    raw = {**ours} if cell != "gru" or not net.bias else {}
    for again in (
        weights.from_keras(layers),
        weights.from_keras(lists, **raw),
        weights.from_keras([list(a) for a in lists], **ours),
    ):
        assert repr(again) == repr(net)
        assert np.max(np.abs(again(x)[0] - expected)) <= keras_bound(keras, cell, after, y)
        assert all(stacks.same(tuple(a), tuple(b)) for a, b in zip(weights.to_keras(again), lists, strict=True))
    if len(layers) == 1:
        assert same_params(weights.from_keras(layers[0]), again) and same_params(weights.from_keras(lists[0], **ours), again)


@pytest.mark.parametrize(("cell", "options", "shown"), [
    ("lstm", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}, "LSTM"),
    ("gru", {"recurrent_activation": "hard_sigmoid", "reset_after": False}, "GRU"),
    ("gru", {"activation": "softsign"}, "GRU"),
    ("simple_rnn", {"activation": "elu"}, "SimpleRNN"),
])  # fmt: skip
def test_keras_activations(keras, cell, options, shown):
    arguments = {"hidden_size": 4, "bias": True, "bidirectional": True, "dtype": np.dtype("float64")}
    one = keras_layer(keras, cell, arguments, options)
    x = stacks.draw(3, 5, 2, dtype=np.float64)
    expected = keras_output(keras, [one], x)
    net = weights.from_keras(one)
    assert type(net) is zoo.CELLS[shown] and {**net.options, **options} == dict(net.options)
    assert np.max(np.abs(net(x)[0] - expected)) <= BOUNDS["float32"]  # see keras_bound
    assert stacks.same(tuple(weights.to_keras(net)[0]), tuple(one.get_weights()))


def test_keras_errors(keras):
    K = keras.layers

    def refuse(text, source, error=ValueError, **options):
        with pytest.raises(error, match=text):
            weights.from_keras(source, **options)

    def built(one):
        one.build((None, 5, 2))
        return one

    refuse("^source: expected a layer that is built, got 'x' without weights; call it once", K.LSTM(3, name="x"))
    refuse("^activation: expected one of tanh, .*, got silu; rnnfast.cell makes", built(K.LSTM(3, activation="silu")))
    refuse("^activation: expected one of .*, got <function .*lambda", built(K.GRU(3, activation=lambda x: np.tanh(x))))
    refuse("^go_backwards: expected False, got True of 'b'", built(K.LSTM(3, go_backwards=True, name="b")))
    refuse("^merge_mode: expected 'concat', got 'sum'", built(K.Bidirectional(K.LSTM(3), merge_mode="sum")))
    refuse("^settings: expected the same of all layers", [built(K.GRU(3)), built(K.GRU(3, reset_after=False))])
    refuse("^source: expected SimpleRNN, LSTM, GRU, Bidirectional", built(K.Dense(3)), TypeError)
    refuse("^source: expected SimpleRNN, LSTM, GRU, Bidirectional", built(K.RNN(K.LSTMCell(3))), TypeError)
    refuse("^reset_after: expected False, as the source of the weights says, got True", built(K.GRU(3, reset_after=False)),
           reset_after=True)  # fmt: skip


def test_arrays_of_keras():
    k, r, b, one = np.ones((2, 9), "f"), np.ones((3, 9), "f"), np.ones(9, "f"), np.ones((3, 3), "f")

    def refuse(text, source, error=ValueError, **options):
        with pytest.raises(error, match=text):
            weights.from_keras(source, **options)

    assert (
        weights.from_keras([k, r, b]).reset_after is False and weights.from_keras([k, r, np.stack([b, b])]).reset_after is True
    )
    assert weights.from_keras([k, r], reset_after=False).bias is False
    assert weights.from_keras([k.astype(np.float16), r, b]).dtype == np.float32
    net = weights.from_keras([k, r, b, k, r, b])
    assert net.bidirectional and net.batch_first
    refuse("^reset_after: expected True or False for a GRU without biases, which do not tell, got none", [k, r])
    refuse("^reset_after: expected False, as the source of the weights says, got True", [k, r, b], reset_after=True)
    refuse("^biases: expected the same of all layers and directions, got True and False", [[one, one, one[0]], [one, one]])
    refuse("^directions: expected the same", [[k, r, b], [k, r, b, k, r, b]])
    refuse("^weight_ih_l1: expected shape", [[k, r, b], [k, r, b]])
    refuse("^recurrent_kernel: expected shape", [k, np.ones((3, 6), "f"), b])
    refuse("^weight_ih_l0: expected shape", [np.ones(9, "f"), r, b])
    refuse("^bias_ih_l0: expected shape", [k, r, np.ones(7, "f")])
    refuse("^kernel: expected dtype float32 or float64, got int64", [k.astype(int), r, b], TypeError)
    for source in ([k], [k, r, b, k, r], [[]], [[[1.0]], [[1.0]]], [[k, r, "b"]]):
        refuse("^source: expected arrays .kernel, recurrent_kernel, bias.", source)
    refuse("^source: expected at least one layer", [])
    refuse("^source: expected SimpleRNN", "model.keras", TypeError)


# ---- ONNX ------------------------------------------------------------------------------------------------------------------
def node_model(onnx, cell, arrays, H, *, layout=0, constants=False, inner=False, **attributes):
    """A model of one node: X -> Y."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    names = dict(zip("WRB", arrays, strict=False))
    given = [name for name, a in names.items() if a is not None]
    D = len(arrays[0])
    if D == 2:
        attributes["direction"] = "bidirectional"
    node = helper.make_node(ONNX.classes[cell], ["X", *given], ["Y"], hidden_size=H, name="rnn", **attributes)
    if layout:
        node.attribute.append(helper.make_attribute("layout", layout))
    tensors = [numpy_helper.from_array(names[name], name) for name in given]
    nodes, initializers = [node], tensors
    if constants:
        nodes = [*(helper.make_node("Constant", [], [t.name], value=t) for t in tensors), node]
        initializers = []
    kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
    X, Y = helper.make_tensor_value_info("X", kind, [None] * 3), helper.make_tensor_value_info("Y", kind, [None] * 4)
    graph = helper.make_graph(nodes, "g", [X], [Y], initializers)
    if inner:
        branch = helper.make_graph(nodes, "inner", [], [Y])
        test = helper.make_tensor_value_info("C", onnx.TensorProto.BOOL, [])
        other = helper.make_node("If", ["C"], ["Y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([other], "g", [X, test], [Y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def linear(cell, net):
    return {"linear_before_reset": int(net.reset_after)} if cell == "gru" else {}


@pytest.mark.parametrize("seed", range(40))
def test_onnx(onnx, runtime, seed, tmp_path):
    cell, arguments = configuration(seed)
    arguments |= {"num_layers": 1, "dtype": np.dtype(np.float32)}
    ours = {"reset_after": seed % 2 == 0} if cell == "gru" else {}
    net, x = filled(cell, arguments, seed, **ours)
    model = node_model(onnx, cell, weights.to_onnx(net)[0], net.hidden_size, constants=seed % 3 == 0, **linear(cell, net))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"X": x})  # (T, D, B, H)
    expected = expected.transpose(0, 2, 1, 3).reshape(len(x), x.shape[1], -1)
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    for again in (
        weights.from_onnx(model),
        weights.from_onnx(model, "rnn"),
        weights.from_onnx(file),
        weights.from_onnx(str(file), ["rnn"]),
        weights.from_onnx(weights.to_onnx(net)[0], **ours),
        weights.from_onnx(weights.to_onnx(net), **ours),
    ):
        assert repr(again) == repr(net) and same_params(again, net)
        assert close(again(x)[0], expected)


@pytest.mark.parametrize("cell", stacks.CELL_NAMES)
def test_onnx_stacks_layouts_and_graphs(onnx, cell):
    net, x = filled(cell, {"input_size": 3, "hidden_size": 4, "num_layers": 3, "bidirectional": True, "dtype": np.float64}, 1)
    more = {"reset_after": True} if cell == "gru" else {}
    assert same_params(weights.from_onnx(weights.to_onnx(net), **more), net)
    one = weights.to_onnx(net)[0]
    assert weights.from_onnx(node_model(onnx, cell, one, 4, layout=1, **linear(cell, net))).batch_first is True
    inner = node_model(onnx, cell, one, 4, inner=True, constants=True, **linear(cell, net))
    assert np.array_equal(
        weights.from_onnx(inner, dtype=np.float32).params["weight_hh_l0"], net.params["weight_hh_l0"].astype("f")
    )


def test_onnx_of_torch(onnx, torch, tmp_path):
    """What PyTorch's exporter writes: a node a layer."""
    module = torch.nn.Sequential(torch.nn.GRU(3, 4, 2, bidirectional=True))
    file, x = tmp_path / "model.onnx", torch.randn(5, 2, 3)
    with pytest.warns() as _:
        torch.onnx.export(module, (x,), str(file), dynamo=False)
    with pytest.raises(
        ValueError, match="^name: expected that of a recurrent node, or of several to stack, got None; there are"
    ) as told:
        weights.from_onnx(file)
    names = [text for text in str(told.value).split("'") if "GRU" in text]
    net = weights.from_onnx(file, names)
    assert net.num_layers == 2 and close(net(x)[0], module(x)[0].detach())


def test_onnx_activations(onnx, runtime):
    net, x = filled("lstm", {"input_size": 3, "hidden_size": 4}, 0)
    one = weights.to_onnx(net)[0]
    for cell, arrays, ours, activations in (
        ("lstm", one, zoo.LSTM, ["Sigmoid", "Softsign", "Relu"]),
        ("gru", [one[0][:, :12], one[1][:, :12], one[2][:, :24]], zoo.GRU, ["Sigmoid", "Softsign"]),
        ("simple_rnn", [one[0][:, :4], one[1][:, :4], one[2][:, :8]], zoo.SimpleRNN, ["Softsign"]),
        ("simple_rnn", [one[0][:, :4], one[1][:, :4], one[2][:, :8]], rnnfast.SimpleRNN, ["Sigmoid"]),
    ):
        model = node_model(onnx, cell, arrays, 4, activations=activations)
        (y,) = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": x})
        again = weights.from_onnx(model)
        assert type(again) is ours and close(again(x)[0], y[:, 0])


def test_names_of_nodes(onnx):
    import rnnfast.onnx

    model = rnnfast.onnx.export(rnnfast.LSTM(2, 3, 2))
    for wrong in (3, {"l0"}):
        with pytest.raises(TypeError, match="^name: expected that of a recurrent node, or a list of several to stack, got "):
            weights.from_onnx(model, wrong)


def test_a_model_is_no_file_of_a_layer(onnx, tmp_path):
    import rnnfast.onnx

    rnnfast.onnx.export(rnnfast.GRU(2, 3), tmp_path / "net.onnx")
    for read in (rnnfast.load, weights.read_safetensors):
        with pytest.raises(
            ValueError, match="net.onnx: expected .*; of an ONNX model, rnnfast.weights.from_onnx reads the weights"
        ):
            read(tmp_path / "net.onnx")


def test_onnx_errors(onnx):
    net, _ = filled("lstm", {"input_size": 3, "hidden_size": 4}, 0)
    one = weights.to_onnx(net)[0]

    def refuse(text, source, name=None, error=ValueError, **options):
        with pytest.raises(error, match=text):
            weights.from_onnx(source, name, **options)

    def model(**attributes):
        return node_model(onnx, "lstm", one, 4, **attributes)

    refuse("^name: expected that of a recurrent node, .* got 'x'; there are 'rnn'$", model(), "x")
    refuse("^name: .*got .'rnn', 'x'.; there are 'rnn'$", model(), ["rnn", "x"])
    refuse("^name: .* there are none$", onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])))
    refuse(r"^rnn: expected no clip, got 3.0; the option clip of rnnfast.zoo.LSTM and GRU has it", model(clip=3.0))
    refuse(r"^rnn: expected no input_forget, got 1; rnnfast.zoo.LSTM\(coupled=True\)", model(input_forget=1))
    refuse("^rnn: expected no activation_alpha", model(activations=["HardSigmoid", "Tanh", "Tanh"], activation_alpha=[0.2]))
    refuse("^rnn: expected activations .*, got HardSigmoid", model(activations=["HardSigmoid", "Tanh", "Tanh"]))
    refuse("^rnn: expected the direction forward or bidirectional, got reverse", model(direction="reverse"))
    refuse("^rnn: expected the direction forward or bidirectional, got side", model(direction="side"))
    peephole = model()
    peephole.graph.node[0].input.extend(["", "", "", "P"])
    refuse(r"^rnn: expected no peepholes \(input P\), got some; rnnfast.zoo.LSTM\(peephole=True\) has it", peephole)
    refuse("^rnn: activations: expected 3 names for each direction, got", model(activations=["Sigmoid", "Tanh"]))
    weights.from_onnx(model(activations=["sigmoid", "TANH", "tanh"]))  # their case does not count
    given = model()
    del given.graph.initializer[1]
    refuse("^rnn: R: expected an initializer or a Constant, got 'R', which is computed or given", given)
    refuse("^reset_after: expected True or False for the arrays of a GRU", (np.ones((1, 9, 2), "f"), np.ones((1, 9, 3), "f")))
    refuse("^source: expected an onnx.ModelProto, a path, or arrays", 3, error=TypeError)
    for wrong in ((one[0],), one + one, ([one[0]],), ()):
        refuse(r"^source: expected arrays \(W, R, B\)", wrong)
    W, R, B = one
    for wrong in (
        (W[0], R, B),
        (W, R[0], B),
        (W, R, B[0]),
        (W, R, B[:, 1:]),
        (np.repeat(W, 3, 0), R, B),
        (W[:, 1:], R, B),
        (W, R[:, 1:], B),
    ):
        refuse("expected shape", wrong)


# ---- the table -------------------------------------------------------------------------------------------------------------
def test_every_convention_is_complete():
    for one in CONVENTIONS:
        for cell, order in one.gate_order.items():
            assert not order or sorted(order.split()) == sorted(rnnfast.layers.LAYERS[cell].cell.gates)
        assert set(one.classes) in (set(), set(stacks.CELL_NAMES))
        assert set(one.activations.values()) <= set(zoo.ACTIVATIONS)


# ---- files -----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def safetensors():
    return needs("safetensors.numpy", "safetensors") and needs("safetensors", "safetensors")


def saved(net, name="net.safetensors"):
    """The content of its file; one in memory that has a name has the format of the name."""
    file = io.BytesIO()
    file.name = name
    net.save(file)
    return file.getvalue()


def a_file(header, data=b"", size=None):
    """The content of a safetensors file with this header, as an object or as bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def tensor(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru", "simple_rnn", "zoo", "own"])
def test_layers_in_safetensors(safetensors, kind, frozen, tmp_path, dtype):
    if kind == "own":

        @rnnfast.cell(gates="a", states="h", vectors="p")
        def Own(x, U, h, p, *, share=0.5):
            return share * h + p * np.tanh(x.a + U.a @ h)

        net = Own(3, 4, rng=0, dtype=dtype, share=0.25)
    elif kind == "zoo":
        net = zoo.LSTM(3, 4, 2, peephole=True, zoneout_h=0.5, rng=0, dtype=dtype)
    else:
        net = stacks.make(kind, input_size=3, hidden_size=4, num_layers=2, bidirectional=True, batch_first=True, dtype=dtype)
    net = net.freeze() if frozen else net
    file = tmp_path / "net.safetensors"
    net.save(file)
    assert os.listdir(tmp_path) == ["net.safetensors"]
    x = stacks.draw(5, 6, 3, dtype=dtype)
    with open(file, "rb") as stream:
        loaded = [rnnfast.load(file), rnnfast.load(str(file)), rnnfast.load(stream), rnnfast.load(io.BytesIO(saved(net)))]
    npz = io.BytesIO()
    net.save(npz)
    assert npz.getvalue().startswith(b"PK")
    for again in (*loaded, rnnfast.load(io.BytesIO(npz.getvalue()))):
        assert (
            again._arguments() == net._arguments()
            and again.rng is None
            and same_params(again, net)
            and stacks.same(again(x), net(x))
        )
        assert all(a.flags.writeable != frozen and a.flags.aligned for a in again.params.values())
    arrays = safetensors.numpy.load_file(file)
    assert arrays.keys() == net.params.keys() and all(np.array_equal(arrays[name], a) for name, a in net.params.items())
    assert stacks.same(tuple(weights.read_safetensors(file)[name] for name in net.params), tuple(net.params.values()))


def test_a_loaded_layer_trains(safetensors):
    net = rnnfast.load(io.BytesIO(saved(stacks.small("lstm", num_layers=2))))
    y, _, tape = net.record(stacks.draw(4, 3, net.input_size))
    for name, gradient in tape.backward(y).params.items():
        net.params[name][...] -= 0.1 * gradient
    assert not np.array_equal(net(stacks.draw(4, 3, net.input_size))[0], y)


def test_without_the_package(monkeypatch, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(a_file({}))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    net = stacks.small("gru")
    for call in (lambda: net.save(file), lambda: rnnfast.load(file), lambda: weights.read_safetensors(file)):
        with pytest.raises(
            ModuleNotFoundError, match=r'^safetensors: expected the package .*pip install "rnnfast\[safetensors\]"$'
        ):
            call()
    assert file.read_bytes() == a_file({})


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r'^onnx: expected the package .*pip install "rnnfast\[onnx\]"$'):
        weights.from_onnx("model.onnx")


def test_a_checkpoint_of_torch_without_torch(torch, safetensors, tmp_path):
    from safetensors.torch import save_file

    model = torch.nn.ModuleDict(
        {"encoder": torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4, 2)}), "head": torch.nn.Linear(2, 3)}
    )
    x, file = torch.randn(5, 2, 3), tmp_path / "model.safetensors"
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        rounded = {name: a.to(dtype) for name, a in model.state_dict().items()}
        save_file({**rounded, "other": torch.zeros(3, dtype=torch.float8_e5m2)}, file)
        with open(file, "rb") as stream:
            found = weights.read_safetensors(stream, prefix="encoder")
        assert found and all(name.startswith("encoder") for name in found)
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        assert all(np.array_equal(a, rounded[name].to(kept)) for name, a in found.items())
        with pytest.raises(ValueError, match=rf"^{file}: other: expected a dtype that NumPy has, or BF16, got F8_E5M2"):
            weights.read_safetensors(file)
        net = weights.from_torch(found, prefix="encoder.rnn")
        module = torch.nn.LSTM(3, 4, 2, dtype=kept)
        module.load_state_dict({name.removeprefix("encoder.rnn."): a.to(kept) for name, a in rounded.items() if "rnn" in name})
        assert close(net(x.to(kept))[0], module(x.to(kept))[0].detach())


def test_every_dtype_and_shape(safetensors):
    codes = ("f8", "f4", "f2", "c8", "?", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1")
    arrays = {name: (np.arange(6).reshape(2, 3) % 2).astype(name) for name in codes}
    arrays |= {"none": np.zeros((0, 3)), "number": np.array(3.0), "one": np.zeros((1, 0, 2), "i4")}
    content = safetensors.numpy.save(arrays)
    found = weights.read_safetensors(io.BytesIO(content))
    assert found.keys() == arrays.keys()
    places = [content.index(b'"%s":{' % name.encode()) for name in found]
    assert places == sorted(places)  # the order of the file
    for name, a in arrays.items():
        assert found[name].dtype == (np.float32 if name == "f2" else a.dtype) and found[name].shape == a.shape
        assert np.array_equal(found[name], a) and found[name].flags.writeable
    bits = weights.read_safetensors(io.BytesIO(a_file({"a": tensor(0, 3, (3,), "BOOL")}, b"\x00\x01\x07")))["a"]
    assert bits.dtype == bool and bits.tobytes() == b"\x00\x01\x01"
    patterns = np.arange(2**16, dtype=np.uint16)
    found = weights.read_safetensors(io.BytesIO(a_file({"a": tensor(0, 2**17, (2**16,), "BF16")}, patterns.tobytes())))["a"]
    assert np.array_equal(found.view(np.uint32), patterns.astype(np.uint32) << 16)  # all of bfloat16, NaN and infinity too


F = tensor(0, 4)
HOSTILE = {  # content, what the error says
    "empty": (b"", "starts with b''"),
    "no file of this kind": (b"PK\x05\x06 and more", "starts with b'PK"),
    "a file of PyTorch": (b"PK\x03\x04 and more", r"PyTorch reads a .pt file: torch.load\(path, weights_only=True\)"),
    "a length and no more": (struct.pack("<Q", 2), "starts with b"),
    "spaces before the header": (a_file(b"  {}"), "starts with b"),
    "a header beyond the file": (a_file(b"{}", size=99_000_000), "invalid header length"),
    "a header of 2**63 bytes": (a_file(b"{}", size=2**63), "header too large"),
    "a header of 2**64 - 1 bytes": (a_file(b"{}", size=2**64 - 1), "header too large"),
    "a header of no bytes": (a_file(b"", b"{}"), "invalid|header"),
    "no JSON": (a_file(b"{a}"), "invalid JSON"),
    "no UTF-8": (a_file(b'{"\xff": 1}'), "invalid UTF-8"),
    "NaN": (a_file(b'{"a": NaN}'), "invalid JSON"),
    "NaN as an offset": (a_file(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [NaN, 4]}}', bytes(4)), "invalid JSON"),
    "deep JSON": (a_file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "recursion limit"),
    "deep objects": (a_file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "invalid JSON"),
    "metadata that are no texts": (a_file({"__metadata__": {"a": 1}}), "invalid JSON"),
    "two of one name": (a_file(b'{"a": %s, "a": %s}' % ((json.dumps(F).encode(),) * 2), bytes(4)), "two entries of one name"),
    "two fields of one name": (a_file(b'{"a": {"dtype": "F32", "dtype": "F32"}}', bytes(4)), "duplicate field"),
    "two metadata of one name": (a_file(b'{"__metadata__": {"a": "1", "a": "2"}}'), "two entries of one name"),
    "overlap": (a_file({"a": F, "b": F}, bytes(4)), "invalid offset"),
    "partial overlap": (a_file({"a": tensor(0, 8, (2,)), "b": tensor(4, 12, (2,))}, bytes(12)), "invalid offset"),
    "a hole": (a_file({"a": F, "b": tensor(8, 12)}, bytes(12)), "invalid offset"),
    "bytes after the data": (a_file({"a": F}, bytes(5)), "incomplete|not fully covered"),
    "cut": (a_file({"a": F}, bytes(3)), "incomplete|not fully covered"),
    "negative offsets": (a_file({"a": tensor(-4, 0)}, bytes(4)), "invalid value: integer `-4`"),
    "offsets the other way": (a_file({"a": tensor(4, 0)}, bytes(4)), "invalid|offset"),
    "offsets of 2**64": (a_file({"a": tensor(0, 2**64)}, bytes(4)), "invalid"),
    "a float as an offset": (a_file({"a": tensor(0.0, 4.0)}, bytes(4)), "invalid type"),
    "a shape of another size": (a_file({"a": tensor(0, 4, (2,))}, bytes(4)), "invalid"),
    "a negative shape": (a_file({"a": tensor(0, 4, (-1, -1))}, bytes(4)), "invalid value"),
    "a shape that overflows": (a_file({"a": tensor(0, 4, (2**40, 2**40))}, bytes(4)), "overflow"),
    "a bool in a shape": (a_file({"a": tensor(0, 4, (True,))}, bytes(4)), "invalid type"),
    "an unknown dtype": (a_file({"a": tensor(0, 4, dtype="F99")}, bytes(4)), "unknown variant"),
    "a dtype that NumPy has not": (
        a_file({"a": tensor(0, 1, dtype="F8_E4M3")}, bytes(1)),
        "a: expected a dtype that NumPy has",
    ),
    "100 axes": (a_file({"a": tensor(0, 4, (1,) * 100)}, bytes(4)), "a: expected a shape that NumPy can have"),
    "an axis of 2**62 beside one of 0": (a_file({"a": tensor(0, 0, (2**62, 2**62, 0))}), "a: expected a shape|overflow"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(safetensors, name, tmp_path):
    content, text = HOSTILE[name]
    file = tmp_path / "hostile.safetensors"
    file.write_bytes(content)
    tracemalloc.start()
    try:
        for given in (file, str(file), io.BytesIO(content)):
            with pytest.raises(ValueError, match=text) as told:
                weights.read_safetensors(given)
            assert str(told.value).startswith("file: " if given is not file and not isinstance(given, str) else f"{file}: ")
            with pytest.raises(ValueError, match="expected"):
                rnnfast.load(given)
        assert tracemalloc.get_traced_memory()[1] < 30 * len(content) + 1_000_000
    finally:
        tracemalloc.stop()


def redescribed(net, change, header=lambda h: h):
    """Its file with another description and header."""
    content = saved(net)
    size = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + size])
    text = found["__metadata__"]["description.json"]
    found["__metadata__"]["description.json"] = change(text)
    return a_file(header(found), content[8 + size :])


def test_hostile_descriptions(safetensors):
    """The checks of .npz files: they are the same ones."""
    net = stacks.small("gru", I=2, H=3)

    def refuse(text, content):
        with pytest.raises(ValueError, match=text):
            rnnfast.load(io.BytesIO(content))

    def arguments(**changes):
        def change(text):
            found = json.loads(text)
            return json.dumps({**found, "arguments": {**found["arguments"], **changes}})

        return redescribed(net, change)

    for text in ("", "{", "[" * 100_000, '{"version": 1' + "1" * 5000 + "}", "\x00"):
        refuse("^file: description.json: expected JSON, got", redescribed(net, lambda _, text=text: text))
    refuse("^file: description.json: expected an object, got list", redescribed(net, lambda _: "[]"))
    refuse("^file: format: expected one of 'rnnfast layer', got None", redescribed(net, lambda _: "{}"))
    refuse("^file: weight_ih_l0: expected float32 .3145728, 2., got F32 .9, 2.", arguments(hidden_size=2**20))
    refuse("^file: weight_ih_l0: expected float64 .9, 2., got F32 .9, 2.", arguments(dtype="float64"))
    refuse(".*expected an array of at most", arguments(input_size=2**40, hidden_size=2**40))
    refuse("^file: entries: .* got missing", arguments(num_layers=10_000))
    for value in (float("nan"), 1e400, "0.5"):
        refuse("^file: dropout: expected a number between 0 and 1", arguments(dropout=value))
    renamed = redescribed(net, str, lambda h: {("more" if k == "weight_ih_l0" else k): v for k, v in h.items()})
    refuse("^file: entries: expected the names .* got missing weight_ih_l0", renamed)
    refuse("^file: expected an entry description.json, got none; rnnfast.weights reads", a_file({"a": F}, bytes(4)))
    same = redescribed(net, str)
    assert same_params(rnnfast.load(io.BytesIO(same)), net)
