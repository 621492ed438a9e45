"""A graph computed on NumPy arrays, node by node: for what is computed once per call or sequence, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rnnfast.formula.graph import Graph
from rnnfast.formula.operations import OPERATIONS


def needed(
    graph: Graph, results: Iterable[int], given: Iterable[int] = (), surrogates: Mapping[int, int] | None = None
) -> list[int]:
    """The nodes from which the results are computed, in order, where `given` are there already. surrogates: of steps, whose
    derivatives are needed too."""
    found, known, stack, slopes = set(), set(given), list(results), surrogates or {}
    while stack:
        node = stack.pop()
        if node not in found and node not in known:
            found.add(node)
            stack += graph.nodes[node].args
            if node in slopes:
                stack.append(slopes[node])
    return sorted(found)


class Recipe:
    """How results are computed from what is given: the order is found once, for calls that come again and again."""

    def __init__(self, graph: Graph, results: Iterable[int], given: Iterable[int]) -> None:
        self.results = list(results)
        self.numbers: dict[int, Any] = {}
        self.steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        for node in needed(graph, self.results, given):
            found = graph.nodes[node]
            if found.op == "number":
                self.numbers[node] = graph.number_of(node)
            elif found.op in ("input", "product"):
                raise KeyError(f"{found.op} {found.what}: expected a value, got none")
            else:
                self.steps.append((node, OPERATIONS[found.op].compute, found.args))

    def __call__(self, values: Mapping[int, Any]) -> list[Any]:
        """values: of the nodes that are given."""
        known = {**self.numbers, **values}
        for node, compute, args in self.steps:
            known[node] = compute(*[known[arg] for arg in args])
        return [known[node] for node in self.results]


def evaluate(graph: Graph, results: Iterable[int], values: Mapping[int, Any]) -> dict[int, Any]:
    """The values of the results; values: of inputs and products, or of whatever else is known."""
    recipe = Recipe(graph, results, values)
    return dict(zip(recipe.results, recipe(values), strict=True))
