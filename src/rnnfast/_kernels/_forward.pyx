# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The timestep loop forward, of one layer in one direction.

Every cell runs through the same loops: what differs is in rf_cell (numbers: slots, phases, products) and in the step kernels.
Every function below `cdef ... noexcept nogil` is run by all threads of the team on their share; nothing there allocates. The
shapes and meanings of what they read, and where it is, are in _job.pxd.
"""
from libc.string cimport memcpy, memset

from rnnfast._kernels._core cimport *
from rnnfast._kernels._job cimport *


cdef void begin_rows(Job *j, int thread) noexcept nogil:
    """Initial states by row; rows of length 0 are finished at once."""
    cdef Order *o = &j.order
    cdef State *state
    cdef int i
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize, first = j.row_bounds[thread], last = j.row_bounds[thread + 1]
    for i in range(j.cell.states):
        state = &j.state[i]
        if o.ragged:
            for row in range(first, last):
                memcpy(state.first_rows + row * nbytes, state.first + o.sample[row] * nbytes, nbytes)
        if not j.recomputing:
            for row in range(max(first, rows_at(o, 0)), last):
                memcpy(state.last + sample_of(o, row) * nbytes, state.first + sample_of(o, row) * nbytes, nbytes)


cdef void clear_ends(const Order *o, const View *v, Py_ssize_t nbytes, int thread, int threads) noexcept nogil:
    """Zeros past the ends of samples in an array of rows of nbytes that has them; each thread every so many times."""
    cdef Py_ssize_t t = thread, row
    while o.ragged and not v.packed and t < o.T:
        for row in range(o.active[min(t, o.S)], o.B):
            memset(v.data + t * v.step + o.sample[row] * v.row, 0, nbytes)
        t += threads


cdef void begin_projection(Job *j, Py_ssize_t first, Py_ssize_t last, rf_gemm *g) noexcept nogil:
    """Fills the product slots = x W_ih^T + bias of stored rows first .. last, but for its panels; x must be in line."""
    g.p.a, g.p.lda = j.x.data + first * line_step(&j.x, &j.order), elements(j, line_step(&j.x, &j.order))
    g.p.rows, g.p.cols, g.p.k, g.p.k_panel = last - first, j.cell.x_gates * j.hidden, j.inputs, j.inputs
    g.p.w, g.p.descending, g.p.packed_a = j.ih, j.ih == NULL and j.panels_descend, 0
    g.p.w_rows, g.p.w_step = j.ih_rows, j.ih_step
    g.ldc = j.slots_ld
    g.c = j.slots + (first - j.slots_row) * g.ldc * j.itemsize
    g.bias, g.start = j.bias_x, RF_START_BIAS


cdef void project(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """slots = x W_ih^T + bias for the stored rows of steps s0 .. s1; each thread its share."""
    cdef Order *o = &j.order
    cdef Py_ssize_t begin, first, last, q, hint = s0, nbytes = j.inputs * j.itemsize
    cdef rf_gemm g
    window_rows(o, s0, s1, &first, &last)
    begin, g.p.cols = first, j.cell.x_gates * j.hidden
    share_product(&g.p, j.kernels, in_line(&j.x, o), &first, &last, thread, threads)
    if first == last or g.p.panel0 == g.p.panel1:
        return
    begin_projection(j, first, last, &g)
    if not in_line(&j.x, o):
        for q in range(first, last):
            memcpy(j.x_rows + (q - begin) * nbytes, row_address(&j.x, o, q, &hint), nbytes)
        g.p.a, g.p.lda = j.x_rows + (first - begin) * nbytes, j.inputs
    j.kernels.gemm(&g)


cdef void compute_ahead(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """What does not depend on states, of the stored rows of steps s0 .. s1; each thread its share."""
    cdef const rf_cell *c = j.cell
    cdef Py_ssize_t first, last, begin, n
    cdef char *values = j.ahead + thread * j.ahead_bytes
    cdef rf_step a
    cdef int p
    window_rows(&j.order, s0, s1, &first, &last)
    begin, n = first - j.slots_row, last - first
    first, last = begin + n * thread // threads, begin + n * (thread + 1) // threads
    a.vectors, a.p[0].cols, a.unit0, a.unit1, a.row_values = j.vectors, j.hidden, 0, j.hidden, values
    while first < last:
        n = min(last - first, j.ahead_rows)
        a.p[0].rows = a.ld_row_values = a.ld_partials = n
        a.partials = values + c.row_values * n * j.itemsize
        set_place(&a.slots, j.slots + first * j.slots_ld * j.itemsize, j.slots_ld)
        for p in range(c.ahead_phases):
            a.phase = &c.ahead[p]
            j.kernels.interpret(&a)
        first += n


cdef inline void place_before(Job *j, Py_ssize_t s, Py_ssize_t first, int i, rf_rows *before) noexcept nogil:
    """Where state i is, of rows `first` and on, before step s of a forward pass, if s is the first of a window. Later it is
    where the step before has left it."""
    cdef Py_ssize_t skipped = first * j.hidden * j.itemsize
    set_place(before, NULL, j.hidden)
    if s == 0:
        before.at = <char *>first_of(j, i) + skipped
    elif i == 0 and j.h_in_y:
        set_place(before, at(&j.y, &j.order, s - 1, first), elements(j, j.y.row))
    elif j.recomputing and not is_y(j, i) and at_checkpoint(j, s):
        before.at = checkpoint_at(j, i, s, first)
    elif j.save and j.cell.state[i].kept and not is_y(j, i):
        before.at = kept_at(j, i, s - 1, first)
    else:
        before.at = j.state[i].turn[0 if j.cell.state[i].in_place else (s - 1) & 1] + skipped


cdef inline void place_after(Job *j, Py_ssize_t s, Py_ssize_t first, int i, rf_rows *after) noexcept nogil:
    """Where state i is, of rows `first` and on, after step s of a forward pass."""
    if i == 0 and j.h_in_y:
        set_place(after, at(&j.y, &j.order, s, first), elements(j, j.y.row))
    elif j.save and j.cell.state[i].kept and not is_y(j, i):
        set_place(after, kept_at(j, i, s, first), j.hidden)
    else:
        set_place(after, j.state[i].turn[0 if j.cell.state[i].in_place else s & 1] + first * j.hidden * j.itemsize, j.hidden)


cdef void keep_checkpoint(Job *j, int i, Py_ssize_t s, const rf_rows *before, Py_ssize_t first, Py_ssize_t last,
                          int thread, int threads) noexcept nogil:
    """Keeps a state before step s: rows first .. last, the units that this thread computes in the first phase."""
    cdef rf_step a
    cdef Py_ssize_t width = units_of_panel(j.kernels, j.cell.forward[0].gates[0] if j.index >= 0 else 1), unit0, unit1, row
    a.unit0 = a.unit1 = 0
    own_panels(j, &a, &j.cell.forward[0], thread, threads)
    if j.index >= 0:
        a.unit0, a.unit1 = a.p[0].panel0 * width, min(a.p[0].panel1 * width, j.hidden)
    unit0, unit1 = a.unit0 * j.itemsize, a.unit1 * j.itemsize
    for row in range(last - first):
        memcpy(checkpoint_at(j, i, s, first + row) + unit0, <char *>before.at + row * before.ld * j.itemsize + unit0,
               unit1 - unit0)


cdef void open_extras(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last, int thread, rf_step *a) noexcept nogil:
    """Inputs, draws and numbers a row of rows first .. last of step s, for either pass."""
    cdef const rf_cell *c = j.cell
    cdef Py_ssize_t row, v
    cdef char *values
    cdef Extra *extra
    cdef int i
    for i in range(c.extras):
        extra = &j.extra[i]
        if j.order.ragged:
            set_place(&a.extra[i], extra.rows + first * j.hidden * j.itemsize, j.hidden)
            set_place(&a.d_extra[i], extra.d_rows + first * j.hidden * j.itemsize if extra.d.data != NULL else NULL, j.hidden)
        else:
            set_place(&a.extra[i], at(&extra.value, &j.order, s, first), elements(j, extra.value.row))
            set_place(&a.d_extra[i], at(&extra.d, &j.order, s, first) if extra.d.data != NULL else NULL,
                     elements(j, extra.d.row))
    if c.row_values:
        values = j.row_values + thread * c.row_values * j.order.B * j.itemsize
        a.row_values, a.ld_row_values = values + first * j.itemsize, j.order.B
        for i in range(c.row_inputs):
            for row in range(first, last):
                memcpy(values + (i * j.order.B + row) * j.itemsize, at(&j.extra[c.extras + i].value, &j.order, s, row),
                       j.itemsize)
    a.partials, a.ld_partials = j.partials + first * j.itemsize, j.order.B
    set_place(&a.sums, j.sums + first * j.most_sums * j.hidden * j.itemsize, j.most_sums * j.hidden)


cdef void gather_extras(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """If lengths differ, the rows of inputs and draws of step s, one after the other."""
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize
    cdef int i
    for i in range(j.cell.extras):
        for row in range(first, last):
            memcpy(j.extra[i].rows + row * nbytes, at(&j.extra[i].value, &j.order, s, row), nbytes)


cdef void keep_row_values(Job *j, Py_ssize_t s, int thread, bint back) noexcept nogil:
    """The numbers a row that backward reads: from this thread's memory to what is kept of its rows; or back, of all rows."""
    cdef const rf_cell *c = j.cell
    cdef Py_ssize_t row, first = j.row_bounds[thread], last = min(j.row_bounds[thread + 1], rows_at(&j.order, s))
    cdef char *values
    cdef char *kept
    cdef int v
    if back:
        own_rows(j, thread, rows_at(&j.order, s), &first, &last)
    for row in range(first, last):
        kept = j.row_kept + (stored(&j.order, s) + row - j.slots_row) * c.row_saved * j.itemsize
        for v in range(c.row_saved):
            values = j.row_values + ((thread * c.row_values + c.row_inputs + v) * j.order.B + row) * j.itemsize
            if back:
                memcpy(values, kept + v * j.itemsize, j.itemsize)
            else:
                memcpy(kept + v * j.itemsize, values, j.itemsize)


