"""Memory: what `net.record` takes at its peak, as the system counts it; large blocks kept between calls."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import rnnfast
from rnnfast._kernels import _core

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
    allowed = 1.1 * values * steps * row * layers * D + sum(w.nbytes for w in net._pack(0, trainable=True))
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
