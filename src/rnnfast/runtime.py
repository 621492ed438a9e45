"""Threads, ISA and what this installation is: set_num_threads, get_num_threads, use_isa, show_config."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np

from rnnfast import _core, checks
from rnnfast.version import __version__

PRESENT = _core.isas()  # best last
COMPILED = _core.compiled_isas()


def _isa_number(name: str, value: object) -> int:
    if value not in PRESENT:
        raise checks.wrong_value(name, "one of " + ", ".join(map(repr, PRESENT)) + " (what this CPU has)", value)
    return COMPILED.index(str(value))


def _affinity() -> int:
    """CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads_at_start() -> int:
    value = os.environ.get("RNNFAST_NUM_THREADS", "")
    if not value:
        return _affinity()
    try:
        return checks.positive("RNNFAST_NUM_THREADS", int(value))
    except ValueError:
        raise checks.wrong_value("RNNFAST_NUM_THREADS", "an integer >= 1", value) from None


_default_isa = _isa_number("RNNFAST_ISA", os.environ.get("RNNFAST_ISA") or PRESENT[-1])
_num_threads = min(_threads_at_start(), _core.MAX_THREADS)


class _OfThisThread(threading.local):
    isa: int = _default_isa


_here = _OfThisThread()


def current_isa() -> int:
    """Number of the ISA that calls of this thread use."""
    return _here.isa


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, for the whole process.

    Results do not depend on it, to the last bit. The default is the number of CPUs in the process's affinity mask, or
    ``RNNFAST_NUM_THREADS``. Small calls use fewer; at most 256 are ever used.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer >= 1.
    """
    global _num_threads
    _num_threads = min(checks.positive("n", n), _core.MAX_THREADS)


def get_num_threads() -> int:
    """How many threads a call may use."""
    return _num_threads


@contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Use the kernels of one ISA, in this thread, inside the ``with`` block.

    A layer frozen and a tape recorded inside keep that ISA. ``RNNFAST_ISA`` in the environment sets the default of the
    process instead.

    Parameters
    ----------
    name : str
        "scalar", "avx2", "avx512", "neon": one that this CPU has (`show_config` lists them).

    Raises
    ------
    ValueError
        If the name is unknown or this CPU lacks it; the text names those present.
    """
    before, _here.isa = _here.isa, _isa_number("name", name)
    try:
        yield
    finally:
        _here.isa = before


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
def show_config(mode: str = "stdout") -> dict[str, dict[str, Any]] | None:
    """Show versions, CPU, ISA and threads, as `numpy.show_config` does for NumPy.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as nested dictionaries.
    """
    mode = checks.one_of("mode", mode, ("stdout", "dicts"))
    config: dict[str, dict[str, Any]] = {
        "Versions": {"rnnfast": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "CPU": {
            "name": _cpu_name(),
            "machine": platform.machine(),
            "isa": COMPILED[current_isa()],
            "isas present": list(PRESENT),
            "isas compiled in": list(COMPILED),
        },
        "Threads": {
            "threads": get_num_threads(),
            "CPUs in the affinity mask": _affinity(),
            "RNNFAST_NUM_THREADS": os.environ.get("RNNFAST_NUM_THREADS"),
            "RNNFAST_ISA": os.environ.get("RNNFAST_ISA"),
        },
    }
    if mode == "dicts":
        return config
    for section, entries in config.items():
        print(f"{section}:")
        for key, value in entries.items():
            print(f"  {key}: {', '.join(value) if isinstance(value, list) else value}")
    return None
