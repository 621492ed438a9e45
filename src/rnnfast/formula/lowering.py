"""From the operations of formulas to those of the interpreter, which has some in one that formulas write as two."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rnnfast.formula.build import Builder
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import Graph


def lower(b: Builder, ends: Iterable[int], instead: Callable[[Graph, str, str], int | None]) -> tuple[Builder, dict[int, int]]:
    """What the ends need, as a new graph, and the place there of each node that has one. instead(graph, kind, name): what
    stands for an input there, or None for the input itself."""
    ends = list(ends)
    order, nodes = needed(b, ends), b.nodes
    uses = dict.fromkeys(order, 0)
    for n in ends:
        uses[n] += 1
    for n in order:
        for arg in nodes[n].args:
            uses[arg] += 1
    graph, place = Builder(), {}
    for n in order:
        op, args, what, axes = nodes[n]
        found = instead(graph, *b.leaf(n))
        if found is not None:
            place[n] = found
            continue
        if op == "stop_gradient":
            place[n] = place[args[0]]
            continue
        if op == "step":
            place[n] = graph.add_node("lt", (graph.number(0), place[args[0]]))
            continue
        if op in ("tanh", "sigmoid") and nodes[args[0]].op == "add" and uses[args[0]] == 1:
            op, args = "add_" + op, nodes[args[0]].args
        elif op == "fma":
            op, args = _negative_factor(b, args)
        elif op == "mul":
            op, args = _slope(b, args, uses)
        place[n] = graph.add_node(op, tuple(place[arg] for arg in args), what, axes)
    return graph, place


def _negative_factor(b: Builder, args: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """-u * v + w as w - u * v."""
    u, v, w = args
    for negative, other in ((u, v), (v, u)):
        if b.nodes[negative].op == "neg":
            return "fnma", (b.nodes[negative].args[0], other, w)
    return "fma", args


def _slope(b: Builder, args: tuple[int, ...], uses: dict[int, int]) -> tuple[str, tuple[int, ...]]:
    """a * (1 - y * y) and a * (y - y * y), the derivatives of tanh and sigmoid."""
    for a, slope in (args, args[::-1]):
        if b.nodes[slope].op == "fma" and uses[slope] == 1:
            op, (y, again, first) = _negative_factor(b, b.nodes[slope].args)
            if op == "fnma" and y == again and (first == y or b.is_number(first, 1)):
                return "slope_sigmoid" if first == y else "slope_tanh", (a, y)
    return "mul", args
