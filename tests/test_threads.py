"""Threads: many callers of one object, fork after use, the environment, memory that runs out."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rnnfast
from rnnfast._engine import settings
from rnnfast.layers import LAYERS


def run_python(code, **environment):
    """A fresh interpreter; returns its finished process."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("cell", LAYERS)
def test_eight_threads_on_one_layer(cell, small_work_splits):
    """Everything at once on one layer, one frozen layer and the team: equal bits everywhere."""
    rnnfast.set_num_threads(3)
    rng = np.random.default_rng(0)
    net = LAYERS[cell](7, 33, 2, bidirectional=True, rng=0)
    one = LAYERS[cell](7, 33, 2, rng=0).freeze()
    fast = net.freeze()
    x = rng.standard_normal((20, 9, 7)).astype(np.float32)
    lengths = rng.integers(0, 21, 9)
    dy = rng.standard_normal((20, 9, 66)).astype(np.float32)

    def work():
        y, _, tape = net.record(x, lengths=lengths)
        g = tape.backward(dy)
        state = None
        for x_t in x:
            y_t, state = one.step(x_t, state)
        return [y, g.x, *g.params.values(), net(x)[0], fast(x, lengths=lengths)[0], y_t]

    expected = work()
    start = threading.Barrier(8)

    def repeat(_):
        start.wait()
        return [work() for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(repeat, range(8)):
            for result in results:
                assert all(map(np.array_equal, result, expected))


def test_the_gil_is_released():
    """While a long call computes, another Python thread goes on."""
    net = rnnfast.LSTM(64, 256).freeze()
    x = np.zeros((3000, 1, 64), np.float32)
    ticks, done = 0, threading.Event()

    def compute():
        net(x)
        done.set()

    worker = threading.Thread(target=compute)
    worker.start()
    while not done.is_set():
        ticks += 1
        time.sleep(0)
    worker.join()
    assert ticks > 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_use(small_work_splits):
    """A child of a process whose team has run computes the same, with a team of its own, and does not hang."""
    rnnfast.set_num_threads(2)
    net = rnnfast.GRU(16, 64, 2, rng=0)
    x = np.random.default_rng(0).standard_normal((10, 8, 16)).astype(np.float32)
    y, _, tape = net.record(x)
    expected = tape.backward(y).x
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                y, _, tape = net.record(x)
                status = 0 if np.array_equal(tape.backward(y).x, expected) else 2
            finally:
                os._exit(status)
        deadline = time.monotonic() + 60
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                os.kill(child, 9)
                pytest.fail("the forked child hangs")
            time.sleep(0.01)
        assert ended[1] == 0
    y, _, tape = net.record(x)
    assert np.array_equal(tape.backward(y).x, expected)


def test_fork_while_other_threads_compute():
    code = """
import os, threading, numpy as np, rnnfast
from rnnfast._kernels import _testing
_testing.exceed_cpus(True); _testing.set_cost_model(1, 1); rnnfast.set_num_threads(3)
net = rnnfast.LSTM(8, 64, rng=0).freeze(); x = np.ones((50, 6, 8), np.float32); y = net(x)[0]
stop = threading.Event()
def busy():
    while not stop.is_set(): net(x)
threads = [threading.Thread(target=busy) for _ in range(2)]
[t.start() for t in threads]
for _ in range(20):
    child = os.fork()
    if child == 0: os._exit(0 if np.array_equal(net(x)[0], y) else 2)
    assert os.waitpid(child, 0)[1] == 0
stop.set(); [t.join() for t in threads]
print("fine")
"""
    done = run_python(code)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_workers_follow_the_affinity_of_the_caller():
    code = """
import os, numpy as np, rnnfast
from rnnfast._kernels import _testing
_testing.set_cost_model(1, 1); rnnfast.set_num_threads(2)
net, x = rnnfast.GRU(4, 4), np.zeros((2, 4, 4), np.float32)
every = os.sched_getaffinity(0)
def masks():
    net(x)
    return {frozenset(os.sched_getaffinity(int(t))) for t in os.listdir('/proc/self/task')}
os.sched_setaffinity(0, {min(every)})
assert masks() == {frozenset({min(every)})}, masks()
os.sched_setaffinity(0, every)
assert masks() == {frozenset(every)}, masks()
print("fine")
"""
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout == "fine\n", done.stderr


AFFINITY = """
import os, sys, numpy as np, rnnfast
from rnnfast._kernels import _testing
_testing.set_cost_model(1, 1); _testing.let_rest(False); rnnfast.set_num_threads(2)
net, x = rnnfast.GRU(4, 4).freeze(), np.zeros((2, 4, 4), np.float32)
every = os.sched_getaffinity(0)
one = {min(every)}
def brief_calls():
    for _ in range(300):  # close enough for workers to stay awake
        net(x)
def check(mask):
    net(x)
    masks = {frozenset(os.sched_getaffinity(int(t))) for t in os.listdir("/proc/self/task")}
    assert masks == {frozenset(mask)}, masks
    assert _testing.team(16, False) == len(mask), mask
def pinned():
    os.sched_setaffinity(0, one)
    check(one)
    brief_calls()
    check(one)
brief_calls()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_brief_calls_follow_the_affinity():
    """At once, though a brief call has no time to spare; and no call has more threads than there are CPUs."""
    done = run_python(
        AFFINITY + "check(every); pinned(); os.sched_setaffinity(0, every); check(every)", OPENBLAS_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and fork")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_forked_child_follows_its_own_affinity():
    code = (
        AFFINITY
        + """
child = os.fork()
if child == 0:
    try:
        pinned()
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
check(every)
"""
    )
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_no_more_threads_than_cpus():
    """However many are set: threads that share a processor would wait for one another at every step."""
    code = """
import os, numpy as np, rnnfast
rnnfast.set_num_threads(16)
net = rnnfast.LSTM(64, 256, rng=0).freeze()
before = len(os.listdir("/proc/self/task"))
net(np.zeros((100, 1, 64), np.float32)), net(np.zeros((10, 64, 64), np.float32))
assert rnnfast.get_num_threads() == 16
print(len(os.listdir("/proc/self/task")) - before < len(os.sched_getaffinity(0)))
"""
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("limits", "cpus"),
    [
        ({"a/b": "150000 100000"}, 1),
        ({"a/b": "max 100000", "a": "300000 100000"}, 3),
        ({"a/b": "800000 100000", "a": "max 100000", "": "250000 100000"}, 2),
        ({"a/b": "20000 100000"}, 1),
        ({"a/b": "max 100000"}, None),
        ({"a/b": "odd"}, None),
        ({}, None),
    ],
)
def test_cpus_of_a_containers_quota(limits, cpus, tmp_path):
    """The least of the group's own quota and those above, rounded down."""
    own = tmp_path / "own"
    own.write_text("1:cpu:/elsewhere\n0::/a/b\n")
    (tmp_path / "root" / "a" / "b").mkdir(parents=True)
    for group, limit in limits.items():
        (tmp_path / "root" / group / "cpu.max").write_text(limit + "\n")
    assert settings.cpus_of_quota(own, tmp_path / "root") == cpus
    assert settings.cpus_of_quota(tmp_path / "none", tmp_path / "root") is None


def test_changing_threads_during_backward():
    """set_num_threads in another thread between the two halves of a backward changes nothing."""
    net = rnnfast.LSTM(8, 64, 2, rng=0)
    x = np.ones((30, 12, 8), np.float32)
    y, _, tape = net.record(x)
    expected, stop, threads = tape.backward(y).x, threading.Event(), rnnfast.get_num_threads()

    def churn():
        while not stop.is_set():
            for n in (1, 2, 3, 64):
                rnnfast.set_num_threads(n)

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        for _ in range(50):
            y, _, tape = net.record(x)
            assert np.array_equal(tape.backward(y).x, expected)
    finally:
        stop.set()
        worker.join()
        rnnfast.set_num_threads(threads)


def test_an_idle_team_uses_no_processor(small_work_splits):
    rnnfast.set_num_threads(2)
    rnnfast.GRU(16, 64)(np.zeros((10, 8, 16), np.float32))
    time.sleep(0.05)  # workers spin for 0.2 ms, then sleep
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


def test_environment():
    code = "import rnnfast; c = rnnfast.show_config('dicts'); print(rnnfast.get_num_threads(), c['CPU']['isa'])"
    done = run_python(code, RNNFAST_NUM_THREADS="3", RNNFAST_ISA="scalar")
    assert done.stdout.split() == ["3", "scalar"]
    for variables, text in (
        ({"RNNFAST_NUM_THREADS": "0"}, "RNNFAST_NUM_THREADS: expected an integer >= 1, got '0'"),
        ({"RNNFAST_NUM_THREADS": "many"}, "RNNFAST_NUM_THREADS: expected an integer >= 1, got 'many'"),
        ({"RNNFAST_ISA": "sse9"}, "RNNFAST_ISA: expected one of 'scalar'"),
    ):
        done = run_python("import rnnfast", **variables)
        assert done.returncode == 1 and text in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_default_threads_are_the_affinity_mask():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nimport rnnfast; print(rnnfast.get_num_threads())"
    )
    assert run_python(code, RNNFAST_NUM_THREADS="").stdout == "1\n"


