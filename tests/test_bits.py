"""The same bits however a result is computed: threads, batch, chunks, checkpoints, and the way of calling."""

import numpy as np
import pytest
import stacks
from stacks import CELL_NAMES, VARIANTS, as_tuple, draw, same, states, train
from stacks import small as make

import rnnfast
from rnnfast._engine.form import Rows


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_bits_do_not_depend_on_threads(cell, option, ragged, dtype, isa, small_work_splits):
    net = make(cell, dtype, num_layers=2, bidirectional=True, **option)
    x, lengths = draw(9, 11, 5, dtype=dtype), np.arange(11) % 10 if ragged else None
    results = []
    for threads in (1, 2, 3, 5, 11, 12):
        rnnfast.set_num_threads(threads)
        results.append(train(net, x, states(net, 11), lengths=lengths))
    assert all(same(result, results[0]) for result in results)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_bits_of_deep_products_do_not_depend_on_the_batch(cell, dtype, isa):
    """H = 300: backward's products are deeper than the pieces of k in csrc/tile.h, the weights larger than 1 MiB."""
    net, x, dy = make(cell, dtype, H=300), draw(3, 14, 5, dtype=dtype), draw(3, 14, 300, seed=1, dtype=dtype)
    results = []
    for rows in (slice(None), slice(0, 13), slice(4, 5)):
        y, _, tape = net.record(x[:, rows])
        results.append((y, tape.backward(dy[:, rows]).x))
    (y, dx), (most_y, most_dx), (one_y, one_dx) = results
    assert np.array_equal(most_y, y[:, :13]) and np.array_equal(most_dx, dx[:, :13])
    assert np.array_equal(one_y, y[:, 4:5]) and np.array_equal(one_dx, dx[:, 4:5])


def test_bits_of_large_weights_do_not_depend_on_threads(small_work_splits):
    """More than 2 MiB of W_hh: by units however many rows there are."""
    net, x = make("lstm", np.dtype("f8"), H=260), draw(3, 14, 5, dtype=np.dtype("f8"))
    results = []
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        results.append(train(net, x, states(net, 14)))
    assert same(results[1], results[0]) and same(results[2], results[0])


