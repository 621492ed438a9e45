# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""One call of one layer in one direction: arrays to addresses, threads and scratch found, the loops run without the GIL.

The callers (direction.py, _plain.pyx) pass arrays that were checked: dtype, shape, contiguous last axis. x, y, dy and dx
are (T, B, n) with any strides of T and B; all others are C-contiguous. Nothing here is seen by users.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memset

from rnnfast._backward cimport backward_task
from rnnfast._core cimport *
from rnnfast._forward cimport forward_task
from rnnfast._job cimport *
from rnnfast._order cimport RowOrder

cnp.import_array()

# The cost model of threads. A call takes no further thread for less than a microsecond or two of work, and one of less than
# some 0.1 ms takes only threads that are awake (csrc/team.c): waking one takes 50 us. Steps are split by rows where
# each thread has ROWS_ENOUGH of them, so that it reuses every weight it loads; else by units, if each thread's share of a
# phase is worth many times a barrier (0.1 us); else by rows again, as far as there are any. Of a ragged batch the mean number
# at work counts, and more are enough, since rows end; but a phase must be worth more, since rows need no other thread's h
# (between the caches of two cores the h of 16 rows takes a microsecond).
cdef double flops_per_thread = 2.5e5
cdef double flops_per_phase = 2e4
cdef enum:
    ROWS_ENOUGH = 4
    RAGGED_ENOUGH = 16
    RAGGED_PHASES = 25      # times flops_per_phase
    BRIEF = 64              # times flops_per_thread


def set_cost_model(double call, double phase):
    """Work, in floating point operations, below which a call or a phase of a step takes no further thread; returns the
    values before. For tests."""
    global flops_per_thread, flops_per_phase
    before = flops_per_thread, flops_per_phase
    flops_per_thread, flops_per_phase = call, phase
    return before


@cython.final
cdef class Tape:
    """What one layer and direction keeps from forward to backward."""

    def __reduce__(self):
        raise TypeError("tape: expected to be used where it was recorded; a tape cannot be pickled or copied")

    @property
    def nbytes(self):
        """Bytes kept, without x, y and the weights."""
        return sum([b.nbytes for b in (self.slots, self.cells, self.marks) if b is not None])


# ---- filling the job -------------------------------------------------------------------------------------------------------
cdef char *data(array) noexcept:
    return <char *>cnp.PyArray_DATA(<cnp.ndarray>array) if array is not None else NULL


cdef void set_view(View *v, array) noexcept:
    cdef cnp.ndarray a
    v.data = NULL
    if array is not None:
        a = <cnp.ndarray>array
        v.data, v.step, v.row = <char *>cnp.PyArray_DATA(a), cnp.PyArray_STRIDE(a, 0), cnp.PyArray_STRIDE(a, 1)


cdef void set_weights(Job *j, Weights w) noexcept:
    cdef int p
    memset(j, 0, sizeof(Job))
    j.cell, j.kernels, j.index = w.cell, w.kernels, w.index
    j.inputs, j.hidden, j.size = w.input_size, w.hidden_size, w.kernels.itemsize
    j.ih, j.bias_x, j.bias_h, j.back_ih = w.ih, w.bias_x, w.bias_h, w.back_ih
    for p in range(w.cell.phases):
        j.hh[p], j.back_hh[p] = w.hh[p], w.back_hh[p]


