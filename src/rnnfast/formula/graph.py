"""A formula as a graph: each value once, whoever computes it again.

A node is an operation on earlier nodes, so the list of nodes is an order in which they can be computed. Its axes say what it
varies with: rows (samples), units, both or neither; NumPy's broadcasting is the union. Operations are listed in operations.py.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar


class Axes(NamedTuple):
    """What a value varies with."""

    rows: bool
    units: bool

    def __or__(self, other: Axes) -> Axes:
        return Axes(self.rows or other.rows, self.units or other.units)


NUMBER, VECTOR, ROW, FULL = Axes(False, False), Axes(False, True), Axes(True, False), Axes(True, True)


AnyGraph = TypeVar("AnyGraph", bound="Graph")


class Node(NamedTuple):
    """op: its name, or "input" for what comes from outside, or "number". what: the input's kind and name, or the number."""

    op: str
    args: tuple[int, ...]
    what: Hashable
    axes: Axes


@dataclass
class Graph:
    """nodes: in an order in which they can be computed. place: of each, so that an equal one is the same one."""

    nodes: list[Node] = field(default_factory=list)
    place: dict[Node, int] = field(default_factory=dict)

    def add_node(self, op: str, args: tuple[int, ...] = (), what: Hashable = None, axes: Axes | None = None) -> int:
        """The number of the node. axes: the union of those of the arguments, if not given."""
        if axes is None:
            axes = NUMBER
            for arg in args:
                axes = axes | self.nodes[arg].axes
        node = Node(op, args, what, axes)
        if node not in self.place:
            self.place[node] = len(self.nodes)
            self.nodes.append(node)
        return self.place[node]

    def copy(self: AnyGraph) -> AnyGraph:
        return type(self)(list(self.nodes), dict(self.place))

    def number(self, value: float) -> int:
        return self.add_node("number", (), (float(value), str(float(value))))  # the text tells -0.0 from 0.0

    def input(self, kind: str, name: str, axes: Axes) -> int:
        return self.add_node("input", (), (kind, name), axes)

    def leaf(self, node: int) -> tuple[str, str]:
        """Kind and name of an input; of another node two empty texts."""
        found = self.nodes[node]
        return found.what if found.op == "input" else ("", "")  # type: ignore[return-value]

    def number_of(self, node: int) -> float | None:
        """Its value if it is a number."""
        found = self.nodes[node]
        return found.what[0] if found.op == "number" and isinstance(found.what, tuple) else None
