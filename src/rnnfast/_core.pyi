"""Types of the compiled module _core."""

from typing import Any, Literal, final

from rnnfast._types import Array, FloatDType

MAX_THREADS: int

def isas() -> tuple[str, ...]:
    """Names of the ISAs that are compiled in and that this CPU can run, best last."""

def compiled_isas() -> tuple[str, ...]:
    """Names of the ISAs that are compiled in, best last; the positions are the numbers `Weights` takes."""

def apply(function: Literal["tanh", "sigmoid"], isa: int, x: Array) -> Array:
    """The kernels' own vector math on a contiguous float array; a new array."""

def let_rest(on: bool) -> bool:
    """Whether the thread team may rest where other pools take its processors; returns what was set before (for tests)."""

def trim() -> int:
    """Frees the large blocks that are kept for later calls; returns their bytes (for tests)."""

def probe_fma(isa: int, itemsize: int, repeats: int) -> float:
    """Does multiply-adds on registers, without the GIL; returns how many floating point operations that were."""

def probe_load(isa: int, data: Array, repeats: int) -> float:
    """Reads a contiguous float array so many times, without the GIL, but for a rest of less than 2 kB; returns the bytes."""

def empty(shape: tuple[int, ...], dtype: FloatDType) -> Array:
    """np.empty for up to three axes; the memory of a large array is kept for the next."""

@final
class Buffer:
    """64-byte aligned memory."""

    @property
    def nbytes(self) -> int: ...
    def __init__(self, nbytes: int) -> None: ...

@final
class Weights:
    """The packed weights of one layer and direction, for one ISA and dtype. Immutable."""

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
