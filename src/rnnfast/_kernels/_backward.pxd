"""What _backward offers to other Cython modules."""
cdef void backward_task(void *arg, int thread, int threads) noexcept nogil
