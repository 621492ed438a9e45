"""What became of the calls of recurrent layers, for people to read."""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple


class Row(NamedTuple):
    """One layer and one way in which it was computed.

    layer: its name; kind: its class; fused: whether rnnfast computed it; how: with what, or why not and what to do about it;
    calls: how many.
    """

    layer: str
    kind: str
    fused: bool
    how: str
    calls: int


class Report(tuple[Row, ...]):
    """Rows in the order of the first call of each."""

    __slots__ = ()

    @property
    def fused(self) -> Report:
        """The rows of calls that rnnfast computed."""
        return Report(row for row in self if row.fused)

    @property
    def left(self) -> Report:
        """The rows of calls that were left to Keras's own loop."""
        return Report(row for row in self if not row.fused)

    def __str__(self) -> str:
        if not self:
            return "no recurrent layer was called since rnnfast.keras.enable()"
        lines = [("layer", "class", "calls", "computed by")]
        for row in self:
            lines.append((row.layer, row.kind, str(row.calls), f"{'rnnfast' if row.fused else 'Keras'}: {row.how}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ([text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines)
        return "\n".join("  ".join(line).rstrip() for line in padded)

    def __repr__(self) -> str:
        return f"Report({list(self)!r})"


_calls: Counter[tuple[str, str, bool, str]] = Counter()
_lock = threading.Lock()


def note(layer: str, kind: str, fused: bool, how: str) -> None:
    """Counts one call."""
    with _lock:
        _calls[layer, kind, fused, how] += 1


def noted() -> Report:
    with _lock:
        return Report(Row(*key, calls) for key, calls in _calls.items())


def forget() -> None:
    with _lock:
        _calls.clear()
