"""Cells that are formulas, as the layers see them: what `Cell` and `Variant` are for those with compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine.dropout import draw_kept
from rnnfast._kernels import _weights
from rnnfast._kernels._code import Code
from rnnfast._types import Array, FloatDType
from rnnfast.cells.base import Extras, Packed
from rnnfast.formula import stored
from rnnfast.formula.cell import Declaration
from rnnfast.formula.plan import Plan, plan
from rnnfast.formula.traced import Traced
from rnnfast.formula.tracing import trace


class UsedDraw(NamedTuple):
    """Random numbers of a formula with its options chosen; p: the probability, 1 of "normal"."""

    kind: str
    every: str
    p: float

    def shape(self, directions: int, T: int, B: int, hidden_size: int) -> tuple[int, ...]:
        return (directions, T, B, hidden_size) if self.every == "step" else (directions, B, hidden_size)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: FloatDType) -> Array:
        """Of this shape."""
        if self.kind == "normal":
            return rng.standard_normal(shape, dtype)
        kept = draw_kept(rng, shape, self.p if self.kind == "dropout" else 1 - self.p).astype(dtype)
        return kept * dtype.type(0 if self.p == 1 else 1 / (1 - self.p)) if self.kind == "dropout" else kept


class FormulaCell:
    """A cell whose formula is at hand: what it computes with which options is found out when it is asked for."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration, self.name, self.shown = declaration, declaration.name, declaration.name
        self.options = self.defaults = declaration.options
        self.vectors, self.init = declaration.vectors, declaration.init
        self._variants: dict[str, FormulaVariant] = {}

    def choose(self, options: Mapping[str, Any]) -> FormulaVariant:
        """With these options, complete or not."""
        chosen = self.declaration.with_defaults(options)
        key = repr(chosen)
        if key not in self._variants:
            self._variants[key] = FormulaVariant(self, chosen, self.declaration.states_of(chosen))
        return self._variants[key]

    def trace(self, options: Mapping[str, Any], row_inputs: frozenset[str], *, training: bool) -> Traced:
        return trace(self.declaration, options, training=training, row_inputs=row_inputs)

    def used_draws(self, options: Mapping[str, Any]) -> dict[str, UsedDraw]:
        found = {}
        for name, draw in self.declaration.draws.items():
            p = 1.0 if draw.option is None else float(options[draw.option])
            found[name] = UsedDraw(draw.kind, draw.every, p)
        return found

    @property
    def home(self) -> tuple[str, str]:
        """Module and qualified name that the layer class is imported by."""
        return self.declaration.formula.__module__, self.declaration.formula.__qualname__


