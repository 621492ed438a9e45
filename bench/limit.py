"""What the machine can do at most, measured: multiply-adds, and bytes loaded from each cache level; and, by those numbers, an
estimate of the least time that a task can take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rnnfast._engine import settings
from rnnfast._kernels import _testing
from rnnfast.cells import CELLS
from rnnfast.proof.contenders import Task

SECONDS = 0.01  # of one measurement
TIMES = 7  # the best of so many counts: what disturbs only makes slower
FILLED = 0.6  # part of a cache level that its buffers fill
ROOM = 1.25  # a level serves what fits into it with so much room
MEMORY = "memory"


def rate(works: list[Callable[[int], float]]) -> float:
    """Work a second of all functions (repeats -> work done) together, each on a thread of its own."""
    repeats = 1
    while True:
        began = time.perf_counter()
        works[0](repeats)
        took = time.perf_counter() - began
        if took > SECONDS / 2:
            break
        repeats = 2 * repeats if took < SECONDS / 20 else int(repeats * SECONDS / took) + 1
    barrier = threading.Barrier(len(works))
    best = 0.0
    done = [(0.0, 0.0, 0.0)] * len(works)

    def run(i: int) -> None:
        barrier.wait()
        began = time.perf_counter()
        work = works[i](repeats)
        done[i] = (work, began, time.perf_counter())

    for _ in range(TIMES):
        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        work, began, ended = zip(*done, strict=True)
        best = max(best, sum(work) / (max(ended) - min(began)))
    return best


def buffer(nbytes: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Zeros in memory of their own, aligned to a cache line."""
    raw = np.empty(nbytes // 4 + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    raw[...] = 0
    return raw[start : start + nbytes // 4]


def measure(threads: int, caches: dict[str, dict[str, int]]) -> dict[str, Any]:
    """fma: operations a second by dtype; load: bytes a second by level, of so many threads together."""
    isa = settings.here.isa
    sizes = {"float32": 4, "float64": 8}
    fma = {dtype: rate([partial(_testing.probe_fma, isa, size)] * threads) for dtype, size in sizes.items()}
    load = {}
    largest = max((level["bytes"] for level in caches.values()), default=2**25)
    for name, level in {**caches, MEMORY: {"bytes": 4 * largest, "cpus": threads}}.items():
        nbytes = int((1 if name == MEMORY else FILLED) * level["bytes"] / min(threads, level["cpus"]))
        buffers = [buffer(nbytes) for _ in range(threads)]
        load[name] = rate([partial(_testing.probe_load, isa, data) for data in buffers])
    return {"fma": fma, "load": load}


def better(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The higher of two measurements' numbers, one by one."""
    return {kind: {name: max(a[kind][name], b[kind][name]) for name in a[kind]} for kind in a}


def level_of(nbytes: float, threads: int, caches: dict[str, dict[str, int]]) -> str:
    """The smallest level that holds so many bytes, shared out over the threads: private caches add up."""
    for name, level in caches.items():
        if ROOM * nbytes <= level["bytes"] * max(1, threads // level["cpus"]):
            return name
    return MEMORY


def least_seconds(task: Task, threads: int, limits: dict[str, Any], caches: dict[str, dict[str, int]]) -> float:
    """2 T B G H I / peak, or for one step W_ih once; and T times the recurrent product or W_hh once, whichever takes longer;
    summed over layers and directions. Training: three times the products. W_hh just larger than a cache can take less, since
    part of it is still found there."""
    _, _, H, B, T, *_ = task.shape
    GH, size, passes = len(CELLS[task.cell].gates) * H, np.dtype(task.dtype).itemsize, 3 if task.training else 1
    peak, load = limits["fma"][task.dtype], limits["load"]

    def reading(elements: int) -> float:
        return elements * size / float(load[level_of(elements * size, threads, caches)])

    total = 0.0
    for _, I in task.shape.places:
        total += reading(GH * I) if T == 1 else passes * 2 * T * B * GH * I / peak
        total += T * max(passes * 2 * B * GH * H / peak, reading(GH * H))
    return total
