"""What the trace of a formula hands to the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rnnfast.formula.build import Builder


class Traced(NamedTuple):
    """One formula as a graph, for one combination of options. Mappings are in declared order; numbers are nodes of `builder`.

    x_gates: gate -> its input node `builder.input("x", gate, FULL)`, of the gates used with x. products: gate -> node of the
    operand v of `U.gate @ v`, in declared order of the gates; the product itself is `add_node("product", (v,), gate, FULL)`,
    and its value includes no bias. states: name -> `input("state", name, FULL)`, the values before the step. new: the values
    after it, in the same order. output: what the formula returns before the states, or None if y is the first state. vectors:
    name -> `input("vector", name, VECTOR)`, of those used. inputs: name -> `input("input", name, FULL or ROW)`: (B, H) or (B,
    1) at each step. draws: name -> `input("draw", name, FULL)`. surrogates: step node -> node of its derivative.
    """

    builder: Builder
    x_gates: Mapping[str, int]
    products: Mapping[str, int]
    states: Mapping[str, int]
    new: tuple[int, ...]
    output: int | None
    vectors: Mapping[str, int]
    inputs: Mapping[str, int]
    draws: Mapping[str, int]
    surrogates: Mapping[int, int]
