# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The timestep loops: forward and back-propagation through time of one layer in one direction.

Every cell runs through the same loops: what differs is in rf_cell (numbers: slots, phases, products) and in the step kernels.
Every function below `cdef ... noexcept nogil` is run by all threads of the team on their own rows; nothing there allocates.
The shapes and meanings of what they read are in _loops.pxd.
"""
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from rnnfast._core cimport *



# ---- where things are ----------------------------------------------------------------------------------------------------
cdef inline Py_ssize_t rows_at(const Order *o, Py_ssize_t s) noexcept nogil:
    """Rows at work at step s; 0 at s = S."""
    if o.ragged:
        return o.active[s]
    return o.B if s < o.S else 0

cdef inline Py_ssize_t time_of(const Order *o, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    if not o.reverse:
        return s
    return (o.length[row] if o.ragged else o.T) - 1 - s

cdef inline Py_ssize_t sample_of(const Order *o, Py_ssize_t row) noexcept nogil:
    return o.sample[row] if o.ragged else row

cdef inline Py_ssize_t stored(const Order *o, Py_ssize_t s) noexcept nogil:
    """Stored row of (s, row 0)."""
    return o.first[s] if o.ragged else time_of(o, s, 0) * o.B

cdef inline void window_rows(const Order *o, Py_ssize_t s0, Py_ssize_t s1, Py_ssize_t *begin, Py_ssize_t *end) noexcept nogil:
    """Stored rows of steps s0 .. s1, s0 < s1."""
    if o.ragged:
        begin[0], end[0] = o.first[s0], o.first[s1]
    else:
        begin[0] = stored(o, s1 - 1 if o.reverse else s0)
        end[0] = begin[0] + (s1 - s0) * o.B

cdef inline char *at(const View *v, const Order *o, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    """Address of the row of a (T, B, n) array that (s, row) reads or writes."""
    return v.data + time_of(o, s, row) * v.step + sample_of(o, row) * v.row

cdef inline char *slot_at(const Job *j, Py_ssize_t s, Py_ssize_t row, Py_ssize_t slot) noexcept nogil:
    return j.slots + ((stored(&j.order, s) + row - j.slots_row) * j.cell.slots + slot) * j.hidden * j.size

cdef inline char *cell_at(const Job *j, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    return j.cells + (stored(&j.order, s) + row - j.slots_row) * j.hidden * j.size

cdef bint in_line(const View *v, const Order *o) noexcept nogil:
    """Stored rows are equally far apart in the array: a product can use it in place."""
    return not o.ragged and (o.B == 1 or o.T == 1 or v.step == o.B * v.row)

cdef inline Py_ssize_t line_step(const View *v, const Order *o) noexcept nogil:
    return v.step if o.B == 1 else v.row

cdef char *row_address(const View *v, const Order *o, Py_ssize_t stored_row, Py_ssize_t *hint) noexcept nogil:
    """Address of a stored row in a (T, B, n) array. hint: a step at or before the row's; moves on."""
    if not o.ragged:
        return v.data + (stored_row // o.B) * v.step + (stored_row % o.B) * v.row
    while o.first[hint[0] + 1] <= stored_row:
        hint[0] += 1
    return at(v, o, hint[0], stored_row - o.first[hint[0]])


# ---- who does what -------------------------------------------------------------------------------------------------------
cdef inline void own_rows(const Job *j, int thread, Py_ssize_t limit, Py_ssize_t *first, Py_ssize_t *last) noexcept nogil:
    """Rows below limit that a thread computes in a step."""
    first[0] = 0 if j.by_units else j.cut[thread]
    last[0] = limit if j.by_units else min(j.cut[thread + 1], limit)

cdef inline void own_panels(const Job *j, rf_product *p, int gates, int thread, int threads) noexcept nogil:
    """Sets the panels that a thread computes in a phase."""
    cdef Py_ssize_t count = panels(j.kernels, j.hidden, gates)
    p.panel0 = count * thread // threads if j.by_units else 0
    p.panel1 = count * (thread + 1) // threads if j.by_units else count

cdef inline void step_barrier(const Job *j, int threads) noexcept nogil:
    """Between phases and steps: where units are split, each needs what the others wrote."""
    if j.by_units:
        barrier(threads)


# ---- forward -------------------------------------------------------------------------------------------------------------
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
    """slots = x W_ih^T + bias for the stored rows of steps s0 .. s1; each thread its share of them."""
    cdef Order *o = &j.order
    cdef Py_ssize_t begin, end, first, last, q, hint = s0, nbytes = j.inputs * j.size
    cdef rf_gemm g
    window_rows(o, s0, s1, &begin, &end)
    first = begin + (end - begin) * thread // threads
    last = begin + (end - begin) * (thread + 1) // threads
    if first == last:
        return
    if in_line(&j.x, o):
        g.p.a = j.x.data + first * line_step(&j.x, o)
        g.p.lda = line_step(&j.x, o) // j.size
    else:
        for q in range(first, last):
            memcpy(j.x_rows + (q - begin) * nbytes, row_address(&j.x, o, q, &hint), nbytes)
        g.p.a = j.x_rows + (first - begin) * nbytes
        g.p.lda = j.inputs
    g.p.rows, g.p.cols, g.p.k, g.p.k_panel = last - first, j.cell.gates * j.hidden, j.inputs, j.inputs
    g.p.panel0, g.p.panel1 = 0, panels(j.kernels, g.p.cols, 1)
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


# ---- backward ------------------------------------------------------------------------------------------------------------
cdef void gather(Job *j, Py_ssize_t s, int thread, int threads) noexcept nogil:
    """Ragged: the rows of dy and of h that backward's elementwise part reads at step s, one after the other."""
    cdef Py_ssize_t row, nbytes = j.hidden * j.size
    if not j.order.ragged:
        return
    for row in range(j.cut[thread], min(j.cut[thread + 1], rows_at(&j.order, s))):
        if j.dy.data != NULL:
            memcpy(j.dy_rows + row * nbytes, at(&j.dy, &j.order, s, row), nbytes)
        if j.cell.reads_h:
            memcpy(j.hp_rows + row * nbytes, at(&j.y, &j.order, s, row), nbytes)
        elif j.cell.reads_h_prev and s > 0:
            memcpy(j.hp_rows + row * nbytes, at(&j.y, &j.order, s - 1, row), nbytes)
    step_barrier(j, threads)


cdef const char *rows_of(const Job *j, const View *v, Py_ssize_t s, Py_ssize_t first, char *gathered, ptrdiff_t *ld) noexcept nogil:
    """Where row `first` and on of step s of a (T, B, H) array are: in place where dense, else gathered."""
    ld[0] = j.hidden if j.order.ragged else v.row // j.size
    return gathered + first * j.hidden * j.size if j.order.ragged else at(v, &j.order, s, first)


cdef void backward_rows(Job *j, Py_ssize_t s, int p, Py_ssize_t first, Py_ssize_t last, bint entering, bint at_edge,
                        int thread, int threads) noexcept nogil:
    """Phase p of step s backward, rows first .. last: dh_t, then the gradients of the gates. entering: s is the last step
    of these rows, no product reaches them. at_edge: the gradients of step s+1 are in `edge`."""
    cdef Py_ssize_t nbytes = j.hidden * j.size, S = j.cell.slots
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
        elif j.every and s % j.every == 0:
            a.c_prev = j.c_marks + (s // j.every * j.order.B + first) * nbytes
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
        a.p.a = j.edge + (first * S + phase.slot) * nbytes
    else:
        a.p.a = slot_at(j, s + 1, first, phase.slot)
    j.kernels.backward[j.index][p](&a)


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
        return j.h0 + sample_of(&j.order, row) * j.hidden * j.size
    return at(&j.y, &j.order, s - 1, row)


cdef void weight_gradient(Job *j, const rf_weight_product *w, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """d_weight, d_bias += this thread's columns of slots^T source: one running sum from step s1-1 down to s0."""
    cdef Order *o = &j.order
    cdef const rf_kernels *k = j.kernels
    cdef Py_ssize_t M = w.gates * j.hidden, N = j.inputs if w.source == RF_SRC_X else j.hidden, tiles = (M + k.mr - 1) // k.mr
    cdef Py_ssize_t m0 = min(tiles * thread // threads * k.mr, M), m1 = min(tiles * (thread + 1) // threads * k.mr, M)
    cdef Py_ssize_t s = s1 - 1, row = 0, m, i, n
    cdef const void *left[GRADIENT_ROWS]
    cdef const void *right[GRADIENT_ROWS]
    cdef char *pack_right = j.pack + thread * j.pack_bytes
    cdef char *pack_left = pack_right + (N + k.width - 1) // k.width * k.width * GRADIENT_ROWS * j.size
    cdef rf_gemm g
    if m0 >= m1:
        return
    g.p.cols, g.p.w, g.p.a, g.p.descending, g.p.packed_a = N, pack_right, pack_left, 0, 1
    g.p.panel0, g.p.panel1 = 0, panels(k, N, 1)
    g.ldc, g.start = N, RF_START_C
    while s >= s0:
        n = 0
        while n < GRADIENT_ROWS and s >= s0:
            if row == rows_at(o, s):
                s, row = s - 1, 0
                continue
            left[n] = slot_at(j, s, row, w.slot) + m0 * j.size
            right[n] = source_row(j, w.source, s, row)
            n, row = n + 1, row + 1
        if n == 0:
            return
        k.pack_rows(pack_right, right, n, N, k.width)
        if j.d_bias[w.to] != NULL:
            k.column_sum(j.d_bias[w.to] + (w.gate * j.hidden + m0) * j.size, left, n, m1 - m0)
        g.p.k, g.p.k_panel = n, n
        m = m0
        while m < m1:
            g.p.rows = min(M_BLOCKS * k.mr, m1 - m)
            k.pack_rows(pack_left, left, n, g.p.rows, k.mr)
            g.c = j.d_weight[w.to] + (w.gate * j.hidden + m) * N * j.size
            k.gemm(&g)
            for i in range(n):
                left[i] = <const char *>left[i] + g.p.rows * j.size
            m += g.p.rows


cdef void input_gradient(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """dx = slots W_ih for the stored rows of steps s0 .. s1; each thread its share of them."""
    cdef Order *o = &j.order
    cdef Py_ssize_t begin, end, first, last, n, q, hint = s0, nbytes = j.inputs * j.size
    cdef bint direct = in_line(&j.dx, o)
    cdef char *rows = j.x_rows + thread * ROWS_AT_ONCE * nbytes
    cdef rf_gemm g
    window_rows(o, s0, s1, &begin, &end)
    first = begin + (end - begin) * thread // threads
    last = begin + (end - begin) * (thread + 1) // threads
    g.p.cols, g.p.k, g.p.k_panel, g.p.w = j.inputs, j.cell.gates * j.hidden, j.cell.gates * j.hidden, j.back_ih
    g.p.descending, g.p.packed_a = 0, 0
    g.p.panel0, g.p.panel1 = 0, panels(j.kernels, j.inputs, 1)
    g.p.lda = j.cell.slots * j.hidden
    g.start = RF_START_ZERO
    while first < last:
        n = last - first if direct else min(last - first, ROWS_AT_ONCE)
        g.p.rows = n
        g.p.a = j.slots + (first - j.slots_row) * g.p.lda * j.size
        if direct:
            g.c, g.ldc = j.dx.data + first * line_step(&j.dx, o), line_step(&j.dx, o) // j.size
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
    cdef Py_ssize_t first = j.cut[thread], last = j.cut[thread + 1], row, nbytes = j.hidden * j.size
    cdef const rf_backward_phase *phase = &j.cell.backward[0]
    cdef rf_gemm g
    g.p.rows = min(last, rows_at(o, 0)) - first
    if g.p.rows > 0:
        g.p.cols, g.p.k, g.p.k_panel = j.hidden, phase.gates * j.hidden, phase.gates * j.hidden
        g.p.descending, g.p.packed_a = 0, 0
        g.p.panel0, g.p.panel1 = 0, panels(j.kernels, j.hidden, 1)
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
    cdef Py_ssize_t row, nbytes = j.hidden * j.size
    for row in range(j.cut[thread], j.cut[thread + 1]):
        if j.dh_n != NULL:
            memcpy(j.carry + row * nbytes, j.dh_n + sample_of(o, row) * nbytes, nbytes)
        else:
            memset(j.carry + row * nbytes, 0, nbytes)
        if j.cell.has_c and j.dc_n != NULL:
            memcpy(j.dc + row * nbytes, j.dc_n + sample_of(o, row) * nbytes, nbytes)
        elif j.cell.has_c:
            memset(j.dc + row * nbytes, 0, nbytes)


cdef void recompute(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Slots and cells of a window once more, from the h in y and the marked c: the same bits as the first time."""
    cdef Py_ssize_t row, s = s0, nbytes = j.hidden * j.size
    if s0 > 0:
        for row in range(j.cut[thread], min(j.cut[thread + 1], rows_at(&j.order, s0))):
            memcpy(j.h_rows[(s0 - 1) & 1] + row * nbytes, at(&j.y, &j.order, s0 - 1, row), nbytes)
    while s < s1:
        forward_window(j, s, min(s + j.chunk, s1), thread, threads)
        s += j.chunk


cdef void backward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j = (<Job *>arg)[0]
    cdef Order *o = &j.order
    cdef Py_ssize_t s, s0, s1 = o.S, end, last, nbytes = j.cell.slots * j.hidden * j.size
    cdef uint64_t fp = fp_enter()
    cdef int p
    begin_rows(&j, thread)
    begin_gradients(&j, thread)
    step_barrier(&j, threads)
    while s1 > 0:
        s0 = (s1 - 1) // j.every * j.every if j.every else 0
        if j.every:
            window_rows(o, s0, s1, &j.slots_row, &end)
            if j.cell.saved:
                recompute(&j, s0, s1, thread, threads)
        for s in range(s1 - 1, s0 - 1, -1):
            backward_step(&j, s, s + 1 == s1, thread, threads)
        barrier(threads)
        for p in range(j.cell.products):
            weight_gradient(&j, &j.cell.product[p], s0, s1, thread, threads)
        if j.dx.data != NULL:
            input_gradient(&j, s0, s1, thread, threads)
        if s0 > 0:
            last = min(j.cut[thread + 1], rows_at(o, s0))
            if last > j.cut[thread]:
                memcpy(j.edge + j.cut[thread] * nbytes, slot_at(&j, s0, j.cut[thread], 0), (last - j.cut[thread]) * nbytes)
            barrier(threads)
        s1 = s0
    state_gradients(&j, thread)
    fp_leave(fp)
