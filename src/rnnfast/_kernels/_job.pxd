"""The data the timestep loops work on: one layer in one direction. Letters: T B I H as everywhere, S steps of work,
R stored rows (T*B, or the sum of lengths). A step s runs from 0 to S-1 in the order of processing; its time t is s, or
counts back from each sample's end for reverse. Addresses are bytes, so float32 and float64 share every line."""
from libc.stdint cimport int64_t, uint64_t

from rnnfast._kernels._core cimport *


cdef struct View:
    # rows of a (T, B, n) array with contiguous last axis: row (t, b) is at data + t*step + b*row. Packed, if lengths differ:
    # (R, n), the rows of time 0, then those of time 1, ..., each time's as Order has them; step is row
    char *data
    Py_ssize_t step, row
    bint packed


cdef struct Order:
    # which rows are at work at which step. Dense: rows are samples, stored by time. Ragged: rows are samples sorted by
    # falling length, so that those at work are a prefix, stored step after step.
    Py_ssize_t T, B, S
    bint reverse, ragged
    const Py_ssize_t *sample    # (B,) row -> sample
    const Py_ssize_t *length    # (B,) of each row
    const Py_ssize_t *active    # (S+1,) rows at work at step s
    const Py_ssize_t *first     # (S+1,) stored row of (s, row 0)


cdef struct State:
    # memory of one state and of its gradient; (B, H) each where nothing else stands
    char *first                 # by sample: before the first step
    char *last                  # by sample: after the last
    char *first_rows            # by row, if lengths differ
    char *turn[2]               # by row: after even and after odd steps; of states that are written in place the first alone
    char *kept                  # (rows of a window or R, H), as slots
    char *checkpoints           # (windows, B, H) before each window
    const char *d_last          # by sample, or NULL = zeros
    char *d_first
    char *d                     # by row: what goes from step to step


cdef struct Extra:
    # an input or a draw, (T, B, H) or (T, B), whatever the strides of T and B
    View value, d               # d.data NULL: no gradient
    char *rows                  # (B, H) gathered by row, if lengths differ
    char *d_rows


cdef struct Job:
    Order order
    const rf_cell *cell
    const rf_kernels *kernels
    int index                   # of the cell in the kernel tables, -1 if it is interpreted
    Py_ssize_t inputs, hidden, itemsize   # I, H (I is a macro of complex.h), bytes of an element
    const char *ih
    const char *bias_x
    const char *vectors
    char **hh                   # of each forward product
    const void **ih_rows        # of weights that are not packed: ih and those of hh are NULL
    const void ***hh_rows
    ptrdiff_t ih_step, hh_step
    const char *back_ih
    char **back_hh              # of each backward product
    View x, y, dy, dx
    Extra *extra                # of the cell's extras, then of its row inputs
    Py_ssize_t chunk            # steps that are projected at a time
    bint save                   # forward leaves slots and kept states as backward needs them
    bint h_in_y                 # y is where state 0 lives; else it is in `turn`
    bint panels_descend         # the first step goes through its panels from the last to the first
    bint recomputing            # y and final states are not written again
    bint hoists                 # steps take the cell's `rest`, after `ahead` was run for all steps of the window
    char *slots                 # (rows of a window or R, slots*H), each row perhaps followed by a gap; see slots_ld_of
    Py_ssize_t slots_ld         # elements from one row to the next
    Py_ssize_t slots_row        # stored row that slots begins with
    char *row_kept              # (R or rows of a window, row_saved), as slots
    char *y_rows                # (2, B, H) of an output that is no state, where it does not go into y directly; see y_rows_at
    char *x_rows                # gathered rows of x or of dx
    Py_ssize_t checkpoint_every # steps between checkpoints, 0 = none
    char *sums                  # (B, sums*H) of the phase with most of them
    Py_ssize_t most_sums
    char *row_values            # (threads, row_values, B)
    char *partials              # (partials, vectors of H units, B)
    char *ahead                 # threads times ahead_bytes: row values and partials of ahead_rows rows
    size_t ahead_bytes
    Py_ssize_t ahead_rows       # at a time
    # backward only
    char *d_weight[2]           # (x_gates*H, I) and (h_gates*H, H)
    const int *block            # of each gate, its block of rows there; NULL: in order
    char *d_bias[2]             # (x_gates*H) and (h_gates*H), or NULL
    char *d_vectors             # (vectors, H)
    char *d_vector_rows         # (B, vectors*H) by row, the sums over steps
    char *dy_rows
    char *before_rows           # state 0 of y before and after a step, if lengths differ
    char *after_rows
    char *next_window_slots     # (B, slots*H) gradients of the first step of the window just done, with the gaps of slots
    char *pack                  # threads times pack_bytes
    size_t pack_bytes
    Py_ssize_t pack_rows        # of one block of a weight gradient's product: GRADIENT_ROWS, or all there are
    # who does what
    const Py_ssize_t *row_bounds # (threads+1) thread i has rows row_bounds[i] .. row_bounds[i+1]
    Py_ssize_t own[5][2]        # by gates of a phase: panels of this thread; own_panels
    bint by_units               # steps: each thread all rows and its share of the units, a barrier a phase; else its rows
    Ear *ear                    # the way out of a long call: `interrupted`. The caller's, shared by all threads
    int threads                 # that run the job
    uint64_t fp                 # the thread's floating point environment before it
    State state[RF_MAX_STATES]  # the last, since only those that the cell has are cleared and copied: job_bytes


