"""Which phase computes what, and what one phase keeps for a later one.

A product needs all units of its operand, and a total all units of what it adds up: both are there one phase after what they
need, a product of a state before the step at once. Everything else is computed in the phase in which it is stored, from what is
in memory then; what is not is kept by an earlier phase: as few values as possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import ROW, Graph
from rnnfast.formula.saved import UNIT_COST, minimal
from rnnfast.formula.spec import At, Operand

SLOW = "exp expm1 log log1p sin cos tanh sigmoid softplus add_tanh add_sigmoid"
# of computing a value once more, where keeping it costs UNIT_COST; others are quick
PRICES = {
    **dict.fromkeys(SLOW.split(), 3 * UNIT_COST // 4),
    **dict.fromkeys(("div", "sqrt"), UNIT_COST // 4),
    **{"input": 0, "number": 0, "total": UNIT_COST},
}
# What is written, and where; None: to a slot, or whatever place is found.
Stores: TypeAlias = "list[tuple[int, Operand | None]]"


@dataclass
class Content:
    """Of one phase, as nodes. totals: that are there before it. rows: numbers a row that it computes and that others read. What
    its program of units reads: sums, results of its products; stored, values that an earlier phase of the pass has stored;
    values, others in memory; splats, numbers a row. row_values: what its program of rows reads."""

    stores: Stores = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    sums: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    values: set[int] = field(default_factory=set)
    splats: set[int] = field(default_factory=set)
    row_values: set[int] = field(default_factory=set)


def is_sum(graph: Graph, node: int) -> bool:
    return graph.nodes[node].op in ("product", "transposed") or graph.leaf(node)[0] == "carry"


def is_row(graph: Graph, node: int) -> bool:
    return graph.nodes[node].axes == ROW


def levels(graph: Graph, ends: Iterable[int], there: Callable[[int, int], bool]) -> dict[int, int]:
    """The first phase in which each node can be computed."""
    level: dict[int, int] = {}

    def of(node: int) -> int:
        return level.get(node, 0)

    ends = list(ends)
    given = {n for n in needed(graph, ends) if there(n, 0)}
    for n in needed(graph, ends, given):
        op, args = graph.nodes[n].op, graph.nodes[n].args
        if op == "product":
            level[n] = 0 if graph.leaf(args[0])[0] == "state" else of(args[0]) + 1
        else:
            level[n] = max(map(of, args), default=0) + (op in ("transposed", "total"))
    return level


def schedule(
    graph: Graph,
    level: Mapping[int, int],
    stores: Stores,
    rows: Iterable[int],
    there: Callable[[int, int], bool],
) -> list[Content]:
    """The phases of a pass. level: of levels(). stores: what must be written, and where. rows: numbers a row that must be there
    in the end. there(node, phase): whether it is in memory then, without being stored by this pass."""
    phases = [Content() for _ in range(1 + max(level.values(), default=0))]
    stored: dict[int, int] = {}  # node -> the phase after which it is in memory
    wanted: set[int] = set()

    def store(node: int, where: Operand | None) -> None:
        at = level.get(node, 0)
        phases[at].stores.append((node, where))
        if where is None or where.space not in (At.Y, At.D_EXTRA, At.D_VECTOR, At.PARTIAL):
            stored[node] = at

    def want(row: int) -> None:
        """This number a row is read by another program, or by rows of a later phase."""
        if row in wanted or there(row, 0):
            return
        wanted.add(row)
        at, (op, args, _, _) = level[row], graph.nodes[row]
        if op == "total":
            phases[at].totals.append(row)
            phases[at - 1].stores.append((args[0], Operand(At.PARTIAL, -1)))
            return
        phases[at].rows.append(row)
        stack = list(args)
        while stack:
            node = stack.pop()
            if not is_row(graph, node):
                continue  # a number
            if there(node, 0) or level[node] < at or graph.nodes[node].op == "total":
                phases[at].row_values.add(node)
                want(node)
            else:
                stack.extend(graph.nodes[node].args)

    for node, where in stores:
        store(node, where)
    for row in rows:
        want(row)
    for p in range(len(phases) - 1, -1, -1):
        phase, ends = phases[p], {node for node, _ in phases[p].stores}
        nodes = needed(graph, ends)
        rows_, sums = {n for n in nodes if is_row(graph, n)}, {n for n in nodes if is_sum(graph, n)}
        before = {n for n in nodes if there(n, p) or stored.get(n, p) < p}
        if p:
            free = {n for n in nodes if not graph.nodes[n].axes.rows} | rows_ | before
            gone = {n for n in nodes if level.get(n, 0) < p and (n in sums or graph.nodes[n].op == "input")}
            fixed = {n for n in nodes if level.get(n, 0) >= p}
            again = {n: PRICES.get(graph.nodes[n].op, UNIT_COST // 8) for n in nodes if n not in fixed}
            for node in sorted(minimal(graph, gone, ends, free, {}, fixed, again)):
                store(node, None)
        before |= {n for n in nodes if stored.get(n, p) < p}
        known = rows_ | before | sums
        read = known & {*ends, *(arg for n in needed(graph, ends, known) for arg in graph.nodes[n].args)}
        phase.splats = read & rows_
        phase.values = {n for n in read - rows_ if there(n, p)}
        phase.stored = {n for n in read - rows_ - phase.values if stored.get(n, p) < p}
        phase.sums = read - rows_ - phase.values - phase.stored
        for n in sorted(phase.splats):
            want(n)
    return phases
