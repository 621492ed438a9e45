"""One array with all parameters of a layer, and one with all their gradients: the named arrays are views of them, always."""

import copy
import pickle

import numpy as np
import pytest

import rnnfast
from rnnfast import nn, weights, zoo

LAYERS = {
    "rnn": lambda **more: rnnfast.SimpleRNN(3, 5, bias=False, **more),
    "lstm": lambda **more: rnnfast.LSTM(3, 5, 2, bidirectional=True, **more),
    "gru": lambda **more: rnnfast.GRU(3, 5, 3, batch_first=True, **more),
    "vectors": lambda **more: zoo.LSTM(3, 5, 2, peephole=True, **more),
    "no recurrent weights": lambda **more: zoo.IndRNN(3, 5, 2, **more),
}


@pytest.fixture(params=LAYERS)
def net(request):
    return LAYERS[request.param](rng=0)


def gradients(net):
    x = np.random.default_rng(1).standard_normal((4, 2, 3)).astype(net.dtype)
    y, _, tape = net.record(x)
    return tape.backward(2 * y)


def check_views(flat, params):
    """Each element of flat is one of exactly one of params, in their order, and the memory is the same."""
    flat[...] = np.arange(flat.size)
    assert flat.ndim == 1 and flat.flags.c_contiguous
    assert np.array_equal(np.concatenate([a.ravel() for a in params.values()]), flat)
    for number, a in enumerate(params.values()):
        a[...] = number
    assert np.array_equal(flat, np.repeat(np.arange(len(params)), [a.size for a in params.values()]))


def test_parameters(net):
    assert net.flat.shape == (net.num_params,) and net.flat.dtype == net.dtype
    check_views(net.flat, net.params)
    with pytest.raises(AttributeError):
        net.flat = np.zeros(net.num_params, net.dtype)


def test_a_change_of_flat_is_one_of_the_layer(net):
    other = LAYERS["lstm"](rng=1) if net.num_params == LAYERS["lstm"]().num_params else copy.deepcopy(net)
    other.flat[...] = net.flat / 2
    net.flat[...] /= 2
    x = np.ones((4, 2, 3), np.float32)
    assert np.array_equal(net(x)[0], other(x)[0])


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "save", "load_params"])
def test_copies_have_an_array_of_their_own(net, way, tmp_path):
    if way == "pickle":
        other = pickle.loads(pickle.dumps(net))
    elif way == "deepcopy":
        other = copy.deepcopy(net)
    elif way == "save":
        net.save(tmp_path / "net.npz")
        other = rnnfast.load(tmp_path / "net.npz")
    else:
        other = copy.deepcopy(net)
        other.flat[...] = 7
        other.load_params(net.params)
    assert np.array_equal(other.flat, net.flat) and not np.shares_memory(other.flat, net.flat)
    check_views(other.flat, other.params)


def test_weights_of_others():
    net = LAYERS["lstm"](rng=0)
    other = weights.from_torch(weights.to_torch(net))
    assert np.array_equal(other.flat, net.flat)
    check_views(other.flat, other.params)


def test_frozen_layers_do_not_change_with_the_array(net):
    fast, x = net.freeze(), np.ones((4, 2, 3), np.float32)
    before = fast(x)[0].copy()
    net.flat[...] = 0
    assert np.array_equal(fast(x)[0], before)
    for a in fast.params.values():
        with pytest.raises(ValueError):
            a.flags.writeable = True


def test_gradients(net):
    g = gradients(net)
    assert list(g.params) == list(net.params) and g.flat.dtype == net.dtype
    assert {name: a.shape for name, a in g.params.items()} == {name: a.shape for name, a in net.params.items()}
    for a in (g.x, *(g.state if isinstance(g.state, tuple) else (g.state,))):
        assert not np.shares_memory(a, g.flat)
    for other in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert np.array_equal(other.flat, g.flat) and not np.shares_memory(other.flat, g.flat)
        check_views(other.flat, other.params)
    check_views(g.flat, g.params)


def test_gradients_without_steps(net):
    y, _, tape = net.record(np.zeros((2, 0, 3) if net.batch_first else (0, 2, 3), np.float32))
    assert not tape.backward(y).flat.any()


def test_flat_gradients_descend(net):
    """g.flat belongs to net.flat, element by element: a small step changes sum(y**2) as it should."""
    net = type(net)(**net._arguments() | {"dtype": np.float64}, rng=0)
    x = np.random.default_rng(1).standard_normal((4, 2, 3))
    y, _, tape = net.record(x)
    g, before, step = tape.backward(2 * y), (y**2).sum(), 1e-6
    net.flat[...] -= step * g.flat
    assert np.isclose(before - (net(x)[0] ** 2).sum(), step * (g.flat @ g.flat), rtol=1e-3)


@pytest.mark.parametrize("kind", [nn.SGD, nn.RMSprop, nn.Adam, nn.AdamW])
def test_optimizers_take_flat_gradients(net, kind):
    other = copy.deepcopy(net)
    one, two = kind(net.params, 0.1), kind(other.params, 0.1)
    for _ in range(3):
        g = gradients(net)
        kept = g.flat.copy()
        one.step(g.params)
        two.step(two.flatten(g.params))
        assert np.array_equal(net.flat, other.flat) and np.array_equal(g.flat, kept)
        one.step(g.params)
        two.step(g.flat)
        assert np.array_equal(net.flat, other.flat) and np.array_equal(g.flat, kept)
    with pytest.raises(ValueError, match="grads: expected shape"):
        one.step(g.flat[1:])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_the_parameters_of_a_copied_chain_are_those_of_its_layers(copied):
    model = copied(nn.Sequential(LAYERS["lstm"](rng=0), nn.Dense(10, 1, rng=0)))
    x = np.ones((4, 2, 3), np.float32)
    before = model(x)
    for a in model.params.values():
        a[...] = 0
    assert before.any() and not model(x).any()