cdef inline size_t job_bytes(const rf_cell *cell) noexcept nogil:
    """Of a job, without states that the cell does not have."""
    return sizeof(Job) - (RF_MAX_STATES - cell.states) * sizeof(State)


cdef enum:
    CHUNK_BYTES = 524288   # slots projected at a time: stay in L2 until the steps have used them
    CHUNK_ROWS = 192       # but at least so many rows: W_ih comes through once for all of them
    CHUNK_FLOPS = 400000000 # and at most so much work for each lane of a vector: less than 0.1 s, see `interrupted`
    SINGLE_BYTES = 524288  # weights of one block of units of a single step
    GRADIENT_ROWS = 320    # rows of one block of a weight gradient's product, at most
    M_BLOCKS = 16          # tiles of rows of that product packed at a time
    ROWS_AT_ONCE = 256     # rows of dx computed at a time where they must be scattered
    AHEAD_BYTES = 32768    # slots whose values ahead of the steps are computed at a time, phase by phase: about L1,
    AHEAD_ROWS = 16        # but at least so many rows: as many as a block of the interpreter has


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
    """Address of the row of an array that (s, row) reads or writes."""
    if v.packed:
        return v.data + (o.first[time_of(o, s, row)] + row) * v.row
    return v.data + time_of(o, s, row) * v.step + sample_of(o, row) * v.row

cdef inline Py_ssize_t slots_ld_of(const rf_cell *cell, Py_ssize_t hidden, int itemsize) noexcept nogil:
    """Rows a multiple of 2 kB apart would share one or two of the 64 sets of an L1 cache, and push each other out of it: a tile
    reads up to 12 of them. Then each row is a line of memory longer."""
    cdef Py_ssize_t n = cell.slots * hidden
    return n + (16 if itemsize == sizeof(float) else 8) if n * itemsize % 2048 == 0 else n


cdef inline char *slot_at(const Job *j, Py_ssize_t s, Py_ssize_t row, Py_ssize_t slot) noexcept nogil:
    return j.slots + ((stored(&j.order, s) + row - j.slots_row) * j.slots_ld + slot * j.hidden) * j.itemsize

