"""A plan for people to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from rnnfast.formula.spec import At, Operand, Phase, Program

if TYPE_CHECKING:
    from rnnfast.formula.plan import Plan

WRITTEN = {
    "move": "{0}",
    "splat": "{0}",
    "total": "total({0})",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "fma": "{0} * {1} + {2}",
    "fnma": "{2} - {0} * {1}",
    "add_if": "{0} + ({1}, if any)",
    "neg": "-{0}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "both": "{0} & {1}",
    "either": "{0} | {1}",
    "not_": "~{0}",
    "add_tanh": "tanh({0} + {1})",
    "add_sigmoid": "sigmoid({0} + {1})",
    "slope_tanh": "{0} * (1 - {1} * {1})",
    "slope_sigmoid": "{0} * ({1} - {1} * {1})",
}


def _written(op: str, args: list[str]) -> str:
    return WRITTEN[op].format(*args) if op in WRITTEN else f"{op.rstrip('_')}({', '.join(args)})"


def _instructions(phases: Iterable[Phase]) -> str:
    programs = [program for phase in phases for program in (phase.row_program, phase.program) if program]
    return f"{sum(len(program.instructions) for program in programs)} instructions"


def describe(plan: Plan) -> str:
    return "\n".join(_Text(plan).lines())


class _Text:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.spec = plan, plan.spec
        self.slots = {slot: plan.x_gates[gate] for slot, gate in enumerate(self.spec.ih_of_slot)}
        for slot, gate in enumerate(self.spec.hh_of_slot):
            if gate >= 0:
                self.slots.setdefault(slot, f"U{plan.h_gates[gate]}")
        self.once = {k: self._once(node) for k, node in enumerate(plan.results)}

    def _once(self, node: int) -> str:
        op, args, _, _ = self.plan.once.nodes[node]
        if op in ("input", "number"):
            return str(self.plan.once.leaf(node)[1] or self.plan.once.number_of(node))
        parts = [self._once(arg) for arg in args]
        return _written(op, [f"({part})" if " " in part else part for part in parts])

    def lines(self) -> Iterator[str]:
        plan, spec = self.plan, self.spec
        if spec.split or self.once:
            yield "once per call:"
            yield from (f"  {self._vector(k)} apart from the projection" for k in range(len(spec.split)))
            yield from (f"  vector.{k} = {text}" for k, text in self.once.items())
        for title, phases in (
            ("forward", spec.forward),
            ("in short steps once per sequence", spec.ahead),
            ("forward after that", spec.rest),
            ("backward", spec.backward),
        ):
            for k, phase in enumerate(phases):
                yield f"{title}, phase {k}:"
                yield from (f"  {line}" for line in self._phase(phase, title == "backward"))
        if spec.backward:
            states = [name for name, state in zip(plan.states, spec.states, strict=True) if state.kept]
            kept = [self._operand(place, None, False, {}) for place in plan.saved]
            yield f"kept for backward: {', '.join(kept) or 'no slot'}; states {', '.join(states) or 'none'}"
        yield from self._costs()

    def _costs(self) -> Iterator[str]:
        plan, spec = self.plan, self.spec
        x, h = len(plan.x_gates), len(plan.h_gates)
        yield f"a step forward: {h} B H^2 + {x} B I H multiply-adds, {_instructions(spec.forward)} on B H numbers"
        if spec.ahead:
            yield f"a short step: {_instructions(spec.rest)} of these, after {_instructions(spec.ahead)} once per sequence"
        if spec.backward:
            yield f"a step backward: {2 * h} B H^2 + {2 * x} B I H multiply-adds, {_instructions(spec.backward)} on B H numbers"
        kept = ", kept until backward" if spec.saves else ""
        yield f"slots: {spec.slots} B H numbers a step, {4 * spec.slots} B H bytes in float32{kept}"

    def _vector(self, k: int) -> str:
        split = self.spec.split
        return f"b_hh.{self.plan.h_gates[split[k]]}" if k < len(split) else f"vector.{k - len(split)}"

    def _operand(self, operand: Operand, program: Program | None, backward: bool, sums: dict[int, str]) -> str:
        space, k = operand
        state: Callable[[], str] = lambda: self.plan.states[k]  # noqa: E731
        names: dict[str, Callable[[], str]] = {
            At.REGISTER: lambda: f"r{k}",
            At.SLOT: lambda: f"slot.{self.slots.get(k, k)}",
            At.ROW: lambda: self.plan.row_inputs[k] if k < len(self.plan.row_inputs) else f"row.{k}",
            "constant": lambda: str(program.constants[k]) if program else "",
            "sum": lambda: f"sum.{sums[k]}",
            "before": lambda: f"{state()}.before",
            "after": lambda: f"{state()}.after",
            "d_before": lambda: f"d{state()}.before",
            "d_after": lambda: f"d{state()}.after",
            "y": lambda: "y",
            "dy": lambda: "dy",
            "vector": lambda: self._vector(k),
            "extra": lambda: self.plan.extras[k][1],
            "d_extra": lambda: f"d{self.plan.extras[k][1]}",
            "d_vector": lambda: f"dvector.{k}",
            "partial": lambda: f"partial.{k}",
        }
        return names[space]()

    def _phase(self, phase: Phase, backward: bool) -> Iterator[str]:
        plan, spec, sums = self.plan, self.spec, dict[int, str]()
        for partial, row in phase.totals:
            yield f"row.{row} = sum of partial.{partial}"
        yield from self._program(phase.row_program, backward, sums)
        if backward:
            for product in spec.backward_products[phase.first : phase.last]:
                gates = [plan.h_gates[spec.hh_of_slot[product.slot + k]] for k in range(product.gates)]
                name = plan.states[product.state] if product.state >= 0 else "".join(gates)
                sums[product.sum] = name
                last = product.slot + product.gates
                slots = ", ".join(self._operand(Operand(At.SLOT, k), None, True, {}) for k in range(product.slot, last))
                step = " of the next step" if product.state >= 0 else ""
                yield f"sum.{name} = {slots}{step} @ U.{' '.join(gates)}"
        else:
            for source, gates_, first in spec.forward_products[phase.first : phase.last]:
                for k, gate in enumerate(gates_, first):
                    sums[k] = plan.h_gates[gate]
                names = [plan.h_gates[gate] for gate in gates_]
                yield f"sum.{' '.join(names)} = U.{' '.join(names)} @ {self._operand(source, None, False, {})}"
        yield from self._program(phase.program, backward, sums)

    def _program(self, program: Program | None, backward: bool, sums: dict[int, str]) -> Iterator[str]:
        for op, operands in program.instructions if program else ():
            to, *args = (self._operand(operand, program, backward, sums) for operand in operands)
            yield f"{to} = {_written(op, args)}"
