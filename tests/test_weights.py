"""Weights as arguments, as people have them: any memory order, any order of gates, one bias or two, used once or often."""

import itertools

import numpy as np
import pytest
from stacks import VARIANTS, draw, same

import rnnfast
from rnnfast import reference
from rnnfast._kernels import _weights
from rnnfast.cells import CELLS

WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")
ORDERS = {"lstm": [" ".join(order) for order in itertools.permutations("ifgo")], "gru": ["z r n", "nzr", "n,r,z"]}


def views(a):
    """The same numbers, lying in memory in other ways; the padding between them is NaN."""
    yield "transposed", np.ascontiguousarray(a.T).T
    for name, shape, part in (
        ("part of wider rows", (a.shape[0], a.shape[1] + 5), np.s_[:, 2:-3]),
        ("every other element", (2 * a.shape[0], 3 * a.shape[1]), np.s_[::2, 1::3]),
        ("backwards", a.shape, np.s_[::-1, ::-1]),
    ):
        around = np.full(shape, np.nan, a.dtype)
        around[part] = a
        yield name, around[part]
        around = np.full(shape[::-1], np.nan, a.dtype)
        around.T[part] = a
        yield name + ", transposed", around.T[part]
    around = np.frombuffer(bytearray(a.nbytes + 1), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    around[...] = a
    yield "at an odd address", around


def make(cell, dtype, inputs, H, seed=0):
    G = len(CELLS[cell].gates)
    shapes = ((G * H, inputs), (G * H, H), (G * H,), (G * H,))
    weights = [draw(*shape, seed=seed + i, dtype=dtype) * dtype.type(0.3) for i, shape in enumerate(shapes)]
    for w in weights:
        w.flags.writeable = False
    return weights


def everything(cell, x, weights, **options):
    """All results of a call, of a recorded one, and its gradients, by name. From random states, so that W_hh counts in a single
    step too."""
    function, H, B = getattr(rnnfast, cell), weights[1].shape[1], x.shape[0 if options.get("batch_first") else 1]
    for i, letter in enumerate(CELLS[cell].states):
        options[f"{letter}0"] = draw(B, H, seed=20 + i, dtype=x.dtype)
    called, state = function(x, *weights, **options)
    y, state_2, tape = function(x, *weights, **options, record=True)
    g = tape.backward(y * 2)
    assert np.array_equal(called, y) and same(state, state_2)
    return {"y": y, "state": state, **{name: getattr(g, name) for name in ("x", *WEIGHTS, "h0")}}


def alike(a, b):
    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a if a[name] is not None or b[name] is not None)


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize(
    ("T", "B", "inputs", "H"), [(1, 1, 7, 37), (1, 1, 3, 500), (2, 1, 64, 32), (2, 1, 5, 50), (1, 2, 3, 1), (5, 3, 20, 50)]
)
def test_bits_do_not_depend_on_memory_order(cell, option, T, B, inputs, H, dtype, isa):
    """Of steps that read the weights where they are, and of packed ones."""
    weights, x = make(cell, dtype, inputs, H), draw(T, B, inputs, seed=9, dtype=dtype)
    expected = everything(cell, x, weights, **option)
    for (name, w_ih), (_, w_hh) in zip(views(weights[0]), views(weights[1]), strict=True):
        for given in ((w_ih, w_hh), (w_ih, weights[1]), (weights[0], w_hh)):
            assert alike(everything(cell, x, [*given, *weights[2:]], **option), expected), name


@pytest.mark.parametrize("T", [1, 4])
def test_strides_of_zero(T, dtype):
    """One row for all units, seen through a broadcast."""
    _, w_hh, *biases = make("gru", dtype, 6, 9)
    row, x = draw(1, 6, dtype=dtype), draw(T, 1, 6, seed=9, dtype=dtype)
    for wide in (np.broadcast_to(row, (27, 6)), np.broadcast_to(row.T[:1], (27, 6))):
        assert alike(everything("gru", x, [wide, w_hh, *biases]), everything("gru", x, [wide.copy(), w_hh, *biases]))


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_unpacked_weights_are_used(cell, option, monkeypatch):
    """By calls of one sample and at most two steps alone; reversed ones, since the fast path cannot be watched."""
    ways = []
    for name in ("pack", "point_at"):
        real = getattr(_weights, name)
        monkeypatch.setattr(_weights, name, lambda *a, real=real, name=name: (ways.append(name), real(*a))[1])
    weights, function = make(cell, np.dtype("f4"), 5, 9), getattr(rnnfast, cell)
    for T, B, way in ((1, 1, "point_at"), (2, 1, "point_at"), (3, 1, "pack"), (1, 2, "pack")):
        function(np.ones((T, B, 5), "f"), *weights, reverse=True, **option)
        assert ways == [way]
        ways.clear()


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize("T", [1, 2, 3])
def test_steps_with_unpacked_weights_on_threads(cell, option, T, dtype, small_work_splits):
    weights, x, results = make(cell, dtype, 20, 75), draw(T, 1, 20, seed=9, dtype=dtype), []
    turned = [np.asfortranarray(w) for w in weights]
    for threads, given in itertools.product((1, 2, 3), (weights, turned)):
        rnnfast.set_num_threads(threads)
        results.append(everything(cell, x, given, **option))
    assert all(alike(result, results[0]) for result in results)


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_layers_step_as_frozen_ones(cell, option, unbatched, dtype, isa):
    """A layer's call of one step reads its parameters where they are; the next sees what an optimizer changed."""
    layer = {"simple_rnn": rnnfast.SimpleRNN, "lstm": rnnfast.LSTM, "gru": rnnfast.GRU}[cell]
    for bias in (True, False):
        net = layer(5, 33, 3, bias=bias, dtype=dtype, rng=0, **option)
        x = draw(*((1, 5) if unbatched else (1, 1, 5)), dtype=dtype)
        for _ in range(2):
            y, state = net(x)
            y_t, step = net.freeze().step(x[0])
            assert np.array_equal(y[0], y_t) and np.array_equal(state, step)
            _, state_2 = net(x, state)
            assert np.array_equal(net.freeze()(x, state)[1], state_2)
            net.params["weight_hh_l1"][...] *= -1