def test_use_isa_is_of_one_thread():
    """And a frozen layer and a tape keep theirs."""
    seen = []
    net, x = rnnfast.LSTM(8, 40, rng=0), np.random.default_rng(0).standard_normal((30, 2, 8)).astype(np.float32)
    with rnnfast.use_isa("scalar"):
        thread = threading.Thread(target=lambda: seen.append(rnnfast.show_config("dicts")["CPU"]["isa"]))
        thread.start()
        thread.join()
        fast = net.freeze()
        y, _, tape = net.record(x)
        _, _, twin = net.record(x)
        expected = twin.backward(y).x
        assert rnnfast.show_config("dicts")["CPU"]["isa"] == "scalar" == fast.isa
    assert np.array_equal(fast(x)[0], y) and np.array_equal(tape.backward(y).x, expected)
    if len(rnnfast.runtime.PRESENT) > 1:
        assert not np.array_equal(net(x)[0], y)  # FMA rounds otherwise
    assert seen == [rnnfast.show_config("dicts")["CPU"]["isa"]]


def test_num_threads_blocks():
    """Nested, left by an exception, beside set_num_threads; and those of two threads, which end in the order they began in."""
    before = rnnfast.get_num_threads()
    with rnnfast.num_threads(3):
        assert rnnfast.get_num_threads() == rnnfast.show_config("dicts")["Threads"]["threads"] == 3
        with pytest.raises(KeyError), rnnfast.num_threads(10**30):
            assert rnnfast.get_num_threads() == 256
            raise KeyError
        assert rnnfast.get_num_threads() == 3
        rnnfast.set_num_threads(5)
        assert rnnfast.get_num_threads() == 5
        with rnnfast.num_threads(4):
            rnnfast.set_num_threads(6)
        assert rnnfast.get_num_threads() == 5
    assert rnnfast.get_num_threads() == before

    entered, left = threading.Event(), threading.Event()

    def other():
        with rnnfast.num_threads(8):
            entered.set()
            left.wait()
            assert rnnfast.get_num_threads() == 8

    with ThreadPoolExecutor(1) as pool:
        with rnnfast.num_threads(7):
            done = pool.submit(other)
            entered.wait()
        left.set()
        done.result()
    assert rnnfast.get_num_threads() == before


