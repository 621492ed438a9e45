"""What depends on Keras's backend, for numpy; `_on_torch` has the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast._types import Array
from rnnfast.keras._pass import Pass
from rnnfast.keras._report import note

__all__ = ["array_of", "foreign", "is_traced", "note", "recur"]


def is_traced() -> bool:
    """Whether the call is not run but compiled."""
    return False


def foreign(tensor: Any) -> str | None:
    """What keeps rnnfast from reading this tensor, if anything does."""
    if isinstance(tensor, np.ndarray):
        return None
    return f"rnnfast reads arrays of NumPy, and one is a {type(tensor).__name__}; pass np.asarray(x)"


def array_of(tensor: Any) -> Array:
    """The same memory as an array."""
    return tensor  # type: ignore[no-any-return]


def recur(job: Pass, x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
    """`Pass.run`: (y, *final states)."""
    y, final, _ = job.run(x, kernel, recurrent_kernel, bias, states, record=False)
    return (y, *final)
