"""Are the kernels right? Random cases, every cell x dtype x ISA, forward and gradients against `rnnfast.reference`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import rnnfast
from rnnfast import reference, runtime
from rnnfast._types import Array
from rnnfast.cells import CELLS, Cell
from rnnfast.proof import formula

# What errors of this size prove: rounding, nothing else. Typical are 1e-6 and 3e-15; a wrong term gives 1e-2 and more.
BOUNDS = {"float32": 2e-5, "float64": 1e-12}


def error(a: Any, b: Any) -> float:
    """Largest difference of two arrays relative to the second's largest value: max|a-b| / max(max|b|, 1e-3)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-3))


@dataclass
class Case:
    """Arguments of one call of a function, in float64: cast by whoever runs it."""

    cell: Cell
    options: dict[str, Any]
    x: Array
    weights: dict[str, Array | None]
    initial: dict[str, Array | None]
    lengths: Array | None
    reverse: bool
    dy: Array
    dstate: tuple[Array, ...]

    def call(self, module: Any, dtype: Any) -> dict[str, Array | None]:
        """Forward and backward through rnnfast or rnnfast.reference: every result by name."""

        def cast(a: Array | None) -> Array | None:
            return None if a is None else a.astype(dtype)

        arguments = {name: cast(a) for name, a in {**self.weights, **self.initial}.items()}
        y, state, tape = getattr(module, self.cell.name)(
            cast(self.x), **arguments, **self.options, lengths=self.lengths, reverse=self.reverse, record=True
        )
        dstate = tuple(cast(a) for a in self.dstate)
        g = tape.backward(cast(self.dy), dstate if len(dstate) > 1 else dstate[0])
        states = state if isinstance(state, tuple) else (state,)
        results = {"y": y, **{f"{letter}_n": a for letter, a in zip(self.cell.states, states, strict=True)}}
        names = ("x", *self.weights, *(f"{letter}0" for letter in self.cell.states))
        return {**results, **{f"d{name}": getattr(g, name) for name in names}}


def make_case(
    cell: Cell,
    options: dict[str, Any],
    T: int,
    B: int,
    I: int,
    H: int,
    *,
    seed: int,
    bias: bool = True,
    initial: bool = True,
    ragged: bool = False,
    reverse: bool = False,
) -> Case:
    """Random arguments. With relu they keep away from its kink (rows of weights of one sign, everything else positive):
    there rounding alone would flip a gradient."""
    rng = np.random.default_rng(seed)
    rows, bound = len(cell.gates) * H, 1 / np.sqrt(H)

    def draw(*shape: int) -> Array:
        return rng.uniform(-bound, bound, shape)

    weights: dict[str, Array | None] = {"w_ih": draw(rows, I), "w_hh": draw(rows, H), "b_ih": None, "b_hh": None}
    if bias:
        weights.update(b_ih=draw(rows), b_hh=draw(rows))
    x, states = rng.standard_normal((T, B, I)), [rng.standard_normal((B, H)) for _ in cell.states]
    if options.get("nonlinearity") == "relu":
        sign = np.where(np.arange(rows) % 3, 1.0, -1.0)
        weights = {k: None if w is None else (np.abs(w).T * sign).T + 0.0 for k, w in weights.items()}
        x, states = np.abs(x) + 0.1, [np.abs(a) for a in states]
    return Case(
        cell,
        options,
        x,
        weights,
        {f"{letter}0": a if initial else None for letter, a in zip(cell.states, states, strict=True)},
        rng.integers(0, T + 1, B) if ragged else None,
        reverse,
        rng.standard_normal((T, B, H)),
        tuple(rng.standard_normal((B, H)) for _ in cell.states),
    )


def compare(case: Case, dtype: Any) -> dict[str, float]:
    """Error of every result in this dtype, with the ISA of this thread, against the reference in float64."""
    got = case.call(rnnfast, dtype)
    # the reference sees what the kernels see: values rounded to dtype
    rounded = Case(**{**vars(case), **{k: _round(v, dtype) for k, v in vars(case).items()}})
    expected = rounded.call(reference, np.float64)
    return {
        name: 0.0 if expected[name] is None and got[name] is None else error(got[name], expected[name]) for name in expected
    }


def _round(value: Any, dtype: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype).astype(np.float64)
    if isinstance(value, tuple):
        return tuple(_round(a, dtype) for a in value)
    if isinstance(value, dict):
        return {k: _round(a, dtype) for k, a in value.items()}
    return value


# T, B, I, H: below, at and above vector widths and row blocks; then the other properties
SIZES = ((1, 1, 1, 1), (7, 5, 3, 17), (4, 13, 33, 32), (5, 2, 64, 67), (3, 30, 8, 9))
KINDS: tuple[dict[str, bool], ...] = (
    {},
    {"reverse": True},
    {"ragged": True},
    {"ragged": True, "reverse": True, "bias": False},
    {"initial": False, "bias": False},
)


@dataclass
class Proof:
    """Largest errors of one cell, dtype and ISA: of y and final states, and of all gradients."""

    cell: str
    options: dict[str, Any]
    dtype: str
    isa: str
    forward: float = 0.0
    gradients: float = 0.0
    cases: int = 0
    worst: str = field(default="", repr=False)

    def note(self, name: str, error: float, where: str) -> None:
        """The error of one result; the names of gradients begin with d."""
        part = "gradients" if name.startswith("d") else "forward"
        if not error <= getattr(self, part):
            setattr(self, part, error)
            self.worst = f"{name} at {where}"

    @property
    def bound(self) -> float:
        return BOUNDS[self.dtype]

    @property
    def right(self) -> bool:
        return max(self.forward, self.gradients) <= self.bound


def variants() -> Iterator[tuple[Cell, dict[str, Any], str, str]]:
    """Every cell x option x dtype x ISA that this machine has."""
    for cell in CELLS.values():
        for variant in cell.variants:
            for dtype in BOUNDS:
                for isa in runtime.PRESENT:
                    yield cell, dict(variant.options), dtype, isa


def prove(tick: Callable[[], None] = lambda: None) -> list[Proof]:
    """Checks every variant; tick is called after each."""
    proofs = []
    for cell, options, dtype, isa in variants():
        proof = Proof(cell.name, options, dtype, isa)
        for i, (T, B, I, H) in enumerate(SIZES):
            for j, kind in enumerate(KINDS):
                case = make_case(cell, options, T, B, I, H, seed=100 * i + j, **kind)
                with runtime.use_isa(isa):
                    errors = compare(case, np.dtype(dtype))
                for name, value in errors.items():
                    proof.note(name, value, f"T={T} B={B} I={I} H={H} {kind}")
                proof.cases += 1
        proofs.append(proof)
        tick()
    proofs += prove_formula()
    tick()
    return proofs


def prove_formula() -> list[Proof]:
    """The cell of proof/formula.py, with every dtype and ISA."""
    found = {(isa, dtype): Proof("formula", {}, dtype, isa) for isa in runtime.PRESENT for dtype in BOUNDS}
    for isa, dtype, got, expected in formula.proofs_of_kernels(tuple(runtime.PRESENT), tuple(BOUNDS)):
        proof = found[isa, dtype]
        for name, right in expected.items():
            proof.note(name, error(got[name], right), f"x {got['dx'].shape}")
        proof.cases += 1
    return list(found.values())
