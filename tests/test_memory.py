"""Memory: what `net.record` takes at its peak, as the system counts it; large blocks kept between calls."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import rnnfast
from rnnfast._kernels import _call, _core, _testing

VALUES = {"SimpleRNN": 0, "LSTM": 5, "GRU": 4}  # kept for each unit, step and sample, beside y

MEASURE = """
import itertools, sys, threading, numpy as np, rnnfast

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

def peak_of(call):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = status("VmRSS")
    result = call()
    return status("VmHWM") - before

values, make = int(sys.argv[2]), getattr(rnnfast, sys.argv[1])
rnnfast.set_num_threads(1)
T, B, H = 60, 64, 192
x = np.ones((T, B, H), np.float32)
for layers, both, dropout, ragged in itertools.product((1, 2, 3), (False, True), (0.0, 0.25), (False, True)):
    if dropout and layers == 1:
        continue
    net = make(H, H, layers, bidirectional=both, dropout=dropout, rng=0)
    lengths = np.arange(B) % T + 1 if ragged else None
    net.record(x, lengths=lengths, rng=0)  # this thread's scratch, first calls of NumPy
    D, row, steps = 1 + both, H * 4, T * B if lengths is None else int(lengths.sum())
    allowed = 1.1 * values * steps * row * layers * D + sum(w.weights.nbytes for w in net._pack(0, trainable=True))
    allowed += T * B * row * layers * D + (1 << 20)  # every layer's y
    if dropout:  # a byte an element, and one dropped input, however many layers
        allowed += T * B * H * D * (layers - 1) + T * B * row * D
    trim = threading.Thread(target=rnnfast.trim)  # no block of the last record makes this one look small; the scratch stays
    trim.start(); trim.join()
    peak = peak_of(lambda: net.record(x, lengths=lengths, rng=0))
    print(f"{layers=} {both=} {dropout=} {ragged=}: {peak / 1e6:.1f} MB of {allowed / 1e6:.1f} allowed")
    assert values * steps * row * layers * D <= peak <= allowed
print("fine")
"""


@pytest.mark.parametrize("layer", VALUES)
def test_peak_of_record(layer):
    """At most 1.1 times the values kept, y of every layer, packed weights, what dropout needs, and 1 MiB."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pytest.skip("needs Linux's /proc/self/clear_refs")
    command = [sys.executable, "-c", MEASURE, layer, str(VALUES[layer])]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "100000"}  # or malloc reuses what it has, and the peak misses it
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("fine\n"), done.stdout + done.stderr


LARGE, BOUND = 1 << 20, 256 << 20


def kept_after(*sizes):
    """Bytes kept when buffers of these sizes have lived at once and died."""
    rnnfast.trim()
    buffers = [_core.Buffer(n) for n in sizes]
    buffers.clear()
    return rnnfast.trim()