cdef inline const rf_phase *phase_at(const Job *j, int p) noexcept nogil:
    return &j.cell.rest[p] if j.hoists else &j.cell.forward[p]


cdef void open_phase(Job *j, int p, int thread, int threads, rf_step *a) noexcept nogil:
    """What is the same in all steps about the products of phase p: their sizes, weights and panels."""
    cdef const rf_phase *phase = phase_at(j, p)
    cdef rf_product *product
    cdef int i
    own_panels(j, a, phase, thread, threads)
    for i in range(phase.products):
        product = &a.p[i]
        product.cols, product.k, product.k_panel, product.packed_a = j.hidden, j.hidden, j.hidden, 0
        product.w, product.w_rows, product.w_step = j.hh[phase.first + i], NULL, j.hh_step
        if product.w == NULL:
            product.w_rows = j.hh_rows[phase.first + i]


cdef inline void open_step(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last, bint begins, int thread, int threads,
                           rf_step *a) noexcept nogil:
    """Fills the step kernels' argument for rows first .. last of step s, but for products. begins: it is the first step that
    uses it, else it holds what the step before has left; steps of 0.2 us show every line here that could stand elsewhere."""
    cdef int i
    if begins:
        a.save, a.vectors = j.save, j.vectors
        a.slots.ld, a.p[0].cols = j.slots_ld, j.hidden
    for i in range(j.cell.states):
        if begins:
            place_before(j, s, first, i, &a.before[i])
        else:
            a.before[i] = a.after[i]
        place_after(j, s, first, i, &a.after[i])
        if j.checkpoint_every and not j.recomputing and not is_y(j, i) and at_checkpoint(j, s):
            keep_checkpoint(j, i, s, &a.before[i], first, last, thread, threads)
    a.slots.at = slot_at(j, s, first, 0)
    a.p[0].rows = last - first
    if j.index < 0:
        open_extras(j, s, first, last, thread, a)
        if j.y_rows != NULL:
            set_place(&a.y, y_rows_at(j, s) + first * j.hidden * j.itemsize, j.hidden)
        elif not j.cell.y_is_state:
            set_place(&a.y, at(&j.y, &j.order, s, first), elements(j, j.y.row))


