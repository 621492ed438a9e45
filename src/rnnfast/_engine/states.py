"""States as tuples inside, as users see them outside: h alone, or a tuple such as (h, c)."""

from __future__ import annotations

from typing import Any

from rnnfast._types import Array


def outward(parts: tuple[Array, ...]) -> Any:
    """(h,) -> h; (h, c) -> (h, c)."""
    return parts if len(parts) > 1 else parts[0]