cdef inline char *kept_at(const Job *j, int state, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    return j.state[state].kept + (stored(&j.order, s) + row - j.slots_row) * j.hidden * j.itemsize

cdef inline char *y_rows_at(const Job *j, Py_ssize_t s) noexcept nogil:
    """Even and odd steps have their own, as turns of states: while a thread copies its rows of one step to where they belong,
    another may be at its units of the next."""
    return j.y_rows + (s & 1) * j.order.B * j.hidden * j.itemsize if j.y_rows != NULL else NULL

cdef inline bint is_y(const Job *j, int state) noexcept nogil:
    return state == 0 and j.cell.y_is_state

cdef inline Py_ssize_t gates_of(const Job *j) noexcept nogil:
    """Of the wider weight, in estimates of work."""
    return max(j.cell.x_gates, j.cell.h_gates)

cdef inline bint side_by_side(const View *v, const Order *o) noexcept nogil:
    """The rows of a step are equally far apart in the array: a step can use them in place."""
    return not o.ragged or (v.packed and not o.reverse)

cdef inline bint in_line(const View *v, const Order *o) noexcept nogil:
    """Stored rows are equally far apart in the array: a product can use it in place."""
    return side_by_side(v, o) and (v.packed or o.B == 1 or o.T == 1 or v.step == o.B * v.row)

cdef inline Py_ssize_t line_step(const View *v, const Order *o) noexcept nogil:
    return v.step if o.B == 1 else v.row

cdef inline Py_ssize_t rows_of_work(const Job *j, Py_ssize_t depth) noexcept nogil:
    """Rows whose products with the weights of G*H units, so deep, take less than 0.1 s; at least 1."""
    return max(1, <Py_ssize_t>(CHUNK_FLOPS * <double>j.kernels.lanes / (2.0 * gates_of(j) * j.hidden * depth)))

cdef inline char *row_address(const View *v, const Order *o, Py_ssize_t stored_row, Py_ssize_t *hint) noexcept nogil:
    """Address of a stored row in an array. hint: a step at or before the row's; moves on."""
    if not o.ragged:
        return v.data + (stored_row // o.B) * v.step + (stored_row % o.B) * v.row
    while o.first[hint[0] + 1] <= stored_row:
        hint[0] += 1
    return at(v, o, hint[0], stored_row - o.first[hint[0]])


cdef inline Py_ssize_t elements(const Job *j, Py_ssize_t nbytes) noexcept nogil:
    """Distances come in bytes, kernels want elements: by a shift, since a division at each step is felt in short ones."""
    return nbytes >> (3 if j.itemsize == 8 else 2)


cdef inline void set_place(rf_rows *to, const void *data, ptrdiff_t ld) noexcept nogil:
    to.at, to.ld = <void *>data, ld


cdef inline const char *first_of(const Job *j, int i) noexcept nogil:
    """A state before the first step, by row."""
    return j.state[i].first_rows if j.order.ragged else j.state[i].first


cdef inline bint at_checkpoint(const Job *j, Py_ssize_t s) noexcept nogil:
    return j.checkpoint_every != 0 and s % j.checkpoint_every == 0


cdef inline char *checkpoint_at(const Job *j, int i, Py_ssize_t s, Py_ssize_t row) noexcept nogil:
    return j.state[i].checkpoints + (s // j.checkpoint_every * j.order.B + row) * j.hidden * j.itemsize


# ---- who does what -------------------------------------------------------------------------------------------------------
cdef inline void own_rows(const Job *j, int thread, Py_ssize_t limit, Py_ssize_t *first, Py_ssize_t *last) noexcept nogil:
    """Rows below limit that a thread computes in a step."""
    first[0] = 0 if j.by_units else j.row_bounds[thread]
    last[0] = limit if j.by_units else min(j.row_bounds[thread + 1], limit)

cdef inline Py_ssize_t units_of_panel(const rf_kernels *k, int gates) noexcept nogil:
    """Units of a panel with so many gates side by side."""
    return k.width if gates == 1 else k.lanes

cdef inline void own_panels(Job *j, rf_step *a, const rf_phase *phase, int thread, int threads) noexcept nogil:
    """Sets the panels and the units that a thread computes in a phase. All products of a program's phase must have the same
    units, so shares are of whole panels of one gate, the widest; a compiled kernel's single product is shared more evenly."""
    cdef int gates = phase.gates[0] if j.index >= 0 else 1, i
    cdef Py_ssize_t share, each, first, last
    if j.own[gates][1] == 0:  # the thread's copy of the job remembers
        share = panel_count(j.kernels, j.hidden, gates)
        j.own[gates][0] = share * thread // threads if j.by_units else 0
        j.own[gates][1] = share * (thread + 1) // threads if j.by_units else share
    first, last = j.own[gates][0], j.own[gates][1]
    if j.index >= 0:
        a.p[0].panel0, a.p[0].panel1 = first, last
        return
    a.unit0, a.unit1 = first * j.kernels.width, min(last * j.kernels.width, j.hidden)
    for i in range(phase.products):
        each = units_of_panel(j.kernels, phase.gates[i])
        a.p[i].panel0, a.p[i].panel1 = a.unit0 // each, (a.unit1 + each - 1) // each

cdef inline void share_product(rf_product *p, const rf_kernels *k, bint by_columns, Py_ssize_t *first, Py_ssize_t *last,
                               int thread, int threads) noexcept nogil:
    """A thread's share of a plain product of rows first .. last: of its rows, or, if it may and there are fewer rows than
    columns, of its columns, so that each weight is read by one processor."""
    cdef Py_ssize_t count = panel_count(k, p.cols, 1), begin = first[0], rows = last[0] - first[0]
    p.panel0, p.panel1 = 0, count
    if by_columns and rows < p.cols and count >= threads:
        p.panel0, p.panel1 = count * thread // threads, count * (thread + 1) // threads
    else:
        first[0], last[0] = begin + rows * thread // threads, begin + rows * (thread + 1) // threads

cdef inline void step_barrier(const Job *j, int threads) noexcept nogil:
    """Between phases and steps: where units are split, each needs what the others wrote."""
    if j.by_units:
        team_barrier(threads)


# ---- the way out ---------------------------------------------------------------------------------------------------------
cdef inline void enter(Job *j, int threads) noexcept nogil:
    """A thread begins its part of the job, of which j is its copy."""
    j.threads = threads
    j.fp = fp_enter()

cdef inline bint interrupted(Job *j, int thread) noexcept nogil:
    """Whether the call is to end before its work is done.

    Asked between pieces of work of less than 0.1 s. The caller's thread looks for signals on that occasion; if a handler
    raises, as Ctrl-C's does, the call is stopped. Other threads only read the flag. They may find it set at different times, so work
    that has barriers inside is left by `team_agree`."""
    if thread == 0 and j.ear.listens and not rf_flag(&j.ear.stopped):
        fp_leave(j.fp)
        look_for_signals(j.ear)
        fp_enter()
        if j.threads > 1 and team_orphaned() and not rf_flag(&j.ear.stopped):
            rf_set_flag(&j.ear.stopped, ORPHANED)
    return rf_flag(&j.ear.stopped)