def test_large_blocks_are_kept_and_bounded():
    assert kept_after(LARGE // 2, 0, 1) == 0  # small ones are malloc's
    assert kept_after(LARGE, 3 * LARGE) == 4 * LARGE
    assert LARGE * 5 <= kept_after(LARGE * 5 + 1) <= LARGE * 6  # rounded up, an eighth at most
    assert kept_after(BOUND + 1) == 0 and kept_after(BOUND) == BOUND
    assert kept_after(*[BOUND // 4] * 6) == BOUND
    assert kept_after(*[LARGE] * 80) == 64 * LARGE
    assert rnnfast.trim() == 0
    with pytest.raises(MemoryError):
        _core.Buffer(1 << 62)


def test_what_is_kept_does_not_grow():
    """A training loop of batches that differ in length."""
    net, rng = rnnfast.LSTM(64, 256, 2, rng=0), np.random.default_rng(0)
    for steps in rng.integers(50, 150, 12):
        y, _, tape = net.record(np.ones((steps, 16, 64), np.float32))
        tape.backward(y)
    assert rnnfast.trim() <= BOUND


def test_blocks_are_kept_from_many_threads():
    """Threads that take and give back at once get the right numbers; y (70, 32, 128) lies in a kept block too."""
    net, x = rnnfast.LSTM(16, 128, rng=0), np.random.default_rng(0).standard_normal((70, 32, 16)).astype(np.float32)
    y, _, tape = net.record(x)
    expected, wrong = tape.backward(y).x, []

    def work():
        for _ in range(20):
            y, _, tape = net.record(x)
            if not np.array_equal(tape.backward(y).x, expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and rnnfast.trim() <= BOUND


def test_a_kept_block_serves_the_next():
    kept = kept_after(3 * LARGE)
    first = _core.Buffer(kept)
    del first
    second = _core.Buffer(kept)
    assert rnnfast.trim() == 0  # it is in use again
    del second
    assert rnnfast.trim() == kept


def test_a_view_keeps_its_block():
    """A part of a result outlives the result, whatever is computed next."""
    net, x = rnnfast.LSTM(16, 128, rng=0), np.random.default_rng(0).standard_normal((70, 32, 16)).astype(np.float32)
    part = net(x)[0][3]
    copy = part.copy()
    gc.collect()
    for _ in range(3):
        net(-x)
    assert np.array_equal(part, copy)


def test_trim_gives_back_blocks_and_scratch():
    net, x = rnnfast.LSTM(64, 256, rng=0), np.ones((50, 16, 64), np.float32)
    y, _, tape = net.record(x)
    tape.backward(y)
    del y, tape
    with_scratch = rnnfast.trim()
    assert with_scratch > 1 << 20 and rnnfast.trim() == 0
    net(x)
    worker = threading.Thread(target=rnnfast.trim)  # gives back the blocks, and its own scratch; not this thread's
    worker.start()
    worker.join()
    assert 0 < rnnfast.trim() < with_scratch
    assert np.array_equal(net(x)[0], net(x)[0])


SCRATCH = """
import resource, sys, numpy as np, rnnfast
rnnfast.set_num_threads(int(sys.argv[1]))
net, x = rnnfast.LSTM(1024, 256, rng=0), np.ones((2, 1, 1024), np.float32)
y, _, tape = net.record(x)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20),) * 2)
print(tape.backward(y).x.shape)  # 5 MiB of gradients; the products of two rows need next to nothing
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS and /proc")
@pytest.mark.parametrize("threads", [1, 64])
def test_scratch_is_sized_by_the_work(threads):
    """Not by the threads that are set, nor by what larger batches would need."""
    done = subprocess.run([sys.executable, "-c", SCRATCH, str(threads)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "(2, 1, 1024)\n", done.stderr


@pytest.mark.parametrize(("T", "B"), [(2, 1), (50, 8)])
def test_scratch_of_many_threads(T, B):
    """As many threads as the work is worth have scratch, however many are set, and however many CPUs there are."""
    net, exceed = rnnfast.LSTM(1024, 256, rng=0), _testing.exceed_cpus(True)
    net.__dict__["_plain"] = None  # the general way, whose tape has the records
    try:
        sizes = []
        for threads in (1, 64, 256):
            *_, tape = net.record(np.zeros((T, B, 1024), np.float32))
            (layer,) = tape._once.take()
            sizes.append(_call.prepare(layer.records[0], np.empty((T, B, 1024), np.float32), threads))
        one = 1.3 * min(T * B, 320) * (1024 + 256) * 4 + 100_000  # what docs/architecture.md says of one thread
        worth = min(4 * T * B * 1024 * (1024 + 256) / 2.5e5, 256)  # the cost model: threads that the work is worth
        for threads, size in zip((1, 64, 256), sizes, strict=True):
            assert size <= min(threads, worth) * one, (threads, size)
    finally:
        _testing.exceed_cpus(exceed)


def test_scratch_is_there_for_all_that_run(small_work_splits):
    """With many real threads, ragged batches (whose dx is scattered) and checkpoints: the same gradients as with one."""
    net, x = rnnfast.GRU(40, 48, rng=0), np.random.default_rng(0).standard_normal((30, 64, 40)).astype(np.float32)
    lengths = np.arange(64) % 31
    results = []
    for threads in (1, 12):
        rnnfast.set_num_threads(threads)
        for every, need_x in ((None, True), (None, False), (7, True)):
            y, _, tape = net.record(x, lengths=lengths, checkpoint_every=every)
            g = tape.backward(y, need_x=need_x)
            results.append((g.params["weight_ih_l0"], g.x))
    for weight, dx in results:
        assert np.array_equal(weight, results[0][0])
        assert dx is None or np.array_equal(dx, results[0][1])
