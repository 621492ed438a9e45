"""What _weights offers to other Cython modules."""
cimport numpy as cnp

from rnnfast._kernels._core cimport *


cdef class Weights:
    """The weights of one layer and direction, for one ISA and dtype: packed, or, if `ih` is NULL, where the user keeps them.
    Only `panels_descend` changes, a hint of speed."""
    cdef const rf_cell *cell
    cdef const rf_kernels *kernels
    cdef int index                    # of the cell in the tables of kernels
    cdef readonly int isa
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef int kind                     # NumPy's number of the dtype
    cdef bint permuted                # the user's gates have another order than the cell's
    cdef int block[RF_MAX_GATES]      # of each gate, its block of rows
    cdef int panels_descend           # the next call begins with the last panels: single_step in _forward.pyx, csrc/live.h
    cdef readonly bint trainable      # the backward orientations are packed too
    cdef Buffer memory
    cdef char *ih                     # x-projection: (G*H columns in slot order) panels, I deep
    cdef char *bias_x                 # (G*H) in slot order: b_ih + b_hh, but for the split gate
    cdef char *bias_h                 # (H) b_hh of the split gate
    cdef char *hh[RF_MAX_PHASES]      # one set of panels a forward phase, H deep
    cdef char *back_ih                # (I columns), G*H deep in slot order
    cdef char *back_hh[RF_MAX_PHASES] # (H columns), gates*H deep, one a backward phase
    cdef tuple pointed                # w_ih, w_hh if they are not packed, which keeps them alive
    cdef const void **ih_rows         # not packed: the addresses of the rows, as `ih` would have them,
    cdef const void **hh_rows[RF_MAX_PHASES]
    cdef ptrdiff_t ih_step, hh_step   # and the elements from one column to the next
    cdef _describe(self, str cell, int isa, cnp.ndarray w_ih, cnp.ndarray w_hh, tuple blocks)
    cdef _pack(self, bint trainable, int threads, cnp.ndarray w_ih, cnp.ndarray w_hh, b_ih, b_hh)
    cdef _point(self, cnp.ndarray w_ih, cnp.ndarray w_hh, b_ih, b_hh)
    cdef void _take_biases(self, Pieces *p) noexcept
    cdef void _fill_biases(self, b_ih, b_hh) noexcept
    cdef void _add_bias(self, char *to, b, int gate) noexcept


cdef bint is_weight(w, int kind, Py_ssize_t rows, Py_ssize_t columns) noexcept
cpdef Weights pack(str cell, int isa, bint trainable, int threads, w_ih, w_hh, b_ih=*, b_hh=*, tuple blocks=*)
cpdef Weights point_at(str cell, int isa, w_ih, w_hh, b_ih=*, b_hh=*, tuple blocks=*)
