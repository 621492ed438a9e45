"""Makes nodes, and leaves out what need not be computed: numbers are folded, x*1 and x+0 are x, and a product that is added to
something is one multiply-add.

The rule of multiply-adds, which the compiled cells follow too: u + v is fma(f, c, v) if u is a product f*c, else fma(f, c, u)
if v is one; u - v is fma(f, c, -v) if u is a product, else fma(-f, c, u) if v is one. Products that are used elsewhere as well
are computed there once more.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from rnnfast.formula.graph import NUMBER, ROW, Axes, Graph
from rnnfast.formula.operations import OPERATIONS


class Builder(Graph):
    """A graph, with one method an operation that takes nodes and returns one."""

    def __getattr__(self, op: str) -> Any:
        """The operations without a method of their own."""
        if op not in OPERATIONS:
            raise AttributeError(op)
        return lambda *args: self.apply(op, *args)

    def apply(self, op: str, *args: int) -> int:
        """One operation as it stands, but for operations on numbers, which are computed here."""
        numbers = [self.number_of(arg) for arg in args]
        if None not in numbers and op not in ("total", "stop_gradient"):
            return self.number(float(OPERATIONS[op].compute(*numbers)))
        return self.add_node(op, args)

    def add(self, u: int, v: int) -> int:
        if self.is_number(u, 0):
            return v
        if self.is_number(v, 0):
            return u
        for product, other in ((u, v), (v, u)):
            if self.nodes[product].op == "mul":
                f, c = self.nodes[product].args
                return self.fma(f, c, other)
        for negative, other in ((v, u), (u, v)):
            if self.nodes[negative].op == "neg":
                return self.sub(other, self.nodes[negative].args[0])
        return self.apply("add", u, v)

    def sub(self, u: int, v: int) -> int:
        if self.is_number(v, 0):
            return u
        if self.is_number(u, 0):
            return self.neg(v)
        if self.nodes[u].op == "mul":
            f, c = self.nodes[u].args
            return self.fma(f, c, self.neg(v))
        if self.nodes[v].op == "mul":
            f, c = self.nodes[v].args
            return self.fma(self.neg(f), c, u)
        if self.nodes[v].op == "neg":
            return self.add(u, self.nodes[v].args[0])
        return self.apply("sub", u, v)

    def mul(self, u: int, v: int) -> int:
        for one, other in ((u, v), (v, u)):
            if self.is_number(one, 1):
                return other
            if self.is_number(one, -1):
                return self.neg(other)
        return self.apply("mul", u, v)

    def div(self, u: int, v: int) -> int:
        """By a number a row: a product with its reciprocal, which is computed once a row."""
        if self.nodes[v].axes == ROW and self.nodes[u].axes.units:
            return self.mul(u, self.div(self.number(1), v))
        return u if self.is_number(v, 1) else self.apply("div", u, v)

    def neg(self, u: int) -> int:
        found = self.nodes[u]
        if found.op == "mul":  # so that a product that is subtracted is one multiply-add
            return self.mul(self.neg(found.args[0]), found.args[1])
        return found.args[0] if found.op == "neg" else self.apply("neg", u)

    def fma(self, f: int, c: int, v: int) -> int:
        for one, other in ((f, c), (c, f)):
            if self.is_number(one, 1):
                return self.add(other, v)
        return self.mul(f, c) if self.is_number(v, 0) else self.apply("fma", f, c, v)

    def total(self, u: int) -> int:
        """Over the units of a row. A factor that is the same for all units is applied to the total."""
        op, args, _, axes = self.nodes[u]
        assert axes.units
        if op == "neg":
            return self.neg(self.total(args[0]))
        if op == "mul":
            for factor, other in (args, args[::-1]):
                if not self.nodes[factor].axes.units:
                    return self.mul(factor, self.total(other))
        return self.add_node("total", (u,), axes=Axes(axes.rows, False))

    def mean(self, u: int) -> int:
        """The same divided by H, a number that is not known before a layer is made."""
        return self.mul(self.input("size", "1/H", NUMBER), self.total(u)) if self.nodes[u].axes.units else u

    def power(self, u: int, exponent: float) -> int:
        """Of whole numbers up to 8, and halves of 1 and -1, by products and roots; of others through exp and log."""
        if exponent < 0:
            return self.div(self.number(1), self.power(u, -exponent))
        if exponent == 0.5:
            return self.apply("sqrt", u)
        if exponent == int(exponent) and exponent <= 8:
            return reduce(self.mul, [u] * int(exponent)) if exponent else self.number(1)
        return self.apply("exp", self.mul(self.number(exponent), self.apply("log", u)))

    def is_number(self, node: int, value: float) -> bool:
        return self.number_of(node) == value

    def is_mask(self, node: int) -> bool:
        """Whether it is a bool on arrays: a comparison, or made of comparisons by & | ~ * or stop_gradient. A step is none: its
        gradient would be lost."""
        found = self.nodes[node]
        if found.op in ("lt", "le"):
            return True
        return found.op in ("both", "either", "not_", "mul", "stop_gradient") and all(map(self.is_mask, found.args))
