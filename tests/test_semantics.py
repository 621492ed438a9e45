"""Every sentence of the semantics: lengths, dtypes, memory, floating point, objects."""

import copy
import ctypes
import pickle
import platform
import tracemalloc

import numpy as np
import pytest
import stacks
from stacks import CELL_NAMES, VARIANTS, draw, same, states, train, tuple_map
from stacks import small as make

import rnnfast
from rnnfast import reference
from rnnfast._engine.dropout import draw_kept


# ---- lengths -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_lengths_are_each_sample_by_itself(cell, option, dtype):
    """y is 0 past the end, states and gradients are those of the cut sample; NaN past the end matters to nothing."""
    net = make(cell, dtype, bidirectional=True, num_layers=2, **option)
    lengths, T = np.array([4, 0, 7, 1, 7, 3]), 7
    x, state = draw(T, 6, 5, dtype=dtype), states(net, 6)
    dy, dstate = draw(T, 6, 38, seed=3, dtype=dtype), states(net, 6, seed=4)
    past = np.arange(T)[:, None] >= lengths
    x[past] = np.nan
    dy[past] = np.nan
    y, final, tape = net.record(x, state, lengths=lengths)
    g = tape.backward(dy, dstate)
    assert not y[past].any() and not g.x[past].any()
    total = dict.fromkeys(net.params, 0)
    for b, length in enumerate(lengths):
        own = stacks.as_argument([a[:, b : b + 1] for a in stacks.as_tuple(state)])
        yb, fb, tape_b = net.record(x[:length, b : b + 1], own)
        gb = tape_b.backward(dy[:length, b : b + 1], stacks.as_argument([a[:, b : b + 1] for a in stacks.as_tuple(dstate)]))
        assert same(y[:length, b : b + 1], yb) and same(g.x[:length, b : b + 1], gb.x)
        for got, expected in ((final, fb), (g.state, gb.state)):
            assert same(tuple(a[:, b : b + 1] for a in stacks.as_tuple(got)), stacks.as_tuple(expected))
        total = {name: total[name] + gb.params[name].astype(np.float64) for name in total}
    for name, value in g.params.items():
        assert rnnfast_error(value, total[name]) < (1e-5 if dtype == np.float32 else 1e-13), name
    zero = stacks.as_tuple(final)[0][:, 1]
    assert same(zero, stacks.as_tuple(state)[0][:, 1])  # length 0 passes the initial state through


def rnnfast_error(a, b):
    from rnnfast.proof.prove import error

    return error(a, b)


def test_no_work_and_no_memory_past_the_end():
    """A batch of a thousand steps in which the samples have 3 in all keeps 3 rows; the rest is not even read."""
    net = make("lstm", H=64)
    x = np.full((1000, 4, 5), np.nan, np.float32)
    x[:2] = 0
    y, _, tape = net.record(x, lengths=[1, 0, 2, 0])
    assert np.isfinite(y).all()
    (kept,) = tape._once.take()[0].records
    assert kept.nbytes == 3 * 5 * 64 * 4  # i f g o c


@pytest.mark.parametrize("lengths", [[2, 3], (2, 3), np.array([2, 3], np.uint8), np.array([2, 3], np.uint64), np.int16([2, 3])])
def test_any_integer_lengths(lengths):
    net = make("gru")
    x = draw(3, 2, 5)
    assert same(net(x, lengths=lengths), net(x, lengths=np.array([2, 3])))


