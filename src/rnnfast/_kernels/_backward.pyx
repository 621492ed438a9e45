# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The timestep loop of back-propagation through time, of one layer in one direction, and the products after it.

Every cell runs through the same loops: what differs is in rf_cell (numbers: slots, phases, products) and in the step kernels.
Every function below `cdef ... noexcept nogil` is run by all threads of the team on their share; nothing there allocates. The
shapes and meanings of what they read, and where it is, are in _job.pxd.
"""
from libc.string cimport memcpy, memset

from rnnfast._kernels._core cimport *
from rnnfast._kernels._forward cimport *
from rnnfast._kernels._job cimport *


cdef void gather(Job *j, Py_ssize_t s, int thread, int threads) noexcept nogil:
    """If lengths differ, the rows of dy and of state 0 in y, where they are not side by side, and of inputs, that backward's
    elementwise part reads at step s, one after the other; and zeros for the gradients of inputs."""
    cdef const rf_state *y = &j.cell.state[0]
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize, last = min(j.row_bounds[thread + 1], rows_at(&j.order, s))
    cdef bint far_dy = j.dy.data != NULL and not side_by_side(&j.dy, &j.order)
    cdef bint far_y = j.cell.y_is_state and not side_by_side(&j.y, &j.order)
    cdef int i
    gather_extras(j, s, j.row_bounds[thread], last)
    for row in range(j.row_bounds[thread], last):
        if far_dy:
            memcpy(j.dy_rows + row * nbytes, at(&j.dy, &j.order, s, row), nbytes)
        if far_y and y.reads_after:
            memcpy(j.after_rows + row * nbytes, at(&j.y, &j.order, s, row), nbytes)
        if far_y and y.reads_before and s > 0:
            memcpy(j.before_rows + row * nbytes, at(&j.y, &j.order, s - 1, row), nbytes)
        for i in range(j.cell.extras):
            if j.extra[i].d.data != NULL:
                memset(j.extra[i].d_rows + row * nbytes, 0, nbytes)
    step_barrier(j, threads)


cdef void add_to(const Job *j, char *sum, const void *part, Py_ssize_t n) noexcept nogil:
    j.kernels.column_sum(sum, &part, 1, n)


cdef void scatter(Job *j, Py_ssize_t s, int thread) noexcept nogil:
    """Adds to the gradients of inputs what lies elsewhere after step s: numbers a row; and rows, if lengths differ."""
    cdef const rf_cell *c = j.cell
    cdef Extra *extra
    cdef Py_ssize_t row
    cdef char *values = j.row_values + thread * c.row_values * j.order.B * j.itemsize
    cdef char *d
    cdef int i
    for i in range(c.extras + c.row_inputs):
        extra = &j.extra[i]
        if extra.d.data == NULL or (i < c.extras and not j.order.ragged):
            continue
        for row in range(j.row_bounds[thread], min(j.row_bounds[thread + 1], rows_at(&j.order, s))):
            d = at(&extra.d, &j.order, s, row)
            if i < c.extras:
                add_to(j, d, extra.d_rows + row * j.hidden * j.itemsize, j.hidden)
            elif c.d_row_input[i - c.extras] >= 0:
                add_to(j, d, values + (c.d_row_input[i - c.extras] * j.order.B + row) * j.itemsize, 1)


cdef const char *rows_of(const Job *j, const View *v, Py_ssize_t s, Py_ssize_t first, char *gathered,
                         ptrdiff_t *ld) noexcept nogil:
    """Where row `first` and on of step s of an array are: in place where they are side by side, else gathered."""
    cdef bint in_place = side_by_side(v, &j.order)
    ld[0] = elements(j, v.row) if in_place else j.hidden
    return at(v, &j.order, s, first) if in_place else gathered + first * j.hidden * j.itemsize


cdef inline void place_gradient(Job *j, Py_ssize_t s, Py_ssize_t first, int i, bint entering, rf_step *a) noexcept nogil:
    """Where state i is before and after step s, as far as backward reads it, and its gradient; of rows `first` and on."""
    cdef const rf_state *state = &j.cell.state[i]
    cdef Py_ssize_t skipped = first * j.hidden * j.itemsize
    set_place(&a.before[i], NULL, j.hidden)
    set_place(&a.after[i], NULL, j.hidden)
    if state.reads_after:
        if is_y(j, i):
            a.after[i].at = <void *>rows_of(j, &j.y, s, first, j.after_rows, &a.after[i].ld)
        else:
            a.after[i].at = kept_at(j, i, s, first)
    if state.reads_before:
        if s == 0:
            a.before[i].at = <char *>first_of(j, i) + skipped
        elif is_y(j, i):
            a.before[i].at = <void *>rows_of(j, &j.y, s - 1, first, j.before_rows, &a.before[i].ld)
        elif at_checkpoint(j, s):
            a.before[i].at = checkpoint_at(j, i, s, first)
        else:
            a.before[i].at = kept_at(j, i, s - 1, first)
    set_place(&a.d_before[i], j.state[i].d + skipped, j.hidden)
    set_place(&a.d_after[i], a.d_before[i].at if entering or state.carried else NULL, j.hidden)


cdef void open_back_phase(Job *j, int p, int thread, int threads, rf_step *a) noexcept nogil:
    """What is the same in all steps about the products of phase p backward: their sizes, weights and panels."""
    cdef const rf_phase *phase = &j.cell.backward[p]
    cdef rf_product *product
    cdef int i
    own_panels(j, a, phase, thread, threads)
    for i in range(phase.products):
        product = &a.p[i]
        product.cols, product.packed_a, product.lda = j.hidden, 0, j.slots_ld
        product.w = j.back_hh[phase.first + i]


cdef void backward_rows(Job *j, Py_ssize_t s, int p, Py_ssize_t first, Py_ssize_t last, bint entering, bint at_edge,
                        int thread, rf_step *a) noexcept nogil:
    """Phase p of step s backward, rows first .. last: dh_t, then the gradients of the gates. entering: s is the last step
    of these rows, no product reaches them. at_edge: the gradients of step s+1 are in next_window_slots."""
    cdef Py_ssize_t nbytes = j.hidden * j.itemsize
    cdef const rf_phase *phase = &j.cell.backward[p]
    cdef const rf_backward_product *b
    cdef rf_product *product
    cdef int i
    set_place(&a.dy, NULL, 0)
    if j.dy.data != NULL:
        a.dy.at = <void *>rows_of(j, &j.dy, s, first, j.dy_rows, &a.dy.ld)
    for i in range(j.cell.states):
        place_gradient(j, s, first, i, entering, a)
    a.slots.at = slot_at(j, s, first, 0)
    if j.index < 0:
        open_extras(j, s, first, last, thread, a)
        set_place(&a.d_vectors, j.d_vector_rows + first * j.cell.vectors * nbytes, j.cell.vectors * j.hidden)
    for i in range(phase.products):
        b, product = &j.cell.backward_product[phase.first + i], &a.p[i]
        product.rows, product.descending = last - first, s & 1
        product.k = product.k_panel = b.gates * j.hidden
        if b.state < 0:
            product.a = slot_at(j, s, first, b.slot)
        elif entering:
            product.a, product.k = a.slots.at, 0
        elif at_edge:
            product.a = j.next_window_slots + first * j.slots_ld * j.itemsize + b.slot * nbytes
        else:
            product.a = slot_at(j, s + 1, first, b.slot)
    a.p[0].rows = last - first
    if j.index >= 0:
        j.kernels.backward[j.index][p].run(a)
    else:
        a.phase = phase
        j.kernels.interpret(a)


cdef inline void backward_step(Job *j, Py_ssize_t s, bint begins, int thread, int threads, rf_step *a) noexcept nogil:
    """One step of this thread's rows or units. begins: it is the first step that is done of a window, the last in time."""
    cdef Py_ssize_t first, last, going
    cdef int p
    own_rows(j, thread, rows_at(&j.order, s), &first, &last)
    going = max(first, min(last, rows_at(&j.order, s + 1)))
    if begins:
        a.vectors, a.p[0].cols, a.slots.ld = j.vectors, j.hidden, j.slots_ld
    if j.order.ragged:
        gather(j, s, thread, threads)
    if j.cell.row_saved:
        keep_row_values(j, s, thread, True)
    for p in range(j.cell.backward_phases):
        if begins or j.cell.backward_phases > 1:
            open_back_phase(j, p, thread, threads, a)
        if first < going:
            backward_rows(j, s, p, first, going, False, begins, thread, a)
        if going < last:
            backward_rows(j, s, p, going, last, True, False, thread, a)
        step_barrier(j, threads)
    if j.cell.extras or j.cell.row_inputs:
        scatter(j, s, thread)


