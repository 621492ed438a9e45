"""Types of the compiled module _training."""

from collections.abc import Iterable
from typing import Any, final

from rnnfast._engine.form import Form
from rnnfast._types import Array

@final
class Plain:
    """What a training pass must know of layers whose cell has no inputs and draws; made once for each layer."""

    def __init__(self, form: Form, names: tuple[tuple[str, ...], ...]) -> None:
        """names: of each place, those of its parameters."""

    @property
    def form(self) -> Form: ...
    def record(
        self, params: tuple[Any, ...], x: Any, state: Any, isa: int, threads: int, locked: bool
    ) -> tuple[Array, Any, Passed] | None:
        """(y, state, what backward needs), or None if anything is unusual; then nothing is done. params: as in `names`; locked:
        y is read-only for good."""

@final
class Passed:
    """What a pass left for backward."""

    def prepare(self, need_x: bool, threads: int) -> Filled:
        """All memory of a backward pass, before anything is used up."""

    def run(self, f: Filled, dy: Array | None, dstate: tuple[Array | None, ...]) -> Array | None:
        """dy (T, B, D*H) or None; dstate (places, B, H) or None each. Returns dx (T, B, I) or None."""

@final
class Filled:
    """The arrays that backward fills: the gradients of all parameters, their views by name, those of the initial states."""

    @property
    def flat(self) -> Array: ...
    @property
    def params(self) -> dict[str, Array]: ...
    @property
    def initial(self) -> tuple[Array, ...]: ...

def arrays_of(tensors: Iterable[Any]) -> tuple[Any, ...]:
    """Arrays of the memory of tensors of PyTorch, for the call alone: dense ones on the CPU of float32 or float64, or None."""