# ---- shapes --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
def test_empty(cell, option, T, B, dtype):
    net = make(cell, dtype, bidirectional=True, num_layers=2, **option)
    state = states(net, B)
    y, final, tape = net.record(draw(T, B, 5, dtype=dtype), state)
    assert y.shape == (T, B, 38) and same(final, state)
    g = tape.backward(np.zeros_like(y), state)
    assert g.x.shape == (T, B, 5) and same(g.state, state)
    assert not any(value.any() for value in g.params.values())
    assert same(net.freeze()(draw(T, B, 5, dtype=dtype), state), (y, final))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_unbatched(cell):
    net = make(cell, bidirectional=True, num_layers=2, batch_first=True)  # batch_first is ignored then
    x = draw(6, 5)
    y, state, tape = net.record(x)
    assert y.shape == (6, 38) and stacks.as_tuple(state)[0].shape == (4, 19)
    y1, state1, tape1 = net.record(x[None])
    assert same(y, y1[0]) and same(stacks.as_tuple(state), tuple(a[:, 0] for a in stacks.as_tuple(state1)))
    dy = draw(6, 38, seed=1)
    g, g1 = tape.backward(dy, state), tape1.backward(dy[None], state1)
    assert same(g.x, g1.x[0]) and same(stacks.as_tuple(g.state), tuple(a[:, 0] for a in stacks.as_tuple(g1.state)))
    assert same(tuple(g.params.values()), tuple(g1.params.values()))
    function, weights = getattr(rnnfast, cell), list(net.params.values())[:4]
    y, state, tape = function(x, *weights, record=True)
    assert y.shape == (6, 19) and stacks.as_tuple(state)[0].shape == (19,)
    g = tape.backward(y.copy(), state)
    assert g.x.shape == (6, 5) and g.h0.shape == (19,)
    y3, state3, tape3 = function(x[:, None], *weights, record=True)
    assert same(y, y3[:, 0]) and same(g.x, tape3.backward(y3.copy(), state3).x[:, 0])
    one = make(cell, num_layers=2).freeze()
    y_t, state_t = one.step(x[0])
    assert y_t.shape == (19,) and stacks.as_tuple(state_t)[0].shape == (2, 19)
    assert same(one.step(x[0], state_t)[0], one.step(x[:1], tuple_map(lambda a: a[:, None], state_t))[0][0])


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_batch_first(cell):
    a, b = make(cell, bidirectional=True), make(cell, bidirectional=True, batch_first=True)
    x, lengths = draw(6, 4, 5), [6, 2, 0, 3]
    y, state, tape = a.record(x, lengths=lengths)
    y2, state2, tape2 = b.record(x.swapaxes(0, 1), lengths=lengths)
    assert same(y, y2.swapaxes(0, 1)) and same(state, state2) and y2.flags.c_contiguous
    g, g2 = tape.backward(y), tape2.backward(y2)
    assert same(g.x, g2.x.swapaxes(0, 1)) and same(g.state, g2.state)
    assert same(tuple(g.params.values()), tuple(g2.params.values()))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_any_memory_layout(cell, dtype):
    net = make(cell, dtype)
    x = draw(6, 4, 5, dtype=dtype)
    expected = train(net, x)
    padded = np.zeros((12, 9, 7), dtype)
    padded[::2, 1:9:2, 1:6] = x
    misaligned = np.frombuffer(b"\0" + x.tobytes(), dtype, offset=1, count=x.size).reshape(x.shape)
    read_only = x.copy()
    read_only.flags.writeable = False
    for view in (
        np.asfortranarray(x),
        padded[::2, 1:9:2, 1:6],
        x[::-1].copy()[::-1],
        np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
        misaligned,
        read_only,
        x.swapaxes(0, 1).copy().swapaxes(0, 1),
    ):
        assert same(view, x) and same(train(net, view), expected)
    wide = np.broadcast_to(x[:1, :1], (6, 4, 5))
    assert same(train(net, wide), train(net, wide.copy()))


def test_weights_and_states_in_any_layout():
    rng = np.random.default_rng(0)
    w_ih, w_hh, b = rng.random((12, 5)), rng.random((12, 3)), rng.random(12)
    x, h0 = rng.random((4, 2, 5)), rng.random((2, 3))
    expected = rnnfast.lstm(x, w_ih, w_hh, b, b, h0)
    strided = np.repeat(b, 2)[::2]
    assert same(rnnfast.lstm(x, np.asfortranarray(w_ih), w_hh.T.copy().T, strided, b, np.asfortranarray(h0)), expected)
    assert same(rnnfast.lstm(x.tolist(), w_ih.tolist(), w_hh.tolist(), b.tolist(), b.tolist(), h0.tolist()), expected)


