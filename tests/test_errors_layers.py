"""Wrong input to layers, frozen layers and the runtime: errors as in test_errors.py, and nothing is lost."""

import pickle
import re
import time

import numpy as np
import pytest
import stacks
from right_calls import CELL_NAMES, B, H, I, T, call, layer

import rnnfast
from rnnfast._engine import checks, elsewhere


# ---- layers ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_sizes(cell):
    make = type(layer(cell))
    for name in ("input_size", "hidden_size", "num_layers"):
        good = {"input_size": 2, "hidden_size": 2, "num_layers": 1}
        for value in (0, -1):
            with pytest.raises(ValueError, match=f"^{name}: expected an integer >= 1, got {value}"):
                make(**{**good, name: value})
        for value in (1.0, "3", None, True, np.float32(2)):
            with pytest.raises(TypeError, match=f"^{name}: expected an integer, got"):
                make(**{**good, name: value})
    for sizes in ((2**40, 2**40), (1, 2**62), (2**63, 1), (10**30, 10**30)):
        with pytest.raises(ValueError, match=r"^hidden_size \* input_size: expected an array of at most \d+ bytes, got"):
            make(*sizes)
    with pytest.raises(MemoryError):
        make(2**25, 2**25)


def test_constructor():
    for dropout in (-0.1, 1.1, float("nan"), 2):
        with pytest.raises(ValueError, match="^dropout: expected a number between 0 and 1"):
            rnnfast.LSTM(2, 2, dropout=dropout)
    for dropout in ("0.5", None, True):
        with pytest.raises(TypeError, match="^dropout: expected a number between 0 and 1"):
            rnnfast.LSTM(2, 2, dropout=dropout)
    for dtype in (np.float16, int, "nothing", None, object(), ">f4", complex):
        with pytest.raises(TypeError, match=r"^dtype: expected np\.float32 or np\.float64"):
            rnnfast.LSTM(2, 2, dtype=dtype)
    for name in ("bias", "batch_first", "bidirectional"):
        for value in (1, None, "yes"):
            with pytest.raises(TypeError, match=f"^{name}: expected True or False"):
                rnnfast.LSTM(2, 2, **{name: value})
    with pytest.raises(ValueError, match="^rng: expected a seed >= 0"):
        rnnfast.LSTM(2, 2, rng=-1)
    for rng in (1.5, "seed", np.random.RandomState(0), True):
        with pytest.raises(TypeError, match="^rng: expected an int"):
            rnnfast.LSTM(2, 2, rng=rng)
        with pytest.raises(TypeError, match="^rng: expected an int"):
            layer("lstm").record(np.zeros((T, B, I), "f"), rng=rng)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_x_of_a_layer(cell, frozen):
    net = layer(cell)
    net = net.freeze() if frozen else net
    with pytest.raises(ValueError, match=r"^x: expected shape \(T, B, 5\) = \(time, batch, input_size\), got \(4, 3, 6\)"):
        net(np.zeros((T, B, I + 1), "f"))
    with pytest.raises(ValueError, match="^x: expected 3 dimensions .* or 2 .*, got shape"):
        net(np.zeros((T, B, I, 1), "f"))
    with pytest.raises(TypeError, match="^x: expected dtype float32 like the layer, got float64; use"):
        net(np.zeros((T, B, I)))
    narrow = stacks.make(cell, input_size=1, hidden_size=H)
    with pytest.raises(ValueError, match=r"^x: expected an array of at most \d+ bytes"):
        narrow(np.broadcast_to(np.float32(0), (2**29, 2**30, 1)))


