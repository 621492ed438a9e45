"""From a trace to what the loops are given (spec.py), and to what Python keeps beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rnnfast.formula.build import Builder
from rnnfast.formula.derive import backward
from rnnfast.formula.evaluate import evaluate
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

    def compute_vectors(self, vectors: Mapping[str, Any], hidden: int) -> np.ndarray:
        """(n, H): the VECTORs that follow the biases. vectors: of shape (H,), by name."""
        found = evaluate(self.once, self.results, self._given(vectors, hidden))
        return self._stacked([found[node] for node in self.results], hidden)

    def vector_gradients(self, vectors: Mapping[str, Any], gradients: np.ndarray, hidden: int) -> dict[str, np.ndarray]:
        """Of shape (H,), by name. gradients: (n, H), of compute_vectors' result."""
        graph, wanted, ends = self._derived
        given = {node: gradients[k] for k, node in enumerate(wanted)}
        found = evaluate(graph, ends.values(), {**self._given(vectors, hidden), **given})
        zero = np.zeros_like(gradients, shape=(hidden,))
        return {name: zero + found[ends[name]] if name in ends else zero.copy() for name in self.vectors}

    def _given(self, vectors: Mapping[str, Any], hidden: int) -> dict[int, Any]:
        given: dict[int, Any] = {self.once.input("vector", name, VECTOR): vectors[name] for name in self.vectors}
        return {**given, self.once.input("size", "1/H", NUMBER): 1 / hidden}

    @staticmethod
    def _stacked(rows: Iterable[Any], hidden: int) -> np.ndarray:
        return np.array([np.broadcast_to(row, (hidden,)) for row in rows]).reshape(-1, hidden)

    @cached_property
    def _derived(self) -> tuple[Builder, list[int], dict[str, int]]:
        """The graph with derivatives, the nodes of the results' gradients, the nodes of those of vectors."""
        graph = Builder(list(self.once.nodes), dict(self.once.place))
        wanted = [graph.input("d", str(k), VECTOR) for k in range(len(self.results))]
        seeds: dict[int, int] = {}
        for node, d in zip(self.results, wanted, strict=True):
            seeds[node] = d
        found = backward(graph, seeds, self.once_surrogates)
        ends = {name: found[node] for name in self.vectors if (node := graph.input("vector", name, VECTOR)) in found}
        return graph, wanted, ends

    def __str__(self) -> str:
        return describe(self)


def plan(traced: Traced, training: bool) -> Plan:
    """training: forward saves what backward reads, and backward exists.

    Raises ValueError if the formula needs more than the interpreter has, such as registers.
    """
    prepared = prepare(traced)
    passes = Passes(prepared, training)
    return Plan(
        spec=passes.spec(),
        x_gates=tuple(prepared.x_gates),
        h_gates=tuple(prepared.products),
        states=tuple(prepared.states),
        extras=passes.extras,
        row_inputs=passes.row_inputs,
        vectors=tuple(name for name, node in traced.vectors.items() if traced.builder.nodes[node] in prepared.once.place),
        once=prepared.once,
        results=prepared.vectors,
        once_surrogates=prepared.once_surrogates,
        saved=passes.saved(),
    )
