# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The timestep loop of back-propagation through time, of one layer in one direction, and the products after it.

Every cell runs through the same loops: what differs is in rf_cell (numbers: slots, phases, products) and in the step kernels.
Every function below `cdef ... noexcept nogil` is run by all threads of the team on their share; nothing there allocates. The
shapes and meanings of what they read, and where it is, are in _job.pxd.
"""
from libc.string cimport memcpy, memset

from rnnfast._kernels._core cimport *
from rnnfast._kernels._forward cimport begin_rows, clear_ends, forward_window
from rnnfast._kernels._job cimport *


cdef void gather(Job *j, Py_ssize_t s, int thread, int threads) noexcept nogil:
    """Ragged: the rows of dy and of h that backward's elementwise part reads at step s, one after the other."""
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize
    if not j.order.ragged:
        return
    for row in range(j.row_bounds[thread], min(j.row_bounds[thread + 1], rows_at(&j.order, s))):
        if j.dy.data != NULL:
            memcpy(j.dy_rows + row * nbytes, at(&j.dy, &j.order, s, row), nbytes)
        if j.cell.reads_h:
            memcpy(j.hp_rows + row * nbytes, at(&j.y, &j.order, s, row), nbytes)
        elif j.cell.reads_h_prev and s > 0:
            memcpy(j.hp_rows + row * nbytes, at(&j.y, &j.order, s - 1, row), nbytes)
    step_barrier(j, threads)


cdef const char *rows_of(const Job *j, const View *v, Py_ssize_t s, Py_ssize_t first, char *gathered,
                         ptrdiff_t *ld) noexcept nogil:
    """Where row `first` and on of step s of a (T, B, H) array are: in place where dense, else gathered."""
    ld[0] = j.hidden if j.order.ragged else v.row // j.itemsize
    return gathered + first * j.hidden * j.itemsize if j.order.ragged else at(v, &j.order, s, first)


