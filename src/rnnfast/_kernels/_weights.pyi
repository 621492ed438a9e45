"""Types of the compiled module _weights."""

from typing import Any, final

from rnnfast._kernels._code import Code
from rnnfast._types import Array

@final
class Weights:
    """The weights of one layer and direction, for one ISA and dtype: packed, or where the user keeps them."""

    @property
    def isa(self) -> int: ...
    @property
    def input_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def trainable(self) -> bool: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def keeping_states(self) -> Weights: ...
    def __reduce__(self) -> Any: ...

def pack(
    cell: str | Code,
    isa: int,
    trainable: bool,
    threads: int,
    w_ih: Array,
    w_hh: Array | None,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    blocks: tuple[int, ...] | None = None,
    vectors: Array | None = None,
) -> Weights:
    """Packs arrays of one float dtype, checked by the caller. trainable: also as backward needs them. blocks: of each gate,
    which block of rows it has; None: in order. vectors: (n, H) as the cell has them."""

def point_at(
    cell: str | Code,
    isa: int,
    w_ih: Array,
    w_hh: Array | None,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    blocks: tuple[int, ...] | None = None,
    vectors: Array | None = None,
) -> Weights:
    """As `pack`, for weights that are used once: they stay where they are, and must not change meanwhile."""
