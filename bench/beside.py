"""rnnfast beside other pools and in several Python threads at once: whether its two threads cost more than they bring.

python bench/beside.py

Figures are ms a call of a frozen LSTM, medians over all rounds; kinds of call are interleaved. PyTorch where it is installed,
else NumPy's BLAS, makes the other pool busy.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np

import rnnfast

try:
    import torch
except ImportError:
    torch = None

SHAPES = {"rows": (64, 64, 32, 50), "units": (256, 256, 1, 50)}  # how the steps are split; I, H, B, T
THREADS, ROUNDS, SECONDS = 2, 5, 0.4


def other_product(n: int = 384) -> Callable[[], object]:
    """A product on the other pool's threads."""
    a = np.ones((n, n), np.float32)
    if torch is None:
        return lambda: a @ a
    torch.set_num_threads(THREADS)
    b = torch.from_numpy(a)
    return lambda: b @ b


@contextmanager
def busy(count: int, work: Callable[[], object]):
    """Python threads that repeat some work."""
    stop = threading.Event()

    def loop():
        while not stop.is_set():
            work()

    threads = [threading.Thread(target=loop) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def times(call: Callable[[], object], between: Callable[[], object] | None = None) -> list[float]:
    """ms of each call for a while; between: done before each, not timed."""
    found, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        if between:
            between()
        start = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def measure(title: str, run: Callable[[], list[float]]) -> None:
    """One line: the same with one and with two threads, interleaved."""
    found: dict[int, list[float]] = {1: [], THREADS: []}
    for _ in range(ROUNDS):
        for threads, all_times in found.items():
            rnnfast.set_num_threads(threads)
            all_times += run()
    one, two = (statistics.median(values) for values in found.values())
    mean_one, mean_two = (statistics.fmean(values) for values in found.values())
    print(f"| {title} | {one:.3f} | {two:.3f} | {two / one:.2f} | {mean_two / mean_one:.2f} |", flush=True)


def main() -> None:
    product = other_product()
    pool = "NumPy's BLAS" if torch is None else "PyTorch"
    print("| calls | 1 thread, ms | 2 threads, ms | ratio of medians | of means |\n| --- | --- | --- | --- | --- |")
    for split, (I, H, B, T) in SHAPES.items():
        net, x = rnnfast.LSTM(I, H, rng=0).freeze(), np.ones((T, B, I), np.float32)

        def call(net=net, x=x):
            net(x)

        def among_two(call=call):
            with busy(1, call):
                return times(call)

        def beside(call=call):
            with busy(1, product):
                return times(call)

        measure(f"{split}: alone", lambda call=call: times(call))
        measure(f"{split}: from two Python threads at once", among_two)
        measure(f"{split}: after each product of {pool}", lambda call=call: times(call, product))
        measure(f"{split}: while another Python thread multiplies in {pool}", beside)


if __name__ == "__main__":
    main()
