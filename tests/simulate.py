"""A Spec run on NumPy arrays in float64, as spec.py says, slowly. What may not be read is NaN."""

from typing import NamedTuple

import numpy as np

from rnnfast.formula.operations import OPERATIONS

COMPUTE = {name: operation.compute for name, operation in OPERATIONS.items()} | {
    "move": lambda a: a,
    "splat": lambda a: a,
    "fnma": lambda a, b, c: c - a * b,
    "add_if": lambda a, b: a if b is None else a + b,
    "add_tanh": lambda a, b: np.tanh(a + b),
    "add_sigmoid": lambda a, b: COMPUTE["sigmoid"](a + b),
    "slope_tanh": lambda a, y: a * (1 - y * y),
    "slope_sigmoid": lambda a, y: a * (y - y * y),
}
WRITTEN = {
    False: {"register", "slot", "after", "y", "partial"},
    True: {"register", "slot", "d_before", "d_extra", "d_vector", "partial"},
}
READ = {
    False: {"register", "constant", "sum", "slot", "before", "after", "vector", "extra"},
    True: {"register", "constant", "sum", "slot", "before", "after", "d_after", "d_before", "vector", "extra"},
}


class Data(NamedTuple):
    """projections: gate -> (T, B, H). w: gate -> (H, H). bias: of W_hh, gate -> (H,). vectors, states: name -> array. inputs:
    (T, B, H) or (T, B). draws: (T, B, H)."""

    projections: dict
    w: dict
    bias: dict
    states: dict
    vectors: dict
    inputs: dict
    draws: dict


def nan(*shape):
    return np.full(shape, np.nan)


