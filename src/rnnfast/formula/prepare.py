"""A trace made ready for plans: what varies with units alone is taken out, biases are put where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rnnfast.formula.build import Builder
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, VECTOR
from rnnfast.formula.traced import Traced


class Prepared(NamedTuple):
    """The same formula in a graph of its own. Only what its results need is left, in declared order.

    A product's value is the sum alone: where its bias stands apart, the sum of both is another node. merged: gates whose two
    biases are both in the projection. graph has `input("vector", k, VECTOR)` for node vectors[k] of `once`, the graph of what
    is computed once per call, and `input("bias", gate, VECTOR)` for biases that stand apart.
    """

    graph: Builder
    x_gates: Mapping[str, int]
    products: Mapping[str, int]
    merged: frozenset[str]
    states: Mapping[str, int]
    new: tuple[int, ...]
    output: int | None
    inputs: Mapping[str, int]
    draws: Mapping[str, int]
    surrogates: Mapping[int, int]
    once: Builder
    vectors: tuple[int, ...]
    once_surrogates: Mapping[int, int]


def prepare(traced: Traced) -> Prepared:
    nodes = traced.builder.nodes
    results = [*traced.new, *([] if traced.output is None else [traced.output])]
    order = needed(traced.builder, results)
    while more := {traced.surrogates[n] for n in order if n in traced.surrogates} - set(order):
        order = needed(traced.builder, [*order, *more])
    merged = _merged(traced, order, set(results))

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

    def kept(declared: Mapping[str, int]) -> dict[str, int]:
        return {name: place[n] for name, n in declared.items() if n in place}

    return Prepared(
        graph=graph,
        x_gates=kept(traced.x_gates),
        products={gate: products[gate] for gate in traced.products if gate in products},
        merged=merged,
        states={name: graph.input("state", name, FULL) for name in traced.states},
        new=tuple(used(n) for n in traced.new),
        output=None if traced.output is None else used(traced.output),
        inputs=kept(traced.inputs),
        draws=kept(traced.draws),
        surrogates={place[n]: used(d) for n, d in traced.surrogates.items() if n in place},
        once=once,
        vectors=tuple(vectors),
        once_surrogates={place_once[n]: place_once[d] for n, d in traced.surrogates.items() if n in place_once},
    )


def _merged(traced: Traced, order: list[int], results: set[int]) -> frozenset[str]:
    """Gates whose projection and product have one use, the sum of both."""
    nodes = traced.builder.nodes
    users: dict[int, set[int]] = {}
    for n in order:
        for arg in nodes[n].args:
            users.setdefault(arg, set()).add(n)
    found = set()
    for n in order:
        if nodes[n].op == "product" and nodes[n].what in traced.x_gates:
            x = traced.x_gates[str(nodes[n].what)]
            ours = users.get(n, set())
            if ours == users.get(x) and len(ours) == 1 and not {n, x} & results:
                (total,) = ours
                if nodes[total].op == "add" and set(nodes[total].args) == {n, x}:
                    found.add(str(nodes[n].what))
    return frozenset(found)
