"""How fast are the kernels? Times tasks by several contenders.

Each contender has a process of its own, which may use as many CPUs as threads, and all but the one whose turn it is are
stopped (SIGSTOP, where there is one): threads of theirs that spin for a while after a call would take its processors. Rounds
go around, and a figure is the median of its rounds. Results are compared before anything is timed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from rnnfast.proof.contenders import CONTENDERS, Contender, Task, Work
from rnnfast.proof.prove import error

LEAST_SECONDS = 0.01  # a round repeats its task until it lasts this long
SETTLE_SECONDS = 0.05  # caches fill again; and a process that was stopped may wake with all its threads on one processor
SAME = 1e-4  # two contenders' results may differ by this: float32 against float32


class Time(NamedTuple):
    """Median seconds of a task; None: this contender cannot do it. spread: slowest round / fastest. error: of its results
    against the first contender's. rounds: how many there were."""

    task: Task
    contender: str
    seconds: float | None
    spread: float | None = None
    error: float | None = None
    rounds: int = 0

    def figures(self) -> dict[str, Any]:
        """Everything but the task."""
        return {name: value for name, value in self._asdict().items() if name != "task"}


def _serve(connection: Connection, contender: Contender, threads: int) -> None:
    """The loop of a contender's process: ("make", task) -> results or None; ("run",) -> seconds per call; None ends it."""
    if hasattr(os, "sched_setaffinity"):  # some peers ask for the CPUs there are, not for a number
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    work: Work | None = None
    repeats = 1
    while (message := connection.recv()) is not None:
        try:
            if message[0] == "make":
                work = contender.make(message[1], threads)
                answer: Any = None
                if work is not None:
                    got = work()
                    if getattr(message[1], "stateful", False):
                        got = work()  # the second step of a stream shows that its state was kept
                    answer = [np.array(a) for a in (got() if callable(got) else got)]
                    began = time.perf_counter()
                    work()
                    repeats = max(1, int(LEAST_SECONDS / (time.perf_counter() - began)))
            else:
                assert work is not None
                settled = time.perf_counter() + SETTLE_SECONDS
                while True:
                    work()
                    if time.perf_counter() >= settled:
                        break
                began = time.perf_counter()
                for _ in range(repeats):
                    work()
                answer = (time.perf_counter() - began) / repeats
        except Exception as problem:  # a peer's failure is told, not ours to die of
            answer = problem
        connection.send(answer)


def _signal(process: Any, name: str) -> None:
    if hasattr(signal, name):
        os.kill(process.pid, getattr(signal, name))


class Race:
    """with Race(names, threads) as race: times = race.run(task). The first contender must not fail; another that does is left
    out from then on, and `failed` says why."""

    def __init__(self, names: Sequence[str], threads: int, contenders: Mapping[str, Contender] = CONTENDERS) -> None:
        context = multiprocessing.get_context("spawn")
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(dict.fromkeys(variables, str(threads)))  # NumPy's BLAS reads them at its start
        self._workers: dict[str, tuple[Any, Connection]] = {}
        self._first, self.failed = names[0], dict[str, str]()
        for name in names:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, contenders[name], threads), daemon=True)
            process.start()
            there.close()
            self._workers[name] = (process, here)
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable)
            else:
                os.environ[variable] = value

    def _ask(self, name: str, message: Any) -> Any:
        process, connection = self._workers[name]
        _signal(process, "SIGCONT")
        try:
            connection.send(message)
            answer = connection.recv()
        except (EOFError, BrokenPipeError):
            answer = ChildProcessError("its process ended")
        else:
            _signal(process, "SIGSTOP")
        if isinstance(answer, Exception):
            if name == self._first:
                raise RuntimeError(f"{name}: {answer}") from answer
            self.failed[name] = f"{type(answer).__name__}: {answer}"
            if isinstance(answer, ChildProcessError):
                self._end(self._workers.pop(name))
            return None
        return answer

    def run(self, task: Task, rounds: int = 7, patience: float = 1.0) -> list[Time]:
        """Seconds of one task by every contender: so many rounds, fewer after `patience` seconds, at least three."""
        names = list(self._workers)
        results = {name: self._ask(name, ("make", task)) for name in names}
        able = [name for name, result in results.items() if result is not None]
        first = results[able[0]]
        errors = {name: max(error(a, b) for a, b in zip(results[name], first, strict=True) if a.size) for name in able[1:]}
        seconds: dict[str, list[float]] = {name: [] for name in able}
        began = time.perf_counter()
        for done in range(rounds):
            if done >= 3 and time.perf_counter() - began > patience:
                break
            for name in able[done % len(able) :] + able[: done % len(able)]:  # each comes first in its turn
                if name in self._workers and (figure := self._ask(name, ("run",))) is not None:
                    seconds[name].append(figure)
        times = []
        for name in names:
            figures = seconds.get(name, []) if name in self._workers else []
            if figures:
                spread = max(figures) / min(figures)
                times.append(Time(task, name, statistics.median(figures), spread, errors.get(name), len(figures)))
            else:
                times.append(Time(task, name, None))
        return times

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            self._end(worker)

    @staticmethod
    def _end(worker: tuple[Any, Connection]) -> None:
        process, connection = worker
        with contextlib.suppress(OSError):
            _signal(process, "SIGCONT")
            connection.send(None)
        process.join(5)
        if process.is_alive():
            process.terminate()
