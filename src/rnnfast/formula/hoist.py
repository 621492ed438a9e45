"""What may leave the loop over steps: what depends on projections alone, beside vectors and numbers, can be computed for many
steps at once, where blocks are long although a step has few rows.

What the steps find of it, in slots, is a minimum cut (saved.py): a value costs a slot, and what the steps compute again costs
its price. Numbers a row have no slots, so steps compute them themselves.
"""

from __future__ import annotations

from rnnfast.formula.graph import FULL
from rnnfast.formula.joint import Joint
from rnnfast.formula.phases import PRICES
from rnnfast.formula.saved import UNIT_COST, minimal


def found_by_steps(j: Joint) -> set[int]:
    """Projections, and values of every unit that are computed from them ahead of the steps."""
    nodes, projections = j.graph.nodes, set(j.formula.x_gates.values())
    of_x = set(projections)
    for n in sorted(j.forward - projections):
        args = [arg for arg in nodes[n].args if nodes[arg].axes.rows]
        if nodes[n].op != "product" and args and of_x.issuperset(args):
            of_x.add(n)
    steps = j.forward - of_x
    read = {*j.formula.ends, *j.operands.values(), *(arg for n in steps for arg in nodes[n].args)}
    constant = {n for n in j.forward if not nodes[n].axes.rows}
    rows = {n for n in of_x if nodes[n].axes != FULL}
    prices = {n: PRICES.get(nodes[n].op, UNIT_COST // 8) for n in of_x}
    return minimal(j.graph, projections, read & of_x, constant, {}, rows, prices)
