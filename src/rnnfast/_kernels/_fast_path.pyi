"""Types of the compiled module _fast_path."""

from typing import Any

from rnnfast._kernels._weights import Weights
from rnnfast._types import Array

def step(
    layers: tuple[Weights, ...],
    x: Array,
    state: tuple[Array | None, ...],
    y: Array,
    state_out: tuple[Array, ...],
    threads: int,
) -> None:
    """x (B, I), y (B, H), each state (layers, B, H) or None for zeros; contiguous, checked. A state_out may be its state."""

def try_call(
    layers: tuple[Weights, ...], one_step: bool, x: Any, state: Any, out: Any, threads: int
) -> tuple[Array, Any] | None:
    """(y, state), or None if anything is unusual; then nothing is done."""
