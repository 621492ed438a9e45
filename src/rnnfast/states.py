"""States as tuples inside, as users see them outside: h alone, or the pair (h, c)."""

from __future__ import annotations

from typing import TypeVar

from rnnfast._types import Array, State

A = TypeVar("A")


def outward(parts: tuple[Array, ...]) -> State:
    """(h,) -> h; (h, c) -> (h, c)."""
    return (parts[0], parts[1]) if len(parts) == 2 else parts[0]


def h_and_c(parts: tuple[A, ...]) -> tuple[A, A | None]:
    """(h,) -> h, None; (h, c) -> h, c."""
    return parts[0], parts[1] if len(parts) == 2 else None
