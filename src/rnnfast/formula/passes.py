"""The phases of all passes as programs and products: all numbers of a Spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import count

from rnnfast.formula.hoist import found_by_steps
from rnnfast.formula.joint import join
from rnnfast.formula.layout import END, Gradients, Item, Span, assign, gradients, runs
from rnnfast.formula.phases import Content, Stores, is_row, levels, schedule
from rnnfast.formula.prepare import Prepared
from rnnfast.formula.program import program
from rnnfast.formula.spec import At, BackwardProduct, ForwardProduct, Operand, Phase, Program, Spec, State, WeightGradient

MOST_GATES = 4  # of a forward product
AHEAD, FORWARD, BACKWARD = range(3)  # passes: what is computed ahead of the steps, if anything; the steps forward; backward


def last_read(node: int, phases: list[Content]) -> int:
    """The last phase that reads a value which is there without being stored by this pass, or -1."""
    return max((p for p, phase in enumerate(phases) if node in phase.values), default=-1)


class Passes:
    """One plan in the making. The phases ahead of the steps are moments 0, 1, ... of a row, those of the step forward and
    backward follow. hoists: what does not depend on states is computed ahead of the steps; not in training, where it would take
    slots that live until backward."""

    def __init__(self, p: Prepared, training: bool, hoists: bool = False) -> None:
        self.p, self.j, self.training = p, join(p, training), training
        self.f = f = self.j.formula
        self.graph, self.states, self.operands = self.j.graph, tuple(f.states.values()), {*self.j.operands.values()}
        self.split = tuple(k for k, gate in enumerate(f.products) if gate not in p.merged)
        self.row_inputs = tuple(name for name, n in f.inputs.items() if is_row(self.graph, n))
        full = [("input", name) for name in f.inputs if name not in self.row_inputs]
        self.extras = (*full, *(("draw", name) for name in f.draws))
        self.leaves = self._leaves()
        self.d_level: dict[int, int] = {}  # the phase of backward in which each node can be computed
        backward = self._schedule_backward() if training else []
        self.in_place_of_projection = self._kept_projections(backward)
        self.found = found_by_steps(self.j) if hoists else set(f.x_gates.values())
        self.passes = (self._schedule_ahead(), self._schedule_forward(), backward)
        self.first = (0, len(self.passes[AHEAD]), len(self.passes[AHEAD]) + len(self.passes[FORWARD]))  # moments
        self.slots, self.rows = self._slots(), self._rows()
        self.forward_products: list[ForwardProduct] = []
        self.backward_products: list[BackwardProduct] = []
        self.partials = 0
        self.ahead_phases = self._phases(AHEAD, lambda phase: {}, [])
        self.forward_phases = self._phases(FORWARD, self._forward_products, self.forward_products)
        self.backward_phases = self._phases(BACKWARD, self._backward_products, self.backward_products)

    @cached_property
    def gradients(self) -> Gradients:
        j, f = self.j, self.f
        if not self.training:
            return Gradients({gate: slot for slot, gate in enumerate(f.x_gates)}, {}, len(f.x_gates))
        same = {gate for gate in j.d_x if gate in j.d_h and j.d_x[gate] == j.d_h[gate]}
        return gradients(f.x_gates, f.products, same, [gates for _, _, gates in j.groups])

    def _leaves(self) -> dict[int, Operand]:
        """Where inputs of the graph are, but projections."""
        states, products = list(self.f.states), list(self.f.products)
        place: dict[str, Callable[[str], Operand]] = {
            "state": lambda name: Operand(At.BEFORE, states.index(name)),
            "draw": lambda name: Operand(At.EXTRA, self.extras.index(("draw", name))),
            "input": lambda name: (
                Operand(At.ROW, self.row_inputs.index(name))
                if name in self.row_inputs
                else Operand(At.EXTRA, self.extras.index(("input", name)))
            ),
            "bias": lambda gate: Operand(At.VECTOR, self.split.index(products.index(gate))),
            "vector": lambda k: Operand(At.VECTOR, len(self.split) + int(k)),
            "d_after": lambda k: Operand(At.D_AFTER, int(k)),
            "dy": lambda _: Operand(At.DY),
        }
        named = ((n, *self.graph.leaf(n)) for n in range(len(self.graph.nodes)))
        return {n: place[kind](name) for n, kind, name in named if kind in place}

    # ---- which phase does what -----------------------------------------------------------------------------------------------
    def _schedule_backward(self) -> list[Content]:
        j, d = self.j, self.gradients
        stores: Stores = [(j.d_x[gate], Operand(At.SLOT, slot)) for gate, slot in d.x.items()]
        stores += [(j.d_h[gate], Operand(At.SLOT, slot)) for gate, slot in d.h.items() if slot not in d.x.values()]
        stores += [(n, Operand(At.D_BEFORE, i)) for i, n in j.d_states.items()]
        full = [name for kind, name in self.extras if kind == "input"]
        stores += [(n, Operand(At.D_EXTRA, full.index(name))) for name, n in j.d_inputs.items() if name in full]
        stores += [(n, Operand(At.D_VECTOR, k)) for k, n in j.d_vectors.items()]
        rows = [n for name, n in j.d_inputs.items() if name in self.row_inputs]
        after = {n: i for n, (space, i) in self.leaves.items() if space == At.D_AFTER}
        known = {n for i in j.readable for n in (self.states[i], self.f.new[i]) if not is_row(self.graph, n)} | j.kept
        known |= {n for n, (space, _) in self.leaves.items() if space not in (At.BEFORE, At.D_AFTER)}

        def there(n: int, phase: int) -> bool:
            """The gradient of a state after the step is, until that before the step is written in its place."""
            return n in known or (n in after and phase <= self.d_level.get(j.d_states.get(after[n], -1), phase))

        self.d_level = levels(self.graph, [n for n, _ in stores] + rows, there)
        return schedule(self.graph, self.d_level, stores, rows, there)

    def _kept_projections(self, backward: list[Content]) -> set[int]:
        """Kept ones that stay where they are, since backward does not read them after it has written the gradient there."""
        j = self.j
        written = {n: self.d_level.get(j.d_x[gate], 0) for gate, n in self.f.x_gates.items() if n in j.kept}
        return {n for n, phase in written.items() if n not in self.operands and last_read(n, backward) <= phase}

    def _schedule_ahead(self) -> list[Content]:
        projections = set(self.f.x_gates.values())
        known = {n for n, where in self.leaves.items() if where.space == At.VECTOR} | projections
        stores: Stores = [(n, None) for n in sorted(self.found - projections)]
        return self._schedule(stores, [], known) if stores else []

    def _schedule_forward(self) -> list[Content]:
        j, f = self.j, self.f
        stores: Stores = [(n, Operand(At.AFTER, i)) for i, n in enumerate(f.new)]
        if f.output is not None:
            stores.append((f.output, Operand(At.Y)))
        in_slots = (j.kept | self.operands - {*self.states}) - self.in_place_of_projection
        stores += [(n, None) for n in sorted(in_slots) if not is_row(self.graph, n)]
        self.saved_rows = sorted(n for n in j.kept if is_row(self.graph, n))
        known = {n for n, where in self.leaves.items() if where.space not in (At.D_AFTER, At.DY)} | self.found
        return self._schedule(stores, self.saved_rows, known)

    def _schedule(self, stores: Stores, rows: list[int], known: set[int]) -> list[Content]:
        def there(n: int, phase: int) -> bool:
            return n in known

        return schedule(self.graph, levels(self.graph, [n for n, _ in stores] + rows, there), stores, rows, there)

    # ---- places --------------------------------------------------------------------------------------------------------------
    def _read_after(self, node: int, passes: Iterable[int]) -> int:
        """The moment of the last reading by these passes of a value that they find, or -1."""
        read = {k: last_read(node, self.passes[k]) for k in passes}
        return max((self.first[k] + phase for k, phase in read.items() if phase >= 0), default=-1)

    def _slots(self) -> dict[tuple[int, int], Operand]:
        """Of (pass, node) what schedule() left open: a slot, or the gradient of a state that is written later."""
        j, d, first = self.j, self.gradients, self.first[BACKWARD]
        taken: dict[Operand, list[Span]] = {Operand(At.SLOT, slot): [] for slot in range(d.slots)}
        for gate, n in self.f.x_gates.items():
            readers = (AHEAD, FORWARD, BACKWARD) if n in self.in_place_of_projection else (AHEAD, FORWARD)
            taken[Operand(At.SLOT, d.x[gate])].append(Span(-1, self._read_after(n, readers)))
        for nodes, slots in ((j.d_x, d.x), (j.d_h, d.h)):
            for gate, n in nodes.items():
                span, spans = Span(first + self.d_level.get(n, 0), END), taken[Operand(At.SLOT, slots[gate])]
                if span not in spans:
                    spans.append(span)
        parking = [Operand(At.D_BEFORE, i) for i in j.d_states]
        leaf_of = {where: n for n, where in self.leaves.items()}
        for place, n in zip(parking, j.d_states.values(), strict=True):
            leaf = leaf_of.get(Operand(At.D_AFTER, place.number))
            read = 0 if leaf is None else last_read(leaf, self.passes[BACKWARD])
            taken[place] = [Span(first - 1, first + read), Span(first + self.d_level.get(n, 0), END)]
        items: dict[tuple[int, int], Item] = {}
        for k, contents in enumerate(self.passes):
            for p, phase in enumerate(contents):
                for n in [n for n, where in phase.stores if where is None]:
                    used = self.first[k] + max(q for q in range(len(contents)) if q == p or n in contents[q].stored)
                    whole = n in self.operands and k == FORWARD
                    read = END if whole else max(used, self._read_after(n, range(k + 1, 3)))
                    places = (None, parking) if k == BACKWARD else (self._own_slot(n), ())
                    items[k, n] = Item(Span(self.first[k] + p, read), *places)
        number = count(d.slots)
        found = assign(items, taken, lambda place: place.space == At.SLOT, lambda: Operand(At.SLOT, next(number)))
        self.slot_count = 1 + max((place.number for place in taken if place.space == At.SLOT), default=-1)
        return found

    @cached_property
    def _blocks_of(self) -> list[set[tuple[str, str]]]:
        """The blocks x.gate and U.gate @ v that each node is computed from, but for means: kind and gate."""
        found: list[set[tuple[str, str]]] = []
        for n, (op, args, what, _) in enumerate(self.graph.nodes):
            block = (op, str(what)) if op == "product" else self.graph.leaf(n)
            parts = (found[arg] for arg in args if not is_row(self.graph, arg))
            found.append({block} if block[0] in ("product", "x") else set().union(*parts))
        return found

    def _own_slot(self, node: int) -> Operand | None:
        """Of the gate, if the value depends on one gate alone, but for means."""
        blocks, d = self._blocks_of[node], self.gradients
        if len({gate for _, gate in blocks}) != 1 or node in self.operands:
            return None
        kind, gate = max(blocks)
        slot = d.x[gate] if kind == "x" else d.h.get(gate)
        return None if slot is None else Operand(At.SLOT, slot)

    def _rows(self) -> dict[tuple[int, int], Operand]:
        """Of (pass, node) each number a row. A phase has three moments: totals, the program of rows, that of units."""
        saved = {n: Operand(At.ROW, k) for k, n in enumerate(self.saved_rows, len(self.row_inputs))}
        found = {(k, n): place for k in (FORWARD, BACKWARD) for n, place in saved.items()}
        number = count(len(self.row_inputs) + len(saved))
        gradients_ = {n for name, n in self.j.d_inputs.items() if name in self.row_inputs}
        taken: dict[Operand, list[Span]] = {}
        for k, phases in enumerate(self.passes):
            moments = [(3 * p, phase) for p, phase in enumerate(phases)]
            made = [(m + i, n) for m, phase in moments for i, rows in enumerate((phase.totals, phase.rows)) for n in rows]
            last = {n: m + i for m, phase in moments for i, rows in ((1, phase.row_values), (2, phase.splats)) for n in rows}
            last |= dict.fromkeys(gradients_, END) if k == BACKWARD else {}
            items = {n: Item(Span(m, last.get(n, m))) for m, n in made if k == BACKWARD or n not in saved}
            taken = {place: [] for place in taken}
            places = assign(items, taken, lambda place: True, lambda: Operand(At.ROW, next(number)))
            found |= {(k, n): place for n, place in places.items()}
        self.row_count = len(self.row_inputs) + len(saved) + len(taken)
        return found

    # ---- products and programs -----------------------------------------------------------------------------------------------
    def _source(self, operand: int) -> Operand:
        return self.leaves[operand] if operand in self.states else self.slots[FORWARD, operand]

    def _forward_products(self, phase: Content) -> dict[int, int]:
        """The sum of each node of the phase's products, which are added to the list."""
        j, products = self.j, self.f.products
        sums: dict[int, int] = {}
        gates = [gate for gate, n in products.items() if n in phase.sums]
        for operand in dict.fromkeys(j.operands[gate] for gate in gates):
            ours = [gate for gate in gates if j.operands[gate] == operand]
            for some in (ours[k : k + MOST_GATES] for k in range(0, len(ours), MOST_GATES)):
                numbers = tuple(list(products).index(gate) for gate in some)
                self.forward_products.append(ForwardProduct(self._source(operand), numbers, len(sums)))
                sums |= {products[gate]: k for k, gate in enumerate(some, len(sums))}
        return sums

    def _backward_products(self, phase: Content) -> dict[int, int]:
        """The same backward. Those of states stand in the first phase: they give the gradients of initial states too."""
        first = phase is self.passes[BACKWARD][0]
        found = [(n, state, gates) for n, state, gates in self.j.groups if n in phase.sums or (state >= 0 and first)]
        for k, (_, state, gates) in enumerate(found):
            slot = min(self.gradients.h[gate] for gate in gates)
            self.backward_products.append(BackwardProduct(slot, len(gates), k, state))
        return {n: k for k, (n, _, _) in enumerate(found)}

    def _phases(
        self, k: int, products: Callable[[Content], dict[int, int]], made: Sequence[ForwardProduct | BackwardProduct]
    ) -> tuple[Phase, ...]:
        """Of pass k. products: adds those of a phase to `made`, and returns the sum of each node."""
        graph, (memory, stored) = self.graph, self._memory(k)
        partial: dict[int, int] = {}
        phases = []
        for content in self.passes[k]:
            totals = tuple((partial[graph.nodes[n].args[0]], self.rows[k, n].number) for n in content.totals)
            first, sums = len(made), products(content)
            stores = []
            for n, where in content.stores:
                if where is None:
                    where = self.slots[k, n]
                elif where.space == At.PARTIAL:
                    where = Operand(At.PARTIAL, partial.setdefault(n, len(partial)))
                stores.append((n, where))
            place = {n: stored[n] for n in content.stored} | {n: memory[n] for n in content.values}
            place |= {n: Operand(At.SUM, sums[n]) for n in content.sums} | {n: self._row(n, k) for n in content.splats}
            rows, of_rows = [(n, self.rows[k, n]) for n in content.rows], {n: self._row(n, k) for n in content.row_values}
            row_program = program(graph, rows, of_rows, of_rows=True)
            phases.append(Phase(totals, row_program, first, len(made), program(graph, stores, place)))
        self.partials = max(self.partials, len(partial))
        return tuple(phases)

    def _row(self, n: int, k: int) -> Operand:
        return self.leaves[n] if n in self.leaves else self.rows[k, n]

    def _memory(self, k: int) -> tuple[dict[int, Operand], dict[int, Operand]]:
        """Where values are that pass k finds, and those that it stores."""
        new, stored = self.f.new, {}
        found = self.leaves | {n: Operand(At.SLOT, self.gradients.x[gate]) for gate, n in self.f.x_gates.items()}
        found |= {n: place for (earlier, n), place in self.slots.items() if earlier < k}
        if k == BACKWARD:
            before = {self.states[i] for i in self.j.readable}
            found |= {new[i]: Operand(At.AFTER, i) for i in self.j.readable if new[i] not in before}
        for n, where in (store for content in self.passes[k] for store in content.stores):
            if where is None:
                stored[n] = self.slots[k, n]
            elif where.space in (At.AFTER, At.SLOT, At.D_BEFORE):
                stored.setdefault(n, where)
        return found, stored

    # ---- the rest ------------------------------------------------------------------------------------------------------------
    def spec(self) -> Spec:
        j, f, p, d = self.j, self.f, self.p, self.gradients
        x_gates, h_gates = list(f.x_gates), list(f.products)
        by_slot = sorted(d.x, key=lambda gate: d.x[gate])
        hh_of_slot = {slot: h_gates.index(gate) for gate, slot in d.h.items()}
        weights = self._weight_gradients() if self.training else ()
        read = {operand for phase in self.backward_phases for operand in _operands(phase.program)}
        read |= {w.source for w in weights if w.source is not None}
        kept = [Operand(At.BEFORE, i) in read or Operand(At.AFTER, i) in read for i in range(len(self.states))]
        # the loops keep states (but for those in y) and row values beside slots only
        beside = any(kept[f.output is None :]) or bool(self.saved_rows)
        gradient_row = {name: self._row(n, BACKWARD).number for name, n in j.d_inputs.items() if name in self.row_inputs}
        product_of = {product.state: k for k, product in enumerate(self.backward_products)}
        return Spec(
            x_gates=len(x_gates),
            h_gates=len(h_gates),
            slots=self.slot_count,
            saves=any(space == At.SLOT for space, _ in self.saved()) or beside,
            y_is_state=f.output is None,
            states=tuple(
                State(product_of.get(i, -1), carried=i in j.d_states, kept=kept[i], in_place=self._in_place(i))
                for i in range(len(self.states))
            ),
            ih_of_slot=tuple(x_gates.index(gate) for gate in by_slot),
            hh_of_slot=tuple(hh_of_slot.get(slot, -1) for slot in range(self.slot_count)),
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
        instructions = [one for phase in self.forward_phases if phase.program for one in phase.program.instructions]
        written = [k for k, (_, (to, *_)) in enumerate(instructions) if to == Operand(At.AFTER, i)]
        read = [k for k, (_, (_, *args)) in enumerate(instructions) if Operand(At.BEFORE, i) in args]
        return self.states[i] not in self.operands and max(read, default=-1) <= min(written, default=len(instructions))

    def _weight_gradients(self) -> tuple[WeightGradient, ...]:
        j, f, d = self.j, self.f, self.gradients
        ih = [WeightGradient("ih", None, d.x[gate], k, 1) for k, gate in enumerate(f.x_gates)]
        hh = [WeightGradient("hh", self._source(j.operands[gate]), d.h[gate], k, 1) for k, gate in enumerate(f.products)]
        return runs([*ih, *hh])

    def saved(self) -> tuple[Operand, ...]:
        """Where the values are that forward keeps for backward, beside states."""
        memory, _ = self._memory(BACKWARD)
        return tuple(sorted({self.rows[BACKWARD, n] if is_row(self.graph, n) else memory[n] for n in self.j.kept}))


def _operands(program: Program | None) -> Iterable[Operand]:
    return (operand for _, operands in (program.instructions if program else ()) for operand in operands)
