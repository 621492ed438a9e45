"""Where a run of compare.py took place: CPU, caches, compiler, versions, date."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import rnnfast
from rnnfast.proof.contenders import Contender

CPU = Path("/sys/devices/system/cpu/cpu0/cache")


def caches() -> dict[str, dict[str, int]]:
    """Bytes of each data cache of the first CPU, L1 first, and how many CPUs share it; empty where the system does not say."""
    found = {}
    for index in sorted(CPU.glob("index*")):
        kind, level, size, shared = ((index / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_map"))
        if kind != "Instruction":
            nbytes = int(size[:-1]) * {"K": 2**10, "M": 2**20}[size[-1]]
            found[f"L{level}"] = {"bytes": nbytes, "cpus": int(shared.replace(",", ""), 16).bit_count()}
    return found


def compiler() -> str:
    """First line of the C compiler's version: of the one here now, which is not certain to have built the module."""
    program = os.environ.get("CC", "gcc").split()[0]
    if shutil.which(program) is None:
        return "none"
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.partition("\n")[0]


def machine() -> dict[str, Any]:
    config = rnnfast.show_config("dicts")
    return {
        "cpu": config["CPU"]["name"],
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "isa": config["CPU"]["isa"],
        "caches": caches(),
        "compiler": compiler(),
        "load": os.getloadavg()[0],  # before the run: what else keeps the CPUs busy
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
    }


def versions(peers: dict[str, Contender]) -> dict[str, str]:
    """Of rnnfast, NumPy, and the modules of all peers that are installed."""
    found = {"rnnfast": rnnfast.__version__}
    for contender in peers.values():
        if not contender.missing():
            with contextlib.suppress(PackageNotFoundError):  # a module may come in a package of another name
                found.update(contender.versions())
    return found