# ---- memory ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("T", [0, 1, 4])
def test_results_share_no_memory(cell, T):
    for net in (make(cell, num_layers=2, bidirectional=True), make(cell, I=19)):
        x, state = draw(T, 3, net.input_size), states(net, 3)
        before = copy.deepcopy((x, state, dict(net.params)))
        y, final, tape = net.record(x, state)
        dy, dstate = draw(*y.shape, seed=1), states(net, 3, seed=2)
        g = tape.backward(dy, dstate)
        results = [y, *stacks.as_tuple(final), g.x, *stacks.as_tuple(g.state), *g.params.values()]
        results += [net(x, state)[0], *stacks.as_tuple(net(x, state)[1]), *stacks.as_tuple(net.freeze()(x, state)[1])]
        inputs = [x, *stacks.as_tuple(state), dy, *stacks.as_tuple(dstate), *net.params.values()]
        for i, a in enumerate(results):
            for b in results[i + 1 :] + inputs:
                assert not np.shares_memory(a, b)
        assert same(x, before[0]) and same(state, before[1]) and same(tuple(net.params.values()), tuple(before[2].values()))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_functions_share_no_memory(cell):
    net = make(cell)
    weights = list(net.params.values())
    x, h0 = draw(0, 3, 5), draw(3, 19)
    y, final, tape = getattr(rnnfast, cell)(x, *weights, h0, record=True)
    g = tape.backward()
    arrays = [y, *stacks.as_tuple(final), g.h0, g.b_ih, g.b_hh, h0, *weights]
    assert all(not np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :])
    assert same(stacks.as_tuple(final)[0], h0)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_tape_keeps_weights_and_states_of_the_recording(cell):
    net = make(cell)
    x, state = draw(5, 3, 5), states(net, 3)
    expected = train(net, x, state)
    y, final, tape = net.record(x, state)
    for a in (*net.params.values(), *stacks.as_tuple(state), *stacks.as_tuple(final)):
        a[...] = np.nan
    with pytest.raises(ValueError, match="read-only"):
        y[...] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        y.flags.writeable = True
    g = tape.backward(draw(5, 3, 19, seed=9), states(net, 3, seed=11))
    assert same(g, expected[2])


@pytest.mark.parametrize("size", [3, 300], ids=["small", "large"])
def test_recorded_results_stay_locked(size):
    """Nor can what they are views of be made writeable: backward reads it."""
    x, net = draw(5, size, 8), rnnfast.LSTM(8, 256, rng=0)
    first = rnnfast.LSTM(8, 256, bidirectional=True, batch_first=True)
    ys = [net.record(x)[0], net.record(x[:, 0])[0], first.record(x)[0]]
    weights = (np.ones((1024, 8), "f"), np.ones((1024, 256), "f"))
    ys += [rnnfast.lstm(x, *weights, record=True)[0], rnnfast.lstm(x[:, 0], *weights, record=True)[0]]
    for y in ys:
        while isinstance(y, np.ndarray):
            with pytest.raises(ValueError):
                y.flags.writeable = True
            y = y.base


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_frozen_does_not_follow_the_layer(cell):
    net = make(cell)
    x = draw(5, 3, 5)
    expected, fast = net(x), net.freeze()
    for a in net.params.values():
        a[...] = 0
    assert same(fast(x), expected)
    with pytest.raises(AttributeError, match="cannot change"):
        fast.hidden_size = 3


def test_out_of_a_sequence():
    for net in (make("lstm", bidirectional=True, num_layers=2), make("gru", batch_first=True), make("simple_rnn")):
        fast = net.freeze()
        x = draw(3, 4, 5)
        for lengths in (None, [1, 2, 3] if net.batch_first else [3, 0, 1, 2]):
            state = states(net, 3 if net.batch_first else 4)
            y, final = fast(x, state, lengths=lengths)
            out = (np.full_like(y, 7), tuple_map(lambda a: np.full_like(a, 7), final))
            got = fast(x, state, lengths=lengths, out=out)
            assert got[0] is out[0] and same(got, (y, final))
            kept = tuple_map(np.copy, state)
            fast(x, kept, lengths=lengths, out=(out[0], kept))  # its state may be the initial state
            assert same(kept, final)


