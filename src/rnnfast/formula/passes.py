"""The phases of all passes as programs and products: all numbers of a Spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count

from rnnfast.formula.hoist import found_by_steps
from rnnfast.formula.joint import join
from rnnfast.formula.layout import END, Gradients, Item, Span, assign, gradients, runs
from rnnfast.formula.phases import Content, is_row, levels, schedule
from rnnfast.formula.prepare import Prepared
from rnnfast.formula.program import program
from rnnfast.formula.spec import (
    AFTER,
    BEFORE,
    D_AFTER,
    D_BEFORE,
    D_EXTRA,
    D_VECTOR,
    DY,
    EXTRA,
    PARTIAL,
    ROW,
    SLOT,
    SUM,
    VECTOR,
    BackwardProduct,
    ForwardProduct,
    Operand,
    Phase,
    Program,
    Spec,
    State,
    WeightGradient,
    Y,
)

MOST_GATES = 4  # of a forward product
AHEAD, FORWARD, BACKWARD = range(3)  # passes: what is computed ahead of the steps, if anything; the steps forward; backward


class Passes:
    """One plan in the making. The phases ahead of the steps are moments 0, 1, ... of a row, those of the step forward and
    backward follow. hoists: what does not depend on states is computed ahead of the steps; not in training, where it would take
    slots that live until backward."""

    def __init__(self, p: Prepared, training: bool, hoists: bool = False) -> None:
        self.p, self.j, self.training = p, join(p, training), training
        j = self.j
        self.y_is_state = j.output is None
        self.split = tuple(k for k, gate in enumerate(p.products) if gate not in p.merged)
        full = [("input", name) for name, n in j.inputs.items() if not is_row(j.graph, n)]
        self.extras = (*full, *(("draw", name) for name in j.draws))
        self.row_inputs = tuple(name for name, n in j.inputs.items() if is_row(j.graph, n))
        self.leaves = self._leaves()
        same = {gate for gate in j.d_x if gate in j.d_h and j.d_x[gate] == j.d_h[gate]}
        self.gradients = (
            gradients(p.x_gates, p.products, same, [gates for _, _, gates in j.groups])
            if training
            else Gradients({gate: slot for slot, gate in enumerate(p.x_gates)}, {}, len(p.x_gates))
        )
        backward = self._schedule_backward() if training else []
        self.in_place_of_projection = self._kept_projections(backward)
        self.found = found_by_steps(j) if hoists else set(j.x_gates.values())
        self.passes = (self._schedule_ahead(), self._schedule_forward(), backward)
        self.first = (0, len(self.passes[AHEAD]), len(self.passes[AHEAD]) + len(self.passes[FORWARD]))  # moments
        self.slots, self.rows = self._slots(), self._rows()
        self.forward_products: list[ForwardProduct] = []
        self.backward_products: list[BackwardProduct] = []
        self.partials = 0
        self.ahead_phases = self._phases(AHEAD, lambda phase: {}, [])
        self.forward_phases = self._phases(FORWARD, self._forward_products, self.forward_products)
        self.backward_phases = self._phases(BACKWARD, self._backward_products, self.backward_products)

    # ---- memory outside slots ------------------------------------------------------------------------------------------------
    def _leaves(self) -> dict[int, Operand]:
        """Where inputs of the graph are, but projections."""
        j, p = self.j, self.p
        found = {n: Operand(BEFORE, i) for i, n in enumerate(j.states)}
        for name, n in (*j.inputs.items(), *j.draws.items()):
            if is_row(j.graph, n):
                found[n] = Operand(ROW, self.row_inputs.index(name))
            else:
                found[n] = Operand(EXTRA, self.extras.index(("input" if name in j.inputs else "draw", name)))
        for n in range(len(j.graph.nodes)):
            kind, name = j.graph.leaf(n)
            if kind == "bias":
                found[n] = Operand(VECTOR, self.split.index(list(p.products).index(name)))
            elif kind == "vector":
                found[n] = Operand(VECTOR, len(self.split) + int(name))
            elif kind == "d_after":
                found[n] = Operand(D_AFTER, int(name))
            elif kind == "dy":
                found[n] = Operand(DY)
        return found

    # ---- which phase does what -----------------------------------------------------------------------------------------------
    def _schedule_backward(self) -> list[Content]:
        j, d = self.j, self.gradients
        stores: list[tuple[int, Operand | None]] = [(j.d_x[gate], Operand(SLOT, slot)) for gate, slot in d.x.items()]
        stores += [(j.d_h[gate], Operand(SLOT, slot)) for gate, slot in d.h.items() if slot not in d.x.values()]
        stores += [(n, Operand(D_BEFORE, i)) for i, n in j.d_states.items()]
        for name, n in j.d_inputs.items():
            if name not in self.row_inputs:
                stores.append((n, Operand(D_EXTRA, self.extras.index(("input", name)))))
        stores += [(n, Operand(D_VECTOR, k)) for k, n in j.d_vectors.items()]
        rows = [n for name, n in j.d_inputs.items() if name in self.row_inputs]
        after = {n: i for n, (space, i) in self.leaves.items() if space == D_AFTER}
        known = {n for i in j.readable for n in (j.states[i], j.new[i]) if not is_row(j.graph, n)} | j.kept
        known |= {n for n, (space, _) in self.leaves.items() if space not in (BEFORE, D_AFTER)}

        def there(n: int, phase: int) -> bool:
            return n in known or (n in after and (after[n] not in j.d_states or phase <= overwritten[after[n]]))

        overwritten = dict.fromkeys(j.d_states, 0)
        level = levels(j.graph, [n for n, _ in stores] + rows, there)
        overwritten = {i: level.get(n, 0) for i, n in j.d_states.items()}
        self.d_level = level
        return schedule(j.graph, level, stores, rows, there)

    @staticmethod
    def _last_read(node: int, phases: list[Content]) -> int:
        """Of a value that is there without being stored by this pass."""
        return max((p for p, phase in enumerate(phases) if node in phase.values), default=-1)

    @staticmethod
    def _last_use(node: int, phases: list[Content]) -> int:
        """Of a value that this pass has stored."""
        return max((p for p, phase in enumerate(phases) if node in phase.stored), default=-1)

    def _kept_projections(self, backward: list[Content]) -> set[int]:
        """Kept ones that stay where they are, since backward does not read them after it has written the gradient there."""
        j, slots = self.j, {n: self.gradients.x[gate] for gate, n in self.j.x_gates.items()}
        gate_of = {slot: gate for gate, slot in self.gradients.x.items()}
        return {
            n
            for n, slot in slots.items()
            if n in j.kept and n not in j.operands.values()
            if self._last_read(n, backward) <= self.d_level.get(j.d_x[gate_of[slot]], 0)
        }

    def _schedule_ahead(self) -> list[Content]:
        j = self.j
        known = {n for n, where in self.leaves.items() if where.space == VECTOR} | set(j.x_gates.values())
        stored = sorted(self.found - set(j.x_gates.values()))

        def there(n: int, phase: int) -> bool:
            return n in known

        return schedule(j.graph, levels(j.graph, stored, there), [(n, None) for n in stored], (), there) if stored else []

    def _schedule_forward(self) -> list[Content]:
        j = self.j
        stores: list[tuple[int, Operand | None]] = [(n, Operand(AFTER, i)) for i, n in enumerate(j.new)]
        if j.output is not None:
            stores.append((j.output, Operand(Y)))
        operands = {n for n in j.operands.values() if n not in j.states}
        kept = sorted(n for n in (j.kept | operands) - self.in_place_of_projection if not is_row(j.graph, n))
        stores += [(n, None) for n in kept]
        self.saved_rows = sorted(n for n in j.kept if is_row(j.graph, n))
        known = {n for n, where in self.leaves.items() if where.space not in (D_AFTER, DY)} | self.found

        def there(n: int, phase: int) -> bool:
            return n in known

        level = levels(j.graph, [n for n, _ in stores] + self.saved_rows, there)
        return schedule(j.graph, level, stores, self.saved_rows, there)

    # ---- places --------------------------------------------------------------------------------------------------------------
    def _read_after(self, node: int, passes: Iterable[int]) -> int:
        """The moment of the last reading by these passes of a value that they find, or -1."""
        read = {k: self._last_read(node, self.passes[k]) for k in passes}
        return max((self.first[k] + phase for k, phase in read.items() if phase >= 0), default=-1)

    def _slots(self) -> dict[tuple[int, int], Operand]:
        """Of (pass, node) what schedule() left open: a slot, or the gradient of a state that is written later."""
        j, d, first = self.j, self.gradients, self.first[BACKWARD]
        taken: dict[Operand, list[Span]] = {Operand(SLOT, slot): [] for slot in range(d.slots)}
        for gate, n in j.x_gates.items():
            readers = (AHEAD, FORWARD, BACKWARD) if n in self.in_place_of_projection else (AHEAD, FORWARD)
            taken[Operand(SLOT, d.x[gate])].append(Span(-1, self._read_after(n, readers)))
        if self.training:
            for leaves, slots in ((j.d_x, d.x), (j.d_h, d.h)):
                for gate, slot in slots.items():
                    span = Span(first + self.d_level.get(leaves[gate], 0), END)
                    if span not in taken[Operand(SLOT, slot)]:
                        taken[Operand(SLOT, slot)].append(span)
        parking = []
        for i, n in j.d_states.items():
            leaf = next((leaf for leaf, where in self.leaves.items() if where == (D_AFTER, i)), None)
            read = first + (self._last_read(leaf, self.passes[BACKWARD]) if leaf is not None else 0)
            place = Operand(D_BEFORE, i)
            taken[place] = [Span(first - 1, read), Span(first + self.d_level.get(n, 0), END)]
            parking.append(place)
        items: dict[tuple[int, int], Item] = {}
        operands = set(j.operands.values())
        for k, contents in enumerate(self.passes):
            for p, phase in enumerate(contents):
                for n, where in phase.stores:
                    if where is None:
                        used = self.first[k] + max(self._last_use(n, contents), p)
                        read = END if n in operands and k == FORWARD else max(used, self._read_after(n, range(k + 1, 3)))
                        places = (None, parking) if k == BACKWARD else (self._own_slot(n), ())
                        items[k, n] = Item(Span(self.first[k] + p, read), *places)
        number = count(d.slots)
        found = assign(items, taken, lambda place: place.space == SLOT, lambda: Operand(SLOT, next(number)))
        self.slot_count = 1 + max((place.number for place in taken if place.space == SLOT), default=-1)
        return found

    def _own_slot(self, node: int) -> Operand | None:
        """Of the gate, if the value depends on one gate alone, but for means."""
        j, x, h = self.j, set(), set()
        stack, seen = [node], set()
        while stack:
            n = stack.pop()
            if n not in seen:
                seen.add(n)
                op, args, what, _ = j.graph.nodes[n]
                kind, name = j.graph.leaf(n)
                if op == "product":
                    h.add(str(what))
                elif kind == "x":
                    x.add(name)
                elif not is_row(j.graph, n):
                    stack.extend(args)
        if len(x | h) != 1 or node in j.operands.values():
            return None
        (gate,) = x | h
        slot = self.gradients.x[gate] if x else self.gradients.h.get(gate)
        return None if slot is None else Operand(SLOT, slot)

    def _rows(self) -> dict[tuple[int, int], Operand]:
        """Of (pass, node) each number a row. A phase has three moments: totals, the program of rows, that of units."""
        j, inputs = self.j, len(self.row_inputs)
        saved = {n: Operand(ROW, inputs + k) for k, n in enumerate(self.saved_rows)}
        found = {(BACKWARD, n): place for n, place in saved.items()}
        number = count(inputs + len(saved))
        gradients_ = {n for name, n in j.d_inputs.items() if name in self.row_inputs}
        taken: dict[Operand, list[Span]] = {}
        for k, phases in enumerate(self.passes):
            items: dict[int, Item] = {}
            for p, phase in enumerate(phases):
                for moment, n in [*((3 * p, n) for n in phase.totals), *((3 * p + 1, n) for n in phase.rows)]:
                    reads = [3 * q + 1 for q, other in enumerate(phases) if n in other.row_values]
                    reads += [3 * q + 2 for q, other in enumerate(phases) if n in other.splats]
                    last = END if k == BACKWARD and n in gradients_ else max(reads, default=moment)
                    items[n] = Item(Span(moment, last))
            taken = {place: [] for place in taken}
            places = assign(
                {n: item for n, item in items.items() if k == BACKWARD or n not in saved},
                taken,
                lambda place: True,
                lambda: Operand(ROW, next(number)),
            )
            found.update({(k, n): place for n, place in places.items()})
        found.update({(FORWARD, n): place for n, place in saved.items()})
        self.row_count = inputs + len(saved) + len(taken)
        return found

    # ---- products and programs -----------------------------------------------------------------------------------------------
    def _source(self, operand: int) -> Operand:
        return self.leaves[operand] if operand in self.j.states else self.slots[FORWARD, operand]

    def _forward_products(self, phase: Content) -> dict[int, int]:
        """The sum of each node of the phase's products, which are added to the list."""
        j = self.j
        sums: dict[int, int] = {}
        gates = [gate for gate, n in j.products.items() if n in phase.sums]
        for operand in dict.fromkeys(j.operands[gate] for gate in gates):
            ours = [gate for gate in gates if j.operands[gate] == operand]
            for k in range(0, len(ours), MOST_GATES):
                numbers = tuple(list(j.products).index(gate) for gate in ours[k : k + MOST_GATES])
                self.forward_products.append(ForwardProduct(self._source(operand), numbers, len(sums)))
                for gate in ours[k : k + MOST_GATES]:
                    sums[j.products[gate]] = len(sums)
        return sums

    def _backward_products(self, phase: Content) -> dict[int, int]:
        sums: dict[int, int] = {}
        for n, state, gates in self.j.groups:
            if n in phase.sums or (
                state >= 0 and phase is self.passes[BACKWARD][0]
            ):  # those of states give gradients of initial states too
                slot = min(self.gradients.h[gate] for gate in gates)
                self.backward_products.append(BackwardProduct(slot, len(gates), len(sums), state))
                sums[n] = len(sums)
        return sums

    def _phases(
        self, k: int, products: Callable[[Content], dict[int, int]], made: Sequence[ForwardProduct | BackwardProduct]
    ) -> tuple[Phase, ...]:
        """Of pass k. products: adds those of a phase to `made`, and returns the sum of each node."""
        graph, contents = self.j.graph, self.passes[k]
        memory, stored = self._memory(k)
        partial: dict[int, int] = {}
        phases = []
        for content in contents:
            totals = tuple((partial[graph.nodes[n].args[0]], self.rows[k, n].number) for n in content.totals)
            first, sums = len(made), products(content)
            stores = []
            for n, where in content.stores:
                if where is None:
                    where = self.slots[k, n]
                elif where.space == PARTIAL:
                    where = Operand(PARTIAL, partial.setdefault(n, len(partial)))
                stores.append((n, where))

            def place(n: int, content: Content = content, sums: dict[int, int] = sums) -> Operand | None:
                if n in content.splats:
                    return self._row(n, k)
                if n in content.sums:
                    return Operand(SUM, sums[n])
                return memory[n] if n in content.values else stored[n] if n in content.stored else None

            def place_of_row(n: int, content: Content = content) -> Operand | None:
                return self._row(n, k) if n in content.row_values else None

            rows = [(n, self.rows[k, n]) for n in content.rows]
            row_program = program(graph, rows, place_of_row, of_rows=True)
            phases.append(Phase(totals, row_program, first, len(made), program(graph, stores, place)))
        self.partials = max(self.partials, len(partial))
        return tuple(phases)

    def _row(self, n: int, k: int) -> Operand:
        return self.leaves[n] if n in self.leaves else self.rows[k, n]

    def _memory(self, k: int) -> tuple[dict[int, Operand], dict[int, Operand]]:
        """Where values are that pass k finds, and those that it stores."""
        j, found, stored = self.j, dict(self.leaves), {}
        found |= {n: Operand(SLOT, self.gradients.x[gate]) for gate, n in j.x_gates.items()}
        found |= {n: place for (earlier, n), place in self.slots.items() if earlier < k}
        if k == BACKWARD:
            found |= {j.new[i]: Operand(AFTER, i) for i in j.readable if j.new[i] not in map(j.states.__getitem__, j.readable)}
        for content in self.passes[k]:
            for n, where in content.stores:
                if where is None:
                    stored[n] = self.slots[k, n]
                elif where.space in (AFTER, SLOT, D_BEFORE):
                    stored.setdefault(n, where)
        return found, stored

    # ---- the rest ------------------------------------------------------------------------------------------------------------
    def spec(self) -> Spec:
        j, p, d = self.j, self.p, self.gradients
        x_gates, h_gates = list(p.x_gates), list(p.products)
        hh_of_slot = [-1] * self.slot_count
        for gate, slot in d.h.items():
            hh_of_slot[slot] = h_gates.index(gate)
        by_slot = sorted(d.x, key=lambda gate: d.x[gate])
        weights = self._weight_gradients() if self.training else ()
        read = {operand for phase in self.backward_phases for operand in _operands(phase.program)}
        read |= {w.source for w in weights if w.source is not None}
        kept = [Operand(BEFORE, i) in read or Operand(AFTER, i) in read for i in range(len(j.states))]
        # the loops keep states (but for those in y) and row values beside slots only
        saves = any(space == SLOT for space, _ in self.saved()) or any(kept[self.y_is_state :]) or bool(self.saved_rows)
        gradient_row = {name: self._row(n, BACKWARD).number for name, n in j.d_inputs.items() if name in self.row_inputs}
        product_of = {product.state: k for k, product in enumerate(self.backward_products)}
        return Spec(
            x_gates=len(x_gates),
            h_gates=len(h_gates),
            slots=self.slot_count,
            saves=saves,
            y_is_state=self.y_is_state,
            states=tuple(
                State(
                    product=product_of.get(i, -1),
                    carried=i in j.d_states,
                    kept=kept[i],
                    in_place=self._in_place(i),
                )
                for i in range(len(j.states))
            ),
            ih_of_slot=tuple(x_gates.index(gate) for gate in by_slot),
            hh_of_slot=tuple(hh_of_slot),
            merged=tuple(h_gates.index(gate) if gate in p.merged else -1 for gate in by_slot),
            split=self.split,
            vectors=len(p.vectors),
            extras=len(self.extras),
            row_values=self.row_count,
            row_inputs=len(self.row_inputs),
            row_saved=len(self.saved_rows),
            d_row_inputs=tuple(gradient_row.get(name, -1) for name in self.row_inputs),
            partials=self.partials,
            forward_products=tuple(self.forward_products),
            backward_products=tuple(self.backward_products),
            forward=self.forward_phases,
            backward=self.backward_phases,
            ahead=self.ahead_phases,
            rest=(),  # of two such plans, plan.py
            weight_gradients=weights,
        )

    def _in_place(self, i: int) -> bool:
        """Nothing of the state before the step is read after what replaces it has been written."""
        if self.j.states[i] in self.j.operands.values():
            return False
        written = False
        for phase in self.forward_phases:
            for _, (to, *args) in phase.program.instructions if phase.program else ():
                if written and Operand(BEFORE, i) in args:
                    return False
                written |= to == Operand(AFTER, i)
        return True

    def _weight_gradients(self) -> tuple[WeightGradient, ...]:
        j, d = self.j, self.gradients
        ih = [WeightGradient("ih", None, d.x[gate], k, 1) for k, gate in enumerate(self.p.x_gates)]
        hh = [WeightGradient("hh", self._source(j.operands[gate]), d.h[gate], k, 1) for k, gate in enumerate(self.p.products)]
        return runs([*ih, *hh])

    def saved(self) -> tuple[Operand, ...]:
        """Where the values are that forward keeps for backward, beside states."""
        memory, _ = self._memory(BACKWARD)
        return tuple(sorted({self.rows[BACKWARD, n] if is_row(self.j.graph, n) else memory[n] for n in self.j.kept}))


def _operands(program: Program | None) -> Iterable[Operand]:
    return (operand for _, operands in (program.instructions if program else ()) for operand in operands)
