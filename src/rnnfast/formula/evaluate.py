"""A graph computed on NumPy arrays, node by node: for what is computed once per call or sequence, and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rnnfast.formula.graph import Graph
from rnnfast.formula.operations import OPERATIONS


def needed(graph: Graph, results: Iterable[int], given: Iterable[int] = ()) -> list[int]:
    """The nodes from which the results are computed, in order, where `given` are there already."""
    found, known, stack = set(), set(given), list(results)
    while stack:
        node = stack.pop()
        if node not in found and node not in known:
            found.add(node)
            stack.extend(graph.nodes[node].args)
    return sorted(found)


def evaluate(graph: Graph, results: Iterable[int], values: Mapping[int, Any]) -> dict[int, Any]:
    """The values of the results; values: of inputs and products, or of whatever else is known."""
    results, known = list(results), dict(values)
    for node in needed(graph, results, known):
        found = graph.nodes[node]
        if found.op == "number":
            known[node] = graph.number_of(node)
        elif found.op in ("input", "product"):
            raise KeyError(f"{found.op} {found.what}: expected a value, got none")
        else:
            known[node] = OPERATIONS[found.op].compute(*[known[arg] for arg in found.args])
    return {node: known[node] for node in results}
