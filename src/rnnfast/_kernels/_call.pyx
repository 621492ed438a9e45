# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""One call of one layer in one direction: arrays to addresses, threads and scratch found, the loops run without the GIL.

The callers (_engine/forward.py, _engine/tapes.py) pass arrays that were checked: dtype, shape, contiguous last axis. x, y, dy
and dx are (T, B, n) with any strides of T and B or, if lengths differ, packed: (R, n), see View; all others are C-contiguous.
Nothing here is seen by users.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memcpy, memset

from rnnfast._kernels._backward cimport backward_task
from rnnfast._kernels._forward cimport forward_task

cnp.import_array()

# The cost model of threads. A call takes no further thread for less than a microsecond or two of work, and one of less than
# some 0.1 ms takes only threads that are awake (csrc/team.c): waking one takes 50 us. Steps are split by rows where
# each thread has ROWS_ENOUGH of them, so that it reuses every weight it loads, and W_hh, of which by rows every core reads all at
# every step, is not large (or no larger than h, of which by units every core reads all); else by units, if each thread's share
# of a phase is worth many times a barrier (0.1 us); else by rows again, as far as there are any. Of a ragged batch the mean
# number at work counts, and more are enough, since rows end; but a phase must be worth more, since rows need no other thread's h
# (between the caches of two cores the h of 16 rows takes a microsecond).
flops_per_thread = 2.5e5
flops_per_phase = 2e4
cdef enum:
    ROWS_ENOUGH = 4
    LARGE_WEIGHTS = 2097152 # bytes of W_hh
    RAGGED_ENOUGH = 16
    RAGGED_PHASES = 25      # times flops_per_phase
    BRIEF = 64              # times flops_per_thread
    ELEMENTWISE = 32        # floating point operations of a unit that a program does beside the products, about
    LONG_ROWS = 200000      # so many rows take some 0.1 us each, however few units they have


# Of a step, rows times vectors of units, on average, up to which forward takes the way in which what does not depend on states
# is computed ahead of the steps. It saves a short block's cost of each instruction, and costs a store and a load of each value.
hoisted_vectors = 8


@cython.final
cdef class Record:
    """What one layer and direction keeps from forward to backward."""

    def copy_state(self, int state, y, to):
        """Writes a kept state of every step into `to` (T, B, H), zeros past the ends of samples; y: of the call."""
        cdef Job *j = &self.job
        cdef Order *o = &j.order
        cdef View view
        cdef Py_ssize_t s, row
        if is_y(j, state):
            to[...] = y
            return
        to[...] = 0
        set_view(&view, to)
        for s in range(o.S):
            for row in range(rows_at(o, s)):
                memcpy(at(&view, o, s, row), kept_at(j, state, s, row), j.hidden * j.itemsize)

    @property
    def vectors(self):
        """How many vectors have gradients of their own."""
        return self.job.cell.vectors

    @property
    def nbytes(self):
        """Bytes kept, without x, y and the weights."""
        return sum([b.nbytes for b in (self.slots, self.states, self.checkpoints) if b is not None])


# ---- filling the job -------------------------------------------------------------------------------------------------------
cdef char *address(array) noexcept:
    return <char *>cnp.PyArray_DATA(<cnp.ndarray>array) if array is not None else NULL


cdef void set_view(View *v, array, bint packed=False) noexcept:
    cdef cnp.ndarray a
    v.data, v.step, v.row, v.packed = NULL, 0, 0, packed
    if array is not None:
        a = <cnp.ndarray>array
        v.data, v.step, v.row = <char *>cnp.PyArray_DATA(a), cnp.PyArray_STRIDE(a, 0), cnp.PyArray_STRIDE(a, 0 if packed else 1)


cdef bint is_packed(array) noexcept:
    """Of x, y, dy and dx."""
    return array is not None and cnp.PyArray_NDIM(<cnp.ndarray>array) == 2


cdef Py_ssize_t last_axis(array) noexcept:
    return cnp.PyArray_DIM(<cnp.ndarray>array, cnp.PyArray_NDIM(<cnp.ndarray>array) - 1)


