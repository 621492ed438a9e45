"""Signals in long calls: Ctrl-C ends them soon, other handlers run on the way, and nothing is left broken."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import rnnfast
from rnnfast._kernels import _call, _testing

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")

T = 60_000
DELAY = 0.2  # seconds until the signal


@pytest.fixture(params=["one thread", "rows", "units"])
def split(request):
    """How a call is shared: not at all, by rows or by units, on two threads however few CPUs there are."""
    threads, rest, exceed = rnnfast.get_num_threads(), _testing.let_rest(False), _testing.exceed_cpus(True)
    model = _testing.set_cost_model(1, 1 if request.param == "units" else 1e300)
    rnnfast.set_num_threads(1 if request.param == "one thread" else 2)
    yield request.param
    rnnfast.set_num_threads(threads)
    _testing.set_cost_model(*model)
    _testing.let_rest(rest)
    _testing.exceed_cpus(exceed)


def make(hidden=256):
    """Float64 is slow everywhere."""
    return rnnfast.LSTM(64, hidden, dtype=np.float64, rng=0)


def interrupt(call, handler=signal.default_int_handler, after=DELAY):
    """Runs the call with an alarm after some time; returns the seconds from the alarm to the end, and what was raised."""
    fired = []

    def on_alarm(number, frame):
        fired.append(time.perf_counter())
        handler(number, frame)

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, after)
    began = time.perf_counter()
    try:
        call()
    except BaseException as problem:
        return time.perf_counter() - began - after, problem
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return None, None


@pytest.mark.parametrize("ragged", [False, True], ids=["all", "ragged"])
def test_forward(split, ragged):
    """Ctrl-C's handler ends a call of many seconds in a small part of them."""
    net, B = make(), 4 if split == "rows" else 1
    x, lengths = np.zeros((T, B, 64)), np.full(B, T - 1) if ragged else None
    for call in (lambda: net(x, lengths=lengths), lambda: net.record(x, lengths=lengths, checkpoint_every=1000)):
        late, problem = interrupt(call)
        assert isinstance(problem, KeyboardInterrupt), "the call ended by itself"
        assert late < 1, late  # in fact 0.05 to 0.15 s; whole it takes 5 s and more
    assert np.isfinite(net(x[:100])[0]).all()  # the team and the scratch work as before


@pytest.mark.parametrize("checkpoint_every", [None, 5000])
def test_backward(split, checkpoint_every, monkeypatch):
    """An interrupted backward says so when its tape is used again. The alarm is set when the kernel is called: under a
    sanitizer, on a busy machine, a tenth of a second can pass before that, and then nothing is used up yet."""
    net, x = make(128), np.zeros((20_000, 4, 64) if split == "rows" else (60_000, 1, 64))
    y, _, tape = net.record(x, checkpoint_every=checkpoint_every)
    kernel, called = _call.backward, []

    def backward(*args):
        called.append(time.perf_counter())
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        kernel(*args)

    monkeypatch.setattr(_call, "backward", backward)
    _, problem = interrupt(lambda: tape.backward(y), after=100)
    assert isinstance(problem, KeyboardInterrupt), "the call ended by itself"
    assert time.perf_counter() - called[0] < 1.1
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="^tape: expected its first backward, .*was interrupted.*record again"):
        tape.backward(y)
    y, _, tape = net.record(x[:50])
    assert np.isfinite(tape.backward(y).x).all()


