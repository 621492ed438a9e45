"""What a program that uses cells pays once: the import, the first layer of a cell, what its first calls plan. Each figure is
the median of processes of their own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from rnnfast import zoo

BYTECODE = tempfile.TemporaryDirectory()
IMPORT = """
import json, sys, time
import numpy
began = time.perf_counter()
import rnnfast
seconds = time.perf_counter() - began
print(json.dumps([seconds, [name for name in sys.modules if name.startswith(("rnnfast.formula", "rnnfast.zoo"))]]))
"""
CELL = """
import json, sys, time
import numpy as np
import rnnfast
began = time.perf_counter()
from rnnfast import zoo
imported = time.perf_counter() - began
rnnfast.set_num_threads(1)
x = np.zeros((2, 1, 4), np.float32)

def seconds(work):
    began = time.perf_counter()
    done = work()
    return time.perf_counter() - began, done

def beyond_the_second(work):
    first, second = seconds(work)[0], seconds(work)[0]
    return first - second

construction, net = seconds(lambda: zoo.CELLS[sys.argv[1]](4, 8, rng=0))
inputs = {name: x[:, :, 0] + 1 for name in net.declaration.inputs} or None

def train():
    y, _, tape = net.record(x, inputs=inputs, rng=0)
    tape.backward(y)

forward = beyond_the_second(lambda: net(x, inputs=inputs))
print(json.dumps([imported, construction, forward, beyond_the_second(train)]))
"""


def answer(python: str, program: str, *arguments: str, alone: bool = False) -> Any:
    """alone: without this version on the path. Bytecode is kept, as that of an installed package is, so that only the first
    process compiles the sources of a working tree."""
    left_out = ("PYTHONDONTWRITEBYTECODE", *(("PYTHONPATH",) if alone else ()))
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PYTHONPYCACHEPREFIX"] = BYTECODE.name
    done = subprocess.run([python, "-c", program, *arguments], capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def medians(rows: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def starts(before: str | None, rounds: int) -> dict[str, Any]:
    """Seconds. "cells": name -> construction, and by how much the first inference and the first training step exceed the
    second; "import": of rnnfast, of rnnfast.zoo after it, and of the rnnfast that another interpreter has; "modules": those of
    formulas that `import rnnfast` brings."""
    imports, earlier, modules = [], [], list[str]()
    answer(sys.executable, CELL, next(iter(zoo.CELLS)))  # compiles
    if before:
        answer(before, IMPORT, alone=True)
    for _ in range(3 * rounds):
        seconds, modules = answer(sys.executable, IMPORT)
        imports.append(seconds)
        if before:
            earlier.append(answer(before, IMPORT, alone=True)[0])
    found: dict[str, list[list[float]]] = {name: [] for name in zoo.CELLS}
    for _ in range(rounds):
        for name, rows in found.items():
            rows.append(answer(sys.executable, CELL, name))
    names = ("construction", "forward", "training")
    cells = {name: dict(zip(names, medians(rows)[1:], strict=True)) for name, rows in found.items()}
    room = statistics.median(row[0] for rows in found.values() for row in rows)
    figures = {"rnnfast": statistics.median(imports), "zoo": room}
    if earlier:
        figures["before"] = statistics.median(earlier)
    return {"cells": cells, "import": figures, "modules": modules}