@pytest.mark.parametrize("cell", ["gru", "simple_rnn"])
def test_state_of_one_letter(cell):
    net, x = layer(cell, num_layers=2), np.zeros((T, 8, I), "f")
    with pytest.raises(
        ValueError, match=r"^state: expected shape \(2, 8, 6\) = \(num_layers\*num_directions, batch, hidden\), got \(8, 6\)$"
    ):
        net(x, np.zeros((8, H), "f"))
    with pytest.raises(TypeError, match="^state: expected one array h, got a tuple of 2"):
        net(x, (np.zeros((2, 8, H), "f"),) * 2)
    with pytest.raises(TypeError, match="^state: expected dtype float32 like x, got float64"):
        net(x, np.zeros((2, 8, H)))


def test_state_of_two_letters():
    net, x, h = layer("lstm", bidirectional=True), np.zeros((T, B, I), "f"), np.zeros((2, B, H), "f")
    for state, got in ((h, "ndarray"), ((h,), "a tuple of 1"), ((h, h, h), "a tuple of 3"), ("hc", "str"), ({}, "dict")):
        with pytest.raises(TypeError, match=rf"^state: expected a pair \(h, c\) of arrays or None, got {got}"):
            net(x, state)
    with pytest.raises(ValueError, match=r"^state\[1\] \(c\): expected shape \(2, 3, 6\)"):
        net(x, (h, h[:1]))


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_backward(cell):
    net, x = layer(cell, num_layers=2), np.zeros((T, B, I), "f")
    y, state, tape = net.record(x)
    yf, sf, function_tape = call(cell, {}, record=True)
    for t, good in ((tape, y), (function_tape, yf)):
        for dy in (good[:-1], good[..., :-1], good[0], np.zeros(())):
            with pytest.raises(ValueError, match="^dy: expected shape .* got"):
                t.backward(np.asarray(dy, np.float32))
        with pytest.raises(TypeError, match="^dy: expected dtype float32 like . got float64|^dy: expected dtype float32 like"):
            t.backward(good.astype(np.float64))
        with pytest.raises(TypeError, match="^need_x: expected True or False"):
            t.backward(good, need_x=1)
        with pytest.raises((ValueError, TypeError), match="^dstate"):
            t.backward(good, np.zeros((1, 1, 1), "f") if cell != "lstm" else (np.zeros((1, 1, 1), "f"), None))
        t.backward(good)  # still usable after all that
    for every in (0, -3):
        with pytest.raises(ValueError, match="^checkpoint_every: expected an integer >= 1"):
            net.record(x, checkpoint_every=every)
    with pytest.raises(TypeError, match="^checkpoint_every: expected an integer"):
        net.record(x, checkpoint_every=2.0)


def test_load_params_changes_nothing_on_error():
    net = layer("lstm", num_layers=2)
    before = {name: value.copy() for name, value in net.params.items()}
    other = dict(layer("lstm", num_layers=2, seed=1).params)
    bad = [
        ({k: v for k, v in other.items() if k != "bias_hh_l1"}, ValueError, "missing bias_hh_l1"),
        ({**other, "weight_ih_l2": 0}, ValueError, "unknown weight_ih_l2"),
        ({**other, "bias_hh_l1": np.zeros(3, "f")}, ValueError, r"^bias_hh_l1: expected shape \(24,\)"),
        ({**other, "bias_hh_l1": np.zeros(24)}, TypeError, r"^bias_hh_l1: expected dtype float32 like the layer, got float64"),
        ([1, 2], TypeError, "^mapping: expected a mapping"),
        (other, ValueError, "^bias_hh_l1: expected a writeable parameter"),
    ]
    net.params["bias_hh_l1"].flags.writeable = False
    for mapping, kind, text in bad:
        with pytest.raises(kind, match=text):
            net.load_params(mapping)
        assert all(np.array_equal(net.params[name], value) for name, value in before.items())