cdef const char *source_row(Job *j, int source, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    """The right factor of a weight gradient at (s, row): x_t, a state before the step, or a slot."""
    cdef int i = RF_SRC_STATE - source
    if source == RF_SRC_X:
        return at(&j.x, &j.order, s, row)
    if source >= 0:
        return slot_at(j, s, row, source)
    if s == 0:
        return j.state[i].first + sample_of(&j.order, row) * j.hidden * j.itemsize
    if is_y(j, i):
        return at(&j.y, &j.order, s - 1, row)
    return checkpoint_at(j, i, s, row) if at_checkpoint(j, s) else kept_at(j, i, s - 1, row)


cdef int same_left(const rf_cell *cell, int p) noexcept nogil:
    """How many products from p on begin with the same left factor, the same slots: 1 or 2."""
    return 2 if p + 1 < cell.products and cell.product[p].slot == cell.product[p + 1].slot else 1


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
        d_bias[c] = j.d_bias[w[c].to] + (w[c].gate * j.hidden + m0) * j.itemsize if j.d_bias[0] != NULL else NULL
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
            rows, packed = min(M_BLOCKS * k.mr, m1 - m), 0
            if j.block != NULL:  # up to the gate's end
                rows = min(rows, j.hidden - m % j.hidden)
            for c in range(count):
                if m >= end[c]:
                    continue
                to_row = w[c].gate * j.hidden + m
                if j.block != NULL:
                    to_row = j.block[w[c].gate + m // j.hidden] * j.hidden + m % j.hidden
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
    g.p.cols, g.p.k, g.p.k_panel, g.p.w = j.inputs, j.cell.x_gates * j.hidden, j.cell.x_gates * j.hidden, j.back_ih
    g.p.descending, g.p.packed_a = 0, 0
    share_product(&g.p, j.kernels, direct, &first, &last, thread, threads)
    g.p.lda = j.slots_ld
    g.start = RF_START_ZERO
    while first < last and not interrupted(j, thread):
        n = min(last - first, most if direct else min(most, ROWS_AT_ONCE))
        g.p.rows = n
        g.p.a = j.slots + (first - j.slots_row) * g.p.lda * j.itemsize
        if direct:
            g.c, g.ldc = j.dx.data + first * line_step(&j.dx, o), elements(j, line_step(&j.dx, o))
        else:
            g.c, g.ldc = rows, j.inputs
        j.kernels.gemm(&g)
        if not direct:
            for q in range(n):
                memcpy(row_address(&j.dx, o, first + q, &hint), rows + q * nbytes, nbytes)
        first += n


cdef void vector_gradients(Job *j, int thread, int threads) noexcept nogil:
    """d_vectors: sums over the rows of what was added up over the steps; each thread its columns."""
    cdef const void *rows[GRADIENT_ROWS]
    cdef Py_ssize_t columns = j.cell.vectors * j.hidden, row = 0, n
    cdef Py_ssize_t first = columns * thread // threads, last = columns * (thread + 1) // threads
    while row < j.order.B and columns:
        n = 0
        while n < GRADIENT_ROWS and row < j.order.B:
            rows[n] = j.d_vector_rows + (row * columns + first) * j.itemsize
            n, row = n + 1, row + 1
        j.kernels.column_sum(j.d_vectors + first * j.itemsize, rows, n, last - first)


cdef void state_gradients(Job *j, int thread) noexcept nogil:
    """Gradients of the initial states: the last products, then all back to the order of samples."""
    cdef Order *o = &j.order
    cdef Py_ssize_t first = j.row_bounds[thread], last = j.row_bounds[thread + 1], row, nbytes = j.hidden * j.itemsize
    cdef Py_ssize_t stepped = min(last, rows_at(o, 0))
    cdef const rf_state *state
    cdef const rf_backward_product *b
    cdef char *d
    cdef rf_gemm g
    cdef int i
    for i in range(j.cell.states):
        state, d = &j.cell.state[i], j.state[i].d
        if state.product >= 0 and stepped > first:
            b = &j.cell.backward_product[state.product]
            g.p.rows, g.p.cols, g.p.k, g.p.k_panel = stepped - first, j.hidden, b.gates * j.hidden, b.gates * j.hidden
            g.p.descending, g.p.packed_a = 0, 0
            g.p.panel0, g.p.panel1 = 0, panel_count(j.kernels, j.hidden, 1)
            g.p.a, g.p.lda, g.p.w = slot_at(j, 0, first, b.slot), j.slots_ld, j.back_hh[state.product]
            g.c, g.ldc = d + first * nbytes, j.hidden
            g.start = RF_START_C if state.carried else RF_START_ZERO
            j.kernels.gemm(&g)
        elif not state.carried and stepped > first:
            memset(d + first * nbytes, 0, (stepped - first) * nbytes)
        for row in range(first, last):
            memcpy(j.state[i].d_first + sample_of(o, row) * nbytes, d + row * nbytes, nbytes)


cdef void begin_gradients(Job *j, int thread) noexcept nogil:
    """What goes from step to step begins with the gradients of the final states, by row."""
    cdef Order *o = &j.order
    cdef Py_ssize_t row, nbytes = j.hidden * j.itemsize
    cdef State *state
    cdef int i
    row = j.row_bounds[thread]
    memset(j.d_vector_rows + row * j.cell.vectors * nbytes, 0, (j.row_bounds[thread + 1] - row) * j.cell.vectors * nbytes)
    for i in range(j.cell.states):
        state = &j.state[i]
        for row in range(j.row_bounds[thread], j.row_bounds[thread + 1]):
            if state.d_last != NULL:
                memcpy(state.d + row * nbytes, state.d_last + sample_of(o, row) * nbytes, nbytes)
            else:
                memset(state.d + row * nbytes, 0, nbytes)


cdef bint recompute(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Slots and kept states of a window once more, from state 0 in y and the checkpoints of the others: the same bits as the
    first time. True: the call is to end."""
    cdef Py_ssize_t row, s = s0, nbytes = j.hidden * j.itemsize
    if s0 > 0 and j.cell.y_is_state:
        for row in range(j.row_bounds[thread], min(j.row_bounds[thread + 1], rows_at(&j.order, s0))):
            memcpy(j.state[0].turn[(s0 - 1) & 1] + row * nbytes, at(&j.y, &j.order, s0 - 1, row), nbytes)
    while s < s1:
        if forward_window(j, s, min(s + j.chunk, s1), thread, threads):
            return True
        s += j.chunk
    return False


cdef bint backward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil:
    """Steps s1-1 down to s0. True: the call is to end. Where a step has barriers, all threads leave at the same one."""
    cdef Py_ssize_t s
    cdef rf_step a
    cdef bint stop
    for s in range(s1 - 1, s0 - 1, -1):
        backward_step(j, s, s + 1 == s1, thread, threads, &a)
        if s > s0 and (s - s0) % j.chunk == 0:
            stop = interrupted(j, thread)
            if team_agree(threads, stop) if j.by_units else stop:
                break
    return team_agree(threads, interrupted(j, thread))


cdef void backward_task(void *arg, int thread, int threads) noexcept nogil:
    cdef Job j
    cdef Order *o = &j.order
    cdef Py_ssize_t s0, s1, end, last, nbytes
    cdef int p
    memcpy(&j, arg, job_bytes((<Job *>arg).cell))
    s1, nbytes = o.S, j.slots_ld * j.itemsize
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
    if j.cell.vectors:
        team_barrier(threads)
    if not rf_flag(&j.ear.stopped):
        state_gradients(&j, thread)
        vector_gradients(&j, thread, threads)
    fp_leave(j.fp)
