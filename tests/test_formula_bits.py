"""Layers of formulas: the same bits however a result is computed, and those of compiled cells where the formula is theirs."""

import numpy as np
import pytest
from formula_cells import FEW, data, differing, make
from stacks import VARIANTS as COMPILED
from stacks import as_argument, as_tuple, same, small

import rnnfast
from rnnfast import zoo

some = pytest.mark.parametrize(("name", "options"), FEW)


@some
@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_threads(name, options, ragged, dtype, isa, small_work_splits):
    net = make(name, dtype, num_layers=2, bidirectional=True, **options)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, 7, 9, ragged=ragged, rows=rows)
        results = []
        for threads in (1, 2, 3, 9):
            rnnfast.set_num_threads(threads)
            results.append((d.train(net), d.call(net)))
        for trained, called in results[1:]:
            assert not differing(trained, results[0][0]) and same(called, results[0][1])


@pytest.mark.parametrize("name", ["LeakyRNN", "SRU"])
def test_ragged_outputs_that_are_no_state(name, small_work_splits):
    """While a thread copies its rows of y, another may be at the next step."""
    net, rng = getattr(zoo, name)(4, 256, rng=1), np.random.default_rng(0)
    x, lengths = rng.standard_normal((200, 12, 4)).astype("f"), rng.integers(100, 201, 12)
    rnnfast.set_num_threads(1)
    expected = net(x, lengths=lengths)[0]
    for threads in (2, 2, 3, 2):
        rnnfast.set_num_threads(threads)
        assert np.array_equal(net(x, lengths=lengths)[0], expected)


@pytest.mark.parametrize("name", ["LayerNormGRU", "TLSTM", "MGU", "SRU"])
def test_threads_with_large_layers(name, small_work_splits):
    """Many panels a thread; weights of more than two megabytes, which are split by units."""
    net = make(name, np.float64, H=300)
    d = data(net, 2, 14, rows=True)
    results = []
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        results.append(d.train(net))
    assert not differing(results[1], results[0]) and not differing(results[2], results[0])
    for rows in ([4], list(range(13))):
        part = d.only(rows).train(net)
        assert same(part["y"], results[0]["y"][:, rows]) and same(part["dx"], results[0]["dx"][:, rows])


@some
def test_a_row_alone_and_in_any_batch(name, options, dtype, isa):
    net = make(name, dtype, I=33, H=37, **options)
    for row_inputs in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, 4, 30, rows=row_inputs)
        whole = d.train(net)
        for rows in ([0], [29], [3, 4], list(range(5, 18))):
            for key, value in d.only(rows).train(net).items():
                if key not in net.params:
                    assert np.array_equal(value, whole[key][:, rows], equal_nan=True), (key, rows)


@some
@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpoints(name, options, ragged, dropout, small_work_splits):
    net = make(name, num_layers=3, bidirectional=True, dropout=dropout, **options)
    rnnfast.set_num_threads(2)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, 9, 6, ragged=ragged, rows=rows)
        expected = d.train(net, rng=5)
        for every in (1, 2, 4, 100):
            assert not differing(d.train(net, rng=5, checkpoint_every=every), expected), every


@some
def test_call_freeze_record_and_step(name, options, dtype, isa):
    """record of a cell without draws is the same as a call."""
    net = make(name, dtype, num_layers=3, **options)
    fast = net.freeze()
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, 7, 4, rows=rows)
        y, *final = d.call(net)
        assert same(d.call(fast), (y, *final))
        if not d.draws:
            recorded = d.record(net)
            assert same((recorded[0], *as_tuple(recorded[1])), (y, *final))
        out_y, stream = np.empty_like(y[0]), as_argument([a.copy() for a in d.state])
        now = as_argument(d.state)
        for t, x_t in enumerate(d.x):
            inputs = {k: a[t] for k, a in d.inputs.items()}
            y_t, now = fast.step(x_t, now, inputs=inputs)
            assert same(y_t, y[t])
            got_y, got_state = fast.step(x_t, stream, inputs=inputs, out=(out_y, stream))
            assert got_y is out_y and same(out_y, y[t]) and same(as_tuple(got_state), as_tuple(now))
            one = {k: a[0] for k, a in inputs.items()}
            before = as_argument([a[:, 0] for a in d.state])
            if t == 0:
                alone_y, alone = fast.step(x_t[0], before, inputs=one)
                assert same(alone_y, y_t[0]) and same(as_tuple(alone), tuple(a[:, 0] for a in as_tuple(now)))
        assert same(as_tuple(now), tuple(final)) and same(as_tuple(stream), tuple(final))


