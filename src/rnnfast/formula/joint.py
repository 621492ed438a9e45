"""Forward and backward of a prepared formula in one graph of the interpreter's operations, and what a step keeps."""

from __future__ import annotations

from typing import NamedTuple

from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import FULL, VECTOR, Graph
from rnnfast.formula.lowering import lower
from rnnfast.formula.prepare import Prepared
from rnnfast.formula.saved import minimal


class Joint(NamedTuple):
    """Nodes of `graph`. Leaves of backward are input("carry", i): what the products of the next step give to the gradient of
    state i, input("d_after", i): the rest of it, and input("dy", ""). Gradients: of gates' projections and products, by gate;
    of states before the step without products; of inputs. groups: gates whose products have one operand that gets a gradient
    from them: the node of this gradient, the number of the operand's state or -1, the gates. kept, values: forward values that
    backward finds; readable: states whose values it finds."""

    graph: Graph
    x_gates: dict[str, int]
    operands: dict[str, int]
    products: dict[str, int]
    states: tuple[int, ...]
    new: tuple[int, ...]
    output: int | None
    inputs: dict[str, int]
    draws: dict[str, int]
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
    b = p.graph
    found: dict[int, int] = {}
    if training:
        seeds: dict[int, int] = {}
        results = [(n, b.input("d_new", str(i), FULL)) for i, n in enumerate(p.new)]
        if p.output is not None:
            results.append((p.output, b.input("d_new", "y", FULL)))
        for node, d in results:
            seeds[node] = b.add(seeds[node], d) if node in seeds else d
        found = backward(b, seeds, p.surrogates)
    states = tuple(p.states.values())
    operands = {gate: b.nodes[product].args[0] for gate, product in p.products.items()}
    through_products = {i for i, leaf in enumerate(states) if leaf in operands.values()}

    def instead(graph: Graph, kind: str, name: str) -> int | None:
        """The gradient of a new state or of y: what is there of its parts, in a fixed order."""
        if kind != "d_new":
            return None
        value = graph.number(0)
        if name != "y":
            i = int(name)
            after = graph.input("d_after", name, FULL)
            if i in through_products:
                value = graph.add_node("add_if", (graph.input("carry", name, FULL), after))
            else:
                value = after if states[i] in found else graph.add_node("add_if", (value, after))
        if name == "y" or (name == "0" and p.output is None):
            value = graph.add_node("add_if", (value, graph.input("dy", "", FULL)))
        return value

    def gradients(leaves: dict[str, int]) -> dict[str, int]:
        return {name: found.get(node, b.number(0)) for name, node in leaves.items()}

    vectors = {k: b.input("vector", str(k), VECTOR) for k in range(len(p.vectors))}
    d_x, d_h = (gradients(dict(leaves)) if training else {} for leaves in (p.x_gates, p.products))
    d_states = {i: found[leaf] for i, leaf in enumerate(states) if leaf in found}
    d_vectors = {k: found[leaf] for k, leaf in vectors.items() if leaf in found}
    d_inputs = {name: found[leaf] for name, leaf in p.inputs.items() if leaf in found}
    forward_ends = [*p.new, *([] if p.output is None else [p.output]), *states, *p.x_gates.values(), *p.inputs.values()]
    ends = [d for group in (d_x, d_h, d_states, d_vectors, d_inputs) for d in group.values()]
    graph, place = lower(b, [*forward_ends, *p.draws.values(), *ends], instead)
    alive = set(needed(graph, {place[d] for d in ends}))
    groups = []
    transposed = {b.nodes[n].what: found for n, found in place.items() if b.nodes[n].op == "transposed" and found in alive}
    for operand in dict.fromkeys(operands.values()):
        state = states.index(operand) if operand in states else -1
        sum_ = graph.input("carry", str(state), FULL) if state >= 0 else transposed.get(operand)
        if sum_ is not None:
            groups.append((sum_, state, tuple(gate for gate in operands if operands[gate] == operand)))
    groups.sort(key=lambda group: group[1] >= 0)  # operands in slots first
    new = tuple(place[n] for n in p.new)
    joint = Joint(
        graph=graph,
        x_gates={gate: place[n] for gate, n in p.x_gates.items()},
        operands={gate: graph.nodes[place[n]].args[0] for gate, n in p.products.items()},
        products={gate: place[n] for gate, n in p.products.items()},
        states=tuple(place[n] for n in states),
        new=new,
        output=None if p.output is None else place[p.output],
        inputs={name: place[n] for name, n in p.inputs.items()},
        draws={name: place[n] for name, n in p.draws.items()},
        forward=frozenset(needed(graph, [*new, *([] if p.output is None else [place[p.output]])])),
        d_x={gate: place[n] for gate, n in d_x.items()},
        d_h={gate: place[n] for gate, n in d_h.items()},
        d_states={i: place[n] for i, n in d_states.items()},
        d_vectors={k: place[n] for k, n in d_vectors.items()},
        d_inputs={name: place[n] for name, n in d_inputs.items()},
        groups=tuple(groups),
        kept=frozenset(),
        readable=frozenset(),
    )
    return _keep(joint, alive) if training else joint


def _keep(j: Joint, backward_nodes: set[int]) -> Joint:
    """kept and readable: the fewest values."""
    nodes = j.graph.nodes
    y = {0} if j.output is None else set()
    readable = y | {i for i, leaf in enumerate(j.states) if leaf in j.operands.values()}
    free = {*j.inputs.values(), *j.draws.values(), *j.operands.values()}
    free |= {n for n in j.forward if not nodes[n].axes.rows}
    free |= {n for i in readable for n in (j.states[i], j.new[i]) if nodes[n].axes == FULL}
    own = backward_nodes - j.forward
    read = {arg for n in own for arg in nodes[n].args if arg in j.forward} - free
    moves: dict[int, int] = {}
    for i, (leaf, new) in enumerate(zip(j.states, j.new, strict=True)):
        if i not in readable and new not in {*moves, *free} and nodes[new].axes == FULL and nodes[new].op != "input":
            moves[new] = leaf
    gone = {*j.x_gates.values(), *j.states} - free
    gone |= {n for n in j.forward if nodes[n].op in ("product", "total") and n not in free}
    kept = minimal(j.graph, gone, read, free, moves)
    for i, (leaf, new) in enumerate(zip(j.states, j.new, strict=True)):
        if leaf in kept or (moves.get(new) == leaf and new in kept):
            readable.add(i)
            kept -= {leaf, new} if nodes[new].axes == FULL else {leaf}
    slots = {n for n in j.operands.values() if n not in j.states}
    return j._replace(kept=frozenset(kept | slots), readable=frozenset(readable))
