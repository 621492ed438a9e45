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
    """Set how many threads a call may use, in the whole process; `num_threads` does so inside a ``with`` block.

    The results are the same to the last bit with any number of threads. The default is the value of the environment variable
    ``RNNFAST_NUM_THREADS`` or, if it is not set, the number of CPUs in the affinity mask of the process, or fewer if the CPU
    quota of a container (cgroup v2) allows fewer. Small calls use fewer threads. No call uses more threads than there are CPUs
    in the affinity mask at that moment, or more than 256.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer >= 1.

    Examples
    --------
    >>> rnnfast.set_num_threads(2)
    >>> rnnfast.get_num_threads()
    2
    """
    settings.want_threads(n)


def get_num_threads() -> int:
    """How many threads a call may use.

    Examples
    --------
    >>> rnnfast.get_num_threads() >= 1
    True
    """
    return settings.num_threads


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Let a call use `n` threads inside the ``with`` block, and after it as many as before.

    Like `set_num_threads`, it holds for the whole process: calls of other Python threads meanwhile use `n` as well. (A setting
    for each thread would have to be looked up at every step of a stream.) Blocks may be nested, and the blocks of several
    Python threads may overlap: the number of the block that was entered last is used, and when all blocks have ended, the
    number that was set before the first. What `set_num_threads` sets while blocks are open, in whatever thread, lasts to the
    end of the block that was entered last.

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
    """Use the kernels of one instruction set (ISA), in this thread, inside the ``with`` block.

    A layer that is frozen and a tape that is recorded inside the block keep that ISA. The environment variable ``RNNFAST_ISA``
    sets the default of the process.

    Parameters
    ----------
    name : str
        "scalar", "avx2", "avx512" or "neon", if this CPU has it (`show_config` lists those that it has).

    Raises
    ------
    ValueError
        If the name is unknown or this CPU lacks it; the text names those that it has.

    Examples
    --------
    >>> net = rnnfast.GRU(2, 3)
    >>> with rnnfast.use_isa("scalar"):
    ...     net.freeze().isa
    'scalar'
    """
    before, settings.here.isa = settings.here.isa, settings.isa_number("name", name)
    try:
        yield
    finally:
        settings.here.isa = before


def trim() -> int:
    """Give memory that rnnfast keeps for later calls back to the system.

    When large blocks (packed weights, tapes and results of 1 MiB and more) are no longer used, rnnfast keeps them for later
    calls, 256 MiB at most. Each thread that has called rnnfast also keeps the working memory of its largest call until the
    thread ends. This function frees these blocks, and the working memory of the calling thread.

    Returns
    -------
    int
        The bytes that were freed.

    Examples
    --------
    >>> rnnfast.trim() >= 0
    True
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
    """Show versions, CPU, instruction set (ISA) and threads, like `numpy.show_config` for NumPy.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Whether to print the information, or to return it as nested dictionaries.

    Examples
    --------
    >>> rnnfast.show_config("dicts")["Versions"]["rnnfast"] == rnnfast.__version__
    True
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
