"""Layers of formulas: kernels against the formula, and every sentence about lengths, inputs, states, draws and gradients."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest
from formula_cells import FEW, VARIANTS, data, differing, make
from stacks import as_argument, as_tuple, same

import rnnfast
from rnnfast import ops, reference, zoo
from rnnfast.proof.prove import BOUNDS, error

every = pytest.mark.parametrize(("name", "options"), VARIANTS)
some = pytest.mark.parametrize(("name", "options"), FEW)


def formula(net, d, *, training=False):
    """What the formula itself gives on float64 arrays: (y, states...)."""
    draws = d.draws if training else None
    y, final = reference.run(net, d.x, as_argument(d.state), lengths=d.lengths, inputs=d.inputs, draws=draws, training=training)
    return y, *as_tuple(final)


def test_all_options_are_tested():
    for name, cls in zoo.CELLS.items():
        for option, default in cls.cell.options.items():
            assert any(n == name and o.get(option, default) != default for n, o in VARIANTS), (name, option)


# ---- values -------------------------------------------------------------------------------------------------------------
@every
@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_kernels_compute_the_formula(name, options, ragged, dtype, isa):
    net = make(name, dtype, num_layers=2, bidirectional=True, **options)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, rows=rows, ragged=ragged)
        for got, expected in zip(d.call(net), formula(net, d), strict=True):
            assert error(got, expected) < BOUNDS[dtype.name]
        y, final, _ = d.record(net)
        for got, expected in zip((y, *as_tuple(final)), formula(net, d, training=True), strict=True):
            assert error(got, expected) < BOUNDS[dtype.name]


@every
def test_gradients_in_float32(name, options):
    """Against those in float64, which the zoo's tests and check_cell compare with others."""
    net, single = (make(name, dtype, bidirectional=True, **options) for dtype in (np.float64, np.float32))
    net.load_params({k: a.astype(np.float64) for k, a in single.params.items()})
    d = data(net, ragged=True).astype(np.float32)
    expected, found = d.astype(np.float64).train(net), d.train(single)
    for key in expected:
        assert error(found[key], expected[key]) < BOUNDS["float32"], key


@every
def test_check_cell(name, options):
    arguments = {"hidden_size": 3, "bidirectional": False} if name.startswith("LayerNorm") else {}
    report = rnnfast.check_cell(zoo.CELLS[name], **arguments, **options)
    assert {f"gradient of {k}" for k in ("x", "weight_ih_l0", "bias_ih_l0")} <= report.errors.keys()


@pytest.mark.parametrize("B", [1, 2, 3, 4, 7, 33])
@pytest.mark.parametrize("H", [1, 7, 8, 16, 31, 64, 130])
def test_sizes(B, H, isa, dtype):
    """Around the widths of vectors and panels, one cell with means and products, one with an input."""
    for name, rows in (("LayerNormGRU", False), ("TLSTM", True), ("CfC", False)):
        net = make(name, dtype, H=H)
        d = data(net, 2, B, rows=rows)
        for got, expected in zip(d.call(net), formula(net, d), strict=True):
            assert error(got, expected) < 5 * BOUNDS[dtype.name]  # a mean's difference from one of few values may be small


# ---- lengths, empty and unusual calls -----------------------------------------------------------------------------------
@some
def test_lengths_are_each_sample_by_itself(name, options, isa):
    """To the last bit, with NaN past the ends of x, inputs, draws and dy; gradients of parameters are sums."""
    net = make(name, num_layers=2, bidirectional=True, **options)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, 7, 6, rows=rows, ragged=True)
        past = np.arange(7)[:, None] >= d.lengths
        assert (d.lengths == 0).any() and past.any()
        for a in (d.x, d.dy, *d.inputs.values()):
            a[past] = np.nan
        for a in d.draws.values():
            if a.ndim == 4:
                a[:, past] = np.nan
        whole, total = d.train(net), dict.fromkeys(net.params, 0)
        for zero in ("y", "dx", *(f"d {k}" for k in d.inputs)):
            assert not whole[zero][past].any(), zero
        for b, length in enumerate(d.lengths):
            own = d.only([b]).until(length).train(net)
            for key, value in own.items():
                if key in net.params:
                    total[key] = total[key] + value
                    continue
                steps = slice(length) if key in ("y", "dx") or key.startswith("d ") else slice(None)
                assert np.array_equal(whole[key][steps, [b]], value), (key, b)
        for key, value in total.items():
            assert error(whole[key], value) < 1e-13, key


