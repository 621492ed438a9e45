"""What does not depend on states is computed ahead of the steps where steps are short: which values, and the same bits."""

import numpy as np
import pytest
from formula_cells import data, differing
from stacks import as_argument, same

import rnnfast
from rnnfast import ops, zoo
from rnnfast._kernels import _testing

ALWAYS = 1 << 40


@pytest.fixture
def hoist_up_to():
    before = _testing.hoist_up_to(0)
    yield _testing.hoist_up_to
    _testing.hoist_up_to(before)


@rnnfast.cell(gates="a b c d", states="h s", vectors="p", inputs="dt", output="y")
def Mixed(x, U, h, s, p, dt):
    """Means of projections, one of which the steps read; phases; a product of a slot; an input; projections as they are."""
    gate = ops.sigmoid(ops.layer_norm(x.a, p, 0.5) + U.a @ h)
    n = np.tanh(ops.softplus(x.b * p) * np.exp(-dt) + U.b @ (gate * h))
    h = ops.lerp(h, n, np.cos(x.c) * np.cos(x.c)) + 0.1 * ops.mean(np.sin(x.b)) * s
    return h - np.tanh(x.d), h, x.d + 0.5 * s


CELLS = [zoo.LayerNormLSTM, zoo.LayerNormGRU, zoo.MinGRU, zoo.MinLSTM, Mixed]
cells = pytest.mark.parametrize("cls", CELLS, ids=lambda cls: cls.__name__)


def spec_of(cls, *, training=False):
    return cls.cell.choose({}).plan(training=training).spec


def operations(phases):
    """Of all programs of units."""
    return [op for phase in phases if phase.program for op, _ in phase.program.instructions]


def test_what_leaves_the_loop():
    mingru, minlstm, lstm, gru = (spec_of(getattr(zoo, k)) for k in ("MinGRU", "MinLSTM", "LayerNormLSTM", "LayerNormGRU"))
    assert sorted(operations(mingru.ahead)) == ["add", "le", "sigmoid", "sigmoid", "where"]
    assert operations(mingru.rest) == ["sub", "fma"] and mingru.slots == 2
    assert operations(minlstm.rest) == ["fma"] and minlstm.slots == 3
    for spec, gates in ((lstm, 4), (gru, 3)):  # one of two layer normalisations of W_hh h and W_ih x
        assert operations(spec.ahead).count("total") == 2 and len(spec.ahead) == 3
        assert operations(spec.rest).count("total") == operations(spec.forward).count("total") - 2
        assert len(operations(spec.forward)) - len(operations(spec.rest)) >= 5 * gates


def test_a_number_a_row_is_not_kept_for_the_steps():
    """And inputs are none of what is computed ahead, nor is a projection as it is moved there."""
    spec = spec_of(Mixed)
    assert "sin" in operations(spec.ahead) and operations(spec.rest).count("total") == 1  # its mean is taken in the step
    assert "softplus" in operations(spec.ahead) and "exp" not in operations(spec.ahead) and "exp" in operations(spec.rest)
    assert "move" not in operations(spec.ahead)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN", "MGU", "SRU", "IndRNN", "LIF", "LeakyRNN", "TLSTM"])
def test_plain_projections_stay(name):
    assert not spec_of(zoo.CELLS[name]).ahead and not spec_of(zoo.CELLS[name]).rest


@cells
def test_training_computes_in_the_steps(cls):
    assert not spec_of(cls, training=True).ahead


def test_text():
    text = str(zoo.MinGRU.cell.choose({}).plan(training=False)).splitlines()
    assert "in short steps once per sequence, phase 0:" in text and "forward after that, phase 0:" in text
    assert "a short step: 2 instructions of these, after 5 instructions once per sequence" in text


@cells
@pytest.mark.parametrize("rows", [False, True])
def test_both_ways_give_the_same_bits(cls, rows, dtype, isa, hoist_up_to):
    """All lengths, both directions, stacked; in calls, frozen, with all states, and as training has it."""
    for H, B in ((5, 1), (19, 3), (37, 20)):
        net = cls(3, H, num_layers=2, bidirectional=True, dtype=dtype, rng=1)
        for ragged in (False, True):
            d = data(net, 9, B, rows=rows, ragged=ragged)
            given = {"inputs": d.inputs or None, "lengths": d.lengths}
            results = []
            for most in (0, ALWAYS):
                hoist_up_to(most)
                state = as_argument(d.state)
                results.append((d.call(net), d.call(net.freeze()), net.trajectories(d.x, state, **given), d.train(net)["y"]))
            (called, frozen, states, y), hoisted = results[0], results[1]
            assert same(hoisted[0], called) and same(hoisted[1], frozen) and same(hoisted[2], states)
            assert same(called, frozen) and same(called[0], y)


@cells
def test_threads(cls, small_work_splits, hoist_up_to):
    net = cls(3, 37, num_layers=2, rng=1)
    for ragged in (False, True):
        d = data(net, 7, 5, ragged=ragged)
        expected = d.call(net)
        hoist_up_to(ALWAYS)
        for threads in (1, 2, 3, 9):
            rnnfast.set_num_threads(threads)
            assert same(d.call(net), expected)
        hoist_up_to(0)


@cells
def test_windows_parts_and_steps(cls, hoist_up_to):
    """A sequence of several windows, in parts of any length, and step by step."""
    net = cls(3, 64, rng=1)
    d, fast = data(net, 700, 2), net.freeze()
    expected = d.call(net)
    hoist_up_to(ALWAYS)
    assert same(d.call(net), expected) and same(d.call(fast), expected)
    now = as_argument(d.state)
    for begin, end in ((0, 1), (1, 3), (3, 500), (500, 700)):
        y, now = net(d.x[begin:end], now, inputs={k: a[begin:end] for k, a in d.inputs.items()} or None)
        assert same(y, expected[0][begin:end])
    now = as_argument(d.state)
    for t in range(20):
        y, now = fast.step(d.x[t], now, inputs={k: a[t] for k, a in d.inputs.items()} or None)
        assert same(y, expected[0][t])


def test_a_row_alone_and_in_a_batch():
    """Without a setting: alone it is computed the one way, in the batch the other."""
    for cls in CELLS:
        net = cls(3, 37, dtype=np.float64, rng=1)
        d = data(net, 6, 40)
        whole, one = d.call(net), d.only([7]).call(net)
        assert all(np.array_equal(a, b[:, [7]]) for a, b in zip(one, whole, strict=True)), cls.__name__


def test_training_is_the_same_with_and_without(hoist_up_to):
    net = zoo.LayerNormLSTM(3, 19, num_layers=2, rng=1)
    d = data(net)
    expected = d.train(net)
    hoist_up_to(ALWAYS)
    assert not differing(d.train(net), expected) and not differing(d.train(net, checkpoint_every=2), expected)


def test_the_formula_itself():
    for training in (False, True):
        assert bool(spec_of(Mixed, training=training).ahead) is not training
    rnnfast.check_cell(Mixed)
