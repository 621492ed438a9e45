"""A live sequence, one step a call: the state is carried in place, nothing is allocated, every call's time is kept.

    python stream.py
    python stream.py --cell gru --hidden 128 --layers 2

A signal arrives value by value, as from a sensor or a sound card, and the network answers each before the next comes. At the
end the same sequence is computed in one call: the answers are the same, to the last bit.
"""

import common  # isort: skip
import time

import numpy as np

from rnnfast.layers import LAYERS
from rnnfast.progress import progress


def main() -> None:
    parser = common.options(__doc__, "stream.png", checkpoint=False)
    parser.add_argument("--cell", choices=LAYERS, default="lstm", help="(default %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="(default %(default)s)")
    parser.add_argument("--layers", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--steps", type=int, default=200_000, help="(default %(default)s)")
    args = parser.parse_args()
    steps = min(args.steps, 20_000) if args.quick else args.steps
    rng = np.random.default_rng(args.seed)
    net = LAYERS[args.cell](8, args.hidden, args.layers, rng=args.seed).freeze()
    signal = rng.standard_normal((steps, 8)).astype(np.float32)
    answers, took = np.empty((steps, args.hidden), np.float32), np.empty(steps, np.int64)
    y, state = net.step(signal[0])  # arrays of the right shapes, and a first call to warm up
    for part in state if isinstance(state, tuple) else (state,):
        part[...] = 0
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
    print(
        f"{args.cell}, {args.layers} x {args.hidden}, {steps} steps: median {half:.1f} us, 99 % below {rare:.1f} us, "
        f"99.9 % below {rarest:.1f} us; {'the same' if same else 'NOT the same'} as in one call"
    )
    fig, axes = common.figure(args.plot)
    if fig:
        axes.hist(took / 1000, bins=np.geomspace(took.min() / 1000, max(rarest * 3, 2 * half), 80), log=True)
        axes.set(xscale="log", xlabel="microseconds a step", ylabel="steps")
        common.save(fig, args.plot)
    if not same:
        raise SystemExit("The answers differ from those of one call.")


if __name__ == "__main__":
    main()
