"""A cell of your own: ten lines of NumPy, checked, compiled into a plan, trained, and compared with LSTM and GRU.

    python own_cell.py

The cell is a minimal gated unit (one gate, two products a step) with two additions: a learnt time scale for each unit, between
1 and 100 steps at first, and layer normalisation of the new content. The program proves the kernels that come from the formula
right, prints what they do in a training step, and trains the cell on the adding problem of memory.py, where two marked numbers
of a long sequence are to be remembered. Its rivals have as many units: an LSTM with a forget bias of 1, the same LSTM with
the time scales of the new cell in the biases of its gates (Tallec & Ollivier 2018), and a GRU.
"""

import common  # isort: skip
import time

import numpy as np
from memory import LSTM, H, draw_errors, learn

import rnnfast
from rnnfast import ops


def time_scales(rng, shape):
    """A gate of sigmoid(-s) keeps a memory for about exp(s) steps."""
    return np.log(rng.uniform(1, 100, shape))


@rnnfast.cell(gates="z n", states="h", vectors="s gain shift", init={"s": time_scales, "gain": 1.0, "shift": 0.0})
def SlowMGU(x, U, h, s, gain, shift):
    """Minimal gated unit (Zhou et al. 2016) with a time scale for each unit and layer normalisation."""
    z = ops.sigmoid(x.z + U.z @ h - s)
    n = np.tanh(ops.layer_norm(x.n + U.n @ (z * h), gain, shift))
    return h + z * (n - h)


def SlowLSTM(inputs: int, hidden: int, rng):
    """An LSTM that begins with the same time scales: in the biases of f, and, negative, of i."""
    net = rnnfast.LSTM(inputs, hidden, rng=rng)
    biases = net.params["bias_ih_l0"].reshape(4, hidden)  # gates i f g o
    biases[1] = time_scales(np.random.default_rng(rng), hidden)
    biases[0] = -biases[1]
    return net


RIVALS = {"LSTM": LSTM, "LSTM, time scales": SlowLSTM, "GRU": rnnfast.GRU, "SlowMGU": SlowMGU}


def options() -> common.Parser:
    return common.options(__doc__, "own_cell.png", checkpoint=None)


def main(args) -> None:
    fig, axes = common.figure(args.plot)
    print(rnnfast.check_cell(SlowMGU))
    print(f"\n{SlowMGU.plan()}")
    lengths, updates = ((10, 30), 150) if args.quick else ((100, 200), 1200)
    print(
        f"\nThe adding problem: mean squared error after {updates} updates (0.167: nothing remembered), by length of sequence:"
    )
    print("| cell | parameters | " + " | ".join(f"{n} steps" for n in lengths) + " | ms an update, " + f"{lengths[-1]} steps |")
    print("| --- " * (len(lengths) + 3) + "|")
    curves = {}
    for name, make in RIVALS.items():
        for steps in lengths:
            began = time.perf_counter()
            curves[name, steps] = learn(make, steps, updates, args.seed)[0]
            took = 1000 * (time.perf_counter() - began) / updates
        errors = " | ".join(f"{curves[name, steps][-50:].mean():.4f}" for steps in lengths)
        print(f"| {name} | {make(2, H, rng=0).num_params} | {errors} | {took:.1f} |")
    if fig:
        draw_errors(axes, curves, lengths[-1])
        common.save(fig, args.plot)


if __name__ == "__main__":
    common.run(options(), main)
