"""Reverse mode: from gradients of a formula's results to those of all that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from rnnfast.formula.build import Builder
from rnnfast.formula.graph import FULL, NUMBER
from rnnfast.formula.operations import OPERATIONS


def backward(b: Builder, gradients: Mapping[int, int], surrogates: Mapping[int, int]) -> dict[int, int]:
    """Gradients of leaves (inputs and products), node -> node, added to the graph. gradients: of results. surrogates: of each
    step, the node of its derivative. What varies with units alone gets a gradient for each row, to be summed by those who know
    where.

    The gradient of a product's operand gets the part "transposed" of the gradients of all its products, in one node; but where
    the operand is a state before the step, this part belongs to the step before.
    """
    total: dict[int, int] = {}
    wide: dict[int, int] = {}  # of values that are one number a row: what must still be summed over units
    products: dict[int, list[int]] = {}  # operand -> its products
    count = len(b.nodes)
    for node in range(count):
        if b.nodes[node].op == "product":
            products.setdefault(b.nodes[node].args[0], []).append(node)

    def join(sums: dict[int, int], node: int, part: int) -> None:
        sums[node] = b.add(part, sums[node]) if node in sums else part

    def give(node: int, part: int, units: bool) -> None:
        """units: whether what the node was used for varies with units."""
        if units and not b.nodes[node].axes.units:
            if b.nodes[part].axes.units:
                return join(wide, node, part)
            part = b.div(part, b.input("size", "1/H", NUMBER))
        join(total, node, part)

    for result, dy in gradients.items():
        give(result, dy, True)
    for y in range(count - 1, -1, -1):
        if y in wide:
            join(total, y, b.total(wide.pop(y)))
        if y in products and b.leaf(y)[0] != "state" and any(p in total for p in products[y]):
            parts = tuple(total[p] if p in total else b.number(0) for p in products[y])
            join(total, y, b.add_node("transposed", parts, y, FULL))
        this = b.nodes[y]
        if y not in total or this.op in ("input", "number", "product"):
            continue
        dy = total[y]
        if this.op == "step":
            found: tuple[int | None, ...] = (b.mul(dy, surrogates[y]),)
        else:
            found = OPERATIONS[this.op].derive(b, dy, y, *this.args)
        for arg, part in zip(this.args, found, strict=True):
            if part is not None and not _constant(b, arg):
                give(arg, part, this.axes.units)
    return {node: d for node, d in total.items() if b.nodes[node].op in ("input", "product")}


def _constant(b: Builder, node: int) -> bool:
    return b.nodes[node].op == "number" or b.leaf(node)[0] in ("size", "draw")
