"""What _code offers to other Cython modules."""
from rnnfast._kernels._core cimport *


cdef class Code:
    """A cell without compiled kernels: its numbers and programs, as a formula's plan gives them. It never changes."""
    cdef rf_cell cell
    cdef list memory            # Buffers that the programs are in
    cdef readonly object spec
    cdef _fill(self, spec, Py_ssize_t hidden_size)
    cdef _fill_phases(self, rf_phase *to, tuple phases, list products, Py_ssize_t hidden_size)
    cdef _fill_phase(self, rf_phase *to, phase, list products, Py_ssize_t hidden_size)
    cdef rf_program *_program(self, program, Py_ssize_t hidden_size) except? NULL
    cdef void *_memory(self, size_t nbytes) except NULL
