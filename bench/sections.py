"""What compare.py measures: the list of sections, each with its tasks and the peers that can do them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnfast.cells import CELLS
from rnnfast.proof.contenders import Task
from rnnfast.shapes import BY_NAME, SHAPES, Shape


class Section(NamedTuple):
    """title: as printed; tasks; peers: who races beside rnnfast, all paths of each, and who does so with one thread alone."""

    title: str
    tasks: list[Task]
    peers: tuple[str, ...] = ()
    single: tuple[str, ...] = ()


def lengths_of(shape: Shape) -> tuple[int, ...]:
    """(B,) lengths, uniform in 1..T; the same at every call."""
    return tuple(np.random.default_rng(3).integers(1, shape.T + 1, shape.B).tolist())


def tasks_of(dtype: str, training: bool) -> list[Task]:
    """Every named shape and cell; single steps are not trained."""
    return [Task(cell, shape, training, dtype) for shape in SHAPES if shape.training or not training for cell in CELLS]


RAGGED = tuple(Shape(f"ragged-h{H}", H, H, 32, 100, f"32 samples, {H} units") for H in (64, 256))
SWEEPS = {  # one of T, B, H varies
    "T": [Shape(f"T={T}", 256, 256, 1, T, "one sequence, 256 units") for T in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)],
    "B": [Shape(f"B={B}", 256, 256, B, 50, "50 steps, 256 units") for B in (1, 2, 4, 8, 16, 32, 64, 128)],
    "H": [Shape(f"H={H}", H, H, 16, 50, "16 sequences of 50 steps") for H in (16, 32, 64, 128, 256, 512, 1024)],
}
TORCH, JAX = ("torch", "torch:cell", "torch:compiled"), ("jax", "jax:unrolled")
SECTIONS: dict[str, Section] = {
    "forward": Section(
        "forward, float32",
        tasks_of("float32", False),
        ("numpy", *TORCH, "onnxruntime", "openvino", *JAX, "keras"),
        ("numba",),
    ),
    "training": Section(
        "training step (forward pass, back-propagation through time, all gradients), float32",
        tasks_of("float32", True),
        ("numpy", "torch", *JAX),
    ),
    "step": Section(
        "one step of a stream that keeps its state, float32",
        [Task(cell, BY_NAME[name], False, stateful=True) for name in ("stream-h64", "stream-h256") for cell in CELLS],
        ("numpy", *TORCH, "onnxruntime", "openvino", *JAX),
    ),
    "ragged": Section(
        "batches of unequal lengths, and the same batches padded, float32",
        [
            Task(cell, shape, training, lengths=lengths)
            for shape in RAGGED
            for cell in CELLS
            for training in (False, True)
            for lengths in (lengths_of(shape), None)
        ],
        ("torch", "torch:padded", "torch:compiled", "onnxruntime", "openvino", *JAX),
    ),
    "float64": Section(
        "forward and training step, float64",
        [*tasks_of("float64", False), *tasks_of("float64", True)],
        ("numpy", "torch", "torch:cell", *JAX),
    ),
    "scaling": Section(
        "an LSTM over steps, batch and units, forward, float32",
        [Task("lstm", shape, False) for of in SWEEPS.values() for shape in of],
    ),
}


class Entry(NamedTuple):
    """One race: its section, threads, task and contenders, rnnfast first."""

    section: str
    threads: int
    task: Task
    names: tuple[str, ...]


def entries(
    sections: list[str], threads: list[int], peers: list[str], shapes: list[str] | None, cells: list[str]
) -> Iterator[Entry]:
    """Everything to be raced, in an order that lets one set of processes serve as long as possible. shapes: their
    names; None is all."""
    for name in sections:
        section = SECTIONS[name]
        for count in threads:
            able = section.peers + (section.single if count == 1 else ())
            names = ("rnnfast", *(name for name in able if name in peers))
            for task in section.tasks:
                if task.cell in cells and (shapes is None or task.shape.name in shapes):
                    yield Entry(name, count, task, names)
