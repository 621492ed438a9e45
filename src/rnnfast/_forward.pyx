# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The timestep loop forward, of one layer in one direction.

Every cell runs through the same loops: what differs is in rf_cell (numbers: slots, phases, products) and in the step kernels.
Every function below `cdef ... noexcept nogil` is run by all threads of the team on their share; nothing there allocates. The
shapes and meanings of what they read, and where it is, are in _job.pxd.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from rnnfast._core cimport *
from rnnfast._job cimport *


cdef void begin_rows(Job *j, int thread) noexcept nogil:
    """Initial states by row; rows of length 0 are finished at once."""
    cdef Order *o = &j.order
    cdef Py_ssize_t row, nbytes = j.hidden * j.size, first = j.cut[thread], last = j.cut[thread + 1]
    for row in range(first, last):
        if o.ragged:
            memcpy(j.h0_rows + row * nbytes, j.h0 + o.sample[row] * nbytes, nbytes)
            if j.cell.has_c:
                memcpy(j.c0_rows + row * nbytes, j.c0 + o.sample[row] * nbytes, nbytes)
    if not j.quiet:
        for row in range(max(first, rows_at(o, 0)), last):
            memcpy(j.h_n + sample_of(o, row) * nbytes, j.h0 + sample_of(o, row) * nbytes, nbytes)
            if j.cell.has_c:
                memcpy(j.c_n + sample_of(o, row) * nbytes, j.c0 + sample_of(o, row) * nbytes, nbytes)


