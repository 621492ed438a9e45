"""What _layer offers to other Cython modules."""
from rnnfast._core cimport Buffer, Weights
from rnnfast._job cimport Job
from rnnfast._order cimport RowOrder


cdef class Tape:
    cdef Job job
    cdef readonly Weights weights
    cdef object arrays          # all that the job points into
    cdef Buffer slots           # of all steps; where nothing was saved, backward's own: of all steps or one window
    cdef Buffer cells
    cdef Buffer marks
    cdef int threads            # backward may use, as prepared


cdef char *data(array) noexcept
cdef void set_weights(Job *j, Weights w) noexcept
cdef void set_order(Job *j, Py_ssize_t T, Py_ssize_t B, bint reverse, RowOrder order) noexcept
cdef size_t place_forward(Job *j, char *base) noexcept nogil
cdef void run_placed(Job *j, int threads) noexcept nogil