# ---- frozen ------------------------------------------------------------------------------------------------------------------
def test_step():
    fast = layer("lstm", num_layers=2).freeze()
    x, h = np.zeros((B, I), "f"), np.zeros((2, B, H), "f")
    for wrong in (np.zeros((B, I + 1), "f"), np.zeros((1, B, I), "f"), np.zeros((), "f")):
        with pytest.raises(ValueError, match="^x_t: expected shape"):
            fast.step(wrong)
    with pytest.raises(ValueError, match=r"^state\[0\] \(h\): expected shape \(2, 3, 6\) .* got \(2, 4, 6\)"):
        fast.step(x, (np.zeros((2, B + 1, H), "f"), None))
    with pytest.raises(TypeError, match="^x_t: expected dtype float32 like the layer, got float64"):
        fast.step(x.astype(float))
    with pytest.raises(ValueError, match="^step: expected one direction, got a bidirectional layer"):
        layer("lstm", bidirectional=True).freeze().step(x)
    y, c = np.zeros((B, H), "f"), h.copy()
    shared = np.zeros((4, B, H), "f")
    for out, kind, text in (
        (y, TypeError, r"^out: expected a pair \(y, \(h, c\)\), got ndarray"),
        ((y, h), TypeError, r"^out\[1\]: expected a pair \(h, c\)"),
        ((y[:2], (h, c)), ValueError, r"^out\[0\] \(y\): expected shape \(3, 6\)"),
        ((y.astype(float), (h, c)), TypeError, r"^out\[0\] \(y\): expected dtype float32"),
        ((y.T.copy().T, (h, c)), ValueError, "writeable C-contiguous"),
        ((y, (h, h)), ValueError, "overlaps out's state \\(h\\)"),
        ((y, (shared[:2], shared[1:3])), ValueError, "overlaps out's state \\(h\\)"),
        ((h[0], (h, c)), ValueError, "overlaps"),
        ((y.tolist(), (h, c)), TypeError, "expected a plain array to write into, got list"),
    ):
        with pytest.raises(kind, match=text):
            fast.step(x, out=out)
    with pytest.raises(ValueError, match="overlaps state"):
        fast.step(x, (h, c), out=(y, (c, h)))
    with pytest.raises(ValueError, match="overlaps state"):
        fast.step(x, (shared[1:3], c), out=(y, (shared[:2], np.zeros_like(c))))
    wide = np.zeros((B, I + H), "f")
    square = rnnfast.GRU(H, H).freeze()
    with pytest.raises(ValueError, match="overlaps x"):
        square.step(y, out=(y, np.zeros((1, B, H), "f")))
    frozen_y = wide[:, :H].copy()
    frozen_y.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        square.step(y, out=(frozen_y, np.zeros((1, B, H), "f")))


def test_overlap_hidden_by_a_copy():
    """A strided x or state is copied before use: the overlap is still seen, and the input is not overwritten."""
    fast = rnnfast.GRU(4, 6).freeze()
    memory = np.zeros((3, 8), "f")
    x = memory[:, ::2]
    inside = memory.reshape(-1)[:18].reshape(3, 6)
    with pytest.raises(ValueError, match="overlaps x"):
        fast.step(x, out=(inside, np.zeros((1, 3, 6), "f")))
    with pytest.raises(ValueError, match="overlaps x"):
        fast(x[None], out=(inside[None], np.zeros((1, 3, 6), "f")))
    wide = np.zeros((1, 3, 12), "f")
    state = wide[..., ::2]
    for run in (
        lambda out: fast.step(np.ones((3, 4), "f"), state, out=out),
        lambda out: fast(np.ones((1, 3, 4), "f"), state, out=(out[0][None], out[1])),
    ):
        with pytest.raises(ValueError, match=r"overlaps state \(h\)"):
            run((np.zeros((3, 6), "f"), wide.reshape(-1)[:18].reshape(1, 3, 6)))
    assert not wide.any() and not memory.any()
    for kind in (np.matrix, np.ma.array):
        with pytest.raises(TypeError, match="plain array to write into"):
            fast.step(np.ones((3, 4), "f"), out=(kind(np.zeros((3, 6), "f")), np.zeros((1, 3, 6), "f")))


