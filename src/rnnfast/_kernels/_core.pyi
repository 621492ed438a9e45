"""Types of the compiled module _core."""

from typing import final

from rnnfast._types import Array, FloatDType

MAX_THREADS: int

def isas() -> tuple[str, ...]:
    """Names of the ISAs that are compiled in and that this CPU can run, best last."""

def compiled_isas() -> tuple[str, ...]:
    """Names of the ISAs that are compiled in, best last; the positions are the numbers `Weights` takes."""

def cell_numbers(name: str) -> dict[str, int]:
    """Checks the numbers of a compiled cell; returns its gates, slots and states."""

def operations() -> dict[str, int]:
    """The operations of programs: name -> number of arguments."""

def trim() -> int:
    """Frees the large blocks that are kept for later calls and this thread's scratch; returns their bytes."""

def empty(shape: tuple[int, ...], dtype: FloatDType, lockable: bool = False) -> Array:
    """np.empty for up to three axes; the memory of a large array is kept for the next. lockable: once read-only, always."""

@final
class Buffer:
    """64-byte aligned memory."""

    @property
    def nbytes(self) -> int: ...
    def __init__(self, nbytes: int) -> None: ...
