"""Types of the compiled module _code."""

from typing import Any

from rnnfast.formula.spec import Spec

class Code:
    """A cell without compiled kernels: its numbers and programs."""

    def __init__(self, spec: Spec, hidden_size: int) -> None: ...
    @property
    def spec(self) -> Spec: ...
    def keeping_states(self) -> Code: ...
    def __reduce__(self) -> Any: ...