class Simulation:
    def __init__(self, plan, data, hoists=False):
        """hoists: forward takes the other way, the phases `ahead` and `rest`."""
        self.plan, self.data, self.spec, self.hoists = plan, data, plan.spec, hoists
        self.t, self.b, self.h = next(iter(data.projections.values())).shape
        self.w = [data.w[gate] for gate in plan.h_gates]
        self.vectors = [data.bias[plan.h_gates[k]] for k in self.spec.split]
        self.vectors += list(plan.compute_vectors(data.vectors, self.h, np.float64))
        self.extras = [getattr(data, kind + "s")[name] for kind, name in plan.extras]

    # ---- one phase -----------------------------------------------------------------------------------------------------------
    def phase(self, phase, memory, backward):
        spec = self.spec
        for partial, row in phase.totals:
            memory["row"][row] = memory["partial"][partial].sum(axis=-1, keepdims=True)
        if phase.row_program:
            self.run(phase.row_program, memory, {"register", "row"}, {"register", "row", "constant"}, 1)
        memory["sum"] = {}
        sources = set()
        for product in (spec.backward_products if backward else spec.forward_products)[phase.first : phase.last]:
            if backward:
                slots = range(product.slot, product.slot + product.gates)
                assert all(spec.hh_of_slot[slot] >= 0 for slot in slots)
                from_step = memory["slot"] if product.state < 0 else memory["next_slot"]
                memory["sum"][product.sum] = sum(from_step[slot] @ self.w[spec.hh_of_slot[slot]] for slot in slots)
                sources |= set(slots) if product.state < 0 else set()
            else:
                assert product.source.space in ("before", "slot") and 1 <= len(product.gates) <= 4
                sources |= {product.source.number} if product.source.space == "slot" else set()
                v = memory[product.source.space][product.source.number]
                for k, gate in enumerate(product.gates):
                    memory["sum"][product.sum + k] = v @ self.w[gate].T
        if phase.program:
            for _, (to, *_) in phase.program.instructions:
                assert to.space != "slot" or to.number not in sources
            self.run(phase.program, memory, WRITTEN[backward], READ[backward], self.h)

    def run(self, program, memory, written, read, units):
        assert program.registers <= 64
        memory["register"] = {k: nan(self.b, units) for k in range(program.registers)}
        memory["constant"] = [1 / self.h if c == "1/H" else c for c in program.constants]
        for op, (to, *args) in program.instructions:
            assert to.space in written
            values = []
            for k, arg in enumerate(args):
                special = (
                    (op == "add_if" and k == 1 and arg.space in ("dy", "d_after"))
                    or (op in ("add", "fma") and arg == to and arg.space in ("d_extra", "d_vector"))
                    or (op == "splat" and arg.space == "row")
                )
                assert special or arg.space in read, (op, arg)
                value = memory[arg.space][arg.number]
                assert special or value is not None
                values.append(value)
            if op == "total":
                assert to.space == "partial"
                result = np.broadcast_to(values[0], (self.b, units)).copy()  # added up by the next phase
            else:
                result = np.broadcast_to(COMPUTE[op](*values), (self.b, units)) + 0.0
            if to.space in ("slot", "after", "d_before"):
                memory[to.space][to.number][...] = result
            else:
                memory[to.space][to.number] = result

    def rows(self, t):
        """All numbers a row of a step, of which only the inputs are known."""
        values = {k: nan(self.b, 1) for k in range(self.spec.row_values)}
        return values | {k: self.data.inputs[name][t][:, None].copy() for k, name in enumerate(self.plan.row_inputs)}

    # ---- passes --------------------------------------------------------------------------------------------------------------
    def forward(self):
        """y (T, B, H) and the states after the last step."""
        spec, plan, data = self.spec, self.plan, self.data
        states = [data.states[name].copy() for name in plan.states]
        self.y, self.history, self.slots, self.saved_rows = [], [states], [], []
        for t in range(self.t):
            slots = {k: nan(self.b, self.h) for k in range(spec.slots)}
            for slot in range(spec.x_gates):
                slots[slot] = data.projections[plan.x_gates[spec.ih_of_slot[slot]]][t].copy()
                if spec.merged[slot] >= 0:
                    slots[slot] += data.bias[plan.h_gates[spec.merged[slot]]]
            before = [s.copy() for s in states]
            if self.hoists:
                ahead = {"slot": slots, "vector": self.vectors, "partial": {}}  # there is nothing else
                ahead["row"] = {k: nan(self.b, 1) for k in range(spec.row_values)}
                for phase in spec.ahead:
                    assert phase.first == phase.last
                    self.phase(phase, ahead, False)
            after = [b if s.in_place else nan(self.b, self.h) for b, s in zip(before, spec.states, strict=True)]
            memory = {
                "slot": slots,
                "before": before,
                "after": after,
                "y": {0: None},
                "row": self.rows(t),
                "vector": self.vectors,
            }
            memory |= {"partial": {}, "extra": [e[t] for e in self.extras]}
            for phase in spec.rest if self.hoists else spec.forward:
                self.phase(phase, memory, False)
            states = [a.copy() for a in after]
            self.history.append(states)
            self.slots.append(slots)
            first = spec.row_inputs
            self.saved_rows.append({k: memory["row"][k] for k in range(first, first + spec.row_saved)})
            self.y.append(states[0] if spec.y_is_state else memory["y"][0])
        return np.array(self.y), states

    def backward(self, dy, dstates):
        """Gradients by (kind, name)."""
        spec, plan, h = self.spec, self.plan, self.h
        found = {("w", gate): np.zeros((h, h)) for gate in plan.h_gates}
        found |= {("bias", gate): np.zeros(h) for gate in plan.h_gates}
        found |= {("projections", gate): nan(self.t, self.b, h) for gate in plan.x_gates}
        found |= {("inputs", name): np.zeros_like(value) for name, value in self.data.inputs.items()}
        d_vectors = {k: np.zeros((self.b, h)) for k in range(spec.vectors)}
        carried = [d.copy() for d in dstates]
        later = {k: np.zeros((self.b, h)) for k in range(spec.slots)}
        for t in range(self.t - 1, -1, -1):
            slots = self.slots[t] if spec.saves else {k: nan(self.b, h) for k in range(spec.slots)}

            def readable(which):
                return [
                    value.copy() if s.kept or (i == 0 and spec.y_is_state) else nan(self.b, h)
                    for i, (value, s) in enumerate(zip(self.history[which], spec.states, strict=True))
                ]

            last = t == self.t - 1
            memory = {"slot": slots, "next_slot": later, "before": readable(t), "after": readable(t + 1), "dy": {0: dy[t]}}
            memory |= {"vector": self.vectors, "extra": [e[t] for e in self.extras], "partial": {}}
            memory["row"] = self.rows(t) | self.saved_rows[t]
            memory["d_vector"] = d_vectors
            memory["d_extra"] = {k: np.zeros((self.b, h)) for k in range(spec.extras)}
            memory["d_after"] = [c if s.carried or last else None for c, s in zip(carried, spec.states, strict=True)]
            memory["d_before"] = [c if s.carried else None for c, s in zip(carried, spec.states, strict=True)]
            if dy is None:
                memory["dy"] = {0: None}
            for phase in spec.backward:
                self.phase(phase, memory, True)
            for k, (kind, name) in enumerate(plan.extras):
                if kind == "input":
                    found["inputs", name][t] += memory["d_extra"][k]
            for name, row in zip(plan.row_inputs, spec.d_row_inputs, strict=True):
                if row >= 0:
                    found["inputs", name][t] = memory["row"][row][:, 0]
            for slot, gate in enumerate(spec.ih_of_slot):
                found["projections", plan.x_gates[gate]][t] = slots[slot]
            for slot, gate in enumerate(spec.hh_of_slot):
                if gate >= 0:
                    found["bias", plan.h_gates[gate]] += slots[slot].sum(axis=0)
            for run in spec.weight_gradients:
                for k in range(run.gates):
                    if run.of == "hh":
                        assert spec.hh_of_slot[run.slot + k] == run.gate + k
                        source = memory[run.source.space][run.source.number]
                        found["w", plan.h_gates[run.gate + k]] += slots[run.slot + k].T @ source
                    else:
                        assert spec.ih_of_slot[run.slot + k] == run.gate + k
            assert sum(run.gates for run in spec.weight_gradients if run.of == "ih") == spec.x_gates
            assert sum(run.gates for run in spec.weight_gradients if run.of == "hh") == spec.h_gates
            later = slots
        for i, (name, s) in enumerate(zip(plan.states, spec.states, strict=True)):
            d = carried[i].copy() if s.carried else np.zeros((self.b, h))
            if s.product >= 0:
                product = spec.backward_products[s.product]
                assert product.state == i
                d += sum(later[k] @ self.w[spec.hh_of_slot[k]] for k in range(product.slot, product.slot + product.gates))
            found["states", name] = d
        summed = np.array([d.sum(axis=0) for d in d_vectors.values()]).reshape(-1, h)
        d_vectors = plan.vector_gradients(self.data.vectors, summed)
        return found | {("vectors", name): d for name, d in d_vectors.items()}