cdef inline void run_phase(Job *j, Py_ssize_t s, Py_ssize_t first, int p, rf_step *a) noexcept nogil:
    """Phase p of an open step, for the panels that are set."""
    cdef const rf_phase *phase = phase_at(j, p)
    cdef Py_ssize_t rows = a.p[0].rows
    cdef int i, source
    for i in range(phase.products):
        source = j.cell.forward_product[phase.first + i].source
        if source < 0:
            a.p[i].a, a.p[i].lda = a.before[RF_SRC_STATE - source].at, a.before[RF_SRC_STATE - source].ld
        else:
            a.p[i].a, a.p[i].lda = slot_at(j, s, first, source), a.slots.ld
        a.p[i].rows, a.p[i].descending = rows, (s ^ j.panels_descend) & 1
    if j.index >= 0:
        j.kernels.forward[j.index][p].run(a)
    else:
        a.phase = phase
        j.kernels.interpret(a)


cdef inline void close_step(Job *j, Py_ssize_t s, Py_ssize_t first, const rf_step *a, int thread) noexcept nogil:
    """Writes what must stand elsewhere: whole rows, however the step was split."""
    cdef Order *o = &j.order
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize, row, to_row
    cdef const char *y = j.state[0].turn[s & 1] if j.cell.y_is_state else y_rows_at(j, s)
    cdef bint y_elsewhere = not j.h_in_y and y != NULL
    cdef int i
    if j.save and j.cell.row_saved:
        keep_row_values(j, s, thread, False)
    if j.recomputing or not (y_elsewhere or rows_at(o, s + 1) < rows_at(o, s)):
        return
    to_row = min(j.row_bounds[thread + 1], rows_at(o, s))
    if y_elsewhere:
        for row in range(j.row_bounds[thread], to_row):
            memcpy(at(&j.y, o, s, row), y + row * nbytes, nbytes)
    for row in range(max(j.row_bounds[thread], rows_at(o, s + 1)), to_row):  # these have ended
        for i in range(j.cell.states):
            memcpy(j.state[i].last + sample_of(o, row) * nbytes,
                   <char *>a.after[i].at + (row - first) * a.after[i].ld * j.itemsize, nbytes)


