"""States as tuples inside, as users see them outside: h alone, or the pair (h, c)."""

from __future__ import annotations

from typing import Any, TypeVar

from rnnfast._types import Array

A = TypeVar("A")


def outward(parts: tuple[Array, ...]) -> Any:
    """(h,) -> h; (h, c) -> (h, c)."""
    return (parts[0], parts[1]) if len(parts) == 2 else parts[0]


def h_and_c(parts: tuple[A, ...]) -> tuple[A, A | None]:
    """(h,) -> h, None; (h, c) -> h, c."""
    return parts[0], parts[1] if len(parts) == 2 else None