# ---- gradients asked for in part ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_missing_gradients_are_zeros(cell, option):
    net = make(cell, num_layers=2, **option)
    x, state = draw(5, 3, 5), states(net, 3)

    def backward(*arguments, **keywords):
        return net.record(x, state)[2].backward(*arguments, **keywords)

    dy, dstate = draw(5, 3, 19, seed=1), states(net, 3, seed=2)
    zero_state = tuple_map(np.zeros_like, dstate)
    assert same(backward(dy), backward(dy, zero_state))
    assert same(backward(None, dstate), backward(np.zeros_like(dy), dstate))
    assert not any(value.any() for value in backward().params.values())
    if cell == "lstm":
        assert same(backward(dy, (None, dstate[1])), backward(dy, (zero_state[0], dstate[1])))
        assert same(backward(dy, (dstate[0], None)), backward(dy, (dstate[0], zero_state[1])))
        zeros = np.zeros_like(state[0])
        assert same(net(x, (None, state[1])), net(x, (zeros, state[1])))
        assert same(net(x, (state[0], None)), net(x, (state[0], zeros)))
    with_x, without = backward(dy, dstate), backward(dy, dstate, need_x=False)
    assert without.x is None and same(without.state, with_x.state)
    assert same(tuple(without.params.values()), tuple(with_x.params.values()))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_absent_biases_and_states(cell):
    net = make(cell, bias=False)
    x, weights = draw(4, 2, 5), list(net.params.values())
    y, _, tape = getattr(rnnfast, cell)(x, *weights, record=True)
    g = tape.backward(y)
    assert g.b_ih is None and g.b_hh is None and g.h0.shape == (2, 19) and np.abs(g.h0).max() > 0
    assert (g.c0 is not None) == (cell == "lstm")
    assert list(net.params) == ["weight_ih_l0", "weight_hh_l0"]


# ---- numbers ---------------------------------------------------------------------------------------------------------------
def test_dtypes_are_kept_and_lists_are_float64():
    y, _ = rnnfast.simple_rnn([[1.0, 2.0]], [[1.0, 1.0]], [[1.0]])
    assert y.dtype == np.float64
    assert make("lstm")(draw(2, 2, 5))[0].dtype == np.float32


@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_nan_and_infinity_propagate_as_in_the_formula(cell, option, isa):
    net = make(cell, np.float64, **option)
    weights = list(net.params.values())
    for bad in (np.nan, np.inf, -np.inf):
        x = draw(4, 3, 5, dtype=np.float64)
        x[1, 1, 2] = bad
        with np.errstate(all="ignore"):
            expected, _ = getattr(reference, cell)(x, *weights, **option)
        y, _ = getattr(rnnfast, cell)(x, *weights, **option)
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        assert np.array_equal(np.isinf(y), np.isinf(expected))
        fine = np.isfinite(expected)
        assert np.allclose(y[fine], expected[fine], rtol=1e-12, atol=1e-300)
        assert np.isfinite(y[:, [0, 2]]).all()  # other rows are untouched
    # gradients too: a NaN in dy reaches what the formula reaches (with relu, nothing below its kink)
    x, dy = draw(4, 3, 5, dtype=np.float64), draw(4, 3, 19, seed=1, dtype=np.float64)
    dy[2, 1, :] = np.nan
    g, e = (getattr(m, cell)(x, *weights, **option, record=True)[2].backward(dy) for m in (rnnfast, reference))
    assert np.array_equal(np.isnan(g.x), np.isnan(e.x)) and np.array_equal(np.isnan(g.h0), np.isnan(e.h0))
    assert np.isnan(rnnfast.simple_rnn([[np.nan]], [[1.0]], [[1.0]], nonlinearity="relu")[0]).all()


def test_subnormals_are_flushed_inside_and_kept_outside():
    tiny = np.float32(1e-40)
    one = np.ones((1, 1), np.float32)
    y, _ = rnnfast.simple_rnn(np.full((3, 1, 1), tiny), one, 0 * one, nonlinearity="identity")
    assert not y.any()
    assert tiny * np.float32(1) != 0  # the caller's arithmetic still has subnormals


@pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="reads MXCSR through glibc")
@pytest.mark.parametrize("threads", [1, 3])
def test_the_floating_point_environment_is_restored(threads, small_work_splits):
    """Flush-to-zero, rounding and the sticky exception flags of the caller are untouched by every kind of call."""
    libm, words = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 8)()  # fenv_t: 28 bytes of x87, then MXCSR

    def environment():
        libm.fegetenv(words)
        # all but the flags inexact, underflow and denormal, which Python's own arithmetic sets all the time
        return words[7] & ~0x32, libm.fegetround()

    rnnfast.set_num_threads(threads)
    net = make("lstm", I=5, H=64)
    x = draw(6, 8, 5) * np.float32(1e30)
    libm.feclearexcept(0x3F)
    before = environment()
    y, _, tape = net.record(x)
    after_record = environment()
    tape.backward(dy := np.full_like(y, 1e-38))
    after_backward = environment()
    fast = net.freeze()
    fast(x)
    fast.step(x[0])
    assert before == after_record == after_backward == environment()
    assert before[0] & 0x8040 == 0  # and subnormals are not flushed outside
    assert dy[0, 0, 0] * np.float32(0.01) != 0


@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("B", [0, 1, 5])
def test_step_with_out_allocates_nothing(cell, B):
    """B = 0 stands for unbatched. tracemalloc sees NumPy's memory; what it may see is the frames of the calls."""
    fast = make(cell, H=4096, I=3).freeze()
    shape = (4096,) if B == 0 else (B, 4096)
    x, y = draw(3) if B == 0 else draw(B, 3), np.empty(shape, np.float32)
    state = stacks.as_argument([np.zeros((1, *shape), np.float32) for _ in fast.cell.states])
    for given in (state, None):
        fast.step(x, given, out=(y, state))
        tracemalloc.start()
        for _ in range(5):
            fast.step(x, given, out=(y, state))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4096  # one state of one row is 16,384 bytes


# ---- objects ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("cell", "option"), VARIANTS)
def test_pickle_deepcopy_repr_attributes(cell, option, dtype):
    net = make(cell, dtype, num_layers=2, bidirectional=True, batch_first=True, dropout=0.25, **option)
    x = draw(3, 4, 5, dtype=dtype)
    expected = net(x)
    for thing in (net, net.freeze()):
        for other in (pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing), copy.copy(thing)):
            assert same(other(x), expected) and repr(other) == repr(thing) and type(other) is type(thing)
            attributes = dict(
                input_size=5,
                hidden_size=19,
                num_layers=2,
                bias=True,
                batch_first=True,
                dropout=0.25,
                bidirectional=True,
                dtype=np.dtype(dtype),
                **option,
            )
            assert {name: getattr(other, name) for name in attributes} == attributes
    net.log = ["kept"]
    twin = copy.deepcopy(net)
    assert twin.log == net.log and twin.log is not net.log
    twin.params["weight_ih_l0"][...] = 0
    assert same(net(x), expected)
    assert eval(repr(net), {"rnnfast": rnnfast}).params.keys() == net.params.keys()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_number_of_parameters(bias, bidirectional):
    net, D = rnnfast.GRU(5, 7, 2, bias=bias, bidirectional=bidirectional), 1 + bidirectional
    expected = sum(D * 3 * 7 * (inputs + 7 + 2 * bias) for inputs in (5, 7 * D))
    assert net.num_params == net.freeze().num_params == expected and type(net.num_params) is int
    with pytest.raises(AttributeError):
        net.num_params = 3


def test_pickle_with_buffers_that_lie_anywhere():
    """Out-of-band buffers (protocol 5) may be read-only and at odd addresses: the kernels need neither, an optimizer writes."""
    for net in (rnnfast.LSTM(5, 7, rng=0), rnnfast.LSTM(5, 7, rng=0).freeze()):
        buffers = []
        text = pickle.dumps(net, protocol=5, buffer_callback=buffers.append)
        assert buffers
        moved = [memoryview(b"\0" + bytes(b.raw()))[1:] for b in buffers]
        other = pickle.loads(text, buffers=moved)
        assert all(a.flags.aligned and a.flags.c_contiguous for a in other.params.values())
        assert same(other(draw(4, 2, 5)), net(draw(4, 2, 5)))
        for a in other.params.values():
            if type(net) is rnnfast.LSTM:
                a[...] = 0  # live
            else:
                with pytest.raises(ValueError):
                    a.flags.writeable = True
        assert all(bytes(m) == bytes(b.raw()) for m, b in zip(moved, buffers, strict=True))  # nobody's memory but its own