def test_out_of_a_sequence():
    fast = rnnfast.GRU(H, H).freeze()
    x, h = np.zeros((T, B, H), "f"), np.zeros((1, B, H), "f")
    with pytest.raises(ValueError, match="overlaps x"):
        fast(x, out=(x, h))
    with pytest.raises(ValueError, match=r"^out\[0\] \(y\): expected shape \(4, 3, 6\)"):
        fast(x, out=(np.zeros((T, B, H + 1), "f"), h))


# ---- runtime -----------------------------------------------------------------------------------------------------------------
def test_attributes_and_shapes_cannot_change():
    """A layer whose sizes no longer fit its arrays would write past them."""
    net = layer("gru")
    for name, value in (
        ("hidden_size", 3),
        ("num_layers", 2),
        ("bidirectional", True),
        ("dtype", np.float64),
        ("reset_after", False),
    ):
        with pytest.raises(AttributeError):
            setattr(net, name, value)
        with pytest.raises(AttributeError):
            setattr(net.freeze(), name, value)

    class Counting(rnnfast.LSTM):
        calls = 0

        def __call__(self, *arguments, **keywords):
            self.calls += 1  # attributes of one's own are free
            return super().__call__(*arguments, **keywords)

    counting = Counting(I, H)
    counting(np.zeros((T, B, I), "f"))
    counting(np.zeros((T, B, I), "f"))
    assert counting.calls == 2
    net.params["bias_ih_l0"].shape = (2, 9)
    for call_it in (lambda: net(np.zeros((T, B, I), "f")), net.freeze, lambda: net.record(np.zeros((T, B, I), "f"))):
        with pytest.raises(ValueError, match=r"^bias_ih_l0: expected shape \(18,\)"):
            call_it()


def test_what_is_elsewhere():
    """What a user reaches for on the wrong object, or knows from another library, tells where it is."""
    net = layer("lstm")
    fast = net.freeze()
    with pytest.raises(AttributeError, match=r"^LSTM.step: expected .*net\.freeze\(\)\.step"):
        net.step(np.zeros((B, I), "f"))
    assert not hasattr(net, "step") and not hasattr(rnnfast.LSTM, "step") and not hasattr(net, "weights")
    for thing, names in ((net, {**elsewhere.STACK, **elsewhere.LAYER}), (fast, {**elsewhere.STACK, **elsewhere.FROZEN})):
        for name, hint in names.items():
            with pytest.raises(AttributeError) as told:
                getattr(thing, name)
            assert str(told.value) == f"{type(thing).__name__}.{name}: expected an attribute, got none; {hint}"
            assert not hasattr(thing, name) and not hasattr(type(thing), name) and name not in dir(thing)
        for name in re.findall(r"net\.(\w+)", " ".join(names.values())):
            assert hasattr(net, name) or hasattr(fast, name), name  # what is told to be written is there
    assert {"params", "step"} <= set(dir(fast)) and {"record", "save"} <= set(dir(net))
    assert {"state_dict", "parameters", "train", "eval", "to", "load_state_dict", "fit"} <= elsewhere.STACK.keys()
    assert {"record", "load_params"} <= elsewhere.FROZEN.keys()
    net.train = "one's own"
    assert net.train == "one's own"
    *_, tape = net.record(np.zeros((T, B, I), "f"))
    with pytest.raises(TypeError, match="^tape: expected .*cannot be pickled"):
        pickle.dumps(tape)
    with pytest.raises(TypeError, match="^state: expected one array h, got a tuple of 1"):
        layer("gru")(np.zeros((T, B, I), "f"), (None,))


