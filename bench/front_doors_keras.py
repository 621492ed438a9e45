"""Keras models with and without rnnfast: predict on the numpy backend, fit and predict on the torch backend.

python bench/front_doors_keras.py [--quick] [--threads 1] [--backends numpy,torch] [--json front_doors_keras.json]

Each contender, Keras as it is and Keras after ``rnnfast.keras.enable()``, has a process of its own, and all but the one whose
turn it is are stopped (`src/rnnfast/proof/race.py`). A figure is the median of the rounds. Results are compared before anything
is timed: predictions, and the weights after one epoch of fit. A bar holds for each model; exit status 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from machine import machine
from rnnfast.proof.contenders import Contender, Work
from rnnfast.proof.race import SAME, Race, Time

BARS = {("numpy", "predict"): 5.0, ("torch", "fit"): 3.0}  # times as fast as plain Keras
BATCH, SAMPLES = 32, 128


class Model(NamedTuple):
    """layers(keras.layers) -> what stands before the last Dense layer; tokens: the input is their numbers, 0 is padding."""

    what: str
    steps: int
    inputs: int
    tokens: bool
    layers: Callable[[Any], list[Any]]


MODELS = {
    "series": Model(
        "2 LSTM of 50 units on a series of 60 values",
        60,
        1,
        False,
        lambda k: [k.LSTM(50, return_sequences=True), k.LSTM(50)],
    ),
    "reviews": Model(
        "Bidirectional LSTM of 64 units on texts of 20 to 80 words, masked",
        80,
        500,
        True,
        lambda k: [k.Embedding(500, 64, mask_zero=True), k.Bidirectional(k.LSTM(64))],
    ),
    "characters": Model(
        "GRU of 128 units on 100 characters, all steps", 100, 30, False, lambda k: [k.GRU(128, return_sequences=True)]
    ),
    "sensors": Model("SimpleRNN of 64 units on 100 steps of 8 sensors", 100, 8, False, lambda k: [k.SimpleRNN(64)]),
    "dropout": Model("LSTM of 64 units with recurrent dropout", 60, 16, False, lambda k: [k.LSTM(64, recurrent_dropout=0.2)]),
}


class Job(NamedTuple):
    """What is timed."""

    model: str
    call: str  # predict or fit
    backend: str


def samples(model: Model) -> Any:
    """x of SAMPLES samples."""
    rng = np.random.default_rng(0)
    if not model.tokens:
        return rng.standard_normal((SAMPLES, model.steps, model.inputs)).astype(np.float32)
    words, lengths = rng.integers(1, model.inputs, (SAMPLES, model.steps)), rng.integers(20, model.steps + 1, SAMPLES)
    return np.where(np.arange(model.steps) < lengths[:, None], words, 0)


def work(job: Job, threads: int, *, backend: str, fused: bool) -> Work | None:
    """In a process of its own: a call of predict or fit over all samples."""
    if job.backend != backend:
        return None
    os.environ["KERAS_BACKEND"] = backend
    import keras

    import rnnfast
    import rnnfast.keras

    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    rnnfast.set_num_threads(threads)
    if fused:
        rnnfast.keras.enable()
    model = MODELS[job.model]
    keras.utils.set_random_seed(0)
    shape = (model.steps,) if model.tokens else (model.steps, model.inputs)
    net = keras.Sequential([keras.Input(shape), *model.layers(keras.layers), keras.layers.Dense(1)])
    x = samples(model)
    y = np.random.default_rng(1).standard_normal((SAMPLES, *net.output_shape[1:]))
    net.compile("sgd", "mse")

    def predict() -> list[Any]:
        return [net.predict(x, batch_size=BATCH, verbose=0)]

    def fit() -> Callable[[], list[Any]]:
        net.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        return net.get_weights  # type: ignore[no-any-return]

    chosen = {"predict": predict, "fit": fit}[job.call]
    chosen()  # builds what is built at the first call
    if fused and (rnnfast.keras.report().left or not rnnfast.keras.report().fused):
        raise RuntimeError(f"not fused:\n{rnnfast.keras.report()}")
    return chosen


CONTENDERS = {
    f"{name} {backend}": Contender(
        f"{name}, {backend} backend", modules, partial(work, backend=backend, fused=name == "rnnfast")
    )
    for backend, modules in {"numpy": ("keras",), "torch": ("keras", "torch")}.items()
    for name in ("Keras", "rnnfast")
}
JOBS = [Job(model, call, backend) for backend, call in (*BARS, ("torch", "predict")) for model in MODELS]


class Row(NamedTuple):
    """Median seconds of both, and what the bar asks for, if there is one."""

    job: Job
    plain: Time
    fused: Time

    @property
    def ratio(self) -> float:
        assert self.plain.seconds and self.fused.seconds
        return self.plain.seconds / self.fused.seconds

    @property
    def bar(self) -> float | None:
        return BARS.get((self.job.backend, self.job.call))

    @property
    def verdict(self) -> str:
        return "" if self.bar is None else "pass" if self.ratio >= self.bar else "FAIL"


def measure(jobs: list[Job], threads: int, rounds: int, patience: float) -> list[Row]:
    """One set of processes for each backend."""
    rows = []
    for backend in dict.fromkeys(job.backend for job in jobs):
        names = [f"Keras {backend}", f"rnnfast {backend}"]
        with Race(names, threads, CONTENDERS) as race:
            for job in (job for job in jobs if job.backend == backend):
                plain, fused = race.run(job, rounds, patience)  # type: ignore[arg-type]
                if fused.seconds is None:
                    raise RuntimeError(f"{job}: {race.failed}")
                if (wrong := fused.error) is not None and wrong > SAME:
                    raise RuntimeError(f"{job}: results differ by {wrong:.1e}")
                rows.append(Row(job, plain, fused))
                print(line(rows[-1]), flush=True)
    return rows


def line(row: Row) -> str:
    job, bar = row.job, "" if row.bar is None else f"{row.bar:g}"
    times = " | ".join(f"{1e3 * time.seconds:.0f}" for time in (row.plain, row.fused) if time.seconds)
    what = f"{job.model}: {MODELS[job.model].what}"
    return f"| {job.backend} | {job.call} | {what} | {times} | {row.ratio:.1f} | {bar} | {row.verdict} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patience", type=float, default=15.0, help="seconds after which a race ends, 3 rounds done")
    parser.add_argument("--backends", default="numpy,torch")
    parser.add_argument("--calls", default="predict,fit")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--quick", action="store_true", help="3 rounds of one model: does it run?")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.models = 3, "series"
    backends, calls, models = (text.split(",") for text in (args.backends, args.calls, args.models))
    jobs = [job for job in JOBS if job.backend in backends and job.call in calls and job.model in models]
    print(f"ms for {SAMPLES} samples in batches of {BATCH}, {args.threads} thread(s); bar: how many times as fast")
    print("| backend | call | model | Keras, ms | rnnfast, ms | times as fast | bar | |\n" + "| --- " * 8 + "|")
    rows = measure(jobs, args.threads, args.rounds, args.patience)
    missed = [row for row in rows if row.verdict == "FAIL"]
    print(f"{len(missed)} of {sum(row.bar is not None for row in rows)} bars missed; results differ by at most "
          f"{max((row.fused.error or 0.0 for row in rows), default=0.0):.0e}")  # fmt: skip
    for (backend, call), bar in BARS.items():
        if ratios := [row.ratio for row in rows if (row.job.backend, row.job.call) == (backend, call)]:
            mean, lowest = statistics.geometric_mean(ratios), min(ratios)
            print(f"{call} on {backend}: geometric mean {mean:.1f}, lowest {lowest:.1f}; bar {bar:g}")
    if args.json:
        found = [
            {**row.job._asdict(), "keras": row.plain.figures(), "rnnfast": row.fused.figures(), "bar": row.bar} for row in rows
        ]
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "threads": args.threads, "rows": found}, file, indent=1)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