cdef void set_weights(Job *j, Weights w) noexcept nogil:
    memset(j, 0, job_bytes(w.cell))
    j.cell, j.kernels, j.index = w.cell, w.kernels, w.index
    j.inputs, j.hidden, j.itemsize = w.input_size, w.hidden_size, w.kernels.itemsize
    j.slots_ld = slots_ld_of(w.cell, w.hidden_size, w.kernels.itemsize)
    j.ih, j.bias_x, j.vectors, j.back_ih = w.ih, w.bias_x, w.vectors, w.back_ih
    j.ih_rows, j.ih_step, j.hh_step = w.ih_rows, w.ih_step, w.hh_step
    j.block = w.block if w.permuted else NULL
    j.hh, j.back_hh, j.hh_rows = w.hh, w.back_hh, w.hh_rows
    j.most_sums = w.most_sums


cdef void set_order(Job *j, Py_ssize_t T, Py_ssize_t B, bint reverse, RowOrder order) noexcept nogil:
    """order: None for a batch whose samples have all steps."""
    cdef Order *o = &j.order
    cdef Py_ssize_t rows = max(CHUNK_BYTES // (j.slots_ld * j.itemsize), CHUNK_ROWS)
    o.T, o.B, o.reverse, o.ragged = T, B, reverse, order is not None
    o.S = T if B else 0
    if o.ragged:
        o.S, o.sample, o.length, o.active, o.first = order.steps, order.sample, order.length, order.active, order.first
    j.chunk = max(1, min(rows, rows_of_work(j, j.inputs + j.hidden)) // max(1, B))
    j.hoists = (j.cell.ahead_phases and o.S > 1
                and stored_rows(o) * ((j.hidden + j.kernels.lanes - 1) // j.kernels.lanes) <= hoisted_vectors * o.S)


cdef Py_ssize_t stored_rows(const Order *o) noexcept nogil:
    return o.first[o.S] if o.ragged else o.S * o.B


cdef Py_ssize_t widest_window(const Order *o, Py_ssize_t steps) noexcept:
    """Rows of the largest window of so many steps."""
    cdef Py_ssize_t s, widest = 0
    if not o.ragged:
        return min(steps, o.S) * o.B
    for s in range(0, o.S, steps):
        widest = max(widest, o.first[min(s + steps, o.S)] - o.first[s])
    return widest


# ---- threads -----------------------------------------------------------------------------------------------------------------
cdef double flops_of_phase(const Job *j) noexcept nogil:
    """The mean of all steps and phases."""
    return (2.0 * stored_rows(&j.order) / max(j.order.S, 1)) * j.cell.h_gates * j.hidden * j.hidden / j.cell.forward_phases


cdef int split_steps(Job *j, int threads) noexcept nogil:
    """Decides how so many threads share the steps (j.by_units); returns for how many of them there is a share."""
    cdef Order *o = &j.order
    cdef double rows, phase
    cdef bint large
    j.by_units = False
    if threads == 1:
        return 1
    rows, phase = <double>stored_rows(o) / max(o.S, 1), flops_of_phase(j)
    if o.ragged:
        j.by_units = rows < RAGGED_ENOUGH * threads and phase / threads >= RAGGED_PHASES * flops_per_phase
    else:
        large = j.cell.h_gates * j.hidden * j.hidden * j.itemsize > LARGE_WEIGHTS and rows < j.cell.h_gates * j.hidden
        j.by_units = (large or rows < ROWS_ENOUGH * threads) and phase / threads >= flops_per_phase
    return threads if j.by_units else <int>min(<Py_ssize_t>threads, max(o.B, 1))


cdef double flops_of_call(const Job *j, int passes) noexcept nogil:
    """passes: products of each weight."""
    return 2.0 * passes * stored_rows(&j.order) * j.hidden * (j.cell.x_gates * j.inputs + j.cell.h_gates * j.hidden
                                                         + (ELEMENTWISE if j.index < 0 else 0))


cdef bint is_long(const Job *j, int passes) noexcept nogil:
    """Whether a call may take so long that somebody wants to interrupt it: 0.02 s or more."""
    return flops_of_call(j, passes) > CHUNK_FLOPS * <double>j.kernels.lanes or stored_rows(&j.order) > LONG_ROWS


cdef int plan_threads(Job *j, int threads, double flops) noexcept nogil:
    """How many of so many threads the work is worth; never more than there are CPUs."""
    threads = <int>min(<double>threads, max(flops / flops_per_thread, 1.0))
    if threads > 1 and (j.order.B > 1 or flops_of_phase(j) / 2 >= flops_per_phase):  # else one thread anyway
        threads = min(threads, team_cpus())
    return split_steps(j, threads)


cdef int share_out(Job *j, int threads, int passes, Py_ssize_t *bounds, int *acquired) noexcept nogil:
    """Takes the team and deals the rows out to it, by equal numbers of steps, into bounds; returns the threads to run.
    acquired: what is to be released after."""
    cdef Order *o = &j.order
    cdef Py_ssize_t total = stored_rows(o), done = 0, row = 0
    cdef double flops
    cdef int i
    acquired[0] = 1
    if threads > 1:
        flops = flops_of_call(j, passes)
        acquired[0] = team_acquire(plan_threads(j, threads, flops), flops < BRIEF * flops_per_thread)
    threads = split_steps(j, acquired[0])
    bounds[0], bounds[threads] = 0, o.B
    for i in range(1, threads):
        if o.ragged:
            while row < o.B and done < total * i // threads:
                done += o.length[row]
                row += 1
        else:
            row = o.B * i // threads
        bounds[i] = row
    j.row_bounds = bounds
    return threads


# ---- scratch -------------------------------------------------------------------------------------------------------------
cdef void place_states(Job *j, Pieces *p, bint turns) noexcept nogil:
    """turns: memory for states that a forward pass does not write where they stay."""
    cdef size_t nbytes = j.order.B * j.hidden * j.itemsize
    cdef int i
    for i in range(j.cell.states):
        if turns and not (i == 0 and j.h_in_y) and not (j.save and j.cell.state[i].kept and not is_y(j, i)):
            j.state[i].turn[0] = take_piece(p, nbytes)
            j.state[i].turn[1] = take_piece(p, 0 if j.cell.state[i].in_place else nbytes)
        if j.order.ragged:
            j.state[i].first_rows = take_piece(p, nbytes)
    if turns and not j.cell.y_is_state and (not side_by_side(&j.y, &j.order) or j.recomputing):
        j.y_rows = take_piece(p, 2 * nbytes)


cdef void place_program(Job *j, Pieces *p, int threads, Extra *extra) noexcept nogil:
    """What a cell without compiled kernels needs. extra: where the job's will be."""
    cdef size_t nbytes = j.order.B * j.hidden * j.itemsize, vectors = (j.hidden + j.kernels.lanes - 1) // j.kernels.lanes
    cdef int i
    if j.index >= 0:
        return
    j.sums = take_piece(p, j.most_sums * nbytes)
    j.row_values = take_piece(p, threads * j.cell.row_values * j.order.B * j.itemsize)
    j.partials = take_piece(p, j.cell.partials * vectors * j.order.B * j.itemsize)
    j.ahead_rows = max(AHEAD_BYTES // (j.slots_ld * j.itemsize), AHEAD_ROWS) if j.hoists else 0
    j.ahead_bytes = (j.cell.row_values + j.cell.partials * vectors) * j.ahead_rows * j.itemsize
    j.ahead = take_piece(p, threads * j.ahead_bytes)
    for i in range(j.cell.extras if j.order.ragged else 0):
        extra[i].rows = take_piece(p, nbytes)
        extra[i].d_rows = take_piece(p, nbytes if extra[i].d.data != NULL else 0)


cdef size_t place_forward(Job *j, char *base, int threads) noexcept nogil:
    """Hands out the scratch of a forward call of up to so many threads; returns its size."""
    cdef Pieces p
    cdef Py_ssize_t rows = min(j.chunk, j.order.S) * j.order.B
    p.base, p.used = base, 0
    place_states(j, &p, True)
    place_program(j, &p, threads, j.extra)
    if not j.save:
        j.slots = take_piece(&p, rows * j.slots_ld * j.itemsize)
    if not in_line(&j.x, &j.order):
        j.x_rows = take_piece(&p, rows * j.inputs * j.itemsize)
    return p.used


cdef size_t place_backward(Job *j, char *base, int threads) noexcept nogil:
    """Hands out the scratch of a backward call of so many threads; returns its size. dx and gradients of extras must be set."""
    cdef Pieces p
    cdef Py_ssize_t nbytes = j.order.B * j.hidden * j.itemsize, total = stored_rows(&j.order), columns, gathered = 0
    cdef int i
    p.base, p.used = base, 0
    place_states(j, &p, j.checkpoint_every != 0)
    place_program(j, &p, threads, j.extra)
    for i in range(j.cell.states):
        j.state[i].d = take_piece(&p, nbytes)
    j.d_vector_rows = take_piece(&p, j.cell.vectors * nbytes)
    if j.order.ragged:
        j.dy_rows = take_piece(&p, nbytes)
        j.before_rows = take_piece(&p, nbytes if j.cell.state[0].reads_before else 0)
        j.after_rows = take_piece(&p, nbytes if j.cell.state[0].reads_after else 0)
    if j.checkpoint_every:
        j.next_window_slots = take_piece(&p, j.order.B * j.slots_ld * j.itemsize)
    if j.checkpoint_every and j.cell.saves_slots and not in_line(&j.x, &j.order):  # x, to compute the gates again
        gathered = min(j.chunk, j.order.S) * j.order.B
    if j.dx.data != NULL and not in_line(&j.dx, &j.order):  # dx, before it is scattered
        gathered = max(gathered, threads * ROWS_AT_ONCE)
    j.x_rows = take_piece(&p, gathered * j.inputs * j.itemsize)
    columns = j.inputs + j.hidden + 2 * j.kernels.width + M_BLOCKS * j.kernels.mr
    j.pack_rows = min(GRADIENT_ROWS, total)
    j.pack_bytes = (columns * j.pack_rows * j.itemsize + 63) & ~<size_t>63
    j.pack = take_piece(&p, threads * j.pack_bytes)
    return p.used


# ---- the calls -----------------------------------------------------------------------------------------------------------
cdef void run_placed(Job *j, int threads) noexcept nogil:
    cdef Py_ssize_t bounds[RF_MAX_THREADS + 1]
    cdef int acquired
    threads = share_out(j, threads, 1, bounds, &acquired)
    team_run(forward_task, j, threads)
    team_release(acquired)


cdef bint run_forward(Job *j, int threads) noexcept nogil:
    """Runs a filled job; False when there is no memory for its scratch."""
    cdef char *base = scratch_open(place_forward(j, NULL, threads))
    if base == NULL:
        return False
    place_forward(j, base, threads)
    run_placed(j, threads)
    scratch_close(base)
    return True


cdef Buffer extras_of(const rf_cell *c, tuple extras):
    """Memory of a job's extras with their arrays: (T, B, H) each, then those of one number a row, (T, B)."""
    cdef Buffer memory
    cdef Extra *extra
    cdef int i
    if len(extras) == 0 == c.extras + c.row_inputs:
        return None
    memory = Buffer(max(1, len(extras)) * sizeof(Extra))
    extra = <Extra *>memory.data
    memset(extra, 0, memory.nbytes)
    if len(extras) != c.extras + c.row_inputs:
        raise ValueError(f"rnnfast: expected {c.extras + c.row_inputs} inputs and draws, got {len(extras)}")
    for i in range(c.extras + c.row_inputs):
        set_view(&extra[i].value, extras[i])
    return memory


cdef Py_ssize_t keep_states(Job *j, Record kept, Py_ssize_t rows) except -1:
    """Memory for the kept states of so many stored rows, and for numbers a row."""
    cdef Py_ssize_t count = 0, nbytes = rows * j.hidden * j.itemsize
    cdef int i
    for i in range(j.cell.states):
        count += j.cell.state[i].kept and not is_y(j, i)
    if kept.states is None and (count or j.cell.row_saved):
        kept.states = Buffer(count * nbytes + rows * j.cell.row_saved * j.itemsize)
    count = 0
    for i in range(j.cell.states):
        if j.cell.state[i].kept and not is_y(j, i):
            j.state[i].kept = kept.states.data + count * nbytes
            count += 1
    if j.cell.row_saved:
        j.row_kept = kept.states.data + count * nbytes
    return 0


cpdef Record forward(Weights w, x, y, tuple first, tuple last, bint reverse, RowOrder order, bint record,
                     Py_ssize_t checkpoint_every, int threads, tuple extras=()):
    """Writes y and each last state (B, H) from x and the first ones. Returns the Record when recording, else None.

    checkpoint_every: steps between kept states or 0. extras: inputs and draws in the cell's order, those of every unit
    (T, B, H), then those of one number a row (T, B). Past the ends of samples y is zeros. Raises what a signal's handler raises; y and the
    last states are then incomplete.
    """
    cdef Record kept = Record()
    cdef Job *j = &kept.job
    cdef Ear ear
    cdef Py_ssize_t T, B, each
    cdef Buffer extra = extras_of(w.cell, extras)
    cdef bint done
    cdef int i, copied = 0
    if last_axis(x) != w.input_size or last_axis(y) != w.hidden_size:
        raise ValueError("rnnfast: the sizes of a layer do not fit its weights; make a new layer")  # its attributes were forced
    if len(first) != w.cell.states or len(last) != w.cell.states:
        raise ValueError(f"rnnfast: expected {w.cell.states} states, got {len(first)} and {len(last)}")
    padded = y if is_packed(x) else x
    if is_packed(padded):
        T, B = order.steps, order.batch
    else:
        T, B = cnp.PyArray_DIM(<cnp.ndarray>padded, 0), cnp.PyArray_DIM(<cnp.ndarray>padded, 1)
    set_weights(j, w)
    set_order(j, T, B, reverse, order)
    set_view(&j.x, x, is_packed(x))
    set_view(&j.y, y, is_packed(y))
    j.extra = <Extra *>extra.data if extra is not None else NULL
    for i in range(w.cell.states):
        j.state[i].first, j.state[i].last = address(first[i]), address(last[i])
        copied += not is_y(j, i)
    j.h_in_y = w.cell.y_is_state and side_by_side(&j.y, &j.order)
    j.checkpoint_every = checkpoint_every if record else 0
    if record:
        kept.weights, kept.arrays, kept.extra = w, (x, y, first, order, extras), extra
        j.save = w.cell.saves_slots and not checkpoint_every
        if j.save:
            kept.slots = Buffer(stored_rows(&j.order) * j.slots_ld * j.itemsize)
            j.slots = kept.slots.data
            keep_states(j, kept, stored_rows(&j.order))
        elif checkpoint_every and copied:
            each = (j.order.S + checkpoint_every - 1) // checkpoint_every * B * j.hidden * j.itemsize
            kept.checkpoints = Buffer(copied * each)
            copied = 0
            for i in range(w.cell.states):
                if not is_y(j, i):
                    j.state[i].checkpoints = kept.checkpoints.data + copied * each
                    copied += 1
    open_ear(&ear, is_long(j, 1))
    j.ear = &ear
    with nogil:
        done = run_forward(j, threads)
    j.ear = NULL
    close_ear(&ear)
    if not done:
        raise MemoryError("rnnfast: no memory for the scratch of a forward call")
    return kept if record else None


cpdef size_t prepare(Record kept, dx, int threads, tuple d_extras=()) except? 0:
    """Takes all memory that backward with up to so many threads needs, for this dx (or None); after a MemoryError the record is
    as usable as before. d_extras: of each input or draw the array that its gradient is added to, or None; () is None for all.
    Returns the bytes of scratch."""
    cdef Job job
    cdef Job *j = &job
    cdef Buffer slots
    cdef Py_ssize_t rows
    cdef size_t nbytes
    cdef int reserved, i
    memcpy(j, &kept.job, job_bytes(kept.job.cell))
    if kept.slots is None:  # nothing was saved, or only checkpoints
        rows = widest_window(&j.order, j.checkpoint_every) if j.checkpoint_every else stored_rows(&j.order)
        slots = Buffer(rows * j.slots_ld * j.itemsize)
        keep_states(&kept.job, kept, rows)
        kept.slots = slots
    for i in range(len(d_extras)):  # as many as there are
        set_view(&j.extra[i].d, d_extras[i])
    set_view(&j.dx, dx, is_packed(dx))
    threads = plan_threads(j, threads, flops_of_call(j, 2))
    j.save, j.h_in_y, j.recomputing = True, False, True
    nbytes = place_backward(j, NULL, threads)
    reserved = scratch_reserve(nbytes)
    if reserved < 0:
        kept.scratch = Buffer(nbytes)
    elif not reserved:
        raise MemoryError("rnnfast: no memory for the scratch of a backward call")
    kept.threads = threads
    return nbytes


def backward(Record kept, dy, tuple d_last, dx, tuple d_first, dict d_params, d_vectors=None):
    """`run_backward` with the gradients of parameters by kind; those that are missing are None."""
    run_backward(kept, dy, d_last, dx, d_first, d_params["weight_ih"], d_params.get("weight_hh"), d_params.get("bias_ih"),
                 d_params.get("bias_hh"), d_vectors)


cdef int run_backward(Record kept, dy, tuple d_last, dx, tuple d_first, d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_vectors) except -1:
    """Writes dx, d_first, d_w_ih and d_w_hh; adds to the biases', d_vectors (vectors, H) and the d_extras of `prepare` (zeros
    at first). The record's slots are used up.

    `prepare` was called in this thread, and its d_extras are still there. dy, each of d_last: None is zeros; dx: None skips it.
    d_w_hh may be None where there are no products with it, biases in any case.
    Raises what a signal's handler raises; the gradients are then incomplete.
    """
    cdef Job job
    cdef Job *j = &job
    cdef Py_ssize_t bounds[RF_MAX_THREADS + 1]
    cdef char *base
    cdef int threads, acquired, i
    cdef Ear ear
    memcpy(j, &kept.job, job_bytes(kept.job.cell))
    set_view(&j.dy, dy, is_packed(dy))
    set_view(&j.dx, dx, is_packed(dx))
    j.save, j.h_in_y, j.recomputing = True, False, True
    open_ear(&ear, is_long(j, 2))
    base = kept.scratch.data if kept.scratch is not None else scratch_open(place_backward(j, NULL, kept.threads))
    if base == NULL:  # it was there in prepare
        close_ear(&ear)
        raise MemoryError("rnnfast: no memory for the scratch of a backward call")
    j.slots, j.slots_row = kept.slots.data, 0
    for i in range(j.cell.states):
        j.state[i].d_last, j.state[i].d_first = address(d_last[i]), address(d_first[i])
    j.d_weight[0], j.d_weight[1] = address(d_w_ih), address(d_w_hh)
    j.d_bias[0], j.d_bias[1] = address(d_b_ih), address(d_b_hh)
    j.d_vectors = address(d_vectors)
    if stored_rows(&j.order) == 0:  # no product will write them
        for d_weight in (d_w_ih, d_w_hh):
            if d_weight is not None:
                memset(address(d_weight), 0, cnp.PyArray_NBYTES(<cnp.ndarray>d_weight))
    j.ear = &ear
    with nogil:
        threads = share_out(j, kept.threads, 2, bounds, &acquired)
        place_backward(j, base, threads)
        team_run(backward_task, j, threads)
        team_release(acquired)
        if kept.scratch is None:
            scratch_close(base)
    kept.scratch = None
    return close_ear(&ear)
