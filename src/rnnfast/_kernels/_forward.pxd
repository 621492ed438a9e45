"""What _forward offers to other Cython modules."""
from rnnfast._kernels._job cimport Job, Order, View


cdef void begin_rows(Job *j, int thread) noexcept nogil
cdef void clear_ends(const Order *o, const View *v, Py_ssize_t nbytes, int thread, int threads) noexcept nogil
cdef bint forward_window(Job *j, Py_ssize_t s0, Py_ssize_t s1, int thread, int threads) noexcept nogil
cdef void forward_task(void *arg, int thread, int threads) noexcept nogil
