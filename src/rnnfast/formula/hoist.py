"""What leaves the loop over steps: what depends on projections alone, beside vectors and numbers, is computed once for all
steps, where rows are many and blocks long.

What the steps and backward need of it is found as a minimum cut (saved.py): whatever is kept anyway costs nothing, a value for
each unit costs a slot, a number a row little, and what the steps compute again costs its price.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from rnnfast.formula.graph import FULL, ROW
from rnnfast.formula.joint import Joint
from rnnfast.formula.phases import PRICES
from rnnfast.formula.saved import ROW_COST, UNIT_COST, minimal


class Ahead(NamedTuple):
    """Nodes. stored: values of every unit that are computed ahead of the steps, rows: numbers a row. found: what the steps find
    of projections and what is computed from them."""

    stored: tuple[int, ...]
    rows: tuple[int, ...]
    found: frozenset[int]


def ahead(j: Joint, in_place: Collection[int]) -> Ahead:
    """in_place: projections that backward reads where they are; others that it reads are moved by the steps."""
    nodes, projections = j.graph.nodes, set(j.x_gates.values())
    of_x = set(projections)
    for n in sorted(j.forward - projections):
        op, args, _, _ = nodes[n]
        if op != "product" and any(arg in of_x for arg in args) and all(arg in of_x or not nodes[arg].axes.rows for arg in args):
            of_x.add(n)
    steps = j.forward - of_x
    read = {arg for n in steps for arg in nodes[n].args} | {*j.new, *j.operands.values()} | (j.kept & projections)
    read |= set() if j.output is None else {j.output}
    there = {n for n in j.kept & of_x if n not in projections or n in in_place}
    free = there | {n for n in of_x if not nodes[n].axes.rows}

    def again(n: int) -> int:
        if nodes[n].axes == ROW and nodes[n].op != "total":
            return 2 * ROW_COST
        return PRICES.get(nodes[n].op, UNIT_COST // 8)

    found = there | minimal(j.graph, projections, read & of_x, free | (j.forward - of_x), {}, again=again)
    made = sorted(found - projections)
    return Ahead(
        stored=tuple(n for n in made if nodes[n].axes == FULL),
        rows=tuple(n for n in made if nodes[n].axes == ROW),
        found=frozenset(found),
    )