def test_num_threads_blocks_of_many_threads():
    """However they overlap, what is left in the end is what was set before."""
    before, interval = rnnfast.get_num_threads(), sys.getswitchinterval()

    def churn(n):
        for _ in range(3000):
            with rnnfast.num_threads(n):
                pass

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(churn, range(before + 1, before + 5)))
    finally:
        sys.setswitchinterval(interval)
    assert rnnfast.get_num_threads() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_num_threads_holds_for_every_call():
    """With one thread no worker is ever started, neither for packing nor for a step; after the block they are."""
    code = """
import os, numpy as np, rnnfast
from rnnfast._kernels import _testing
_testing.exceed_cpus(True); _testing.set_cost_model(1, 1); rnnfast.set_num_threads(3)
x, net = np.zeros((5, 6, 300), np.float32), rnnfast.LSTM(300, 256, 2)
def work():
    fast = net.freeze()
    fast(x), fast.step(x[0]), net(x)
    y, _, tape = net.record(x)
    tape.backward(y)
    rnnfast.lstm(x, *list(net.params.values())[:4])
    return len(os.listdir("/proc/self/task"))
before = len(os.listdir("/proc/self/task"))
with rnnfast.num_threads(1):
    inside = work() - before
print(inside, work() - before)
"""
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout == "0 2\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
def test_memory_that_runs_out():
    """A failed allocation is a MemoryError; the layer and the tape go on working."""
    code = """
import resource, numpy as np, rnnfast
rnnfast.set_num_threads(1)
net = rnnfast.LSTM(8, 128, 2, rng=0)
x = np.ones((400, 64, 8), np.float32)
y, _, tape = net.record(x)
expected = tape.backward(y)
y, _, tape = net.record(x)
small = net(x[:2])[0]
rnnfast.trim()  # blocks that wait for the next call would serve it
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
failed, backward_failed, recovered = 0, 0, None
for spare in (1 << 20, 4 << 20, 20 << 20, 40 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, hard))
    for call in (lambda: net.record(x), lambda: net(x)):
        try:
            call()
        except MemoryError:
            failed += 1
    if recovered is None:
        try:
            recovered = tape.backward(y)
        except MemoryError:
            backward_failed += 1
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
assert failed >= 2 and backward_failed >= 1, (failed, backward_failed)
assert np.array_equal(net(x[:2])[0], small)
if recovered is None:
    recovered = tape.backward(y)
assert np.array_equal(recovered.x, expected.x)
assert all(np.array_equal(recovered.params[k], expected.params[k]) for k in expected.params)
print("fine")
"""
    done = run_python(code, OPENBLAS_NUM_THREADS="1")
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("rest", [True, False])
def test_beside_busy_pools(rest):
    """Steps split by rows and by units, while NumPy's BLAS and more Python threads want the same processors: the same bits and
    no deadlock, whether the team rests meanwhile or not."""
    code = """
import sys, threading, numpy as np, rnnfast
from rnnfast._kernels import _testing
_testing.let_rest(sys.argv[1:] == ["True"]); _testing.exceed_cpus(True)
_testing.set_cost_model(1, 1); rnnfast.set_num_threads(4)
nets = [rnnfast.LSTM(16, 64, rng=0).freeze(), rnnfast.GRU(16, 64, rng=0).freeze()]
x = np.random.default_rng(0).standard_normal((40, 17, 16)).astype(np.float32)
calls = [(net, part) for net in nets for part in (x, x[:, :1])]
def results(): return [net(part)[0] for net, part in calls]
expected, wrong, stop = results(), [], threading.Event()
def multiply():
    a = np.ones((300, 300))
    while not stop.is_set(): a @ a
def work():
    for _ in range(30):
        if not all(map(np.array_equal, results(), expected)): wrong.append(1)
others = [threading.Thread(target=multiply) for _ in range(2)]
workers = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in others + workers]; [t.join() for t in workers]; stop.set(); [t.join() for t in others]
print(len(wrong), "wrong")
"""
    command = [sys.executable, "-c", code, str(rest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "0 wrong\n", done.stderr


@pytest.mark.parametrize(
    "imports", ["import threadpoolctl, rnnfast", "import rnnfast, threadpoolctl; rnnfast.register_threadpoolctl()"]
)
def test_threadpoolctl(imports, tmp_path):
    """It sees rnnfast and limits it, and leaves another package's _core alone."""
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed (pip install '.[dev]')")
    code = """
import ctypes, os, shutil
from rnnfast._kernels import _core
copy = os.path.join(os.environ["ELSEWHERE"], "_core.so")
shutil.copy(_core.__file__, copy)
other = ctypes.CDLL(copy)
rnnfast.set_num_threads(3)
rnnfast.register_threadpoolctl()  # once more changes nothing
mine = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "rnnfast"]
assert len(mine) == 1 and mine[0]["num_threads"] == 3 and mine[0]["version"] == rnnfast.__version__, mine
assert os.path.samefile(mine[0]["filepath"], _core.__file__)
with threadpoolctl.threadpool_limits(1):
    assert rnnfast.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(2, user_api="rnnfast"):
        assert rnnfast.get_num_threads() == 2
    assert rnnfast.get_num_threads() == 1
assert rnnfast.get_num_threads() == 3
with rnnfast.num_threads(4):
    with threadpoolctl.threadpool_limits(1):
        assert rnnfast.get_num_threads() == 1
    assert rnnfast.get_num_threads() == 4
assert rnnfast.get_num_threads() == 3
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    assert rnnfast.get_num_threads() == 3
print("fine")
"""
    done = run_python(imports + code, ELSEWHERE=str(tmp_path))
    assert done.stdout == "fine\n", done.stderr


def test_importing_rnnfast_imports_little():
    """What only files, checkpoints or threadpoolctl need is imported when they do."""
    code = """
import sys, numpy
numpys = set(sys.modules)
import rnnfast
print({"threadpoolctl", "json", "zipfile", "pathlib"} & (set(sys.modules) - numpys))
"""
    assert run_python(code).stdout == "set()\n"
