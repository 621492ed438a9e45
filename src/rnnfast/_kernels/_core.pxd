"""C declarations of csrc/rnnfast.h (documented there), and what other modules cimport.

csrc is linked into _core alone: other modules reach its functions through the cdef functions below, so that there is one
thread team and one scratch per thread.
"""
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int16_t, int64_t, uint64_t

cimport numpy as cnp


cdef extern from "rnnfast.h" nogil:
    ctypedef struct rf_product:
        ptrdiff_t rows, cols, k, k_panel, panel0, panel1
        const void *a
        ptrdiff_t lda
        const void *w
        const void **w_rows
        ptrdiff_t w_step
        int descending, packed_a

    ctypedef enum rf_start:
        RF_START_ZERO, RF_START_BIAS, RF_START_C

    ctypedef struct rf_gemm:
        rf_product p
        void *c
        ptrdiff_t ldc
        const void *bias
        rf_start start

    enum:
        RF_MAX_STATES, RF_MAX_EXTRAS, RF_MAX_TOGETHER, RF_MAX_SLOTS, RF_MAX_PHASES, RF_MAX_PRODUCTS, RF_MAX_GATES, RF_MAX_CELLS
        RF_MAX_VECTORS, RF_MAX_ROW_VALUES, RF_MAX_THREADS

    ctypedef struct rf_rows:
        void *at
        ptrdiff_t ld

    ctypedef struct rf_operand:
        int16_t space, number

    ctypedef struct rf_instruction:
        int16_t op
        int16_t operand[4]

    ctypedef struct rf_program:
        int instructions, operands, registers, constants
        const rf_instruction *instruction
        const rf_operand *operand
        const double *constant

    ctypedef struct rf_total:
        int partial, row

    ctypedef struct rf_phase:
        int totals
        const rf_total *total
        const rf_program *row_program
        const rf_program *program
        int first, products
        int sum[RF_MAX_TOGETHER]
        int gates[RF_MAX_TOGETHER]

    ctypedef struct rf_step:
        rf_product p[RF_MAX_TOGETHER]
        int save
        rf_rows slots
        const void *vectors
        rf_rows before[RF_MAX_STATES]
        rf_rows after[RF_MAX_STATES]
        rf_rows dy
        rf_rows d_after[RF_MAX_STATES]
        rf_rows d_before[RF_MAX_STATES]
        const rf_phase *phase
        ptrdiff_t unit0, unit1
        rf_rows y
        rf_rows extra[RF_MAX_EXTRAS]
        rf_rows d_extra[RF_MAX_EXTRAS]
        rf_rows d_vectors
        rf_rows sums
        void *row_values
        ptrdiff_t ld_row_values
        void *partials
        ptrdiff_t ld_partials

    ctypedef struct rf_step_kernel:
        void (*run)(const rf_step *) noexcept nogil
        int gates

    enum:
        RF_SRC_X, RF_SRC_STATE, RF_TO_IH, RF_TO_HH

    ctypedef struct rf_forward_product:
        int source, gates
        int gate[4]

    ctypedef struct rf_backward_product:
        int slot, gates, state

    ctypedef struct rf_weight_product:
        int to, source, slot, gate, gates

    ctypedef struct rf_state:
        int product, carried, kept, in_place, reads_before, reads_after

    ctypedef struct rf_cell:
        const char *name
        int x_gates, h_gates, slots, saves_slots, states, y_is_state
        rf_state state[RF_MAX_STATES]
        int ih_of_slot[RF_MAX_SLOTS]
        int merged[RF_MAX_SLOTS]
        int hh_of_slot[RF_MAX_SLOTS]
        int split_biases
        int split[RF_MAX_VECTORS]
        int vectors
        int extras, row_values, row_inputs, row_saved
        int d_row_input[RF_MAX_EXTRAS]
        int partials, forward_products, backward_products
        rf_forward_product forward_product[RF_MAX_PRODUCTS]
        rf_backward_product backward_product[RF_MAX_PRODUCTS]
        int forward_phases, backward_phases, ahead_phases, rest_phases
        rf_phase forward[RF_MAX_PHASES]
        rf_phase backward[RF_MAX_PHASES]
        rf_phase ahead[RF_MAX_PHASES]
        rf_phase rest[RF_MAX_PHASES]
        int products
        rf_weight_product product[RF_MAX_PRODUCTS]

    const rf_cell rf_cells[]
    const int rf_cell_count
    int rf_find_cell(const char *name)
    int rf_cell_problem(const rf_cell *, int index, char *text, size_t room)

    enum: RF_COMPILED_PHASES

    ctypedef struct rf_kernels:
        int itemsize, lanes, width, mr
        void (*pack_gates)(void *out, const void **rows, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden,
                           ptrdiff_t k, int gates) noexcept nogil
        void (*pack_rows)(void *out, const void **rows, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, ptrdiff_t k,
                          ptrdiff_t cols, int panel) noexcept nogil
        void (*column_sum)(void *out, const void **rows, ptrdiff_t k, ptrdiff_t cols) noexcept nogil
        void (*gemm)(const rf_gemm *) noexcept nogil
        void (*tanh)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*sigmoid)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        double (*probe_fma)(ptrdiff_t repeats) noexcept nogil
        double (*probe_load)(const void *data, ptrdiff_t n, ptrdiff_t repeats) noexcept nogil
        rf_step_kernel forward[RF_MAX_CELLS][RF_COMPILED_PHASES]
        rf_step_kernel backward[RF_MAX_CELLS][RF_COMPILED_PHASES]
        void (*interpret)(const rf_step *) noexcept nogil
        void (*apply)(int op, const void *a, const void *b, const void *c, void *y, ptrdiff_t n) noexcept nogil

    int rf_op_count()
    const char *rf_op_name(int op)
    int rf_op_arguments(int op)
    ptrdiff_t rf_panels(const rf_kernels *, ptrdiff_t units, int gates)
    size_t rf_panel_bytes(const rf_kernels *, ptrdiff_t units, ptrdiff_t k, int gates)
    int rf_isa_count()
    const char *rf_isa_name(int isa)
    int rf_isa_present(int isa)
    const rf_kernels *rf_isa_kernels(int isa, int itemsize)
    uint64_t rf_fp_enter()
    void rf_fp_leave(uint64_t saved)
    void *rf_alloc(size_t bytes)
    void rf_free(void *, size_t bytes)
    size_t rf_trim()
    enum: RF_KEPT_FROM
    int rf_scratch_reserve(size_t bytes)
    void *rf_scratch_open(size_t bytes)
    void rf_scratch_close(void *)
    int rf_alternate(int *value)
    int rf_flag(const int *flag)
    void rf_set_flag(int *flag, int value)
    ctypedef void (*rf_task)(void *arg, int thread, int threads) noexcept nogil
    int rf_team_cpus()
    int rf_team_acquire(int want, int brief)
    void rf_team_run(rf_task task, void *arg, int threads)
    void rf_team_release(int acquired)
    void rf_team_barrier(int threads)
    int rf_team_agree(int threads, int vote)
    int rf_team_orphaned()
    int rf_team_let_rest(int on)
    int rf_team_exceed(int on)
    int64_t rf_now_ns()