cdef void project(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """slots = x W_ih^T + bias for the stored rows of steps s0 .. s1; each thread its share."""
    cdef Order *o = &j.order
    cdef Py_ssize_t begin, first, last, q, hint = s0, nbytes = j.inputs * j.size
    cdef rf_gemm g
    window_rows(o, s0, s1, &first, &last)
    begin, g.p.cols = first, j.cell.gates * j.hidden
    share_product(&g.p, j.kernels, in_line(&j.x, o), &first, &last, thread, threads)
    if first == last or g.p.panel0 == g.p.panel1:
        return
    if in_line(&j.x, o):
        g.p.a = j.x.data + first * line_step(&j.x, o)
        g.p.lda = line_step(&j.x, o) // j.size
    else:
        for q in range(first, last):
            memcpy(j.x_rows + (q - begin) * nbytes, row_address(&j.x, o, q, &hint), nbytes)
        g.p.a = j.x_rows + (first - begin) * nbytes
        g.p.lda = j.inputs
    g.p.rows, g.p.k, g.p.k_panel = last - first, j.inputs, j.inputs
    g.p.w, g.p.descending, g.p.packed_a = j.ih, 0, 0
    g.ldc = j.cell.slots * j.hidden
    g.c = j.slots + (first - j.slots_row) * g.ldc * j.size
    g.bias, g.start = j.bias_x, RF_START_BIAS
    j.kernels.gemm(&g)


cdef inline void h_before(const Job *j, Py_ssize_t s, Py_ssize_t row, const void **h, ptrdiff_t *ld) noexcept nogil:
    """Where h_{t-1} of step s begins for rows `row` and on, and its row stride in elements."""
    cdef const Order *o = &j.order
    ld[0] = j.hidden
    if s == 0:
        h[0] = (j.h0_rows if o.ragged else j.h0) + row * j.hidden * j.size
    elif j.h_in_y:
        h[0] = at(&j.y, o, s - 1, row)
        ld[0] = j.y.row // j.size
    else:
        h[0] = j.h_rows[(s - 1) & 1] + row * j.hidden * j.size


cdef void mark(Job *j, Py_ssize_t s, const char *c, Py_ssize_t first, Py_ssize_t last, const rf_product *p) noexcept nogil:
    """Keeps c before step s: rows first .. last, the units of p's panels (has_c cells have one panel size: LANES units)."""
    cdef Py_ssize_t unit0 = p.panel0 * j.kernels.lanes, unit1 = min(p.panel1 * j.kernels.lanes, j.hidden), row
    cdef char *to = j.c_marks + ((s // j.every) * j.order.B + first) * j.hidden * j.size
    for row in range(last - first):
        memcpy(to + (row * j.hidden + unit0) * j.size, c + (row * j.hidden + unit0) * j.size, (unit1 - unit0) * j.size)


cdef void forward_step(Job *j, Py_ssize_t s, int thread, int threads) noexcept nogil:
    """One step of this thread's rows or units: every phase of the cell, then what must be written elsewhere."""
    cdef Order *o = &j.order
    cdef Py_ssize_t first, last, row, nbytes = j.hidden * j.size
    cdef const rf_forward_phase *phase
    cdef rf_step a
    cdef int p
    own_rows(j, thread, rows_at(o, s), &first, &last)
    if first >= last:
        return
    h_before(j, s, first, &a.h_prev, &a.ld_h_prev)
    if j.h_in_y:
        a.h, a.ld_h = at(&j.y, o, s, first), j.y.row // j.size
    else:
        a.h, a.ld_h = j.h_rows[s & 1] + first * nbytes, j.hidden
    if j.cell.has_c:
        a.c = cell_at(j, s, first) if j.save else j.c_rows + first * nbytes
        if s == 0:
            a.c_prev = (j.c0_rows if o.ragged else j.c0) + first * nbytes
        elif j.save and not (j.every and s % j.every == 0):
            a.c_prev = cell_at(j, s - 1, first)
        elif j.save:
            a.c_prev = j.c_marks + (s // j.every * o.B + first) * nbytes
        else:
            a.c_prev = a.c
        if j.every and not j.save and s % j.every == 0:
            own_panels(j, &a.p, j.cell.forward[0].gates, thread, threads)
            mark(j, s, <const char *>a.c_prev, first, last, &a.p)
    a.save, a.bias = j.save, j.bias_h
    a.slots, a.ld_slots = slot_at(j, s, first, 0), j.cell.slots * j.hidden
    a.p.rows, a.p.cols, a.p.k, a.p.k_panel, a.p.packed_a = last - first, j.hidden, j.hidden, j.hidden, 0
    a.p.descending = s & 1
    for p in range(j.cell.phases):
        phase = &j.cell.forward[p]
        if phase.source == RF_SRC_H:
            a.p.a, a.p.lda = a.h_prev, a.ld_h_prev
        else:
            a.p.a, a.p.lda = slot_at(j, s, first, phase.source), a.ld_slots
        a.p.w = j.hh[p]
        own_panels(j, &a.p, phase.gates, thread, threads)
        j.kernels.forward[j.index][p](&a)
        step_barrier(j, threads)
    if j.quiet:
        return
    cdef Py_ssize_t from_row = j.cut[thread], to_row = min(j.cut[thread + 1], rows_at(o, s))  # whole rows, however split
    if not j.h_in_y:
        for row in range(from_row, to_row):
            memcpy(at(&j.y, o, s, row), j.h_rows[s & 1] + row * nbytes, nbytes)
    for row in range(max(from_row, rows_at(o, s + 1)), to_row):  # these have ended
        memcpy(j.h_n + sample_of(o, row) * nbytes, <char *>a.h + (row - first) * a.ld_h * j.size, nbytes)
        if j.cell.has_c:
            memcpy(j.c_n + sample_of(o, row) * nbytes, <char *>a.c + (row - first) * nbytes, nbytes)


cdef void forward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Steps s0 .. s1: their projection by all threads together, then each thread its rows."""
    cdef Py_ssize_t s
    project(j, s0, s1, thread, threads)
    barrier(threads)
    for s in range(s0, s1):
        forward_step(j, s, thread, threads)
    barrier(threads)


cdef void forward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j = (<Job *>arg)[0]  # each thread moves slots_row along for itself
    cdef Py_ssize_t s0 = 0, s1, end
    cdef uint64_t fp = fp_enter()
    begin_rows(&j, thread)
    while s0 < j.order.S:
        s1 = min(s0 + j.chunk, j.order.S)
        if not j.save:
            window_rows(&j.order, s0, s1, &j.slots_row, &end)
        forward_window(&j, s0, s1, thread, threads)
        s0 = s1
    fp_leave(fp)
