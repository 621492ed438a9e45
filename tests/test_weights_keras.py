"""Weights of Keras in layers of rnnfast, and back: the same numbers come out, and what does not fit is a clear error."""

from __future__ import annotations

import random

import numpy as np
import pytest
import stacks
from foreign import BOUNDS, configuration, filled, same_params

from rnnfast import weights, zoo
from rnnfast.cells.conventions import KERAS


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
