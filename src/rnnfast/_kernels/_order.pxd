"""What _order offers to other Cython modules."""
from rnnfast._kernels._core cimport Buffer


cdef class RowOrder:
    cdef Buffer memory
    cdef readonly Py_ssize_t batch, steps, rows     # B, S, the largest length, and the sum of lengths
    # (B,) row -> sample; (B,) length of each row; (S+1,) rows at work at step s, 0 at S; (S+1,) stored row where step s begins,
    # the sum of lengths at S
    cdef Py_ssize_t *sample
    cdef Py_ssize_t *length
    cdef Py_ssize_t *active
    cdef Py_ssize_t *first
