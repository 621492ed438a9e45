"""Answer a live sequence one step a call, and measure how long every call takes.

    python stream.py
    python stream.py --cell gru --hidden 128 --layers 2
    python stream.py --cell SLSTM                              # a cell of rnnfast.zoo

A signal arrives value by value, as from a sensor or a sound card, and the network answers each before the next comes. Its state
is updated in place, so that no memory is allocated. At the end the same sequence is computed in one call: the answers are the
same to the last bit.
"""

import common  # isort: skip
import time

import numpy as np

from rnnfast import zoo
from rnnfast.layers import LAYERS
from rnnfast.progress import progress

CELLS = {**LAYERS, **{name: cell for name, cell in zoo.CELLS.items() if not cell.declaration.inputs}}


def options() -> common.Parser:
    parser = common.options(__doc__, "stream.png", checkpoint=None)
    count = common.at_least(1)
    parser.add_argument(
        "--cell",
        choices=CELLS,
        default="lstm",
        help="kind of the layers, those of rnnfast.zoo by their class names (default %(default)s)",
    )
    parser.add_argument("--hidden", type=count, default=64, help="size of the state of each layer (default %(default)s)")
    parser.add_argument("--layers", type=count, default=2, help="number of layers (default %(default)s)")
    parser.add_argument("--steps", type=count, default=200_000, help="length of the signal (default %(default)s)")
    return parser


def main(args) -> None:
    fig, axes = common.figure(args.plot)
    steps = min(args.steps, 20_000) if args.quick else args.steps
    rng = np.random.default_rng(args.seed)
    net = CELLS[args.cell](8, args.hidden, args.layers, rng=args.seed).freeze()
    signal = rng.standard_normal((steps, 8)).astype(np.float32)
    answers, took = np.empty((steps, args.hidden), np.float32), np.empty(steps, np.int64)
    y, _ = net.step(signal[0])  # an array of the right shape, and a first call to warm up
    _, state = net(signal[:0])  # the state before the first step
    clock, step, out = time.perf_counter_ns, net.step, (y, state)
    with progress(steps, "streaming") as bar:
        for t in range(steps):
            began = clock()
            step(signal[t], state, out=out)  # y and the state change in place
            took[t] = clock() - began
            answers[t] = y
            if t % 1000 == 999:
                bar.update(1000)
    same = np.array_equal(net(signal)[0], answers)
    half, rare, rarest = np.percentile(took, [50, 99, 99.9]) / 1000
    print(f"{net!r}, {steps} steps of one sample each")
    print(f"time of a step: median {half:.1f} us; 99 % below {rare:.1f} us; 99.9 % below {rarest:.1f} us")
    print(f"the answers are {'the same' if same else 'NOT the same'} as those of one call for the whole sequence")
    if fig:
        edges = np.geomspace(took.min() / 1000, max(rarest * 3, 2 * half), 80)
        axes.hist(np.minimum(took / 1000, edges[-1]), bins=edges, log=True)
        axes.set(
            title=f"Time of each of {steps} steps, {args.layers} {args.cell} layers of {args.hidden}",
            xscale="log",
            xticks=[t for power in range(5) for t in 10**power * np.array([1, 2, 5]) if edges[0] <= t <= edges[-1]],
            xlabel="time of a step (microseconds; the last bar holds all slower steps)",
            ylabel="number of steps",
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        common.save(fig, args.plot)
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    common.run(options(), main)