class FormulaVariant:
    """A cell with its options chosen. states: name -> initial value."""

    kernel = None

    def __init__(self, cell: Any, options: Mapping[str, Any], states: Mapping[str, float]) -> None:
        self.cell, self.options = cell, MappingProxyType(dict(options))
        self.states, self.initial = tuple(states), tuple(states.values())
        traced = cell.trace(self.options, frozenset(), training=True)
        self.x_gates, self.h_gates = tuple(traced.x_gates), tuple(traced.products)
        inference = cell.trace(self.options, frozenset(), training=False)
        self.vectors, self.inputs = tuple(traced.vectors), tuple(dict.fromkeys((*traced.inputs, *inference.inputs)))
        draws = cell.used_draws(self.options)
        self.draws = {name: draws[name] for name in traced.draws}
        self._plans: dict[tuple[frozenset[str], bool], Plan] = {}
        self._codes: dict[tuple[frozenset[str], bool, int], Code] = {}

    @property
    def gates(self) -> tuple[str, ...]:
        """Those used with x, then those used with U alone."""
        return tuple(dict.fromkeys((*self.x_gates, *self.h_gates)))

    def blocks(self, kind: str) -> tuple[str, ...]:
        """The gates of a parameter's blocks of rows, in their order; vectors have none."""
        return () if kind in self.vectors else self.x_gates if kind.endswith("_ih") else self.h_gates

    @cached_property
    def slots(self) -> int:
        return self.plan().spec.slots

    @cached_property
    def at_inference(self) -> FormulaVariant:
        """What a call computes, nothing random in it, also where it is recorded: for gradients outside of training."""
        same = FormulaVariant(_AtInference(self.cell), self.options, dict(zip(self.states, self.initial, strict=True)))
        same.x_gates, same.h_gates, same.vectors, same.inputs = self.x_gates, self.h_gates, self.vectors, self.inputs
        return same

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Kind -> shape of the parameters of a layer in one direction."""
        x, h = len(self.x_gates) * hidden_size, len(self.h_gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (x, input_size), "bias_ih": (x,)}
        if h:
            shapes = {"weight_ih": (x, input_size), "weight_hh": (h, hidden_size), "bias_ih": (x,), "bias_hh": (h,)}
        return {**shapes, **dict.fromkeys(self.vectors, (hidden_size,))}

    def plan(self, row_inputs: frozenset[str] = frozenset(), *, training: bool = True) -> Plan:
        """What the kernels do. row_inputs: the inputs that are (T, B) in a call."""
        key = (row_inputs, training)
        if key not in self._plans:
            try:
                self._plans[key] = plan(self.cell.trace(self.options, row_inputs, training=training), training)
            except RecursionError:
                raise ValueError("formula: expected fewer operations on one value after the other, got too many") from None
        return self._plans[key]

    def code(self, row_inputs: frozenset[str], hidden_size: int, *, training: bool) -> Code:
        """The same for the loops, of a layer of so many units."""
        key = (row_inputs, training, hidden_size)
        if key not in self._codes:
            self._codes[key] = Code(self.plan(row_inputs, training=training).spec, hidden_size)
        return self._codes[key]

    def extras(self, row_inputs: frozenset[str], *, trainable: bool) -> Extras:
        """Names of what the kernels read at each step beside x."""
        found = self.plan(row_inputs, training=trainable)
        return Extras(tuple([name for _, name in found.extras]), found.row_inputs)

    def pack(
        self,
        params: Sequence[Any],
        isa: int,
        threads: int,
        row_inputs: frozenset[str],
        *,
        trainable: bool,
        blocks: tuple[int, ...] | None = None,
    ) -> Packed:
        """Parameters of a layer in one direction, in the order of `shapes`, biases perhaps missing, for one ISA. blocks: of
        each gate, which block of rows it has; only where x and U have the same gates."""
        weights, own = list(params[: len(params) - len(self.vectors)]), params[len(params) - len(self.vectors) :]
        w_ih, w_hh = weights[0], weights[1] if self.h_gates else None
        b_ih, b_hh = (*weights[1 + bool(self.h_gates) :], None, None)[:2]
        hidden = w_ih.shape[0] // len(self.x_gates)
        code = self.code(row_inputs, hidden, training=trainable)
        vectors = {name: value.copy() for name, value in zip(self.vectors, own, strict=True)}
        found = self.plan(row_inputs, training=trainable).compute_vectors(vectors, hidden, w_ih.dtype)
        return Packed(_weights.pack(code, isa, trainable, threads, w_ih, w_hh, b_ih, b_hh, blocks, found), vectors, row_inputs)

    def described(self) -> dict[str, Any]:
        """All that another process needs to compute the same, as JSON has it."""
        if isinstance(self.cell, StoredCell):
            return self.cell.description.as_json()
        rows = [frozenset(names) for n in range(len(self.inputs) + 1) for names in combinations(self.inputs, n)]
        traces = {
            (training, row_inputs): self.cell.trace(self.options, row_inputs, training=training)
            for training in (False, True)
            for row_inputs in rows
        }
        states, draws = dict(zip(self.states, self.initial, strict=True)), {k: tuple(d) for k, d in self.draws.items()}
        options = dict(self.options)
        return stored.Description(self.cell.name, self.cell.home, options, states, self.vectors, draws, traces).as_json()

    def vector_gradients(self, packed: Packed, d_vectors: Array) -> dict[str, Array]:
        """Gradients of the vectors by kind, from those of what the kernels read instead."""
        return self.plan(packed.row_inputs).vector_gradients(packed.vectors, d_vectors)


class _AtInference:
    """A cell whose formula is always the one of inference."""

    def __init__(self, cell: FormulaCell | StoredCell) -> None:
        self._cell, self.name, self.vectors = cell, cell.name, cell.vectors

    def trace(self, options: Mapping[str, Any], row_inputs: frozenset[str], *, training: bool) -> Traced:
        return self._cell.trace(options, row_inputs, training=False)

    def used_draws(self, options: Mapping[str, Any]) -> dict[str, UsedDraw]:
        return {}


class StoredCell:
    """A cell of which only the traces with one combination of options are there, as a file or a pickle has them."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        """description: what `described` gives; anything else is a ValueError."""
        self.description = stored.Description.checked(description)
        self.name = self.shown = self.description.name
        self.options = self.defaults = self.description.options
        self.vectors: tuple[str, ...] = self.description.vectors
        self.init: Mapping[str, Any] = {}

    def choose(self, options: Mapping[str, Any]) -> FormulaVariant:
        """Only those that are there."""
        chosen = {**self.options, **options}
        if repr(chosen) != repr(dict(self.options)):
            raise ValueError(f"{self.name}: expected the options it was stored with, {dict(self.options)}, got {chosen}")
        return self._variant

    @cached_property
    def _variant(self) -> FormulaVariant:
        return FormulaVariant(self, self.options, self.description.states)

    def trace(self, options: Mapping[str, Any], row_inputs: frozenset[str], *, training: bool) -> Traced:
        return self.description.trace(row_inputs, training=training)

    def used_draws(self, options: Mapping[str, Any]) -> dict[str, UsedDraw]:
        return {name: UsedDraw(*draw) for name, draw in self.description.draws.items()}

    @property
    def home(self) -> tuple[str, str]:
        """Module and qualified name of the layer class that it was."""
        return self.description.home
