"""What _fast_path offers to other Cython modules."""
cimport numpy as cnp
from cpython.ref cimport PyObject

from rnnfast._kernels._core cimport *
from rnnfast._kernels._job cimport Extra


cdef struct Layers:
    # one upon the other, in one direction
    Py_ssize_t count
    PyObject **weights              # Weights
    double initial[RF_MAX_STATES]   # of each state, what it is where the caller gives none


cdef struct States:
    # (layers, B, H) each; before NULL: the initial value
    int count
    const char *before[RF_MAX_STATES]
    char *after[RF_MAX_STATES]
    Extra *extra                    # the cell's inputs, which all layers read; NULL: it has none


cdef struct Plan:
    # bytes of a call
    size_t state    # of one state of a layer,
    size_t first    # and of one that the caller does not give;
    size_t y        # of y of a lower layer;
    size_t layer    # of the scratch of the layer that needs most
    bint is_long


cdef class FrozenLayers:
    cdef Layers layers
    cdef readonly tuple weights     # keeps them alive


cdef struct Sizes:
    # what the arrays of a call must be: (T, B, n), without T in a step, without B where x has none; states (layers, B, n),
    # without layers, which is 0, in a function's call
    bint has_T, has_B
    Py_ssize_t T, B, layers
    int kind


cdef inline bint fits(array, const Sizes *z, Py_ssize_t lead, Py_ssize_t n, bint writeable) noexcept:
    """A plain contiguous array (lead, B, n), without B if so in z, without lead or n if that is 0."""
    cdef cnp.ndarray a
    cdef int axes = (lead > 0) + z.has_B + (n > 0)
    if not cnp.PyArray_CheckExact(array):
        return False
    a = <cnp.ndarray>array
    if cnp.PyArray_TYPE(a) != z.kind or cnp.PyArray_NDIM(a) != axes:
        return False
    if not (cnp.PyArray_ISCARRAY(a) if writeable else cnp.PyArray_ISCARRAY_RO(a)):
        return False
    return ((lead == 0 or cnp.PyArray_DIM(a, 0) == lead) and (not z.has_B or cnp.PyArray_DIM(a, lead > 0) == z.B)
            and (n == 0 or cnp.PyArray_DIM(a, axes - 1) == n))


cdef bint states_fit(const Sizes *z, int count, state, Py_ssize_t H) noexcept
cdef size_t plan(Plan *p, const Layers *k, Py_ssize_t T, Py_ssize_t B, int threads) noexcept nogil
cdef bint run_layers(const Layers *k, const Plan *p, size_t nbytes, Py_ssize_t T, Py_ssize_t B, const char *x, char *y,
                     const States *s, int threads, Ear *ear) noexcept nogil
cdef bint all_apart(const char *x, size_t x_bytes, const char *y, size_t y_bytes, const States *s,
                    size_t each) noexcept nogil
cpdef step(FrozenLayers layers, x, tuple state, y, tuple state_out, int threads)
