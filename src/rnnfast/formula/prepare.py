"""A trace made ready for plans: what varies with units alone is taken out, biases are put where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rnnfast.formula.build import Builder
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import VECTOR
from rnnfast.formula.traced import Traced


class Prepared(NamedTuple):
    """formula: the same in a graph of its own, with what its results need alone.

    A product's value is the sum alone: where its bias stands apart, the sum of both is another node. merged: gates whose two
    biases are both in the projection. The graph has `input("vector", k, VECTOR)` for node vectors[k] of `once`, the graph of
    what is computed once per call, and `input("bias", gate, VECTOR)` for biases that stand apart.
    """

    formula: Traced
    merged: frozenset[str]
    once: Builder
    vectors: tuple[int, ...]
    once_surrogates: Mapping[int, int]


def prepare(traced: Traced) -> Prepared:
    nodes = traced.builder.nodes
    order = needed(traced.builder, traced.ends, (), traced.surrogates)
    merged = _merged(traced, order)
    graph, once = Builder(), Builder()
    place: dict[int, int] = {}  # of a node of the trace in graph; of what varies with vectors alone only if it is used there,
    place_once: dict[int, int] = {}  # and in once
    vectors: list[int] = []
    products: dict[str, int] = {}
    of_vectors: set[int] = set()

    def used(node: int) -> int:
        if node not in place:
            place[node] = graph.input("vector", str(len(vectors)), VECTOR)
            vectors.append(place_once[node])
        return place[node]

    for n in order:
        op, args, what, axes = nodes[n]
        if not axes.rows:
            place_once[n] = once.add_node(op, tuple(place_once[arg] for arg in args), what, axes)
            if axes.units or any(arg in of_vectors for arg in args):
                of_vectors.add(n)
                continue
        own = tuple(used(arg) for arg in args)
        place[n] = graph.add_node(op, own, what, axes if op in ("input", "total") else None)
        if op == "product":
            gate = str(what)
            products[gate] = place[n]
            if gate not in merged:
                place[n] = graph.add_node("add", (graph.input("bias", gate, VECTOR), place[n]))
    for n in traced.states.values():
        place[n] = graph.add_node(*nodes[n])
    for n in (*traced.ends, *(d for step, d in traced.surrogates.items() if step in place)):
        used(n)
    formula = traced.moved(graph, place)._replace(products={gate: products[gate] for gate in traced.products})
    slopes = {place_once[n]: place_once[d] for n, d in traced.surrogates.items() if n in place_once}
    return Prepared(formula, merged, once, tuple(vectors), slopes)


def _merged(traced: Traced, order: list[int]) -> frozenset[str]:
    """Gates whose projection and product have one use, the sum of both."""
    nodes = traced.builder.nodes
    users: dict[int, set[int]] = {}
    for n in order:
        for arg in nodes[n].args:
            users.setdefault(arg, set()).add(n)
    found = set()
    for gate, n in traced.products.items():
        x, ours = traced.x_gates.get(gate, -1), users.get(n, set())
        if ours == users.get(x) and len(ours) == 1 and not {n, x} & {*traced.ends}:
            (total,) = ours
            if nodes[total].op == "add" and set(nodes[total].args) == {n, x}:
                found.add(gate)
    return frozenset(found)