@every
@pytest.mark.parametrize(("T", "B"), [(0, 3), (4, 0), (0, 0)])
def test_empty(name, options, T, B, dtype):
    net = make(name, dtype, num_layers=2, bidirectional=True, **options)
    d = data(net, T, B)
    found = d.train(net)
    for k, state, dstate in zip(net._form.variant.states, d.state, d.dstate, strict=True):
        assert same(found[f"final {k}"], state) and same(found[f"d{k}"], dstate)
    assert found["y"].shape == (T, B, 38) and found["dx"].shape == d.x.shape
    assert not any(found[k].any() for k in net.params)
    assert all(found[f"d {k}"].shape == a.shape for k, a in d.inputs.items())
    assert same(d.call(net.freeze()), d.call(net))


@some
@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched(name, options, batch_first):
    net = make(name, num_layers=2, bidirectional=True, batch_first=batch_first, **options)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(make(name, num_layers=2, bidirectional=True, **options), 6, 1, rows=rows)
        expected = d.train(make(name, num_layers=2, bidirectional=True, **options))
        one = lambda parts: as_argument([a[:, 0] for a in parts])  # noqa: E731
        inputs, draws = {k: a[:, 0] for k, a in d.inputs.items()}, {k: a[..., 0, :] for k, a in d.draws.items()}
        y, final, tape = net.record(d.x[:, 0], one(d.state), inputs=inputs, draws=draws)
        found = d.named(net, y, final, tape.backward(d.dy[:, 0], one(d.dstate)))
        for key, value in found.items():
            assert same(value, expected[key] if key in net.params else expected[key][:, 0]), key
        for key, value in inputs.items():
            assert found[f"d {key}"].shape == value.shape


@some
def test_batch_first(name, options):
    first = make(name, num_layers=2, bidirectional=True, batch_first=True, **options)
    net = make(name, num_layers=2, bidirectional=True, **options)
    for rows in (False, True)[: 1 + bool(net._form.variant.inputs)]:
        d = data(net, ragged=True, rows=rows)
        expected = d.train(net)
        inputs = {k: a.swapaxes(0, 1) for k, a in d.inputs.items()}
        y, final, tape = first.record(d.x.swapaxes(0, 1), as_argument(d.state), lengths=d.lengths, inputs=inputs, draws=d.draws)
        found = d.named(first, y, final, tape.backward(d.dy.swapaxes(0, 1), as_argument(d.dstate)))
        for key, value in found.items():
            turned = key in ("y", "dx") or key.startswith("d ")
            assert same(value.swapaxes(0, 1) if turned else value, expected[key]), key


# ---- states -------------------------------------------------------------------------------------------------------------
def test_initial_values_stand_for_every_state_left_out():
    """Also inside a tuple, at length 0, at T = 0, in steps, unbatched."""
    net = make("SLSTM", num_layers=2, bidirectional=True)
    d = data(net, ragged=True)
    h, c, n, m = d.state
    full, zero = np.full_like(m, -np.inf), np.zeros_like(h)
    for given, meant in (
        (None, (zero, zero, zero, full)),
        ((h, None, None, None), (h, zero, zero, full)),
        ((h, c, n, None), (h, c, n, full)),
        ([None, c, None, m], (zero, c, zero, m)),
    ):
        arguments = {"lengths": d.lengths}
        got, expected = net(d.x, given, **arguments), net(d.x, meant, **arguments)
        assert same(got, expected)
        results = []
        for state in (given, meant):
            y, final, tape = net.record(d.x, state, **arguments)
            results.append((y, final, tape.backward(d.dy, d.dstate)))
        assert same(*results)
        assert same(net.freeze()(d.x, given, **arguments), expected)
    zero_length = d.lengths == 0
    assert zero_length.any() and (net(d.x, lengths=d.lengths)[1][3][:, zero_length] == -np.inf).all()
    assert (net(d.x[:0])[1][3] == -np.inf).all() and (net(d.x[:0, 0])[1][3] == -np.inf).all()
    one = make("SLSTM", num_layers=2).freeze()
    assert same(one.step(d.x[0]), one.step(d.x[0], (zero[:2], zero[:2], zero[:2], full[:2])))
    assert np.isfinite(one.step(d.x[0])[0]).all()