cdef void backward_rows(Job *j, Py_ssize_t s, int p, Py_ssize_t first, Py_ssize_t last, bint entering, bint at_edge,
                        int thread, int threads) noexcept nogil:
    """Phase p of step s backward, rows first .. last: dh_t, then the gradients of the gates. entering: s is the last step
    of these rows, no product reaches them. at_edge: the gradients of step s+1 are in next_window_slots."""
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize, S = j.cell.slots
    cdef const rf_backward_phase *phase = &j.cell.backward[p]
    cdef rf_step a
    if first >= last:
        return
    a.dy = rows_of(j, &j.dy, s, first, j.dy_rows, &a.ld_dy) if j.dy.data != NULL else NULL
    a.h, a.h_prev, a.c, a.c_prev = NULL, NULL, NULL, NULL
    if j.cell.reads_h:
        a.h = <void *>rows_of(j, &j.y, s, first, j.hp_rows, &a.ld_h)
    if j.cell.reads_h_prev:
        if s == 0:
            a.h_prev, a.ld_h_prev = (j.h0_rows if j.order.ragged else j.h0) + first * nbytes, j.hidden
        else:
            a.h_prev = rows_of(j, &j.y, s - 1, first, j.hp_rows, &a.ld_h_prev)
    if j.cell.has_c:
        a.c = cell_at(j, s, first)
        if s == 0:
            a.c_prev = (j.c0_rows if j.order.ragged else j.c0) + first * nbytes
        elif j.checkpoint_every and s % j.checkpoint_every == 0:
            a.c_prev = j.c_checkpoints + (s // j.checkpoint_every * j.order.B + first) * nbytes
        else:
            a.c_prev = cell_at(j, s - 1, first)
        a.dc = j.dc + first * nbytes
    a.carry, a.carry_in = j.carry + first * nbytes, entering or j.cell.has_carry
    a.slots, a.ld_slots = slot_at(j, s, first, 0), S * j.hidden
    a.p.rows, a.p.cols, a.p.packed_a, a.p.lda = last - first, j.hidden, 0, S * j.hidden
    a.p.descending = s & 1
    own_panels(j, &a.p, 1, thread, threads)
    a.p.w, a.p.k = j.back_hh[p], phase.gates * j.hidden
    a.p.k_panel = a.p.k
    if phase.same_step:
        a.p.a = slot_at(j, s, first, phase.slot)
    elif entering:
        a.p.a, a.p.k = a.slots, 0
    elif at_edge:
        a.p.a = j.next_window_slots + (first * S + phase.slot) * nbytes
    else:
        a.p.a = slot_at(j, s + 1, first, phase.slot)
    j.kernels.backward[j.index][p].run(&a)


cdef void backward_step(Job *j, Py_ssize_t s, bint at_edge, int thread, int threads) noexcept nogil:
    cdef Py_ssize_t first, last, going
    cdef int p
    own_rows(j, thread, rows_at(&j.order, s), &first, &last)
    going = max(first, min(last, rows_at(&j.order, s + 1)))
    gather(j, s, thread, threads)
    for p in range(j.cell.phases):
        backward_rows(j, s, p, first, going, False, at_edge, thread, threads)
        backward_rows(j, s, p, going, last, True, False, thread, threads)
        step_barrier(j, threads)


cdef const char *source_row(Job *j, int source, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    """The right factor of a weight gradient at (s, row): x_t, h_{t-1}, or a slot."""
    if source == RF_SRC_X:
        return at(&j.x, &j.order, s, row)
    if source != RF_SRC_H:
        return slot_at(j, s, row, source)
    if s == 0:
        return j.h0 + sample_of(&j.order, row) * j.hidden * j.itemsize
    return at(&j.y, &j.order, s - 1, row)


cdef int same_left(const rf_cell *cell, int p) noexcept nogil:
    """How many products from p on begin with the same left factor, the same slots for the same gates: 1 or 2."""
    cdef const rf_weight_product *a = &cell.product[p]
    cdef const rf_weight_product *b = a + 1
    return 2 if p + 1 < cell.products and a.slot == b.slot and a.gate == b.gate else 1


cdef Py_ssize_t fair_bound(Py_ssize_t both, Py_ssize_t all, Py_ssize_t dense, Py_ssize_t thin, int unit,
                           int thread, int threads) noexcept nogil:
    """Where a thread's rows begin, of `all` rows that cost `dense` each in the first `both` and `thin` after; a multiple of
    unit."""
    cdef Py_ssize_t done = (both * dense + (all - both) * thin) * thread // threads
    cdef Py_ssize_t row = done // dense if done < both * dense else both + (done - both * dense) // thin
    return all if thread == threads else row // unit * unit


cdef void weight_gradients(Job *j, int p, int count, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """d_weight, d_bias of products p .. p+count, whose left factors begin alike: this thread's columns of slots^T source, one
    running sum from step s1-1 down to s0. The last steps come first and set d_weight, the others add to it. With one column,
    rows and columns of the product change places: else nearly a whole panel were padding."""
    cdef Order *o = &j.order
    cdef const rf_kernels *k = j.kernels
    cdef const rf_weight_product *w = &j.cell.product[p]
    cdef Py_ssize_t s = s1 - 1, row = 0, m, m0, m1, i, n, rows, to_row, both, columns = 0
    cdef Py_ssize_t N[2]
    cdef Py_ssize_t end[2]
    cdef char *pack_right[2]
    cdef char *pack_left = j.pack + thread * j.pack_bytes
    cdef const void *left[GRADIENT_ROWS]
    cdef const void *right[2][GRADIENT_ROWS]
    cdef char *d_bias[2]
    cdef rf_gemm g
    cdef int c, panel, packed, longer = 1 if count == 2 and w[1].gates > w[0].gates else 0
    for c in range(count):
        N[c] = j.inputs if w[c].source == RF_SRC_X else j.hidden
        columns += N[c]
    both = min(w[0].gates, w[count - 1].gates) * j.hidden
    m0 = fair_bound(both, w[longer].gates * j.hidden, columns, N[longer], k.mr, thread, threads)
    m1 = fair_bound(both, w[longer].gates * j.hidden, columns, N[longer], k.mr, thread + 1, threads)
    if m0 >= m1:
        return
    for c in range(count):
        end[c] = min(w[c].gates * j.hidden, m1)
        d_bias[c] = j.d_bias[w[c].to] + (w.gate * j.hidden + m0) * j.itemsize if j.d_bias[0] != NULL else NULL
    pack_right[0] = pack_left + M_BLOCKS * k.mr * j.pack_rows * j.itemsize
    pack_right[1] = pack_right[0] + (N[0] + k.width - 1) // k.width * k.width * j.pack_rows * j.itemsize
    g.p.panel0, g.p.descending = 0, 0
    g.start = RF_START_ZERO if s1 == o.S else RF_START_C
    while s >= s0:
        n = 0
        while n < j.pack_rows and s >= s0:
            if row == rows_at(o, s):
                s, row = s - 1, 0
                continue
            left[n] = slot_at(j, s, row, w.slot) + m0 * j.itemsize
            for c in range(count):
                right[c][n] = source_row(j, w[c].source, s, row)
            n, row = n + 1, row + 1
        if n == 0:
            break
        for c in range(count):
            k.pack_rows(pack_right[c], right[c], 1, 0, n, n, N[c], 1 if N[c] == 1 else k.width)
        if d_bias[0] != NULL:
            k.column_sum(d_bias[longer], left, n, m1 - m0)
        g.p.k, g.p.k_panel, g.p.lda = n, n, n
        m = m0
        while m < m1:
            if interrupted(j, thread):
                return
            rows, packed, to_row = min(M_BLOCKS * k.mr, m1 - m), 0, w.gate * j.hidden + m
            if j.block != NULL:  # up to the gate's end
                rows = min(rows, j.hidden - m % j.hidden)
                to_row = j.block[w.gate + m // j.hidden] * j.hidden + m % j.hidden
            for c in range(count):
                if m >= end[c]:
                    continue
                panel = k.width if N[c] == 1 else k.mr
                if packed != panel:
                    k.pack_rows(pack_left, left, 1, 0, n, n, rows, panel)
                    packed = panel
                g.p.packed_a = N[c] > 1
                if N[c] == 1:
                    g.p.a, g.p.w, g.p.rows, g.p.cols = pack_right[c], pack_left, 1, min(rows, end[c] - m)
                else:
                    g.p.a, g.p.w, g.p.rows, g.p.cols = pack_left, pack_right[c], min(rows, end[c] - m), N[c]
                g.p.panel1 = panel_count(k, g.p.cols, 1)
                g.c, g.ldc = j.d_weight[w[c].to] + to_row * N[c] * j.itemsize, N[c]
                k.gemm(&g)
            for i in range(n):
                left[i] = <const char *>left[i] + rows * j.itemsize
            m += rows
        g.start = RF_START_C
    if count == 2 and d_bias[0] != NULL and end[1 - longer] > m0:  # the same sums
        memcpy(d_bias[1 - longer], d_bias[longer], (end[1 - longer] - m0) * j.itemsize)


cdef void input_gradient(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """dx = slots W_ih for the stored rows of steps s0 .. s1; each thread its share, in pieces of a time."""
    cdef Order *o = &j.order
    cdef Py_ssize_t first, last, n, q, hint = s0, nbytes = j.inputs * j.itemsize
    cdef Py_ssize_t most = rows_of_work(j, j.inputs)
    cdef bint direct = in_line(&j.dx, o)
    cdef char *rows = j.x_rows + thread * ROWS_AT_ONCE * nbytes
    cdef rf_gemm g
    window_rows(o, s0, s1, &first, &last)
    g.p.cols, g.p.k, g.p.k_panel, g.p.w = j.inputs, j.cell.gates * j.hidden, j.cell.gates * j.hidden, j.back_ih
    g.p.descending, g.p.packed_a = 0, 0
    share_product(&g.p, j.kernels, direct, &first, &last, thread, threads)
    g.p.lda = j.cell.slots * j.hidden
    g.start = RF_START_ZERO
    while first < last and not interrupted(j, thread):
        n = min(last - first, most if direct else min(most, ROWS_AT_ONCE))
        g.p.rows = n
        g.p.a = j.slots + (first - j.slots_row) * g.p.lda * j.itemsize
        if direct:
            g.c, g.ldc = j.dx.data + first * line_step(&j.dx, o), line_step(&j.dx, o) // j.itemsize
        else:
            g.c, g.ldc = rows, j.inputs
        j.kernels.gemm(&g)
        if not direct:
            for q in range(n):
                memcpy(row_address(&j.dx, o, first + q, &hint), rows + q * nbytes, nbytes)
        first += n


cdef void state_gradients(Job *j, int thread) noexcept nogil:
    """dh_{-1} and dc_{-1}: the last product, then both back to the order of samples."""
    cdef Order *o = &j.order
    cdef Py_ssize_t first = j.row_bounds[thread], last = j.row_bounds[thread + 1], row, nbytes = j.hidden * j.itemsize
    cdef const rf_backward_phase *phase = &j.cell.backward[0]
    cdef rf_gemm g
    g.p.rows = min(last, rows_at(o, 0)) - first
    if g.p.rows > 0:
        g.p.cols, g.p.k, g.p.k_panel = j.hidden, phase.gates * j.hidden, phase.gates * j.hidden
        g.p.descending, g.p.packed_a = 0, 0
        g.p.panel0, g.p.panel1 = 0, panel_count(j.kernels, j.hidden, 1)
        g.p.a, g.p.lda, g.p.w = slot_at(j, 0, first, phase.slot), j.cell.slots * j.hidden, j.back_hh[0]
        g.c, g.ldc = j.carry + first * nbytes, j.hidden
        g.start = RF_START_C if j.cell.has_carry else RF_START_ZERO
        j.kernels.gemm(&g)
    for row in range(first, last):
        memcpy(j.dh0 + sample_of(o, row) * nbytes, j.carry + row * nbytes, nbytes)
        if j.cell.has_c:
            memcpy(j.dc0 + sample_of(o, row) * nbytes, j.dc + row * nbytes, nbytes)


cdef void begin_gradients(Job *j, int thread) noexcept nogil:
    """carry and dc begin with the gradients of the final states, by row."""
    cdef Order *o = &j.order
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize
    for row in range(j.row_bounds[thread], j.row_bounds[thread + 1]):
        if j.dh_n != NULL:
            memcpy(j.carry + row * nbytes, j.dh_n + sample_of(o, row) * nbytes, nbytes)
        else:
            memset(j.carry + row * nbytes, 0, nbytes)
        if j.cell.has_c and j.dc_n != NULL:
            memcpy(j.dc + row * nbytes, j.dc_n + sample_of(o, row) * nbytes, nbytes)
        elif j.cell.has_c:
            memset(j.dc + row * nbytes, 0, nbytes)


cdef bint recompute(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Slots and cells of a window once more, from the h in y and the checkpoint of c: the same bits as the first time. True:
    the call is to end."""
    cdef Py_ssize_t row, s = s0, nbytes = j.hidden * j.itemsize
    if s0 > 0:
        for row in range(j.row_bounds[thread], min(j.row_bounds[thread + 1], rows_at(&j.order, s0))):
            memcpy(j.h_rows[(s0 - 1) & 1] + row * nbytes, at(&j.y, &j.order, s0 - 1, row), nbytes)
    while s < s1:
        if forward_window(j, s, min(s + j.chunk, s1), thread, threads):
            return True
        s += j.chunk
    return False


cdef bint backward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Steps s1-1 down to s0. True: the call is to end. Where a step has barriers, all threads leave at the same one."""
    cdef Py_ssize_t s
    cdef bint stop
    for s in range(s1 - 1, s0 - 1, -1):
        backward_step(j, s, s + 1 == s1, thread, threads)
        if s > s0 and (s - s0) % j.chunk == 0:
            stop = interrupted(j, thread)
            if team_agree(threads, stop) if j.by_units else stop:
                break
    return team_agree(threads, interrupted(j, thread))


cdef void backward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j = (<Job *>arg)[0]
    cdef Order *o = &j.order
    cdef Py_ssize_t s0, s1 = o.S, end, last, nbytes = j.cell.slots * j.hidden * j.itemsize
    cdef int p
    enter(&j, threads)
    begin_rows(&j, thread)
    begin_gradients(&j, thread)
    if j.dx.data != NULL:
        clear_ends(o, &j.dx, j.inputs * j.itemsize, thread, threads)
    step_barrier(&j, threads)
    while s1 > 0:
        s0 = (s1 - 1) // j.checkpoint_every * j.checkpoint_every if j.checkpoint_every else 0
        if j.checkpoint_every:
            window_rows(o, s0, s1, &j.slots_row, &end)
            if j.cell.saves_slots and recompute(&j, s0, s1, thread, threads):
                break
        if backward_window(&j, s0, s1, thread, threads):
            break
        p = 0
        while p < j.cell.products:
            weight_gradients(&j, p, same_left(j.cell, p), s0, s1, thread, threads)
            p += same_left(j.cell, p)
        if j.dx.data != NULL:
            input_gradient(&j, s0, s1, thread, threads)
        if s0 > 0:
            last = min(j.row_bounds[thread + 1], rows_at(o, s0))
            if last > j.row_bounds[thread]:
                memcpy(j.next_window_slots + j.row_bounds[thread] * nbytes, slot_at(&j, s0, j.row_bounds[thread], 0),
                       (last - j.row_bounds[thread]) * nbytes)
            team_barrier(threads)
        s1 = s0
    if not rf_flag(&j.ear.stopped):
        state_gradients(&j, thread)
    fp_leave(j.fp)
