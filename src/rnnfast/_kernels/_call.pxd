"""What _call offers to other Cython modules."""
from rnnfast._kernels._job cimport *
from rnnfast._kernels._order cimport RowOrder
from rnnfast._kernels._weights cimport Weights

# The cost model of threads (_call.pyx): floating point operations below which a call or a phase of a step takes no more threads
cdef double flops_per_thread, flops_per_phase
cdef Py_ssize_t hoisted_vectors


cdef class Record:
    cdef Job job
    cdef readonly Weights weights
    cdef object arrays          # all that the job points into
    cdef Buffer slots           # of all steps; where nothing was saved, backward's own: of all steps or one window
    cdef Buffer states          # the kept ones, and numbers a row
    cdef Buffer extra           # of the job
    cdef Buffer checkpoints
    cdef int threads            # backward may use, as prepared
    cdef Buffer scratch         # of backward, where the thread's own is in use: in a signal's handler inside another call


cdef char *address(array) noexcept
cdef void set_weights(Job *j, Weights w) noexcept nogil
cdef void set_order(Job *j, Py_ssize_t T, Py_ssize_t B, bint reverse, RowOrder order) noexcept nogil
cdef bint is_long(const Job *j, int passes) noexcept nogil
cdef size_t place_forward(Job *j, char *base, int threads) noexcept nogil
cdef void run_placed(Job *j, int threads) noexcept nogil
cpdef Record forward(Weights w, x, y, tuple first, tuple last, bint reverse, RowOrder order, bint record,
                     Py_ssize_t checkpoint_every, int threads, tuple extras=*)
cpdef size_t prepare(Record kept, dx, int threads, tuple d_extras=*) except? 0
cdef int run_backward(Record kept, dy, tuple d_last, dx, tuple d_first, d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_vectors) except -1
