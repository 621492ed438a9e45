"""How much faster several processes train, each with one thread, with batches of the same size in all.

    mpiexec -n 1 python bench/processes.py && mpiexec -n 2 python bench/processes.py

It prints milliseconds a step of nn.fit, medians of epochs, and how many of them the reduction takes. Divide the first
by that of one process; single figures say little, since they depend on the machine and on what else runs there.
"""

import time

import numpy as np
from mpi4py import MPI

import rnnfast
from rnnfast import nn

COMM = MPI.COMM_WORLD
SHAPES = {"sent-h64": (100, 64, 64, 100), "bb-h256": (256, 256, 64, 50), "stock-h50": (1, 50, 32, 60)}  # I, H, B, T
STEPS, EPOCHS = 6, 7


def measure(I: int, H: int, B: int, T: int) -> tuple[float, float, int]:
    """Seconds a step, seconds of its reductions, bytes of the gradient."""
    rng, spent, ends = np.random.default_rng(0), [0.0], []
    x, y = rng.standard_normal((T, B * STEPS, I)).astype("f"), rng.standard_normal((B * STEPS, 1)).astype("f")
    model = nn.Sequential(nn.Recurrent(rnnfast.LSTM(I, H, rng=0), "last"), nn.Dense(H, 1, rng=1))

    def average(means, samples):
        began = time.perf_counter()
        means *= samples
        COMM.Allreduce(MPI.IN_PLACE, means)
        means /= COMM.allreduce(samples)
        spent[-1] += time.perf_counter() - began

    def lr(epoch, value):  # called after each epoch
        ends.append(time.perf_counter())
        spent.append(0.0)
        return 1.0

    lr.state = ()
    part = (COMM.rank, COMM.size)
    nn.fit(
        model, nn.mean_squared_error, nn.Adam(model.params), x, y,
        batch_size=B, epochs=EPOCHS, rng=0, schedule=lr, reduce=average, part=part,
    )  # fmt: skip
    size = 4 * sum(a.size for a in model.params.values())
    return float(np.median(np.diff(ends))) / STEPS, float(np.median(spent[1:-1])) / STEPS, size


def main() -> None:
    rnnfast.set_num_threads(1)
    for name, shape in SHAPES.items():
        step, reduction, size = measure(*shape)
        if COMM.rank == 0:
            print(
                f"{name}: {COMM.size} processes, {1e3 * step:.3f} ms a step, {1e3 * reduction:.3f} in reductions, {size} bytes"
            )


if __name__ == "__main__":
    main()