def test_pickles_have_a_version():
    for net in (rnnfast.GRU(5, 7, reset_after=False, rng=0), rnnfast.GRU(5, 7).freeze()):
        state = net.__getstate__()
        other = type(net).__new__(type(net))
        with pytest.raises(ValueError, match="^pickle: expected version 1, got None"):
            other.__setstate__({"input_size": 5, "_choice": False})  # as before there were versions
        with pytest.raises(ValueError, match="^pickle: expected version 1, got 2; load it with the rnnfast that wrote it"):
            other.__setstate__({**state, "version": 2})
        with pytest.raises(ValueError, match="^weight_hh_l0: expected shape"):
            other.__setstate__({**state, "params": {**state["params"], "weight_hh_l0": np.zeros((3, 3), "f")}})
        other.__setstate__(state)
        assert repr(other) == repr(net)


def test_parameters():
    net = rnnfast.GRU(3, 4, 2, bidirectional=True, rng=1)
    assert list(net.params)[:5] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse"]
    assert net.params["weight_ih_l1_reverse"].shape == (12, 8)
    assert all(np.abs(a).max() <= 0.5 and a.std() > 0.1 for a in net.params.values())  # 1 / sqrt(4)
    assert same(tuple(net.params.values()), tuple(rnnfast.GRU(3, 4, 2, bidirectional=True, rng=1).params.values()))
    with pytest.raises(TypeError):
        net.params["new"] = 0
    x = draw(2, 2, 3)
    before = net(x)[0]
    net.params["bias_ih_l0"][...] += 1  # live: an optimizer updates in place
    assert not same(before, net(x)[0])
    other = rnnfast.GRU(3, 4, 2, bidirectional=True)
    other.load_params(net.params)
    assert same(other(x), net(x))
    swapped = {**net.params, "weight_hh_l0": net.params["weight_hh_l1"], "weight_hh_l1": net.params["weight_hh_l0"]}
    expected = [a.copy() for a in swapped.values()]
    net.load_params(swapped)
    assert same(tuple(net.params.values()), tuple(expected))


def test_dropout():
    net = make("gru", num_layers=3, dropout=0.5, H=64)
    x = draw(4, 3, 5)
    plain = net(x)
    assert same(net(x), plain)  # inference has none
    first, again, other = (net.record(x, rng=seed)[0] for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other) and not same(first, plain[0])
    assert same(make("gru", num_layers=3, H=64).record(x)[0], plain[0])
    # gradients: finite differences of the very same masks, in float64
    net = make("lstm", np.float64, num_layers=3, dropout=0.4)
    x = draw(4, 3, 5, dtype=np.float64)
    y, _, tape = net.record(x, rng=3)
    g, value, step = tape.backward(np.ones_like(y)), net.params["weight_ih_l0"], 1e-6
    for i in ((0, 0), (20, 3), (75, 4)):
        kept = value[i]
        sums = []
        for sign in (1, -1):
            value[i] = kept + sign * step
            sums.append(net.record(x, rng=3)[0].sum())
        value[i] = kept
        assert abs((sums[0] - sums[1]) / (2 * step) - g.params["weight_ih_l0"][i]) < 1e-8
    everything = make("gru", num_layers=2, dropout=1.0)
    y, _, tape = everything.record(x.astype(np.float32))
    assert np.isfinite(y).all() and not tape.backward(y).x.any()


@pytest.mark.parametrize("dropout", [0.0, 1e-4, 0.3, 0.5, 0.999, 1.0])
def test_how_much_dropout_keeps(dropout):
    """Within five standard deviations and the steps of 1/65536, in every chunk of the drawing; the same for the same seed."""
    shape = (3, 1000, 101)
    kept, again = (draw_kept(np.random.default_rng(5), shape, dropout) for _ in range(2))
    assert np.array_equal(kept, again)
    for part in np.array_split(kept.reshape(-1), 4):
        assert abs(part.mean() - (1 - dropout)) <= 5 * np.sqrt(dropout * (1 - dropout) / part.size) + 2**-17


def test_a_second_backward_is_an_error():
    net = make("lstm")
    y, _, tape = net.record(draw(2, 2, 5))
    tape.backward(y)
    with pytest.raises(RuntimeError, match="record again"):
        tape.backward(y)
    *_, tape = rnnfast.gru([[1.0]], np.ones((3, 1)), np.ones((3, 1)), record=True)
    tape.backward()
    with pytest.raises(RuntimeError, match="record again"):
        tape.backward()
