"""The named shapes: typical sizes of networks and batches, in one list for the main job, the tests and the benchmarks."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Sizes of a network and a batch: I input size, H hidden size, B samples, T time steps, layers and directions. `what` says
    where such a shape occurs."""

    name: str
    I: int
    H: int
    B: int
    T: int
    what: str
    num_layers: int = 1
    bidirectional: bool = False

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def places(self) -> list[tuple[str, int]]:
        """Each layer and direction, in order: its suffix in parameter names (l0, l0_reverse, l1, ...) and its input size."""
        return [
            (f"l{layer}{suffix}", self.directions * self.H if layer else self.I)
            for layer in range(self.num_layers)
            for suffix in ("", "_reverse")[: self.directions]
        ]

    @property
    def training(self) -> bool:
        """Whether the shape is trained too; single steps, which are for streams, are not."""
        return self.T > 1


SHAPES = (
    Shape("stream-h64", 64, 64, 1, 1, "audio effect or control, one step"),
    Shape("stream-h256", 256, 256, 1, 1, "speech activity, one step"),
    Shape("sine-h32", 1, 32, 1, 100, "toy sine, one series"),
    Shape("stock-h50", 1, 50, 32, 60, "price forecasting, windows of 60"),
    Shape("sent-h64", 100, 64, 32, 100, "sentiment, embedding of 100"),
    Shape("char-h128", 30, 128, 64, 100, "characters, one-hot"),
    Shape("shake-h256", 256, 256, 1, 100, "text generation, one sequence"),
    Shape("bb-h256-b32", 256, 256, 32, 100, "speech or text, batch of 32"),
    Shape("s2s-h512-b16", 512, 512, 16, 25, "sequence to sequence"),
    Shape("db-h1024-b1", 1024, 1024, 1, 25, "DeepBench, one sequence"),
    Shape("db-h1024-b64", 1024, 1024, 64, 25, "DeepBench, batch of 64"),
    Shape("bi-h256", 256, 256, 1, 100, "tagging, both directions", bidirectional=True),
    Shape("deep-h512", 512, 512, 1, 100, "speech or text, two layers", num_layers=2),
)
BY_NAME = {shape.name: shape for shape in SHAPES}
