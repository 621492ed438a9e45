"""Which call costs what: a step with weights as arguments, of a layer, of a frozen layer, against NumPy; transposed weights.

python bench/calls.py [--out calls.json]

I = 64, one sample, one thread. Rounds of all ways are interleaved in one process; a figure is the median of its rounds. The
JSON is what update_readme.py makes the README's table of.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # read when NumPy is imported

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rnnfast
from rnnfast._types import Array
from rnnfast.layers import LAYERS
from rnnfast.proof import loop

I, SIZES, LONG, BUDGET = 64, (32, 64, 100, 128, 256, 512), 100, 1e-3  # seconds of one way in one round


def medians(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds a call."""
    calls, times = {}, {}
    for name, way in ways.items():
        way()
        start = time.perf_counter()
        way()
        calls[name], times[name] = max(1, int(BUDGET / (time.perf_counter() - start))), []
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                way()
            times[name].append((time.perf_counter() - start) / calls[name])
    return {name: statistics.median(values) for name, values in times.items()}


def numpy_step(cell: str, weights: list[Array], H: int) -> Callable[[Array, Array, Array], Any]:
    """A step as a user writes it: x (1, I), h and c (1, H) -> the new states."""
    w_ih, w_hh, b_ih, b_hh = weights
    b, sigmoid = b_ih + b_hh, loop.sigmoid

    def simple_rnn(x: Array, h: Array, c: Array) -> Any:
        return np.tanh(x @ w_ih.T + h @ w_hh.T + b)

    def lstm(x: Array, h: Array, c: Array) -> Any:
        a = x @ w_ih.T + h @ w_hh.T + b
        i_f, g, o = sigmoid(a[:, : 2 * H]), np.tanh(a[:, 2 * H : 3 * H]), sigmoid(a[:, 3 * H :])
        c = i_f[:, H:] * c + i_f[:, :H] * g
        return o * np.tanh(c), c

    def gru(x: Array, h: Array, c: Array) -> Any:
        a, u = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
        rz = sigmoid(a[:, : 2 * H] + u[:, : 2 * H])
        n = np.tanh(a[:, 2 * H :] + rz[:, :H] * u[:, 2 * H :])
        return (1 - rz[:, H:]) * n + rz[:, H:] * h

    return {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru}[cell]


def measure(cell: str, H: int, dtype: type[np.floating[Any]], rounds: int = 60) -> dict[str, Any]:
    net = LAYERS[cell](I, H, dtype=dtype, rng=0)
    fast, function, weights = net.freeze(), getattr(rnnfast, cell), list(net.params.values())
    turned = [np.asfortranarray(w) for w in weights]
    rng = np.random.default_rng(0)
    x, h, c = (rng.standard_normal((1, n)).astype(dtype) for n in (I, H, H))
    long = rng.standard_normal((LONG, 1, I)).astype(dtype)
    states = (h, c) if len(net.cell.states) == 2 else (h,)
    layered = tuple(s[None] for s in states) if len(states) == 2 else h[None]
    step, x3 = numpy_step(cell, weights, H), x[None]
    seconds = medians(
        {
            "NumPy step": lambda: step(x, h, c),
            "function step": lambda: function(x3, *weights, *states),
            "function step, W.T": lambda: function(x3, *turned, *states),
            "layer step": lambda: net(x3, layered),
            "frozen step": lambda: fast.step(x, layered),
            "NumPy sequence": lambda: getattr(loop, cell)(long, *weights),
            "function sequence": lambda: function(long, *weights),
            "function sequence, W.T": lambda: function(long, *turned),
            "layer sequence": lambda: net(long),
            "frozen sequence": lambda: fast(long),
        },
        rounds,
    )
    return {"cell": cell, "H": H, "dtype": np.dtype(dtype).name, "seconds": seconds}


def ratio(row: dict[str, Any], way: str) -> float:
    """NumPy's time over that of this way."""
    return float(row["seconds"]["NumPy " + ("step" if "step" in way else "sequence")] / row["seconds"][way])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it runs")
    args = parser.parse_args()
    rnnfast.set_num_threads(1)
    rows, steps = [], ("function step", "function step, W.T", "layer step")
    print(
        f"{'cell':11}{'dtype':9}{'H':>4}  NumPy step, us; NumPy's time / "
        + ", ".join((*steps, "frozen step"))
        + "; W.T / C order"
    )
    for dtype in (np.float32, np.float64):
        for cell in LAYERS:
            for H in SIZES:
                rows.append(row := measure(cell, H, dtype, 3 if args.quick else 60))
                shown = "".join(f"{ratio(row, way):6.2f}" for way in (*steps, "frozen step"))
                order = row["seconds"]["function sequence, W.T"] / row["seconds"]["function sequence"]
                print(f"{cell:11}{row['dtype']:9}{H:4}{row['seconds']['NumPy step'] * 1e6:9.1f}{shown}{order:7.2f}", flush=True)
    for way in steps:
        ratios = [ratio(row, way) for row in rows]
        print(f"{way}: lowest {min(ratios):.2f}, geometric mean {statistics.geometric_mean(ratios):.2f}")
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"machine": rnnfast.show_config("dicts")["CPU"], "rows": rows}, file)


if __name__ == "__main__":
    main()
