"""What Python adds to one step of a stream: ``fast.step(x_t, state, out=...)`` against a C loop over the same internal entry.

python bench/step_overhead.py

Rounds of the two are interleaved on one thread; each figure is the least of its rounds, in ns a step.
"""

from __future__ import annotations

import time

import numpy as np

import rnnfast
from rnnfast._engine.states import outward
from rnnfast._kernels import _testing
from rnnfast.layers import LAYERS

STEPS, ROUNDS = 5000, 40


def main() -> None:
    rnnfast.set_num_threads(1)
    print("| cell | H | fast.step, ns | C loop, ns | difference, ns |\n| --- | --- | --- | --- | --- |")
    for cell, make in LAYERS.items():
        for H in (8, 64):
            fast = make(H, H, rng=0).freeze()
            x, y = np.ones((1, H), np.float32), np.empty((1, H), np.float32)
            parts = tuple(np.zeros((1, 1, H), np.float32) for _ in fast.cell.states)
            state = outward(parts)
            python, c = [], []
            for _ in range(ROUNDS):
                start = time.perf_counter_ns()
                for _ in range(STEPS):
                    fast.step(x, state, out=(y, state))
                middle = time.perf_counter_ns()
                _testing.steps(fast._layers, x, parts, y, parts, 1, STEPS)
                end = time.perf_counter_ns()
                python.append((middle - start) / STEPS)
                c.append((end - middle) / STEPS)
            print(f"| {cell} | {H} | {min(python):.0f} | {min(c):.0f} | {min(python) - min(c):.0f} |")


if __name__ == "__main__":
    main()
