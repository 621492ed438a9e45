"""From `lengths` to the order of work: rows sorted by falling length, so that those at work at a step are a prefix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Index = np.ndarray[tuple[int], np.dtype[np.intp]]


@dataclass(frozen=True)
class Order:
    """sample (B,): row -> sample; length (B,) of each row; with S = the largest length: active (S+1,): rows at work at
    step s, 0 at S; first (S+1,): stored row where step s begins, the sum of lengths at S."""

    sample: Index
    length: Index
    active: Index
    first: Index


def order_of(lengths: Index | None) -> Order | None:
    """None stands for: every sample has all steps."""
    if lengths is None:
        return None
    sample = np.argsort(-lengths, kind="stable").astype(np.intp)
    length = np.ascontiguousarray(lengths[sample])
    steps = int(length[0]) if length.size else 0
    active = np.searchsorted(-length, -np.arange(steps + 1), side="left").astype(np.intp)  # rows longer than s
    first = np.concatenate([[0], np.cumsum(active[:-1])]).astype(np.intp)
    return Order(sample, length, active, first)