@some
def test_chunks_of_a_sequence(name, options):
    net = make(name, I=3, H=64, **options)
    d = data(net, 300, 2)
    y, *final = d.call(net)
    state, parts = as_argument(d.state), []
    for begin, end in ((0, 1), (1, 140), (140, 141), (141, 300)):
        inputs = {k: a[begin:end] for k, a in d.inputs.items()}
        part, state = net(d.x[begin:end], state, inputs=inputs)
        parts.append(part)
    assert same((np.concatenate(parts), *as_tuple(state)), (y, *final))


@some
def test_calls_repeat_and_equal_lengths_are_the_whole_batch(name, options):
    net = make(name, bidirectional=True, **options)
    d = data(net)
    expected = d.train(net)
    assert not differing(d.train(net), expected)
    d.lengths = np.full(5, 6)
    assert not differing(d.train(net), expected)


# ---- interpreted and compiled -----------------------------------------------------------------------------------------------
def interpreted(cell, option, dtype, **arguments):
    """A compiled layer, and the one of the zoo with the same parameters."""
    compiled = small(cell, dtype, **arguments, **option)
    cls = {"lstm": zoo.LSTM, "gru": zoo.GRU, "simple_rnn": zoo.SimpleRNN}[cell]
    chosen = {"activation": option["nonlinearity"]} if "nonlinearity" in option else option
    ours = cls(5, 19, dtype=dtype, **arguments, **chosen)
    ours.load_params(compiled.params)
    return compiled, ours


@pytest.mark.parametrize(("cell", "option"), COMPILED)
@pytest.mark.parametrize("bias", [True, False])
def test_interpreted_cells_give_the_bits_of_the_compiled_ones(cell, option, bias, dtype, isa):
    compiled, ours = interpreted(cell, option, dtype, num_layers=2, bidirectional=True, bias=bias)
    for ragged in (False, True):
        for B in (1, 3, 13):
            d = data(ours, 7, B, ragged=ragged)
            expected = d.train(compiled)
            assert not differing(d.train(ours), expected), (ragged, B)
            assert not differing(d.train(ours, checkpoint_every=3), expected), (ragged, B)
            assert same(d.call(ours), d.call(compiled)) and same(d.call(ours.freeze()), d.call(ours))


@pytest.mark.parametrize(("cell", "option"), COMPILED)
def test_interpreted_cells_on_threads(cell, option, dtype, small_work_splits):
    compiled, ours = interpreted(cell, option, dtype, num_layers=2, bidirectional=True)
    d = data(ours, 7, 9, ragged=True)
    expected = d.train(compiled)
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        assert not differing(d.train(ours), expected)
        assert not differing(d.train(compiled), expected)


@pytest.mark.parametrize(("cell", "option"), COMPILED)
def test_interpreted_cells_with_unusual_values(cell, option, dtype, isa):
    """NaN, infinities, zeros of both signs, subnormals, the largest numbers."""
    compiled, ours = interpreted(cell, option, dtype)
    d, kind = data(ours, 5, 12), np.finfo(dtype)
    for b, value in enumerate((np.nan, np.inf, -np.inf, 0.0, -0.0, kind.smallest_subnormal, kind.max, kind.min, kind.tiny)):
        d.x[2, b, 1] = value
    d.x[3, 9], d.state[0][:, 9] = 0, -0.0
    got, expected = d.train(ours), d.train(compiled)
    for key, value in got.items():
        assert np.array_equal(value, expected[key], equal_nan=True), key
        assert np.array_equal(np.signbit(value[~np.isnan(value)]), np.signbit(expected[key][~np.isnan(value)])), key
