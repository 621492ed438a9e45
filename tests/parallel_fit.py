"""One training run, alone or as a part of several processes, for test_parallel.py: `python parallel_fit.py` under mpiexec."""

import json
import sys

import numpy as np

import rnnfast
from rnnfast import nn


def train(reduce=None, part=None, seed=0, **options):
    """The history and all parameters. 45 ragged samples in batches of 7, the last of 3: one of 4 processes has none of it."""
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((6, 45, 2)), rng.integers(1, 7, 45)
    y = np.array([x[:n, i].mean() for i, n in enumerate(lengths)])[:, None]
    model = nn.Sequential(
        nn.Recurrent(rnnfast.GRU(2, 5, dtype=np.float64, rng=seed), "last"), nn.Dense(5, 1, dtype=np.float64, rng=seed)
    )
    options = {"epochs": 5, "rng": 3, "batch_size": 7, "metrics": {"mae": nn.mean_absolute_error}, "clip_norm": 0.1} | options
    options.setdefault("validation", (x[:, 30:], y[30:], lengths[30:]))
    adam = nn.Adam(model.params, options.pop("lr", 0.02))
    history = nn.fit(model, nn.mean_squared_error, adam, x, y, lengths=lengths, reduce=reduce, part=part, **options)
    return history, np.concatenate([a.ravel() for a in model.params.values()])


if __name__ == "__main__":
    from mpi4py import MPI

    comm = MPI.COMM_WORLD

    def average(means, samples):
        means *= samples
        comm.Allreduce(MPI.IN_PLACE, means)
        means /= comm.allreduce(samples)

    rnnfast.set_num_threads(1)
    options = json.loads(sys.argv[1])
    history, params = train(average, (comm.rank, comm.size), seed=comm.rank, **options)
    everybody = comm.gather((history, params.tolist()))
    if comm.rank == 0:
        print(json.dumps(everybody))
