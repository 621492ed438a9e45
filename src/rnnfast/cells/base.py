"""The cell descriptor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """What distinguishes one cell from another, as seen from Python.

    name: of the function (and of the reference's); layer: of the class; gates: their letters in the order of the weights'
    row blocks; states: their letters, h first; option: the one keyword it has, or None, and choices: its values, the
    default first; kernels: for each choice the name of the C cell (csrc/cells/list.h).
    """

    name: str
    layer: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    option: str | None
    choices: tuple[Any, ...]
    kernels: tuple[str, ...]

    def kernel(self, choice: Any) -> str:
        """Name of the C cell that computes this choice of the option."""
        return self.kernels[self.choices.index(choice)]

    def variants(self) -> Iterator[dict[str, Any]]:
        """The option as keyword arguments, for each of its choices."""
        for choice in self.choices:
            yield {self.option: choice} if self.option else {}

    def flops(self, T: int, B: int, input_size: int, hidden_size: int, *, training: bool = False) -> float:
        """Floating point operations of the products: 2 T B G H (I + H), three times that for a training step."""
        return 2.0 * T * B * len(self.gates) * hidden_size * (input_size + hidden_size) * (3 if training else 1)
