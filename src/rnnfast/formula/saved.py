"""The fewest values to keep, so that everything that is read later can be computed again: for backward, or for a later phase.

An exact minimum cut. Sources are what is gone later, such as products and projections; sinks what is read. Cutting a value
means to keep it: it costs 1 for each row and unit, nothing if it is there anyway (states that are y, inputs), little if it is
one number a row. Of equal cuts the one next to what is read is taken: it computes the least again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rnnfast.formula.graph import Graph

NEVER, ROW_COST, UNIT_COST = 1 << 40, 1, 1 << 12  # whole numbers: a number a row weighs little against one a unit


def minimal(
    graph: Graph,
    gone: Collection[int],
    read: Collection[int],
    free: Collection[int],
    states: Mapping[int, int],
    fixed: Collection[int] = (),
    again: Mapping[int, int] | None = None,
) -> set[int]:
    """The nodes to keep.

    gone: nodes that cannot be computed again. read: later. free: there anyway. states: new value -> previous value, of states
    that are not free: the kept new values of a step are the previous ones of the next, so both are one. fixed: nodes that
    cannot be kept. again: what it costs to compute a node once more, if anything.
    """
    previous = set(states.values())
    flow: dict[int, dict[int, int]] = {}  # capacities left; 2 * node and 2 * node + 1 are the value made and the value used

    def edge(a: int, b: int, capacity: int) -> None:
        flow.setdefault(a, {})[b] = capacity
        flow.setdefault(b, {}).setdefault(a, 0)

    source, sink = -1, -2
    flow[source], flow[sink] = {}, {}
    stack, seen = [states.get(node, node) for node in read if node not in free], set()
    for node in stack:
        edge(2 * node + 1, sink, NEVER)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        axes = graph.nodes[node].axes
        cost = NEVER if node in fixed else UNIT_COST if axes.units and axes.rows else ROW_COST if axes.rows else 0
        edge(2 * node, 2 * node + 1, cost)
        if node in gone or node in previous:
            edge(source, 2 * node, NEVER)
            continue
        if again and node in again:
            edge(source, 2 * node, again[node])
        for arg in graph.nodes[node].args:
            if arg not in free:
                vertex = states.get(arg, arg)
                edge(2 * vertex + 1, 2 * node, NEVER)
                stack.append(vertex)
    while path := _path(flow, source, sink):
        least = min(flow[a][b] for a, b in path)
        for a, b in path:
            flow[a][b] -= least
            flow[b][a] += least
    # next to the sink: what is made cannot reach it any more, what is used can
    reach, stack = {sink}, [sink]
    while stack:
        b = stack.pop()
        more = [a for a in flow[b] if flow[a][b] and a not in reach]
        reach.update(more)
        stack += more
    new = {old: n for n, old in states.items()}
    return {new.get(v, v) for v in seen if 2 * v + 1 in reach and 2 * v not in reach and graph.nodes[v].axes.rows}


def _path(flow: dict[int, dict[int, int]], source: int, sink: int) -> list[tuple[int, int]]:
    """A shortest path with capacity left, from its end on; empty if there is none."""
    came, found = {source: source}, [source]
    for a in found:
        for b, left in flow[a].items():
            if left and b not in came:
                came[b] = a
                found.append(b)
        if sink in came:
            break
    path, b = [], sink
    while b in came and b != source:
        path.append((came[b], b))
        b = came[b]
    return path