cdef inline void forward_step(Job *j, Py_ssize_t s, bint begins, int thread, int threads, rf_step *a) noexcept nogil:
    """One step of this thread's rows or units: every phase of the cell, then what must be written elsewhere."""
    cdef Py_ssize_t first, last
    cdef int phases = j.cell.rest_phases if j.hoists else j.cell.forward_phases, p
    own_rows(j, thread, rows_at(&j.order, s), &first, &last)
    if first >= last:
        return
    if j.order.ragged and j.cell.extras:
        gather_extras(j, s, j.row_bounds[thread], min(j.row_bounds[thread + 1], rows_at(&j.order, s)))
        step_barrier(j, threads)
    open_step(j, s, first, last, begins, thread, threads, a)
    for p in range(phases):
        if begins or phases > 1:
            open_phase(j, p, thread, threads, a)
        run_phase(j, s, first, p, a)
        step_barrier(j, threads)
    close_step(j, s, first, a, thread)


cdef inline bint stands_alone(const Job *j, int threads) noexcept nogil:
    """The call is one step that single_step can do: packed weights; units split, if anything is; one phase; blocks that end
    with panels; all rows at work."""
    return (j.ih != NULL and j.order.S == 1 and not j.order.ragged
            and j.cell.forward_phases == 1 and j.cell.forward_products == 1 and in_line(&j.x, &j.order)
            and (threads == 1 or j.by_units) and j.hidden % j.kernels.width == 0)


cdef void single_step(Job *j, int thread, int threads) noexcept nogil:
    """A call of one step (a stream): block after block of units, each projected and then stepped.

    Every weight is used once, so the caches decide. Going through the blocks to and fro, call by call (j.panels_descend),
    begins with what the last call ended with: of weights twice as large as L2 nearly half are still there."""
    cdef Py_ssize_t width = j.kernels.width, blocks, n, unit, end
    cdef Py_ssize_t wide = max(1, SINGLE_BYTES // (width * gates_of(j) * (j.inputs + j.hidden) * j.itemsize)) * width
    cdef Py_ssize_t unit0 = j.hidden // width * thread // threads * width
    cdef Py_ssize_t unit1 = j.hidden // width * (thread + 1) // threads * width
    cdef Py_ssize_t panel = units_of_panel(j.kernels, j.cell.forward[0].gates[0])
    cdef rf_step a
    cdef rf_gemm g
    cdef int gate
    open_step(j, 0, 0, j.order.B, True, thread, threads, &a)
    open_phase(j, 0, thread, threads, &a)
    begin_projection(j, 0, j.order.B, &g)
    g.p.descending = j.panels_descend
    blocks = (unit1 - unit0 + wide - 1) // wide
    for n in range(blocks):
        unit = unit0 + (blocks - 1 - n if j.panels_descend else n) * wide
        end = min(unit + wide, unit1)
        for gate in range(j.cell.x_gates):
            g.p.panel0, g.p.panel1 = (gate * j.hidden + unit) // width, (gate * j.hidden + end) // width
            j.kernels.gemm(&g)
        a.p[0].panel0, a.p[0].panel1 = unit // panel, end // panel
        a.unit0, a.unit1 = unit, end
        run_phase(j, 0, 0, 0, &a)
    step_barrier(j, threads)
    close_step(j, 0, 0, &a, thread)


cdef bint forward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Steps s0 .. s1: their projection by all threads together, then each thread its rows or units. True: the call is to end,
    and the steps were not taken."""
    cdef Py_ssize_t s
    cdef rf_step a
    project(j, s0, s1, thread, threads)
    if team_agree(threads, interrupted(j, thread)):
        return True
    if j.hoists:
        compute_ahead(j, s0, s1, thread, threads)
        team_barrier(threads)
    for s in range(s0, s1):
        forward_step(j, s, s == s0, thread, threads, &a)
    team_barrier(threads)
    return False


cdef void forward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j  # each thread moves slots_row along for itself
    cdef Py_ssize_t s0 = 0, s1, end
    memcpy(&j, arg, job_bytes((<Job *>arg).cell))
    enter(&j, threads)
    begin_rows(&j, thread)
    clear_ends(&j.order, &j.y, j.hidden * j.itemsize, thread, threads)
    if stands_alone(&j, threads):
        single_step(&j, thread, threads)
        s0 = 1
    while s0 < j.order.S:
        s1 = min(s0 + j.chunk, j.order.S)
        if not j.save:
            window_rows(&j.order, s0, s1, &j.slots_row, &end)
        if forward_window(&j, s0, s1, thread, threads):
            break
        s0 = s1
    fp_leave(j.fp)
