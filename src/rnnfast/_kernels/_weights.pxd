"""What _weights offers to other Cython modules."""
from rnnfast._kernels._core cimport *


cdef class Weights:
    """The packed weights of one layer and direction, for one ISA and dtype. Only `panels_descend` changes, a hint of speed."""
    cdef const rf_cell *cell
    cdef const rf_kernels *kernels
    cdef int index                    # of the cell in the tables of kernels
    cdef readonly int isa
    cdef readonly Py_ssize_t input_size, hidden_size
    cdef int panels_descend           # the next call begins with the last panels: single_step in _forward.pyx
    cdef readonly bint trainable      # the backward orientations are packed too
    cdef Buffer memory
    cdef char *ih                     # x-projection: (G*H columns in slot order) panels, I deep
    cdef char *bias_x                 # (G*H) in slot order: b_ih + b_hh, but for the split gate
    cdef char *bias_h                 # (H) b_hh of the split gate
    cdef char *hh[RF_MAX_PHASES]      # one set of panels a forward phase, H deep
    cdef char *back_ih                # (I columns), G*H deep in slot order
    cdef char *back_hh[RF_MAX_PHASES] # (H columns), gates*H deep, one a backward phase
    cdef void _pack_biases(self, b_ih, b_hh)
