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
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize, first = j.row_bounds[thread], last = j.row_bounds[thread + 1]
    for row in range(first, last):
        if o.ragged:
            memcpy(j.h0_rows + row * nbytes, j.h0 + o.sample[row] * nbytes, nbytes)
            if j.cell.has_c:
                memcpy(j.c0_rows + row * nbytes, j.c0 + o.sample[row] * nbytes, nbytes)
    if not j.recomputing:
        for row in range(max(first, rows_at(o, 0)), last):
            memcpy(j.h_n + sample_of(o, row) * nbytes, j.h0 + sample_of(o, row) * nbytes, nbytes)
            if j.cell.has_c:
                memcpy(j.c_n + sample_of(o, row) * nbytes, j.c0 + sample_of(o, row) * nbytes, nbytes)


cdef void clear_ends(const Order *o, const View *v, Py_ssize_t nbytes, int thread, int threads) noexcept nogil:
    """Zeros past the ends of samples in a (T, B, n) array of rows of nbytes; each thread every so many times."""
    cdef Py_ssize_t t = thread, row
    while o.ragged and t < o.T:
        for row in range(o.active[min(t, o.S)], o.B):
            memset(v.data + t * v.step + o.sample[row] * v.row, 0, nbytes)
        t += threads


cdef void begin_projection(Job *j, Py_ssize_t first, Py_ssize_t last, rf_gemm *g) noexcept nogil:
    """Fills the product slots = x W_ih^T + bias of stored rows first .. last, but for its panels; x must be in line."""
    g.p.a, g.p.lda = j.x.data + first * line_step(&j.x, &j.order), line_step(&j.x, &j.order) // j.itemsize
    g.p.rows, g.p.cols, g.p.k, g.p.k_panel = last - first, j.cell.gates * j.hidden, j.inputs, j.inputs
    g.p.w, g.p.descending, g.p.packed_a = j.ih, j.ih == NULL and j.panels_descend, 0
    g.p.w_rows, g.p.w_step = j.ih_rows, j.ih_step
    g.ldc = j.cell.slots * j.hidden
    g.c = j.slots + (first - j.slots_row) * g.ldc * j.itemsize
    g.bias, g.start = j.bias_x, RF_START_BIAS