# What other modules call of csrc, which is linked into _core alone: rf_NAME there is NAME here.
cdef const rf_kernels *isa_kernels(int isa, int itemsize) noexcept nogil
cdef const rf_cell *compiled_cell(str name, int *index) except NULL
cdef bint cell_problem(const rf_cell *cell, int index, char *text, size_t room) noexcept nogil
cdef ptrdiff_t panel_count(const rf_kernels *kernels, ptrdiff_t units, int gates) noexcept nogil
cdef size_t panel_bytes(const rf_kernels *kernels, ptrdiff_t units, ptrdiff_t k, int gates) noexcept nogil
cdef uint64_t fp_enter() noexcept nogil
cdef void fp_leave(uint64_t saved) noexcept nogil
cdef int scratch_reserve(size_t bytes) noexcept nogil
cdef char *scratch_open(size_t bytes) noexcept nogil
cdef void scratch_close(char *) noexcept nogil
cdef int team_cpus() noexcept nogil
cdef int team_acquire(int want, bint brief) noexcept nogil
cdef void team_run(rf_task task, void *arg, int threads) noexcept nogil
cdef void team_release(int acquired) noexcept nogil
cdef void team_barrier(int threads) noexcept nogil
cdef bint team_agree(int threads, bint vote) noexcept nogil
cdef bint team_orphaned() noexcept nogil
cdef bint team_let_rest(bint on) noexcept nogil
cdef bint team_exceed(bint on) noexcept nogil
cdef int64_t now_ns() noexcept nogil

# Signals in a long call: see _core.pyx
cdef struct Ear:
    bint listens                # to signals, as their handlers run in this thread
    int pipe                    # from which a byte can be read when one has come, or -1
    int before                  # whose turn that was before
    int stopped                 # a flag: 0, STOPPED by an exception of a handler, ORPHANED in a forked child
    int64_t look_at             # the clock when to look next
cdef enum:
    STOPPED = 1
    ORPHANED = 2
cdef int open_ear(Ear *ear, bint long_call) except -1
cdef int close_ear(Ear *ear) except -1
cdef void look_for_signals(Ear *ear) noexcept nogil


cdef class Buffer:
    """64-byte aligned memory that lives as long as the object."""
    cdef char *data
    cdef readonly size_t nbytes


cdef fresh_array(int ndim, cnp.npy_intp *dims, int kind, size_t itemsize, bint lockable)


cdef struct Pieces:
    # one block of memory dealt out in 64-byte aligned pieces; with base NULL they are only counted
    char *base
    size_t used

cdef inline char *take_piece(Pieces *p, size_t nbytes) noexcept nogil:
    """The next piece."""
    cdef char *piece = p.base + p.used if p.base != NULL else NULL
    p.used += (nbytes + 63) & ~<size_t>63
    return piece