cdef void set_order(Job *j, Py_ssize_t T, Py_ssize_t B, bint reverse, RowOrder order) noexcept:
    """order: None for a batch whose samples have all steps."""
    cdef Order *o = &j.order
    o.T, o.B, o.reverse, o.ragged = T, B, reverse, order is not None
    o.S = T if B else 0
    if o.ragged:
        o.S, o.sample, o.length, o.active, o.first = order.steps, order.sample, order.length, order.active, order.first
    j.chunk = max(1, max(CHUNK_BYTES // (j.cell.slots * j.hidden * j.size), CHUNK_ROWS) // max(1, B))


cdef Py_ssize_t stored_rows(const Order *o) noexcept:
    return o.first[o.S] if o.ragged else o.S * o.B


cdef Py_ssize_t widest_window(const Order *o, Py_ssize_t every) noexcept:
    """Rows of the largest window of `every` steps."""
    cdef Py_ssize_t s, widest = 0
    if not o.ragged:
        return min(every, o.S) * o.B
    for s in range(0, o.S, every):
        widest = max(widest, o.first[min(s + every, o.S)] - o.first[s])
    return widest


# ---- threads -----------------------------------------------------------------------------------------------------------------
cdef int share_out(Job *j, int threads, int passes, Py_ssize_t *cut) noexcept nogil:
    """Takes the team and cuts the rows for it, by equal numbers of steps, into cut; returns the threads had."""
    cdef Order *o = &j.order
    cdef Py_ssize_t total = o.first[o.S] if o.ragged else o.S * o.B, done = 0, row = 0
    cdef double flops = 2.0 * passes * total * j.cell.gates * j.hidden * (j.inputs + j.hidden)
    cdef double rows = <double>total / max(o.S, 1), phase = 2.0 * rows * j.cell.gates * j.hidden * j.hidden / j.cell.phases
    cdef int i
    threads = <int>min(<double>threads, max(flops / flops_per_thread, 1.0))
    if o.ragged:
        j.by_units = rows < RAGGED_ENOUGH * threads and phase / threads >= RAGGED_PHASES * flops_per_phase
    else:
        j.by_units = rows < ROWS_ENOUGH * threads and phase / threads >= flops_per_phase
    if not j.by_units:
        threads = <int>min(<Py_ssize_t>threads, max(o.B, 1))
    threads = team_acquire(threads, flops < BRIEF * flops_per_thread)
    if threads == 1:
        j.by_units = False
    cut[0], cut[threads] = 0, o.B
    for i in range(1, threads):
        if o.ragged:
            while row < o.B and done < total * i // threads:
                done += o.length[row]
                row += 1
        else:
            row = o.B * i // threads
        cut[i] = row
    j.cut = cut
    return threads


# ---- scratch -------------------------------------------------------------------------------------------------------------------
cdef inline char *take(char *base, size_t *used, size_t nbytes) noexcept nogil:
    """The next 64-byte aligned piece; with base NULL only counts."""
    cdef char *piece = base + used[0] if base != NULL else NULL
    used[0] += (nbytes + 63) & ~<size_t>63
    return piece


cdef size_t place_states(Job *j, char *base, size_t used, bint turns) noexcept nogil:
    cdef size_t nbytes = j.order.B * j.hidden * j.size
    if turns:
        j.h_rows[0], j.h_rows[1] = take(base, &used, nbytes), take(base, &used, nbytes)
    if j.order.ragged:
        j.h0_rows = take(base, &used, nbytes)
        j.c0_rows = take(base, &used, nbytes if j.cell.has_c else 0)
    return used


cdef size_t place_forward(Job *j, char *base) noexcept nogil:
    """Hands out the scratch of a forward call; returns its size."""
    cdef size_t used = place_states(j, base, 0, not j.h_in_y)
    cdef Py_ssize_t rows = min(j.chunk, j.order.S) * j.order.B
    if not j.save:
        j.slots = take(base, &used, rows * j.cell.slots * j.hidden * j.size)
        j.c_rows = take(base, &used, j.order.B * j.hidden * j.size if j.cell.has_c else 0)
    if not in_line(&j.x, &j.order):
        j.x_rows = take(base, &used, rows * j.inputs * j.size)
    return used


cdef size_t place_backward(Job *j, char *base, int threads) noexcept nogil:
    """Hands out the scratch of a backward call; returns its size."""
    cdef Py_ssize_t widest = j.inputs + j.hidden + 2 * j.kernels.width, nbytes = j.order.B * j.hidden * j.size
    cdef Py_ssize_t rows = max(min(j.chunk, j.order.S) * j.order.B if j.every else 0, threads * ROWS_AT_ONCE)
    cdef size_t used = place_states(j, base, 0, j.every != 0)
    j.carry = take(base, &used, nbytes)
    j.dc = take(base, &used, nbytes if j.cell.has_c else 0)
    if j.order.ragged:
        j.dy_rows, j.hp_rows = take(base, &used, nbytes), take(base, &used, nbytes)
    if j.every:
        j.edge = take(base, &used, nbytes * j.cell.slots)
    j.x_rows = take(base, &used, rows * j.inputs * j.size)
    j.pack_bytes = ((widest + M_BLOCKS * j.kernels.mr) * GRADIENT_ROWS * j.size + 63) & ~<size_t>63
    j.pack = take(base, &used, threads * j.pack_bytes)
    return used


# ---- the calls -----------------------------------------------------------------------------------------------------------------
cdef int run_forward(Job *j, int threads) noexcept nogil:
    """Runs a filled job; 0 when there is no memory for its scratch."""
    cdef char *base = <char *>scratch(place_forward(j, NULL))
    if base == NULL:
        return 0
    place_forward(j, base)
    run_placed(j, threads)
    return 1


cdef void run_placed(Job *j, int threads) noexcept nogil:
    cdef Py_ssize_t cut[RF_MAX_THREADS + 1]
    threads = share_out(j, threads, 1, cut)
    team_run(forward_task, j, threads)
    team_release(threads)


def forward(Weights w, x, y, h0, c0, h_n, c_n, bint reverse, RowOrder order, bint record, Py_ssize_t every, int threads):
    """Writes y (T, B, H), h_n and c_n (B, H). Returns the Tape when recording, else None.

    every: steps between kept states (checkpoints) or 0; c0, c_n: None for cells without c. Past the ends of samples y is zeros.
    """
    cdef Tape tape = Tape()
    cdef Job *j = &tape.job
    cdef Py_ssize_t T = cnp.PyArray_DIM(<cnp.ndarray>x, 0), B = cnp.PyArray_DIM(<cnp.ndarray>x, 1), rows
    cdef int done
    if cnp.PyArray_DIM(<cnp.ndarray>x, 2) != w.input_size or cnp.PyArray_DIM(<cnp.ndarray>y, 2) != w.hidden_size:
        raise ValueError("rnnfast: the sizes of a layer do not fit its weights; make a new layer")  # its attributes were forced
    set_weights(j, w)
    set_order(j, T, B, reverse, order)
    set_view(&j.x, x)
    set_view(&j.y, y)
    j.h0, j.c0, j.h_n, j.c_n = data(h0), data(c0), data(h_n), data(c_n)
    j.h_in_y = not j.order.ragged
    j.every = every if record else 0
    if record:
        tape.weights, tape.arrays = w, (x, y, h0, c0, order)
        j.save = w.cell.saved and not every
        rows = stored_rows(&j.order)
        if j.save:
            tape.slots = Buffer(rows * w.cell.slots * j.hidden * j.size)
            j.slots = tape.slots.data
            if w.cell.has_c:
                tape.cells = Buffer(rows * j.hidden * j.size)
                j.cells = tape.cells.data
        elif every and w.cell.has_c:
            tape.marks = Buffer((j.order.S + every - 1) // every * B * j.hidden * j.size)
            j.c_marks = tape.marks.data
    with nogil:
        done = run_forward(j, threads)
    if not done:
        raise MemoryError("rnnfast: no memory for the scratch of a forward call")
    return tape if record else None


def prepare(Tape tape, int threads):
    """Takes all memory that backward with up to so many threads needs; after a MemoryError the tape is as usable as before."""
    cdef Job job = tape.job
    cdef Job *j = &job
    cdef Buffer slots, cells = None
    cdef Py_ssize_t rows
    if tape.slots is None:  # nothing was saved, or only marks
        rows = widest_window(&j.order, j.every) if j.every else stored_rows(&j.order)
        slots = Buffer(rows * j.cell.slots * j.hidden * j.size)
        if j.cell.has_c:
            cells = Buffer(rows * j.hidden * j.size)
        tape.slots, tape.cells = slots, cells
    if scratch(place_backward(j, NULL, threads)) == NULL:
        raise MemoryError("rnnfast: no memory for the scratch of a backward call")
    tape.threads = threads


def backward(Tape tape, dy, dh_n, dc_n, dx, dh0, dc0, d_w_ih, d_w_hh, d_b_ih, d_b_hh):
    """Writes dx, dh0, dc0, d_w_ih, d_w_hh; adds to d_b_ih, d_b_hh (zeros at first). The tape's slots are used up.

    `prepare` was called in this thread. dy, dh_n, dc_n: None is zeros; dx: None skips it.
    """
    cdef Job job = tape.job
    cdef Job *j = &job
    cdef Py_ssize_t cut[RF_MAX_THREADS + 1]
    cdef char *base = <char *>scratch(place_backward(j, NULL, tape.threads))
    cdef int threads
    if base == NULL:  # it was there in prepare and only grows
        raise MemoryError("rnnfast: no memory for the scratch of a backward call")
    j.slots, j.slots_row = tape.slots.data, 0
    j.cells = tape.cells.data if tape.cells is not None else NULL
    j.save, j.h_in_y, j.quiet = True, False, True
    set_view(&j.dy, dy)
    set_view(&j.dx, dx)
    j.dh_n, j.dc_n, j.dh0, j.dc0 = data(dh_n), data(dc_n), data(dh0), data(dc0)
    j.d_weight[0], j.d_weight[1], j.d_bias[0], j.d_bias[1] = data(d_w_ih), data(d_w_hh), data(d_b_ih), data(d_b_hh)
    if stored_rows(&j.order) == 0:  # no product will write them
        memset(j.d_weight[0], 0, cnp.PyArray_NBYTES(<cnp.ndarray>d_w_ih))
        memset(j.d_weight[1], 0, cnp.PyArray_NBYTES(<cnp.ndarray>d_w_hh))
    with nogil:
        threads = share_out(j, tape.threads, 2, cut)
        place_backward(j, base, threads)
        team_run(backward_task, j, threads)
        team_release(threads)
