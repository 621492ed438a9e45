"""From a trace to what the loops are given (spec.py), and to what Python keeps beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rnnfast.formula.build import Builder
from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import Recipe
from rnnfast.formula.graph import NUMBER, VECTOR
from rnnfast.formula.passes import Passes
from rnnfast.formula.prepare import prepare
from rnnfast.formula.spec import Operand, Spec
from rnnfast.formula.text import describe
from rnnfast.formula.traced import Traced


@dataclass(frozen=True)
class Plan:
    """What is done with a formula, for inference or for training. str() of it is for people to read.

    x_gates, h_gates: gates of the blocks of W_ih and W_hh, in their order. states: names. extras: kind ("input" or "draw") and
    name of each EXTRA. row_inputs: names of the inputs of shape (B,). vectors: names of those used. once: the graph of what is
    computed from them once per call, whose nodes `results` are the VECTORs that follow the biases. saved: what forward keeps
    for backward, beside states.
    """

    spec: Spec
    x_gates: tuple[str, ...]
    h_gates: tuple[str, ...]
    states: tuple[str, ...]
    extras: tuple[tuple[str, str], ...]
    row_inputs: tuple[str, ...]
    vectors: tuple[str, ...]
    once: Builder
    results: tuple[int, ...]
    once_surrogates: Mapping[int, int]
    saved: tuple[Operand, ...]

    def compute_vectors(self, vectors: Mapping[str, Any], hidden: int, dtype: Any) -> np.ndarray:
        """(n, H): the VECTORs that follow the biases. vectors: of shape (H,), by name."""
        return _rows(self._recipe(self._given(vectors, hidden)), hidden, dtype)

    def vector_gradients(self, vectors: Mapping[str, Any], gradients: np.ndarray) -> dict[str, np.ndarray]:
        """Of shape (H,), by name. gradients: (n, H), of compute_vectors' result."""
        if not self.vectors:
            return {}
        wanted, recipe = self._derived
        hidden = gradients.shape[1]
        found = recipe({**self._given(vectors, hidden), **dict(zip(wanted, gradients, strict=True))})
        return dict(zip(self.vectors, _rows(found, hidden, gradients.dtype), strict=True))

    def _given(self, vectors: Mapping[str, Any], hidden: int) -> dict[int, Any]:
        *leaves, size = self._leaves
        return {**{leaf: vectors[name] for leaf, name in zip(leaves, self.vectors, strict=True)}, size: 1 / hidden}

    @cached_property
    def _leaves(self) -> list[int]:
        """The nodes of the vectors, and that of 1/H."""
        return [*(self.once.input("vector", name, VECTOR) for name in self.vectors), self.once.input("size", "1/H", NUMBER)]

    @cached_property
    def _recipe(self) -> Recipe:
        return Recipe(self.once, self.results, self._leaves)

    @cached_property
    def _derived(self) -> tuple[list[int], Recipe]:
        """The nodes of the results' gradients, and how those of vectors are computed."""
        graph = self.once.copy()
        wanted = [graph.input("d", str(k), VECTOR) for k in range(len(self.results))]
        seeds: dict[int, int] = {}
        for node, d in zip(self.results, wanted, strict=True):
            seeds[node] = d
        found = backward(graph, seeds, self.once_surrogates)
        ends = [found.get(leaf, graph.number(0)) for leaf in self._leaves[:-1]]
        return wanted, Recipe(graph, ends, [*self._leaves, *wanted])

    def __str__(self) -> str:
        return describe(self)


def _rows(values: Sequence[Any], hidden: int, dtype: Any) -> np.ndarray:
    """(n, H), a row each: of arrays (H,) or numbers."""
    rows = np.empty((len(values), hidden), dtype)
    for row, value in zip(rows, values, strict=True):
        row[...] = value
    return rows


def _both_ways(spec: Spec, hoisting: Spec) -> Spec:
    """One Spec of the same formula with and without hoisting, if there is any and the products are the same."""
    if not hoisting.ahead or hoisting.forward_products != spec.forward_products:
        return spec
    more = max(0, hoisting.slots - spec.slots)
    pairs = zip(spec.states, hoisting.states, strict=True)
    return spec._replace(
        slots=spec.slots + more,
        hh_of_slot=spec.hh_of_slot + (-1,) * more,
        states=tuple(one._replace(in_place=one.in_place and other.in_place) for one, other in pairs),
        row_values=max(spec.row_values, hoisting.row_values),
        partials=max(spec.partials, hoisting.partials),
        ahead=hoisting.ahead,
        rest=hoisting.forward,
    )


def plan(traced: Traced, training: bool) -> Plan:
    """training: forward saves what backward reads, and backward exists.

    Raises ValueError if the formula needs more than the interpreter has, such as registers.
    """
    prepared = prepare(traced)
    passes, formula = Passes(prepared, training), prepared.formula
    return Plan(
        spec=passes.spec() if training else _both_ways(passes.spec(), Passes(prepared, training, hoists=True).spec()),
        x_gates=tuple(formula.x_gates),
        h_gates=tuple(formula.products),
        states=tuple(formula.states),
        extras=passes.extras,
        row_inputs=passes.row_inputs,
        vectors=tuple(traced.vectors),
        once=prepared.once,
        results=prepared.vectors,
        once_surrogates=prepared.once_surrogates,
        saved=passes.saved(),
    )
