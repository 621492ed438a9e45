"""The named shapes: typical sizes of networks and batches, in one list for the main job, the tests and the benchmarks."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """Sizes of a network and a batch: I input size, H hidden size, B samples, T time steps, layers and directions. `what` says
    it in words."""

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
    Shape("stream-h64", 64, 64, 1, 1, "one step of a stream, 64 units"),
    Shape("stream-h256", 256, 256, 1, 1, "one step of a stream, 256 units"),
    Shape("sine-h32", 1, 32, 1, 100, "one series of numbers, 32 units"),
    Shape("stock-h50", 1, 50, 32, 60, "32 series of prices, 50 units"),
    Shape("sent-h64", 100, 64, 32, 100, "32 sentences, 64 units"),
    Shape("char-h128", 30, 128, 64, 100, "64 texts by character, 128 units"),
    Shape("shake-h256", 256, 256, 1, 100, "one text, 256 units"),
    Shape("bb-h256-b32", 256, 256, 32, 100, "32 pieces of speech, 256 units"),
    Shape("s2s-h512-b16", 512, 512, 16, 25, "16 short sentences, 512 units"),
    Shape("db-h1024-b1", 1024, 1024, 1, 25, "one short sequence, 1024 units"),
    Shape("db-h1024-b64", 1024, 1024, 64, 25, "64 short sequences, 1024 units"),
    Shape("bi-h256", 256, 256, 1, 100, "one text in both directions, 256 units", bidirectional=True),
    Shape("deep-h512", 512, 512, 1, 100, "one sequence, two layers of 512 units", num_layers=2),
)
BY_NAME = {shape.name: shape for shape in SHAPES}
