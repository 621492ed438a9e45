"""Types of the compiled module _testing."""

from typing import Any

from rnnfast._kernels._fast_path import FrozenLayers
from rnnfast._types import Array

def set_cost_model(call: float, phase: float) -> tuple[float, float]:
    """Work below which a call or a phase of a step takes no further thread; returns the values before."""

def hoist_up_to(vectors: int) -> int:
    """How long a block of a step may be where forward computes ahead of the steps what does not depend on states, 0 for never;
    returns what was set before."""

def let_rest(on: bool) -> bool:
    """Whether the thread team may rest where other pools take its processors; returns what was set before."""

def exceed_cpus(on: bool) -> bool:
    """Whether calls may have more threads than CPUs in the affinity mask; returns what was set before."""

def team(want: int, brief: bool) -> int:
    """How many threads a call that wants so many would have now."""

def apply(function: str, isa: int, x: Array) -> Array:
    """An operation of programs with one argument (csrc/ops.h) on a contiguous float array; a new array."""

def numbers(name: str) -> dict[str, Any]:
    """The numbers of a compiled cell."""

def steps(
    layers: FrozenLayers,
    x: Array,
    state: tuple[Array | None, ...],
    y: Array,
    state_out: tuple[Array, ...],
    threads: int,
    count: int,
) -> None:
    """So many single steps, without Python between them."""

def probe_fma(isa: int, itemsize: int, repeats: int) -> float:
    """Does multiply-adds on registers, without the GIL; returns how many floating point operations that were."""

def probe_load(isa: int, data: Array, repeats: int) -> float:
    """Reads a contiguous float array so many times, without the GIL, but for a rest of less than 2 kB; returns the bytes."""