cdef void project(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """slots = x W_ih^T + bias for the stored rows of steps s0 .. s1; each thread its share."""
    cdef Order *o = &j.order
    cdef Py_ssize_t begin, first, last, q, hint = s0, nbytes = j.inputs * j.itemsize
    cdef rf_gemm g
    window_rows(o, s0, s1, &first, &last)
    begin, g.p.cols = first, j.cell.gates * j.hidden
    share_product(&g.p, j.kernels, in_line(&j.x, o), &first, &last, thread, threads)
    if first == last or g.p.panel0 == g.p.panel1:
        return
    begin_projection(j, first, last, &g)
    if not in_line(&j.x, o):
        for q in range(first, last):
            memcpy(j.x_rows + (q - begin) * nbytes, row_address(&j.x, o, q, &hint), nbytes)
        g.p.a, g.p.lda = j.x_rows + (first - begin) * nbytes, j.inputs
    j.kernels.gemm(&g)


cdef inline void h_before(const Job *j, Py_ssize_t s, Py_ssize_t row, const void **h, ptrdiff_t *ld) noexcept nogil:
    """Where h_{t-1} of step s begins for rows `row` and on, and its row stride in elements."""
    cdef const Order *o = &j.order
    ld[0] = j.hidden
    if s == 0:
        h[0] = (j.h0_rows if o.ragged else j.h0) + row * j.hidden * j.itemsize
    elif j.h_in_y:
        h[0] = at(&j.y, o, s - 1, row)
        ld[0] = j.y.row // j.itemsize
    else:
        h[0] = j.h_rows[(s - 1) & 1] + row * j.hidden * j.itemsize


cdef void checkpoint_c(Job *j, Py_ssize_t s, const char *c, Py_ssize_t first, Py_ssize_t last,
                       int thread, int threads) noexcept nogil:
    """Keeps c before step s: rows first .. last, the units that this thread computes in the first phase."""
    cdef int gates = j.cell.forward[0].gates
    cdef Py_ssize_t width = units_of_panel(j.kernels, gates), unit0, unit1, row
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize
    cdef char *to = j.c_checkpoints + ((s // j.checkpoint_every) * j.order.B + first) * nbytes
    cdef rf_product p
    own_panels(j, &p, gates, thread, threads)
    unit0, unit1 = p.panel0 * width * j.itemsize, min(p.panel1 * width, j.hidden) * j.itemsize
    for row in range(last - first):
        memcpy(to + row * nbytes + unit0, c + row * nbytes + unit0, unit1 - unit0)


cdef void open_step(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last, int thread, int threads,
                    rf_step *a) noexcept nogil:
    """Fills the step kernels' argument for rows first .. last of step s: all but the product's operands and panels."""
    cdef Order *o = &j.order
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize
    h_before(j, s, first, &a.h_prev, &a.ld_h_prev)
    if j.h_in_y:
        a.h, a.ld_h = at(&j.y, o, s, first), j.y.row // j.itemsize
    else:
        a.h, a.ld_h = j.h_rows[s & 1] + first * nbytes, j.hidden
    if j.cell.has_c:
        a.c = cell_at(j, s, first) if j.save else j.c_rows + first * nbytes
        if s == 0:
            a.c_prev = (j.c0_rows if o.ragged else j.c0) + first * nbytes
        elif j.save and not (j.checkpoint_every and s % j.checkpoint_every == 0):
            a.c_prev = cell_at(j, s - 1, first)
        elif j.save:
            a.c_prev = j.c_checkpoints + (s // j.checkpoint_every * o.B + first) * nbytes
        else:
            a.c_prev = a.c
        if j.checkpoint_every and not j.save and s % j.checkpoint_every == 0:
            checkpoint_c(j, s, <const char *>a.c_prev, first, last, thread, threads)
    a.save, a.bias = j.save, j.bias_h
    a.slots, a.ld_slots = slot_at(j, s, first, 0), j.cell.slots * j.hidden
    a.p.rows, a.p.cols, a.p.k, a.p.k_panel, a.p.packed_a = last - first, j.hidden, j.hidden, j.hidden, 0
    a.p.descending = (s ^ j.panels_descend) & 1


cdef void run_phase(Job *j, Py_ssize_t s, Py_ssize_t first, int p, rf_step *a) noexcept nogil:
    """Phase p of an open step, for the panels that are set."""
    cdef int source = j.cell.forward[p].source
    if source == RF_SRC_H:
        a.p.a, a.p.lda = a.h_prev, a.ld_h_prev
    else:
        a.p.a, a.p.lda = slot_at(j, s, first, source), a.ld_slots
    a.p.w, a.p.w_rows, a.p.w_step = j.hh[p], j.hh_rows[p], j.hh_step
    j.kernels.forward[j.index][p].run(a)


cdef void close_step(Job *j, Py_ssize_t s, Py_ssize_t first, const rf_step *a, int thread) noexcept nogil:
    """Writes what must stand elsewhere: whole rows, however the step was split."""
    cdef Order *o = &j.order
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize, row, to_row = min(j.row_bounds[thread + 1], rows_at(o, s))
    if j.recomputing:
        return
    if not j.h_in_y:
        for row in range(j.row_bounds[thread], to_row):
            memcpy(at(&j.y, o, s, row), j.h_rows[s & 1] + row * nbytes, nbytes)
    for row in range(max(j.row_bounds[thread], rows_at(o, s + 1)), to_row):  # these have ended
        memcpy(j.h_n + sample_of(o, row) * nbytes, <char *>a.h + (row - first) * a.ld_h * j.itemsize, nbytes)
        if j.cell.has_c:
            memcpy(j.c_n + sample_of(o, row) * nbytes, <char *>a.c + (row - first) * nbytes, nbytes)


cdef void forward_step(Job *j, Py_ssize_t s, int thread, int threads) noexcept nogil:
    """One step of this thread's rows or units: every phase of the cell, then what must be written elsewhere."""
    cdef Py_ssize_t first, last
    cdef rf_step a
    cdef int p
    own_rows(j, thread, rows_at(&j.order, s), &first, &last)
    if first >= last:
        return
    open_step(j, s, first, last, thread, threads, &a)
    for p in range(j.cell.phases):
        own_panels(j, &a.p, j.cell.forward[p].gates, thread, threads)
        run_phase(j, s, first, p, &a)
        step_barrier(j, threads)
    close_step(j, s, first, &a, thread)


cdef inline bint stands_alone(const Job *j, int threads) noexcept nogil:
    """The call is one step that single_step can do: packed weights; units split, if anything is; one phase; blocks that end
    with panels."""
    return (j.ih != NULL and j.order.S == 1 and j.cell.phases == 1 and in_line(&j.x, &j.order) and (threads == 1 or j.by_units)
            and j.hidden % j.kernels.width == 0)


cdef void single_step(Job *j, int thread, int threads) noexcept nogil:
    """A call of one step (a stream): block after block of units, each projected and then stepped.

    Every weight is used once, so the caches decide. Going through the blocks to and fro, call by call (j.panels_descend),
    begins with what the last call ended with: of weights twice as large as L2 nearly half are still there."""
    cdef Py_ssize_t width = j.kernels.width, gates = j.cell.gates, blocks, n, unit, end
    cdef Py_ssize_t wide = max(1, SINGLE_BYTES // (width * gates * (j.inputs + j.hidden) * j.itemsize)) * width
    cdef Py_ssize_t unit0 = j.hidden // width * thread // threads * width
    cdef Py_ssize_t unit1 = j.hidden // width * (thread + 1) // threads * width
    cdef Py_ssize_t panel = units_of_panel(j.kernels, <int>gates)
    cdef rf_step a
    cdef rf_gemm g
    cdef int gate
    open_step(j, 0, 0, j.order.B, thread, threads, &a)
    begin_projection(j, 0, j.order.B, &g)
    g.p.descending = j.panels_descend
    blocks = (unit1 - unit0 + wide - 1) // wide
    for n in range(blocks):
        unit = unit0 + (blocks - 1 - n if j.panels_descend else n) * wide
        end = min(unit + wide, unit1)
        for gate in range(gates):
            g.p.panel0, g.p.panel1 = (gate * j.hidden + unit) // width, (gate * j.hidden + end) // width
            j.kernels.gemm(&g)
        a.p.panel0, a.p.panel1 = unit // panel, end // panel
        run_phase(j, 0, 0, 0, &a)
    step_barrier(j, threads)
    close_step(j, 0, 0, &a, thread)


cdef bint forward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Steps s0 .. s1: their projection by all threads together, then each thread its rows or units. True: the call is to end,
    and the steps were not taken."""
    cdef Py_ssize_t s
    project(j, s0, s1, thread, threads)
    if team_agree(threads, interrupted(j, thread)):
        return True
    for s in range(s0, s1):
        forward_step(j, s, thread, threads)
    team_barrier(threads)
    return False


cdef void forward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j = (<Job *>arg)[0]  # each thread moves slots_row along for itself
    cdef Py_ssize_t s0 = 0, s1, end
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
