"""Types of the compiled module _weights."""

from typing import Any, final

from rnnfast._types import Array

@final
class Weights:
    """The packed weights of one layer and direction, for one ISA and dtype. Their values never change."""

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
    def __init__(
        self,
        cell: str,
        isa: int,
        trainable: bool,
        threads: int,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None = None,
        b_hh: Array | None = None,
    ) -> None: ...
    def __reduce__(self) -> Any: ...
