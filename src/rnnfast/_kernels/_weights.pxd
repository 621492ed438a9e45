"""What _weights offers to other Cython modules."""
cimport numpy as cnp

from rnnfast._kernels._code cimport Code
from rnnfast._kernels._core cimport *


cdef class Weights:
    """The weights of one layer and direction, for one ISA and dtype: packed, or, if `ih` is NULL, where the user keeps them.
    Only `panels_descend` changes, a hint of speed."""
    cdef const rf_cell *cell
    cdef object code                  # that owns a cell without compiled kernels
    cdef const rf_kernels *kernels
    cdef int index                    # of the cell in the tables of kernels, -1 if it is interpreted
    cdef Py_ssize_t most_sums         # blocks of sums of a phase
    cdef readonly int isa
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef int kind                     # NumPy's number of the dtype
    cdef bint permuted                # the user's gates have another order than the cell's
    cdef int block[RF_MAX_GATES]      # of each gate, its block of rows
    cdef int panels_descend           # the next call begins with the last panels: single_step in _forward.pyx, csrc/live.h
    cdef readonly bint trainable      # the backward orientations are packed too
    cdef Buffer memory
    cdef char *ih                     # x-projection: (x_gates*H columns in slot order) panels, I deep
    cdef char *bias_x                 # (x_gates*H) in slot order: b_ih, and the b_hh that are merged with it
    cdef char *vectors                # (n, H): the b_hh that stand apart, then the cell's other vectors
    cdef char **hh                    # one set of panels a forward product, H deep
    cdef char *back_ih                # (I columns), x_gates*H deep in slot order
    cdef char **back_hh               # (H columns), gates*H deep, one a backward product
    cdef void *few[3 * RF_COMPILED_PHASES] # memory of these two lists and hh_rows, if they are short,
    cdef Buffer tables                # or else
    cdef tuple pointed                # w_ih, w_hh if they are not packed, which keeps them alive
    cdef const void **ih_rows         # not packed: the addresses of the rows, as `ih` would have them,
    cdef const void ***hh_rows        # one list a forward product
    cdef ptrdiff_t ih_step, hh_step   # and the elements from one column to the next
    cdef _describe(self, cell, int isa, cnp.ndarray w_ih, w_hh, tuple blocks)
    cdef _pack(self, bint trainable, int threads, cnp.ndarray w_ih, w_hh, b_ih, b_hh, vectors)
    cdef _point(self, cnp.ndarray w_ih, w_hh, b_ih, b_hh, vectors)
    cdef void _take_biases(self, Pieces *p) noexcept
    cdef void _fill_biases(self, b_ih, b_hh, vectors) noexcept
    cdef void _add_bias(self, char *to, b, int gate) noexcept


cdef bint is_weight(w, int kind, Py_ssize_t rows, Py_ssize_t columns) noexcept
cpdef Weights pack(cell, int isa, bint trainable, int threads, w_ih, w_hh, b_ih=*, b_hh=*, tuple blocks=*, vectors=*)
cpdef Weights point_at(cell, int isa, w_ih, w_hh, b_ih=*, b_hh=*, tuple blocks=*, vectors=*)
cdef const rf_cell *find_cell(cell, int *index) except NULL
