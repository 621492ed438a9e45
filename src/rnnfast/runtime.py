"""Threads, ISA, kept memory and what this installation is."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.settings import COMPILED, PRESENT
from rnnfast._kernels import _core
from rnnfast.version import __version__

__all__ = [
    "COMPILED",
    "PRESENT",
    "current_isa",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "show_config",
    "trim",
    "use_isa",
]


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, for the whole process; `num_threads` does so for a while.

    Results do not depend on it, to the last bit. The default is the number of CPUs in the process's affinity mask, or fewer if
    a container's CPU quota (cgroup v2) allows fewer, or ``RNNFAST_NUM_THREADS``. Small calls use fewer, and no call uses more
    than there are CPUs in the affinity mask at that moment, or more than 256.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer >= 1.
    """
    settings.want_threads(n)


def get_num_threads() -> int:
    """How many threads a call may use."""
    return settings.num_threads


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Let a call use `n` threads inside the ``with`` block, and after it as many as before.

    As `set_num_threads`, it is for the whole process: calls of other Python threads meanwhile use `n` as well, so that nothing
    is looked up for each step of a stream. Blocks may be nested, and those of several Python threads may overlap: the one
    entered last holds, and when all have ended, what was set before the first. `set_num_threads`, by whatever thread, sets the
    number of the block that holds at that moment, and ends with it.

    Parameters
    ----------
    n : int
        As of `set_num_threads`.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer >= 1.

    Examples
    --------
    >>> before = rnnfast.get_num_threads()
    >>> with rnnfast.num_threads(1):
    ...     rnnfast.get_num_threads()
    1
    >>> rnnfast.get_num_threads() == before
    True
    """
    block = object()
    try:
        settings.want_threads(n, block)
        yield
    finally:
        settings.leave(block)


def current_isa() -> int:
    """Number of the ISA that calls of this thread use: its place in `COMPILED`."""
    return settings.here.isa


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
    before, settings.here.isa = settings.here.isa, settings.isa_number("name", name)
    try:
        yield
    finally:
        settings.here.isa = before


def trim() -> int:
    """Give memory that rnnfast keeps for later calls back to the system.

    Blocks of 1 MiB and more (packed weights, tapes, results) that were dropped wait for the next call, 256 MiB at most; and
    each thread that has called rnnfast keeps the scratch of its largest call until it ends. This frees the blocks, and the
    scratch of the calling thread.

    Returns
    -------
    int
        The bytes that were freed.
    """
    return _core.trim()


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
            "isa": COMPILED[settings.here.isa],
            "isas present": list(PRESENT),
            "isas compiled in": list(COMPILED),
        },
        "Threads": {
            "threads": get_num_threads(),
            "CPUs in the affinity mask": settings.cpus_in_mask(),
            "CPUs of the container's quota": settings.cpus_of_quota(),
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
