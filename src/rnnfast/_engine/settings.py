"""How many threads a call of this process may use, and which ISA one of this thread; `rnnfast.runtime` is the public face."""

from __future__ import annotations

import os
import threading

from rnnfast._engine import checks
from rnnfast._kernels import _core

PRESENT = _core.isas()  # best last
COMPILED = _core.compiled_isas()


def isa_number(name: str, value: object) -> int:
    if value not in PRESENT:
        raise checks.wrong_value(name, "one of " + ", ".join(map(repr, PRESENT)) + " (what this CPU has)", value)
    return COMPILED.index(str(value))


def cpus_in_mask() -> int:
    """CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpus_of_quota(own: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int | None:
    """Whole CPUs that a container's quota allows, at least 1; None where there is no quota.

    Linux's cgroup v2: ``cpu.max`` holds "quota period" in microseconds, or "max", for the group of this process and for each
    above it; the least counts. A thread beyond the quota would have all of them stopped for a part of each period, in the
    middle of a step as well, so the quota is rounded down.
    """
    least: float | None = None
    try:
        with open(own, encoding="utf-8", errors="surrogateescape") as file:  # a group may have any name
            group = next(line[3:].strip("/\n") for line in file if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    while True:
        try:
            with open(os.path.join(root, group, "cpu.max"), encoding="utf-8") as file:
                quota, period = file.read().split()[:2]
            cpus = float(quota) / float(period)  # float("max") is a ValueError
        except (OSError, ValueError, ZeroDivisionError):
            pass
        else:
            least = cpus if least is None else min(least, cpus)
        if not group:
            break
        group = os.path.dirname(group)
    return None if least is None else max(1, int(least))


def _threads_at_start() -> int:
    value = os.environ.get("RNNFAST_NUM_THREADS", "")
    if not value:
        return min(cpus_in_mask(), cpus_of_quota() or _core.MAX_THREADS)
    try:
        return checks.positive("RNNFAST_NUM_THREADS", int(value))
    except ValueError:
        raise checks.wrong_value("RNNFAST_NUM_THREADS", "an integer >= 1", value) from None


_default_isa = isa_number("RNNFAST_ISA", os.environ.get("RNNFAST_ISA") or PRESENT[-1])


class _OfThisThread(threading.local):
    isa: int = _default_isa


here = _OfThisThread()
num_threads = min(_threads_at_start(), _core.MAX_THREADS)  # a plain attribute, since each step of a stream reads it
_wanted: dict[object, list[int]] = {"process": [num_threads]}  # and by each open block, in the order of entry: the last holds


def want_threads(n: object, block: object = None) -> None:
    """By a new block, or if that is None by the innermost, or, outside of all blocks, by the process."""
    threads = min(checks.positive("n", n), _core.MAX_THREADS)
    if block is None:
        list(_wanted.copy().values())[-1][0] = threads  # into the value: another thread's block may end just now
    else:
        _wanted[block] = [threads]
    _hold()


def leave(block: object) -> None:
    """Blocks of several Python threads may end in any order: what holds from here on is wanted by one that is still open."""
    _wanted.pop(block, None)
    _hold()


def _hold() -> None:
    """Without a lock, which a fork could leave locked for ever: whoever sets the number last looks again."""
    global num_threads
    while num_threads != (last := list(_wanted.copy().values())[-1][0]):
        num_threads = last
