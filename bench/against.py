"""This rnnfast against another one, say the commit before: ``python bench/against.py OTHER_PYTHON``.

OTHER_PYTHON is the interpreter of an environment in which the other rnnfast is installed. Each version has a process of its
own, which sleeps while the other works. Rounds alternate, and so does who begins; a figure is the median over the rounds of
other's time / ours, so more than 1 means that this version is faster. Both run on the same CPUs, since virtual ones differ; and
where a process's memory happens to lie can cost a short call a fifth of its time, so all of it is done anew in several pairs of
processes, and a row is the median of those. Only public names are used, so any version can be timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from itertools import product
from math import exp, log
from typing import Any

from rnnfast.cells import CELLS
from rnnfast.progress import progress
from rnnfast.shapes import BY_NAME, SHAPES

WORKER = """
import json, os, sys, time
import numpy as np
import rnnfast

def make(cell, I, H, B, T, layers, both, training, threads, dtype, cpus):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)
    rnnfast.set_num_threads(threads)
    net = getattr(rnnfast, cell)(I, H, layers, bidirectional=both, dtype=dtype, rng=0)
    x = np.random.default_rng(0).standard_normal((T, B, I)).astype(dtype)
    if training:
        dy = np.ones((T, B, H * (1 + both)), dtype)
        return lambda: net.record(x)[2].backward(dy)
    fast = net.freeze()
    if T > 1 or both:
        return lambda: fast(x)
    y, state = fast.step(x[0])
    return lambda: fast.step(x[0], state, out=(y, state))

for line in sys.stdin:
    message = json.loads(line)
    if "make" in message:
        work = make(*message["make"])
        work()
        began = time.perf_counter()
        work()
        repeats = max(1, int(message["seconds"] / (time.perf_counter() - began)))
        answer = 0
    else:
        settled = time.perf_counter() + 0.005  # the caches fill again
        while time.perf_counter() < settled:
            work()
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        answer = (time.perf_counter() - began) / repeats
    print(json.dumps(answer), flush=True)
"""


class Version:
    """One version of rnnfast in a process of its own."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen([python, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, message: dict[str, Any]) -> float:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def ratios(ours: Version, other: Version, task: list[Any], rounds: int, seconds: float) -> list[float]:
    """Other's time / ours of each round."""
    for version in (ours, other):
        version.ask({"make": task, "seconds": seconds})
    found = []
    for i in range(rounds):
        took = {}
        for version in (ours, other) if i % 2 else (other, ours):
            took[version] = version.ask({})
        found.append(took[other] / took[ours])
    return found


def mean(values: list[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="interpreter of the other version's environment")
    parser.add_argument("--shapes", default=",".join(shape.name for shape in SHAPES))
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--starts", type=int, default=5, help="pairs of processes")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in each")
    parser.add_argument("--seconds", type=float, default=0.02, help="how long one round of one version lasts")
    parser.add_argument("--least", type=float, default=0, help="exit with 1 if the geometric mean is below it")
    parser.add_argument("--least-row", type=float, default=0, help="exit with 1 if a row is below it")
    options = parser.parse_args()
    tasks = [
        (cell, BY_NAME[name], training, int(threads))
        for name, cell, training, threads in product(
            options.shapes.split(","), options.cells.split(","), (False, True), options.threads.split(",")
        )
        if BY_NAME[name].training or not training
    ]
    found: dict[str, list[float]] = {}
    every = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    with progress(options.starts * len(tasks), "timing") as bar:
        for start in range(options.starts):
            ours, other = Version(sys.executable), Version(options.python)
            for cell, shape, training, threads in tasks:
                sizes = [shape.I, shape.H, shape.B, shape.T, shape.num_layers, shape.bidirectional]
                cpus = [(every + every)[start % len(every) + i] for i in range(min(threads, len(every)))]
                task = [CELLS[cell].layer, *sizes, training, threads, options.dtype, cpus]
                name = f"{shape.name} {cell} {'training' if training else 'forward'} {threads}"
                several = ratios(ours, other, task, options.rounds, options.seconds)
                found.setdefault(name, []).append(statistics.median(several))
                bar.update()
            for version in (ours, other):
                version.close()
    rows = [(name, statistics.median(medians)) for name, medians in found.items()]
    for name, value in rows:
        print(f"{name:<45}{value:6.3f}  ({min(found[name]):.3f} to {max(found[name]):.3f})")
    for kind in ("forward", "training"):
        part = [value for name, value in rows if f" {kind} " in name]
        if part:
            print(f"{kind}: geometric mean {mean(part):.3f} of {len(part)}, lowest {min(part):.3f}")
    overall = mean([value for _, value in rows])
    print(f"all: geometric mean {overall:.3f} of {len(rows)}")
    slow = [f"{name} {value:.3f}" for name, value in rows if value < options.least_row]
    if overall < options.least:
        slow.append(f"the geometric mean {overall:.3f}")
    if slow:
        print(f"slower than {options.python} by more than the noise: {'; '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