def test_states_as_arguments():
    net = make("SLSTM")
    d = data(net)
    for wrong, text in (
        (d.state[:3], "state: expected"),
        (d.state[0], "state: expected"),
        ((*d.state[:3], d.state[3][:, :2]), r"state\[3\] \(m\): expected shape"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            net(d.x, wrong)


@some
def test_trajectories(name, options):
    """All states after every step, which a call of each beginning gives too."""
    for arguments in ({"num_layers": 2}, {"bidirectional": True, "batch_first": True}):
        net = make(name, **arguments, **options)
        plain = make(name, **{**arguments, "batch_first": False}, **options)
        d = data(plain, 4, 3, ragged=True)
        turn = (lambda a: a.swapaxes(0, 1)) if net.batch_first else (lambda a: a)
        inputs = {k: turn(a) for k, a in d.inputs.items()}
        found = net.trajectories(turn(d.x), as_argument(d.state), lengths=d.lengths, inputs=inputs)
        assert isinstance(found, tuple) and len(found) == len(d.state)
        for t in range(1, 5):
            lengths = np.minimum(d.lengths, t)
            _, final = plain(d.x, as_argument(d.state), lengths=lengths, inputs=d.inputs)
            for whole, end in zip(found, as_tuple(final), strict=True):
                whole = turn(whole)
                assert whole.shape == (4, 3, 19 * (1 + net.bidirectional))
                live = d.lengths >= t
                assert same(whole[t - 1, live, :19], end[-1 - net.bidirectional][live])
                assert not whole[t - 1, ~live].any()
        one = plain.trajectories(d.x[:, 0], inputs={k: a[:, 0] for k, a in d.inputs.items()})
        assert same(
            one, tuple(a[:, 0] for a in plain.trajectories(d.x[:, :1], inputs={k: a[:, :1] for k, a in d.inputs.items()}))
        )


@rnnfast.cell(gates="a b", states="h c")
def TwoPlain(x, U, h, c):
    """Backward needs nothing but the states."""
    return np.tanh(x.a + U.a @ h), ops.sigmoid(x.b + U.b @ c)


@rnnfast.cell(gates="a", states="h", vectors="p")
def MeanAlone(x, U, h, p):
    """Backward needs nothing but a number of each row."""
    return np.tanh(ops.mean(0.3 * h + p)) + 0.125 * x.a


@pytest.mark.parametrize("cls", [TwoPlain, MeanAlone])
def test_cells_that_keep_no_slots(cls, isa):
    rnnfast.check_cell(cls)
    net = cls(3, 19, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    d = data(net, ragged=True)
    assert not differing(d.train(net, checkpoint_every=2), d.train(net))
    assert len(net.trajectories(d.x)) == len(d.state)


# ---- inputs -------------------------------------------------------------------------------------------------------------
@rnnfast.cell(gates="a b", states="h c", inputs="dt e")
def TwoInputs(x, U, h, c, dt, e):
    c = np.exp(-dt) * c + e * np.tanh(x.a + U.a @ (e * h))
    return ops.sigmoid(x.b + dt * e) * c, c


def test_inputs_of_every_form():
    """Of one number a row or of one a unit, each by itself; a number a row is that number for all units."""
    net = TwoInputs(3, 19, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    full = data(net, ragged=True)
    for rows in ((), ("dt",), ("e",), ("dt", "e")):
        inputs = {k: a[..., 0].copy() if k in rows else a for k, a in full.inputs.items()}
        spread = {k: np.repeat(a[..., None], 19, -1) if k in rows else a for k, a in inputs.items()}
        results = []
        for given in (inputs, spread):
            y, final, tape = full.record(net, inputs=given)
            results.append(full.named(net, y, final, tape.backward(full.dy, full.dstate)))
        for key, expected in results[1].items():
            got = results[0][key]
            summed = expected.sum(-1) if key[:2] == "d " and key[2:] in rows else expected
            assert got.shape == summed.shape and error(got, summed) < 1e-12, (rows, key)


@pytest.mark.parametrize("rows", [False, True])
def test_inputs_in_any_memory_layout(rows, dtype):
    net = TwoInputs(3, 19, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    d = data(net, rows=rows, ragged=True)
    expected = d.train(net)

    def strided(a):
        wide = np.full((2 * a.shape[0], *a.shape[1:], 3), np.nan, dtype)
        wide[::2, ..., 1] = a
        return wide[::2, ..., 1]

    def misaligned(a):
        return np.frombuffer(b"\0" + a.tobytes(), dtype, offset=1).reshape(a.shape)

    for form in (strided, misaligned, np.asfortranarray, lambda a: np.flip(np.flip(a).copy())):
        inputs = {k: form(a) for k, a in d.inputs.items()}
        y, final, tape = d.record(net, inputs=inputs)
        assert not differing(d.named(net, y, final, tape.backward(d.dy, d.dstate)), expected)
    lists = {k: a.astype(np.float64).tolist() for k, a in d.inputs.items()}
    if dtype == np.float64:
        y, final, tape = d.record(net, inputs=lists)
        assert not differing(d.named(net, y, final, tape.backward(d.dy, d.dstate)), expected)


def test_inputs_that_do_not_fit():
    net = TwoInputs(3, 19)
    x, dt, e = (np.zeros(shape, np.float32) for shape in ((4, 2, 3), (4, 2), (4, 2, 19)))
    for inputs, text in (
        (None, "inputs: expected"),
        ({"dt": dt}, "inputs: expected"),
        ({"dt": dt, "e": e, "f": e}, "inputs: expected"),
        ([dt, e], "inputs: expected a mapping"),
        ({"dt": dt[:3], "e": e}, r"inputs\['dt'\]: expected shape"),
        ({"dt": dt, "e": e[..., :3]}, r"inputs\['e'\]: expected shape"),
        ({"dt": dt.astype("f8"), "e": e}, r"inputs\['dt'\]: expected dtype float32"),
        ({"dt": dt.astype(int), "e": e}, r"inputs\['dt'\]: expected dtype float32"),
    ):
        for call in (net, net.record, net.freeze(), net.trajectories):
            with pytest.raises((TypeError, ValueError), match=text):
                call(x, inputs=inputs)
    for other in (rnnfast.LSTM(3, 4), zoo.MGU(3, 4)):
        with pytest.raises((TypeError, ValueError), match="inputs: expected"):
            other(x, inputs={"dt": dt})
        with pytest.raises((TypeError, ValueError), match="inputs: expected"):
            other.freeze().step(x[0], inputs={"dt": dt[0]})


def test_gradients_not_asked_for():
    net = TwoInputs(3, 19, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
    for rows in (False, True):
        d = data(net, rows=rows)
        whole = d.train(net)
        y, final, tape = d.record(net)
        g = tape.backward(d.dy, d.dstate, need_inputs=False, need_x=False)
        assert g.x is None and not g.inputs
        assert all(same(g.params[k], whole[k]) for k in net.params) and same(g.state, (whole["dh"], whole["dc"]))
        y, final, tape = d.record(net)
        g = tape.backward(d.dy, d.dstate, need_inputs=False)
        assert same(g.x, whole["dx"]) and not g.inputs


@some
def test_missing_gradients_are_zeros(name, options):
    net = make(name, num_layers=2, **options)
    d = data(net)
    zeros = tuple(map(np.zeros_like, d.dstate))

    def backward(*arguments):
        y, final, tape = d.record(net)
        return d.named(net, y, final, tape.backward(*arguments))

    assert not differing(backward(d.dy), backward(d.dy, as_argument(zeros)))
    assert not differing(backward(None, as_argument(d.dstate)), backward(np.zeros_like(d.dy), as_argument(d.dstate)))
    found = backward()
    assert not any(found[k].any() for k in (*net.params, "dx", *(f"d {k}" for k in d.inputs)))
    for i in range(len(d.state)) if len(d.state) > 1 else ():
        part = tuple(a if k == i else None for k, a in enumerate(d.dstate))
        meant = tuple(a if k == i else np.zeros_like(a) for k, a in enumerate(d.dstate))
        assert not differing(backward(d.dy, part), backward(d.dy, meant))


# ---- memory -------------------------------------------------------------------------------------------------------------
@some
def test_arguments_are_never_modified_and_results_share_nothing(name, options):
    for arguments in ({"num_layers": 2, "bidirectional": True}, {"I": 19}):
        net = make(name, **arguments, **options)
        d = data(net)
        given = [d.x, *d.state, *d.inputs.values(), *d.draws.values(), d.dy, *d.dstate, *net.params.values()]
        before = [a.copy() for a in given]
        results = [*d.train(net).values(), *d.call(net), *d.call(net.freeze())]
        results += net.trajectories(d.x, as_argument(d.state), inputs=d.inputs)
        assert same(tuple(given), tuple(before))
        for i, a in enumerate(results):
            for b in results[i + 1 :] + given:
                assert not np.shares_memory(a, b)


@some
def test_out(name, options):
    net = make(name, num_layers=2, **options)
    fast, d = net.freeze(), data(net, ragged=True)
    y, *final = d.call(fast)
    out = np.full_like(y, 7), as_argument([np.full_like(a, 7) for a in final])
    got = d.call(fast, out=out)
    assert got[0] is out[0] and same(got, (y, *final))
    kept = tuple(a.copy() for a in d.state)
    fast(d.x, as_argument(kept), lengths=d.lengths, inputs=d.inputs, out=(out[0], as_argument(kept)))
    assert same(kept, tuple(final))
    for array in (d.x, *d.inputs.values()):
        with pytest.raises(ValueError, match="overlap|expected"):
            fast(d.x, inputs=d.inputs, out=(array, as_argument(kept)))


@some
def test_the_tape_keeps_what_it_needs(name, options):
    """Parameters, states and draws may change after record; y is read-only."""
    net = make(name, num_layers=2, **options)
    d = data(net)
    expected = d.train(net)
    y, final, tape = d.record(net)
    copies = y.copy(), [a.copy() for a in as_tuple(final)]
    for a in (*net.params.values(), *d.state, *as_tuple(final)):
        a[...] = np.nan
    with pytest.raises(ValueError, match="read-only"):
        y[...] = 0
    g = tape.backward(d.dy, as_argument(d.dstate))
    assert not differing(d.named(net, copies[0], as_argument(copies[1]), g), expected)
    with pytest.raises(RuntimeError, match="tape: expected"):
        tape.backward(d.dy)


def test_memory_is_freed():
    """Layers, their programs and tapes."""
    x, dt = np.zeros((50, 8, 3), np.float32), np.ones((50, 8), np.float32)

    def once():
        @rnnfast.cell(gates="a", states="v", inputs="dt")
        def Leaky(x, U, v, dt, *, tau=1.0):
            keep = np.exp(-dt / tau)
            return keep * v + (1 - keep) * np.tanh(x.a + U.a @ v)

        net = Leaky(3, 64, tau=0.5)
        y, _, tape = net.record(x, inputs={"dt": dt})
        tape.backward(y)
        net.freeze()(x, inputs={"dt": dt})

    net = TwoInputs(3, 64)
    inputs = {"dt": dt, "e": dt}

    def again():
        y, _, tape = net.record(x, inputs=inputs)
        tape.backward(y)
        net(x, inputs=inputs)

    for work, most in ((again, 20_000), (once, 6_000_000)):  # the cache of traces holds 256 of them
        work()
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            work()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < most, (work, grown)


def test_calls_of_many_threads():
    """One layer, one frozen layer; also the first calls, which make the plans."""
    net = TwoInputs(3, 19, num_layers=2, bidirectional=True, rng=0)
    d, e = data(net), data(net, rows=True)
    copy = TwoInputs(3, 19, num_layers=2, bidirectional=True, rng=0)
    expected = [(one.train(copy), one.call(copy)) for one in (d, e)]
    fast, wrong = net.freeze(), []
    start = threading.Barrier(6)

    def work(k):
        start.wait()
        for i in range(10):
            one, (trained, called) = ((d, expected[0]), (e, expected[1]))[(k + i) % 2]
            if differing(one.train(net), trained) or not same(one.call(fast), called) or not same(one.call(net), called):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- NaN ----------------------------------------------------------------------------------------------------------------
@every
def test_nan_and_infinity_propagate_as_in_the_formula(name, options, isa):
    net = make(name, **options)
    for bad in (np.nan, np.inf, -np.inf):
        d = data(net, 4, 3)
        d.x[1, 1, 2] = bad
        with np.errstate(all="ignore"):
            expected = formula(net, d)
        for got, right in zip(d.call(net), expected, strict=True):
            assert np.array_equal(np.isnan(got), np.isnan(right)) and np.array_equal(np.isinf(got), np.isinf(right))
            fine = np.isfinite(right)
            assert np.allclose(got[fine], right[fine], rtol=1e-11, atol=1e-13)
            assert np.isfinite(got[:, [0, 2]]).all()


@pytest.mark.parametrize("B", [None, 1, 4])
@pytest.mark.parametrize("rows", [False, True])
def test_inputs_by_the_fast_path(B, rows, dtype):
    """What frozen layers do with plain arrays is what they do with others, and no output may overlap an input."""
    net, rng = zoo.CfC(3, 9, num_layers=2, dtype=dtype, rng=0), np.random.default_rng(1)
    fast, some = net.freeze(), () if B is None else (B,)
    x, dt = (rng.uniform(0.1, 1, (6, *some, *last)).astype(dtype) for last in ((3,), () if rows else (9,)))
    lists = dt.tolist() if dtype == np.float64 else np.asfortranarray(dt[::-1])[::-1]
    y, h = fast(x, inputs={"dt": dt})
    for other in (net(x, inputs={"dt": dt}), fast(x, inputs={"dt": lists})):
        assert np.array_equal(other[0], y) and np.array_equal(other[1], h)
    state, out = None, (np.empty((*some, 9), dtype), np.zeros((2, *some, 9), dtype))
    for t in range(6):
        at = dt[t] if dt[t].ndim else np.array(dt[t])
        y_t, state = fast.step(x[t], state, inputs={"dt": at})
        assert np.array_equal(y_t, y[t])
        fast.step(x[t], out[1], inputs={"dt": at}, out=out)
        assert np.array_equal(out[0], y[t])
    assert np.array_equal(state, h) and np.array_equal(out[1], h)
    if not rows:
        with pytest.raises(ValueError, match="overlap"):
            fast(x, inputs={"dt": dt}, out=(dt, np.empty_like(h)))
    with pytest.raises(ValueError, match="dt"):
        fast(x, inputs={"dt": np.zeros((7, *some), dtype)})
    with pytest.raises(ValueError, match="inputs: expected"):
        fast(x, inputs={"dt": dt, "more": dt})
    with pytest.raises(ValueError, match="inputs: expected"):
        fast(x, inputs={"other": dt})
