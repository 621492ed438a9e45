"""What _forward offers to the backward loop."""
from rnnfast._kernels._job cimport *

cdef void forward_task(void *arg, int thread, int threads) noexcept nogil
cdef bint forward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil
cdef void begin_rows(Job *j, int thread) noexcept nogil
cdef void clear_ends(const Order *o, const View *v, Py_ssize_t nbytes, int thread, int threads) noexcept nogil
cdef void open_extras(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last, int thread, rf_step *a) noexcept nogil
cdef void gather_extras(Job *j, Py_ssize_t s, Py_ssize_t first, Py_ssize_t last) noexcept nogil
cdef void keep_row_values(Job *j, Py_ssize_t s, int thread, bint back) noexcept nogil