@pytest.mark.parametrize(("cell", "order"), [(cell, order) for cell, orders in ORDERS.items() for order in orders])
def test_gate_order(cell, order, dtype):
    """The same bits with the gates' blocks in another order, gradients in that order; the reference agrees."""
    own = CELLS[cell].gates
    letters = order.replace(",", " ").split() if len(order) > 4 else list(order)
    for T in (1, 2, 4):
        weights, x = make(cell, dtype, 5, 19), draw(T, 1, 5, seed=9, dtype=dtype)

        def arranged(w):
            return np.concatenate([np.split(w, len(own))[own.index(letter)] for letter in letters])

        expected = everything(cell, x, weights)
        expected |= {name: arranged(expected[name]) for name in WEIGHTS}
        moved = [arranged(w) for w in weights]
        assert alike(everything(cell, x, moved, gate_order=order), expected)
        start = {f"{s}0": draw(1, 19, seed=20 + i, dtype=dtype) for i, s in enumerate(CELLS[cell].states)}
        y, _, tape = getattr(reference, cell)(
            *(a.astype("f8") for a in (x, *moved)),
            **{n: a.astype("f8") for n, a in start.items()},
            gate_order=order,
            record=True,
        )
        g = tape.backward(2 * y)
        for name in WEIGHTS:
            assert np.abs(expected[name] - getattr(g, name)).max() < (1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_gate_order_on_threads(ragged, small_work_splits):
    """Gradients of weights go to their blocks whoever computes them."""
    weights, x = make("gru", np.dtype("f4"), 20, 75), draw(6, 9, 20, seed=9, dtype=np.dtype("f4"))
    moved = [np.concatenate([np.split(w, 3)[g] for g in (1, 0, 2)]) for w in weights]
    arguments = {"lengths": [6, 0, 5, 6, 1, 2, 3, 6, 4] if ragged else None, "reverse": True}
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        expected, got = everything("gru", x, weights, **arguments), everything("gru", x, moved, gate_order="z r n", **arguments)
        for name in WEIGHTS:
            expected[name] = np.concatenate([np.split(expected[name], 3)[g] for g in (1, 0, 2)])
        assert alike(got, expected)


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize("missing", ["b_ih", "b_hh"])
@pytest.mark.parametrize("T", [1, 2, 4])
def test_one_bias(cell, option, missing, T):
    """The other is zeros, and has no gradient; as in the reference."""
    weights, x = make(cell, np.dtype("f8"), 5, 19), draw(T, 1, 5, seed=9, dtype=np.dtype("f8"))
    none, zeros, i = list(weights), list(weights), WEIGHTS.index(missing)
    none[i], zeros[i] = None, np.zeros_like(weights[2])
    assert alike(everything(cell, x, none, **option), everything(cell, x, zeros, **option) | {missing: None})
    *_, tape = getattr(reference, cell)(x, *none, **option, record=True)
    g = tape.backward(np.ones((T, 1, 19)))
    assert [name for name in WEIGHTS if getattr(g, name) is None] == [missing]


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize("ragged", [False, True])
def test_batch_first(cell, option, ragged):
    weights, x = make(cell, np.dtype("f8"), 5, 19), draw(4, 3, 5, seed=9, dtype=np.dtype("f8"))
    arguments = {"lengths": [4, 0, 2] if ragged else None, **option}
    expected = everything(cell, x, weights, **arguments)
    got = everything(cell, x.swapaxes(0, 1), weights, batch_first=True, **arguments)
    start = {f"{s}0": draw(3, 19, seed=20 + i, dtype=x.dtype) for i, s in enumerate(CELLS[cell].states)}
    *_, tape = getattr(reference, cell)(x.swapaxes(0, 1), *weights, batch_first=True, record=True, **arguments, **start)
    assert np.abs(tape.backward(2 * got["y"]).x - got["x"]).max() < 1e-12
    assert alike(got | {name: got[name].swapaxes(0, 1) for name in ("x", "y")}, expected)


def test_gradients_can_be_scaled_in_place():
    """As people do who clip them."""
    y, _, tape = rnnfast.gru(np.ones((2, 1, 3)), *make("gru", np.dtype("f8"), 3, 4), record=True)
    g = tape.backward(y)
    before = g.w_hh.copy()
    g.w_hh *= 0.5
    assert np.array_equal(g.w_hh, before / 2)