def test_a_handler_that_computes():
    """A handler that raises nothing may call rnnfast itself, in the middle of a call: both results are right."""
    net = make()
    x = np.random.default_rng(0).standard_normal((6000, 1, 64))
    expected, seen = net(x)[0], []

    def handler(number, frame):
        y, _, tape = net.record(x[:40])
        seen.append((y, tape.backward(y).x, tiny * 1.0))
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # once more

    y, _, tape = net.record(x[:40])
    small, tiny = (y, tape.backward(y).x), 1e-310
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        while len(seen) < 3:
            assert np.array_equal(net(x)[0], expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for y, dx, subnormal in seen:
        assert np.array_equal(y, small[0]) and np.array_equal(dx, small[1])
        assert subnormal == tiny > 0  # Python's own arithmetic does not flush subnormals in a handler


def test_any_exception_of_a_handler():
    class Enough(Exception):
        pass

    def handler(number, frame):
        raise Enough("after", number)

    net, x = make(), np.zeros((T, 1, 64))
    fast, out = net.freeze(), (np.empty((T, 1, 256)), tuple(np.empty((1, 1, 256)) for _ in range(2)))
    for call in (lambda: fast(x), lambda: fast(x, out=out)):
        _, problem = interrupt(call, handler)
        assert isinstance(problem, Enough) and problem.args == ("after", signal.SIGALRM)


def test_many_small_layers():
    """None of them takes long; all together do."""
    net, x = rnnfast.LSTM(64, 64, 400, rng=0).freeze(), np.zeros((4000, 1, 64), np.float32)  # y: 1 MB, the fast path's most
    late, problem = interrupt(lambda: net(x[:4000]), after=0.1)
    assert isinstance(problem, KeyboardInterrupt) and late < 1


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
def test_the_wakeup_pipe_is_given_back(taken):
    """Python writes into it when a signal comes. An event loop that has it keeps it, and hears of the signal too."""
    net, x = make(), np.zeros((T, 1, 64))
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write if taken else -1)
    try:
        late, problem = interrupt(lambda: net(x))
        assert isinstance(problem, KeyboardInterrupt) and late < 1
        assert signal.set_wakeup_fd(-1) == (write if taken else -1)
        if taken:
            assert os.read(read, 1) == bytes([signal.SIGALRM])
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("end", ["return", "raise"])
def test_a_handler_that_forks(split, end):
    """The child of a call on several threads has none of the others: it does not wait for them, but says so."""
    net, x = make(128), np.zeros((20_000, 4, 64) if split == "rows" else (60_000, 1, 64))
    expected, parent, children, short = net(x)[0], os.getpid(), [], net(x[:200])[0]
    y, _, tape = net.record(x, checkpoint_every=5000)

    def handler(number, frame):
        child = os.fork()
        if child:
            children.append(child)
        elif end == "raise":
            raise KeyboardInterrupt

    for call, result in ((lambda: net(x)[0], expected), (lambda: tape.backward(y).x, None)):
        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        outcome = 1
        try:
            got = call()
            outcome = 0 if result is None or np.array_equal(got, result) else 1
        except KeyboardInterrupt:
            outcome = 0 if end == "raise" and os.getpid() != parent else 1
        except RuntimeError as problem:
            told = "got a fork by a signal's handler" in str(problem)
            outcome = 0 if told and end == "return" and split != "one thread" and os.getpid() != parent else 1
        finally:
            if os.getpid() != parent:
                os._exit(outcome if np.array_equal(net(x[:200])[0], short) else 2)  # with a team of its own
            signal.signal(signal.SIGALRM, before)
        assert outcome == 0 and children
        assert os.waitpid(children.pop(), 0)[1] == 0


def test_another_thread_is_left_alone():
    """Python's handlers run in its main thread only: a call of another one goes on, and the main thread hears at once."""
    net = make()
    x = np.random.default_rng(0).standard_normal((6000, 1, 64))
    expected, results = net(x)[0], []
    worker = threading.Thread(target=lambda: results.append(net(x)[0]))
    worker.start()
    _, problem = interrupt(lambda: time.sleep(60), after=0.05)
    worker.join()
    assert isinstance(problem, KeyboardInterrupt)
    assert np.array_equal(results[0], expected)


def test_ctrl_c_from_outside():
    """A process that computes ends with a KeyboardInterrupt soon after SIGINT."""
    code = """
import signal
import numpy as np, rnnfast
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
net, x = rnnfast.GRU(64, 256, dtype=np.float64, rng=0), np.zeros((200_000, 1, 64))
print("ready", flush=True)
net(x)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1] == "KeyboardInterrupt" and process.returncode in (-signal.SIGINT, 1, 130), errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_main_thread_of_a_forked_child():
    """A child forked by another thread has that one as its main thread, and listens there."""
    net, x = make(), np.zeros((T, 1, 64))
    status = []

    def fork():
        child = os.fork()
        if child == 0:
            ended = 1
            try:
                late, problem = interrupt(lambda: net(x))
                ended = 0 if isinstance(problem, KeyboardInterrupt) and late < 1 else 2
            finally:
                os._exit(ended)
        status.append(os.waitpid(child, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert status == [0]
