"""Types of the compiled module _order."""

from typing import Final, final

import numpy as np

Index = np.ndarray[tuple[int], np.dtype[np.intp]]

@final
class RowOrder:
    """Rows sorted by falling length, and how many of them are at work at each step."""

    batch: Final[int]
    steps: Final[int]  # the largest length
    rows: Final[int]  # the sum of lengths
    def __init__(self, lengths: Index) -> None: ...

def first_outside(lengths: Index, T: int) -> int:
    """Index of the first length that is not in 0 .. T, or -1."""

def order_of(lengths: Index | None, T: int) -> RowOrder | None:
    """None where every sample has all T steps."""
