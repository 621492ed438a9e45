"""C declarations of csrc/rnnfast.h (documented there) and the Cython classes other modules cimport.

csrc is linked into _core alone: other modules reach its functions through the cdef functions below, so that there is one
thread team and one scratch per thread.
"""
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint64_t


cdef extern from "rnnfast.h" nogil:
    ctypedef struct rf_product:
        ptrdiff_t rows, cols, k, k_panel, panel0, panel1
        const void *a
        ptrdiff_t lda
        const void *w
        int descending, packed_a

    ctypedef enum rf_start:
        RF_START_ZERO, RF_START_BIAS, RF_START_C

    ctypedef struct rf_gemm:
        rf_product p
        void *c
        ptrdiff_t ldc
        const void *bias
        rf_start start

    ctypedef struct rf_step:
        rf_product p
        int save
        void *slots
        ptrdiff_t ld_slots
        const void *bias
        const void *h_prev
        ptrdiff_t ld_h_prev
        void *h
        ptrdiff_t ld_h
        const void *c_prev
        void *c
        const void *dy
        ptrdiff_t ld_dy
        void *carry
        int carry_in
        void *dc

    ctypedef void (*rf_step_fn)(const rf_step *) noexcept nogil

    enum:
        RF_SRC_X, RF_SRC_H, RF_MAX_THREADS

    ctypedef struct rf_forward_phase:
        int source, gate, gates

    ctypedef struct rf_backward_phase:
        int same_step, slot, gate, gates

    ctypedef struct rf_weight_product:
        int to, source, slot, gate, gates

    ctypedef struct rf_cell:
        const char *name
        int gates, slots, saved, has_c, has_carry, reads_h_prev, reads_h, split_bias, phases
        rf_forward_phase forward[2]
        rf_backward_phase backward[2]
        int products
        rf_weight_product product[4]

    const rf_cell rf_cells[]
    int rf_find_cell(const char *name)

    ctypedef struct rf_kernels:
        int itemsize, lanes, width, mr
        void (*pack_gates)(void *out, const void **rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden, ptrdiff_t k,
                           int gates) noexcept nogil
        void (*pack_rows)(void *out, const void **rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t k, ptrdiff_t cols,
                          int panel) noexcept nogil
        void (*column_sum)(void *out, const void **rows, ptrdiff_t k, ptrdiff_t cols) noexcept nogil
        void (*gemm)(const rf_gemm *) noexcept nogil
        void (*tanh)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        void (*sigmoid)(const void *x, void *y, ptrdiff_t n) noexcept nogil
        double (*probe_fma)(ptrdiff_t repeats) noexcept nogil
        double (*probe_load)(const void *data, ptrdiff_t n, ptrdiff_t repeats) noexcept nogil
        rf_step_fn forward[8][2]
        rf_step_fn backward[8][2]

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
    void *rf_scratch(size_t bytes)
    ctypedef void (*rf_task)(void *arg, int thread, int threads) noexcept nogil
    int rf_team_acquire(int want, int brief)
    void rf_team_run(rf_task task, void *arg, int threads)
    void rf_team_barrier(int threads)
    void rf_team_release(int threads)
    int rf_team_let_rest(int on)


cdef uint64_t fp_enter() noexcept nogil
cdef void fp_leave(uint64_t saved) noexcept nogil
cdef void barrier(int threads) noexcept nogil
cdef int team_acquire(int want, bint brief) noexcept nogil
cdef void team_run(rf_task task, void *arg, int threads) noexcept nogil
cdef void team_release(int threads) noexcept nogil
cdef void *scratch(size_t bytes) noexcept nogil
cdef ptrdiff_t panels(const rf_kernels *kernels, ptrdiff_t units, int gates) noexcept nogil


cdef class Buffer:
    """64-byte aligned memory that lives as long as the object."""
    cdef char *data
    cdef readonly size_t nbytes


cdef class Weights:
    """The packed weights of one layer and direction, for one ISA and dtype. Immutable, but for `turn`, a hint of speed."""
    cdef const rf_cell *cell
    cdef const rf_kernels *kernels
    cdef int index                    # of the cell in the tables
    cdef readonly int isa
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef int turn                     # of the next single step: to and fro through the panels, lone_step in _forward.pyx
    cdef readonly bint trainable      # the backward orientations are packed too
    cdef Buffer memory
    cdef char *ih                     # x-projection: (G*H columns in slot order) panels, I deep
    cdef char *bias_x                 # (G*H) in slot order: b_ih + b_hh, but for the split gate
    cdef char *bias_h                 # (H) b_hh of the split gate
    cdef char *hh[2]                  # one set of panels a forward phase, H deep
    cdef char *back_ih                # (I columns), G*H deep in slot order
    cdef char *back_hh[2]             # (H columns), gates*H deep, one a backward phase
    cdef void _pack_biases(self, b_ih, b_hh)
