"""A formula as a graph, with what it reads and returns: what a trace hands to the plan, and each stage of it to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rnnfast.formula.build import Builder
from rnnfast.formula.evaluate import needed


class Traced(NamedTuple):
    """One formula, for one combination of options. Mappings are in declared order; numbers are nodes of `builder`.

    x_gates: gate -> `input("x", gate, FULL)`. products: gate -> `add_node("product", (v,), gate, FULL)`, which is U.gate @ v
    without bias. states, vectors, inputs, draws: name -> `input("state", name, FULL)`, the values before the step,
    `input("vector", name, VECTOR)`, `input("input", name, FULL or ROW)`, (B, H) or (B, 1) at each step, and
    `input("draw", name, FULL)`. new: the values of the states after the step. output: what the formula returns before them, or
    None if y is the first state. surrogates: step node -> node of its derivative.
    """

    builder: Builder
    x_gates: Mapping[str, int]
    products: Mapping[str, int]
    states: Mapping[str, int]
    vectors: Mapping[str, int]
    inputs: Mapping[str, int]
    draws: Mapping[str, int]
    new: tuple[int, ...]
    output: int | None
    surrogates: Mapping[int, int]

    @property
    def ends(self) -> tuple[int, ...]:
        """What all the rest is for: the new states, and y if it is none of them."""
        return self.new if self.output is None else (*self.new, self.output)

    def moved(self, builder: Builder, place: Mapping[int, int]) -> Traced:
        """The same formula in another graph, without what has no place there. place: of this graph's nodes, results too."""
        leaves = ({name: place[n] for name, n in group.items() if n in place} for group in self[1:7])
        new, output = tuple(place[n] for n in self.new), None if self.output is None else place[self.output]
        surrogates = {place[n]: place[d] for n, d in self.surrogates.items() if n in place and d in place}
        return Traced._make((builder, *leaves, new, output, surrogates))


def from_graph(
    b: Builder,
    gates: tuple[Sequence[str], Sequence[str]],
    states: Iterable[int],
    results: tuple[int, ...],
    surrogates: Mapping[int, int],
) -> Traced:
    """Of all that is in the graph what the results depend on. gates: that x and U may have, in declared order, as the nodes of
    states, vectors, inputs and draws are. results: of the formula, in its order: y, if it is no state, and the new states."""
    states = list(states)
    alive = needed(b, results, (), surrogates)
    found: dict[str, dict[str, int]] = {k: {} for k in ("x", "product", "state", "vector", "input", "draw", "size")}
    for n in sorted({*alive, *states}):
        op, _, what, _ = b.nodes[n]
        kind, name = (op, what) if op == "product" else b.leaf(n)
        if kind:
            found[kind][str(name)] = n
    for kind, names in zip(("x", "product"), gates, strict=True):
        found[kind] = {gate: found[kind][gate] for gate in names if gate in found[kind]}
    *leaves, _ = found.values()
    output = results[0] if len(results) > len(states) else None
    used = {step: slope for step, slope in surrogates.items() if step in alive}
    return Traced._make((b, *leaves, results[len(results) - len(states) :], output, used))