@pytest.mark.parametrize("checkpoint_every", [1, 2, 3, 8, 100])
@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_bits_do_not_depend_on_checkpoints(cell, option, ragged, checkpoint_every, small_work_splits):
    net = make(cell, num_layers=2, bidirectional=True, **option)
    x, lengths = draw(9, 6, 5), np.array([9, 0, 3, 9, 1, 6]) if ragged else None
    rnnfast.set_num_threads(2)
    assert same(
        train(net, x, states(net, 6), lengths=lengths),
        train(net, x, states(net, 6), lengths=lengths, checkpoint_every=checkpoint_every),
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("checkpoint_every", [None, 2])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_packed_rows_give_the_bits_of_padded_ones(cell, option, directions, checkpoint_every, threads, small_work_splits):
    """x, y and their gradients without padding, as `rnnfast.torch` gives packed sequences."""
    net = make(cell, num_layers=2, bidirectional=directions == 2, **option)
    x, state, lengths = draw(9, 6, 5), states(net, 6), np.array([9, 9, 6, 3, 1, 1])
    dy, dstate = draw(9, 6, directions * net.hidden_size, seed=1), states(net, 6, seed=2)
    has_step = np.arange(9)[:, None] < lengths
    rnnfast.set_num_threads(threads)
    found = []
    for given, form in ((x, lambda a: a[has_step]), (Rows(x[has_step], lengths), lambda a: a)):
        steps = None if isinstance(given, Rows) else lengths
        y, final, tape = net._record(given, state, steps, None, None, None, checkpoint_every)
        g = tape.backward(dy if steps is not None else dy[has_step], dstate)
        inferred, _ = net(given, state, lengths=steps)
        found.append([form(y), form(inferred), form(g.x), *as_tuple(final), *as_tuple(g.state), *g.params.values()])
    assert all(map(np.array_equal, *found))


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_one_step_of_some_samples(cell, option):
    """Between layers there is no padding: a sample without steps has no row there."""
    net, x, lengths = make(cell, H=64, num_layers=3, **option), draw(3, 16, 5), np.arange(16) % 2
    y, _, tape = net.record(x, lengths=lengths)
    some, _, some_tape = net.record(x[:1, 1::2])
    g, some_g = tape.backward(np.ones_like(y)), some_tape.backward(np.ones_like(some))
    assert np.array_equal(y[:1, 1::2], some) and np.array_equal(g.x[:1, 1::2], some_g.x)
    assert not y[1:].any() and not y[:, ::2].any() and not g.x[1:].any() and not g.x[:, ::2].any()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_bits_do_not_depend_on_checkpoints_with_dropout(cell, option, bidirectional):
    """Backward fills in anew what dropout left of each layer's input."""
    net = make(cell, num_layers=4, dropout=0.3, bidirectional=bidirectional, **option)
    x, lengths = draw(9, 6, 5), np.array([9, 0, 3, 9, 1, 6])
    every, some = (train(net, x, states(net, 6), lengths=lengths, rng=1, checkpoint_every=k) for k in (None, 4))
    assert same(every, some)


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_a_row_alone_and_in_any_batch(cell, option, dtype, isa):
    net = make(cell, dtype, I=33, H=37, **option)
    x, state = draw(6, 30, 33, dtype=dtype), states(net, 30)
    y, final, tape = net.record(x, state)
    dy = draw(6, 30, 37, seed=2, dtype=dtype)
    g = tape.backward(dy)
    for rows in ([0], [7], [29], [3, 4], list(range(5, 18))):
        part = stacks.as_argument([a[:, rows] for a in stacks.as_tuple(state)])
        y2, final2, tape2 = net.record(x[:, rows], part)
        g2 = tape2.backward(dy[:, rows])
        assert same(y2, y[:, rows]) and same(g2.x, g.x[:, rows])
        for a, b in ((final2, final), (g2.state, g.state)):
            assert same(stacks.as_tuple(a), tuple(v[:, rows] for v in stacks.as_tuple(b)))


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_call_freeze_record_and_step_agree(cell, option, dtype, isa):
    net = make(cell, dtype, num_layers=3, **option)
    x, state = draw(7, 4, 5, dtype=dtype), states(net, 4)
    expected = net(x, state)
    fast = net.freeze()
    assert same(fast(x, state), expected)
    assert same(net.record(x, state)[:2], expected)
    ys, now = [], state
    for x_t in x:
        y_t, now = fast.step(x_t, now)
        ys.append(y_t)
    assert same((np.stack(ys), now), expected)
    out_y = np.empty((4, 19), dtype)
    now = stacks.as_argument([a.copy() for a in stacks.as_tuple(state)])  # one state array for the whole stream
    for t, x_t in enumerate(x):
        got_y, got_state = fast.step(x_t, now, out=(out_y, now))
        assert got_y is out_y and all(a is b for a, b in zip(stacks.as_tuple(got_state), stacks.as_tuple(now), strict=True))
        assert same(out_y, expected[0][t])
    assert same(now, expected[1])


@pytest.mark.parametrize("T", [1, 7, 900])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_a_short_plain_call_and_the_long_way_agree(cell, option, T, dtype):
    """What is contiguous and under a megabyte takes _fast_path (T = 1, 7), anything unusual does not; nothing else shows."""
    net = make(cell, dtype, num_layers=3, **option)
    fast, x, state = net.freeze(), draw(T, 23, 5, dtype=dtype), states(net, 23)
    aside = np.asfortranarray(x)  # the same values in an unusual layout
    expected = fast(aside, state)
    assert same(fast(x, state), expected)
    assert same(fast(x), fast(aside))
    out = (np.empty_like(expected[0]), stacks.as_argument([a.copy() for a in stacks.as_tuple(state)]))
    assert fast(x, out[1], out=out)[0] is out[0]
    assert same(out, expected)
    alone = stacks.as_argument([np.ascontiguousarray(a[:, 4]) for a in stacks.as_tuple(state)])
    y, final = fast(np.ascontiguousarray(x[:, 4]), alone)
    assert same(y, expected[0][:, 4])
    assert same(stacks.as_tuple(final), tuple(a[:, 4] for a in stacks.as_tuple(expected[1])))


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_large_steps_go_to_and_fro_through_their_weights(cell, option, B, dtype, isa, small_work_splits):
    """H a multiple of every panel, the weights several blocks: each step begins where the last one ended."""
    net = make(cell, dtype, I=300, H=256, **option)
    x, state = draw(5, B, 300, dtype=dtype), states(net, B)
    expected, fast = net(x, state), net.freeze()
    for threads in (1, 2, 3):
        rnnfast.set_num_threads(threads)
        ys, now = [], state
        for x_t in x:
            y_t, now = fast.step(x_t, now)
            ys.append(y_t)
        assert same((np.stack(ys), now), expected)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_chunks_of_a_sequence_agree_with_the_whole(cell, dtype, isa):
    """Also where the projection goes in several chunks of time: T * B rows of 4 H values are more than half a megabyte."""
    net = make(cell, dtype, I=3, H=64)
    x = draw(1500, 2, 3, dtype=dtype)
    y, final = net(x)
    parts, state = [], None
    for piece in np.split(x, [1, 700, 701, 1400]):
        part, state = net(piece, state)
        parts.append(part)
    assert same((np.concatenate(parts), state), (y, final))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_calls_repeat(cell):
    net = make(cell, bidirectional=True)
    x = draw(8, 3, 5)
    assert same(train(net, x), train(net, x))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_equal_lengths_are_the_whole_batch(cell):
    net = make(cell, bidirectional=True)
    x = draw(8, 3, 5)
    assert same(train(net, x), train(net, x, lengths=[8, 8, 8]))
