"""Forward and backward of a prepared formula in one graph of the interpreter's operations, and what a step keeps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, VECTOR, Graph
from rnnfast.formula.lowering import lower
from rnnfast.formula.prepare import Prepared
from rnnfast.formula.saved import minimal
from rnnfast.formula.traced import Traced


class Joint(NamedTuple):
    """Nodes of one graph, that of `formula`. Leaves of backward are input("carry", i): what the products of the next step give
    to the gradient of state i, input("d_after", i): the rest of it, and input("dy", ""). Gradients: of gates' projections and
    products, by gate; of states before the step without products, and of vectors, by number; of inputs. operands: of products,
    by gate. groups: gates whose products have one operand that gets a gradient from them: the node of this gradient, the number
    of the operand's state or -1, the gates. forward: all nodes of the pass. kept: forward values that backward finds; readable:
    states whose values it finds."""

    graph: Graph
    formula: Traced
    operands: dict[str, int]
    forward: frozenset[int]
    d_x: dict[str, int]
    d_h: dict[str, int]
    d_states: dict[int, int]
    d_vectors: dict[int, int]
    d_inputs: dict[str, int]
    groups: tuple[tuple[int, int, tuple[str, ...]], ...]
    kept: frozenset[int]
    readable: frozenset[int]


def join(p: Prepared, training: bool) -> Joint:
    f, b = p.formula, p.formula.builder
    states = tuple(f.states.values())
    operands = {gate: b.nodes[product].args[0] for gate, product in f.products.items()}
    found: dict[int, int] = {}
    if training:
        seeds: dict[int, int] = {}
        for k, node in enumerate(f.ends):
            d = b.input("d_new", str(k), FULL)
            seeds[node] = b.add(seeds[node], d) if node in seeds else d
        found = backward(b, seeds, f.surrogates)

    def instead(graph: Graph, kind: str, name: str) -> int | None:
        """The gradient of a new state or of y: what is there of its parts, in a fixed order."""
        if kind != "d_new":
            return None
        value, k = graph.number(0), int(name)
        if k < len(states):
            after = graph.input("d_after", name, FULL)
            if states[k] in operands.values():
                value = graph.add_node("add_if", (graph.input("carry", name, FULL), after))
            else:
                value = after if states[k] in found else graph.add_node("add_if", (value, after))
        if k == (0 if f.output is None else len(states)):
            value = graph.add_node("add_if", (value, graph.input("dy", "", FULL)))
        return value

    def gradients(leaves: Iterable[tuple[Any, int]], all_of_them: bool = False) -> dict[Any, int]:
        return {name: found.get(leaf, b.number(0)) for name, leaf in leaves if leaf in found or all_of_them}

    vectors = [b.input("vector", str(k), VECTOR) for k in range(len(p.vectors))]
    d_x, d_h = gradients(f.x_gates.items(), training), gradients(f.products.items(), training)
    groups = (d_x, d_h, gradients(enumerate(states)), gradients(enumerate(vectors)), gradients(f.inputs.items()))
    ends = [d for group in groups for d in group.values()]
    begins = [*states, *f.x_gates.values(), *f.inputs.values(), *f.draws.values()]
    graph, place = lower(b, [*f.ends, *begins, *ends], instead)
    moved, alive = f.moved(graph, place), set(needed(graph, map(place.__getitem__, ends)))
    number = {leaf: i for i, leaf in enumerate(states)}
    sums = {b.nodes[n].what: m for n, m in place.items() if b.nodes[n].op == "transposed" and m in alive}
    sums |= {leaf: graph.input("carry", str(i), FULL) for leaf, i in number.items() if leaf in operands.values()}
    of_operand = {v: tuple(gate for gate in operands if operands[gate] == v) for v in operands.values()}
    products = [(sums[v], number.get(v, -1), gates) for v, gates in of_operand.items() if v in sums]
    in_order = tuple(sorted(products, key=lambda group: group[1] >= 0))  # operands in slots first
    gradients_ = ({name: place[n] for name, n in group.items()} for group in groups)
    # states and inputs that a surrogate alone reads are kept as well
    of_slopes = [n for n in needed(graph, moved.surrogates.values()) if graph.nodes[n].op == "input"]
    forward, nothing = frozenset(needed(graph, [*moved.ends, *(of_slopes if training else ())])), frozenset[int]()
    moved_operands = {gate: place[n] for gate, n in operands.items()}
    joint = Joint._make((graph, moved, moved_operands, forward, *gradients_, in_order, nothing, nothing))
    return _keep(joint, alive) if training else joint


def _keep(j: Joint, backward_nodes: set[int]) -> Joint:
    """kept and readable: the fewest values."""
    f, nodes = j.formula, j.graph.nodes
    states, new, operands = tuple(f.states.values()), f.new, {*j.operands.values()}
    readable = {i for i, leaf in enumerate(states) if leaf in operands or (i == 0 and f.output is None)}
    free = {*f.inputs.values(), *f.draws.values(), *operands}
    free |= {n for n in j.forward if not nodes[n].axes.rows}
    free |= {n for i in readable for n in (states[i], new[i]) if nodes[n].axes == FULL}
    read = {arg for n in backward_nodes - j.forward for arg in nodes[n].args if arg in j.forward} - free
    moves: dict[int, int] = {}
    for i, (leaf, n) in enumerate(zip(states, new, strict=True)):
        if i not in readable and n not in {*moves, *free} and nodes[n].axes == FULL and nodes[n].op != "input":
            moves[n] = leaf
    gone = {*f.x_gates.values(), *states} - free
    gone |= {n for n in j.forward if nodes[n].op in ("product", "total") and n not in free}
    kept = minimal(j.graph, gone, read, free, moves)
    for i, (leaf, n) in enumerate(zip(states, new, strict=True)):
        if leaf in kept or (moves.get(n) == leaf and n in kept):
            readable.add(i)
            kept -= {leaf, n} if nodes[n].axes == FULL else {leaf}
    return j._replace(kept=frozenset(kept | operands - {*states}), readable=frozenset(readable))
