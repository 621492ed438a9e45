# cython: language_level=3, freethreading_compatible=True, boundscheck=True, wraparound=False
"""From a formula's Spec (formula/spec.py, which says what each number means) to the structs that the loops and csrc read."""
from libc.string cimport memset

from rnnfast._kernels import _core

cdef dict OPS = {name: op for op, name in enumerate(_core.operations())}
cdef dict SPACES = {name: space for space, name in enumerate(
    ("register", "constant", "sum", "slot", "before", "after", "y", "dy", "d_after", "d_before", "vector", "extra", "d_extra",
     "d_vector", "row", "partial"))}     # in the order of rf_space


cdef class Code:
    def __init__(self, spec, Py_ssize_t hidden_size):
        """spec: a Spec. Raises ValueError for what the loops cannot work with."""
        cdef char text[200]
        cdef rf_cell *c = &self.cell
        memset(c, 0, sizeof(rf_cell))
        self.memory, self.spec = [], spec
        c.name = b"formula"
        try:
            self._fill(spec, hidden_size)
        except IndexError:
            raise ValueError("cell: expected a smaller formula, got one with more states, gates, products or values than there "
                             f"is room for (at most {RF_MAX_STATES} states, {RF_MAX_PHASES} phases, {RF_MAX_PRODUCTS} products "
                             f"with {RF_MAX_TOGETHER} in a phase, {RF_MAX_SLOTS} slots)") from None
        if cell_problem(c, -1, text, sizeof(text)):
            raise ValueError(f"cell: {text.decode()}")

    def keeping_states(self):
        """The same cell, of which every state is kept."""
        cdef Code code = Code.__new__(Code)
        cdef int i
        code.cell, code.memory, code.spec = self.cell, self.memory, self.spec
        code.cell.saves_slots = True
        for i in range(code.cell.states):
            code.cell.state[i].kept, code.cell.state[i].in_place = True, False
        return code

    cdef _fill(self, spec, Py_ssize_t hidden_size):
        cdef rf_cell *c = &self.cell
        cdef int i, g
        c.x_gates, c.h_gates, c.slots, c.saves_slots = spec.x_gates, spec.h_gates, spec.slots, spec.saves
        c.y_is_state, c.vectors, c.extras, c.partials = spec.y_is_state, spec.vectors, spec.extras, spec.partials
        c.row_values, c.row_inputs, c.row_saved = spec.row_values, spec.row_inputs, spec.row_saved
        c.split_biases, c.states, c.products = len(spec.split), len(spec.states), len(spec.weight_gradients)
        c.forward_products, c.backward_products = len(spec.forward_products), len(spec.backward_products)
        c.forward_phases, c.backward_phases = len(spec.forward), len(spec.backward)
        c.ahead_phases, c.rest_phases = len(spec.ahead), len(spec.rest)
        for i, one in enumerate(spec.states):
            room(i, RF_MAX_STATES)
            c.state[i].product, c.state[i].carried, c.state[i].kept, c.state[i].in_place = one
            if i == 0 and c.y_is_state:  # in y every step has its place
                c.state[i].in_place = False
            c.state[i].reads_before, c.state[i].reads_after = reads(spec, "before", i), reads(spec, "after", i)
        for i in range(c.slots):
            room(i, RF_MAX_SLOTS)
            c.hh_of_slot[i] = spec.hh_of_slot[i]
        for i in range(c.x_gates):
            c.ih_of_slot[i], c.merged[i] = spec.ih_of_slot[i], spec.merged[i]
        for i, block in enumerate(spec.split):
            room(i, RF_MAX_VECTORS)
            c.split[i] = block
        for i, value in enumerate(spec.d_row_inputs):
            room(i, RF_MAX_EXTRAS)
            c.d_row_input[i] = value
        for i, f in enumerate(spec.forward_products):
            room(i, RF_MAX_PRODUCTS)
            c.forward_product[i].source, c.forward_product[i].gates = source_of(f.source), len(f.gates)
            for g, gate in enumerate(f.gates):
                room(g, 4)
                c.forward_product[i].gate[g] = gate
        for i, b in enumerate(spec.backward_products):
            room(i, RF_MAX_PRODUCTS)
            c.backward_product[i].slot, c.backward_product[i].gates, c.backward_product[i].state = b.slot, b.gates, b.state
        for i, w in enumerate(spec.weight_gradients):
            room(i, RF_MAX_PRODUCTS)
            c.product[i].to = RF_TO_IH if w.of == "ih" else RF_TO_HH
            c.product[i].source = RF_SRC_X if w.of == "ih" else source_of(w.source)
            c.product[i].slot, c.product[i].gate, c.product[i].gates = w.slot, w.gate, w.gates
        forward, backward = [(p.sum, len(p.gates)) for p in spec.forward_products], [(p.sum, 1) for p in spec.backward_products]
        self._fill_phases(c.forward, spec.forward, forward, hidden_size)
        self._fill_phases(c.backward, spec.backward, backward, hidden_size)
        self._fill_phases(c.ahead, spec.ahead, [], hidden_size)
        self._fill_phases(c.rest, spec.rest, forward, hidden_size)

    cdef _fill_phases(self, rf_phase *to, tuple phases, list products, Py_ssize_t hidden_size):
        cdef int i
        for i, phase in enumerate(phases):
            room(i, RF_MAX_PHASES)
            self._fill_phase(&to[i], phase, products, hidden_size)

    cdef _fill_phase(self, rf_phase *to, phase, list products, Py_ssize_t hidden_size):
        cdef rf_total *total = <rf_total *>self._memory(len(phase.totals) * sizeof(rf_total))
        cdef int i
        to.totals, to.total = len(phase.totals), total
        for i, pair in enumerate(phase.totals):
            total[i].partial, total[i].row = pair
        to.row_program = self._program(phase.row_program, hidden_size)
        to.program = self._program(phase.program, hidden_size)
        to.first, to.products = phase.first, phase.last - phase.first
        for i in range(to.products):
            room(i, RF_MAX_TOGETHER)
            to.sum[i], to.gates[i] = products[phase.first + i]

    cdef rf_program *_program(self, program, Py_ssize_t hidden_size) except? NULL:
        cdef rf_program *to
        cdef rf_operand *operand
        cdef rf_instruction *instruction
        cdef double *constant
        cdef dict known = {}
        cdef int i, k
        if program is None:
            return NULL
        for one in program.instructions:
            for place in one.operands:
                known.setdefault(tuple(place), len(known))
        to = <rf_program *>self._memory(sizeof(rf_program))
        operand = <rf_operand *>self._memory(len(known) * sizeof(rf_operand))
        instruction = <rf_instruction *>self._memory(len(program.instructions) * sizeof(rf_instruction))
        constant = <double *>self._memory(len(program.constants) * sizeof(double))
        for (space, number), i in known.items():
            operand[i].space, operand[i].number = SPACES[space], number
        for i, one in enumerate(program.instructions):
            instruction[i].op = OPS[one.op]
            for k in range(4):
                instruction[i].operand[k] = known[tuple(one.operands[k])] if k < len(one.operands) else -1
        for i, value in enumerate(program.constants):
            constant[i] = 1.0 / hidden_size if value == "1/H" else value
        to.instructions, to.operands = len(program.instructions), len(known)
        to.registers, to.constants = program.registers, len(program.constants)
        to.instruction, to.operand, to.constant = instruction, operand, constant
        return to

    cdef void *_memory(self, size_t nbytes) except NULL:
        cdef Buffer memory = Buffer(max(nbytes, 1))
        self.memory.append(memory)
        return memory.data


cdef int room(int i, int most) except -1:
    if i >= most:
        raise IndexError
    return 0


cdef int source_of(operand) except? -1000:
    space, number = operand
    return number if space == "slot" else RF_SRC_STATE - number


cdef bint reads(spec, str space, int number) except -1:
    """Whether a backward program reads this operand."""
    for phase in spec.backward:
        if phase.program is not None:
            for one in phase.program.instructions:
                if (space, number) in one.operands[1:]:
                    return True
    return False
