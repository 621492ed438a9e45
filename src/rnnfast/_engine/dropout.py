"""Masks of dropout: what is kept, drawn from a generator, and what is left of an array."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from rnnfast._types import Array

DRAWN_AT_ONCE = 1 << 17  # elements of a mask: their random bits stay in L2
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def draw_kept(rng: np.random.Generator, shape: tuple[int, ...], dropout: float) -> Mask:
    """True where dropout keeps: each element with probability 1 - dropout, in steps of 1/65536."""
    kept = np.empty(shape, np.bool_)
    flat, dropped_below = kept.reshape(-1), round(dropout * 65536)
    for start in range(0, flat.size, DRAWN_AT_ONCE):
        part = flat[start : start + DRAWN_AT_ONCE]
        words = rng.integers(0, 2**64 - 1, -(-part.size // 4), np.uint64, endpoint=True)  # all bits: the fastest to draw
        np.greater_equal(words.view(np.uint16)[: part.size], dropped_below, out=part)
    return kept


def drop(x: Array, kept: Mask, dropout: float, out: Array) -> Array:
    """out (it may be x): x scaled by 1 / (1 - dropout) where kept, else 0."""
    np.multiply(x, 0 if dropout == 1 else 1 / (1 - dropout), out=out)
    bits = out.view(f"i{out.itemsize}")
    np.multiply(bits, kept, out=bits)  # ten times as fast as an assignment under the mask, and 0 also for an infinity
    return out