def test_huge_numbers():
    with pytest.raises(ValueError, match="^num_layers: expected an integer from 1 to 10000"):
        rnnfast.LSTM(1, 1, 10**12)
    net, x = layer("lstm"), np.ones((T, B, I), "f")
    y, _, tape = net.record(x, checkpoint_every=10**30)
    assert np.array_equal(tape.backward(y).x, net.record(x)[2].backward(y).x)
    threads = rnnfast.get_num_threads()
    rnnfast.set_num_threads(10**30)
    assert rnnfast.get_num_threads() == 256 and np.array_equal(net(x)[0], y)
    rnnfast.set_num_threads(threads)
    with pytest.raises(TypeError, match="^lengths: expected a plain array, got a masked array"):
        net(x, lengths=np.ma.array([1, 2, 3]))


def test_runtime():
    threads = rnnfast.get_num_threads()
    for value in (0, -2):
        with pytest.raises(ValueError, match="^n: expected an integer >= 1"):
            rnnfast.set_num_threads(value)
        with pytest.raises(ValueError, match="^n: expected an integer >= 1"), rnnfast.num_threads(value):
            pass
    for value in (1.5, "2", None, True):
        with pytest.raises(TypeError, match="^n: expected an integer"):
            rnnfast.set_num_threads(value)
        with pytest.raises(TypeError, match="^n: expected an integer"), rnnfast.num_threads(value):
            pass
    assert rnnfast.get_num_threads() == threads
    for name in ("AVX2", "sse9", "", None, 3):
        with pytest.raises(ValueError, match="^name: expected one of 'scalar'.*what this CPU has"), rnnfast.use_isa(name):
            pass
    with pytest.raises(ValueError, match="^mode: expected one of 'stdout', 'dicts'"):
        rnnfast.show_config("json")


@pytest.mark.parametrize("name", ["hidden_size", "input_size"])
def test_sizes_cannot_be_forced(name):
    """A layer whose sizes do not fit its weights would read or write past its arrays."""
    net, x = rnnfast.LSTM(4, 8), np.ones((2, 3, 4), "f")
    with pytest.raises(AttributeError, match=f"{name}: expected to stay"):
        delattr(net, name)
    net(x)
    net.__dict__[name] = 2  # by force: nothing reads it
    net(x)
    net.__dict__["_form"] = net._form._replace(**{name: 2})  # by more force
    x = x[..., : net.input_size]
    for run in (lambda: net(x, lengths=[2] * 3), lambda: net.record(x)):
        with pytest.raises(ValueError, match="do not fit its weights"):
            run()


def test_parameters_must_stay_as_they_are():
    """Their values are live; memory at odd addresses under them is told, not read."""
    net, x = rnnfast.LSTM(4, 8), np.ones((2, 3, 4), "f")
    odd = np.frombuffer(bytearray(4 * 32 * 4 + 1), np.int8)[1:].view(np.float32).reshape(32, 4)
    net._params["weight_ih_l0"] = odd
    for run in (net, net.record):
        with pytest.raises(ValueError, match="^weight_ih_l0: expected shape .*aligned.*assign values, not its shape or memory"):
            run(x)


def test_overlap_takes_no_time():
    """An exact answer for two arrays of many odd strides can take exponential time; then the bounds decide."""
    memory = np.zeros(1 << 20, np.float32)
    steps = [4 * s for s in (191, 193, 197, 199, 211, 223, 227, 229, 233, 239)]
    odd = np.lib.stride_tricks.as_strided(memory, shape=(3,) * 10, strides=steps)
    other = np.lib.stride_tricks.as_strided(memory[2:], shape=(3,) * 10, strides=[s + 8 for s in steps])
    began = time.perf_counter()
    assert checks.overlap(odd, other) and time.perf_counter() - began < 10
    assert not checks.overlap(memory[:10], memory[10:]) and not checks.overlap(memory[::2], memory[1::2])
    assert checks.overlap(memory[:10], memory[9:])


def test_what_is_derived_is_not_pickled():
    net = rnnfast.LSTM(4, 8)
    net(np.ones((2, 3, 4), "f"))
    for each in (net, net.freeze()):
        assert not {"_names", "_shapes", "_directions"} & each.__getstate__().keys()
