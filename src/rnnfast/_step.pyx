# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""One time step through all layers, with as little as possible around it: the entry for streams.

`try_step` takes the arrays as the user gave them and does the step if they fit exactly; if anything is unusual it returns
False, and frozen.py goes the long way, where every problem has its text. `step` takes arrays that were checked.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memset

from rnnfast._core cimport *
from rnnfast._job cimport Job
from rnnfast._layer cimport *

cnp.import_array()


cdef struct States:
    # (layers, B, H) each; NULL: zeros, or no such state
    char *h
    char *c
    char *h_out
    char *c_out


cdef bint run(tuple layers, Py_ssize_t B, char *x, char *y, States *s, int threads) noexcept:
    """x (B, I) -> y (B, H); False when there is no memory for the scratch: y of two lower layers, zeros, what a layer needs."""
    cdef Py_ssize_t count = len(layers), l, state
    cdef Weights w = <Weights>layers[0]
    cdef size_t between, most = 0
    cdef char *base
    cdef Job job
    state = B * w.hidden_size * w.kernels.itemsize
    between = (state + 63) & ~<size_t>63
    for l in range(count):
        fill(&job, <Weights>layers[l], B)
        most = max(most, place_forward(&job, NULL))
    base = <char *>scratch(3 * between + most)
    if base == NULL:
        return False
    if s.h == NULL or (s.c == NULL and w.cell.has_c):
        memset(base + 2 * between, 0, state)
    for l in range(count):
        w = <Weights>layers[l]
        fill(&job, w, B)
        job.turn = w.turn
        w.turn ^= 1  # where threads race for it, only speed depends on it
        job.x.data = x if l == 0 else base + ((l - 1) & 1) * between
        job.x.row = w.input_size * job.size
        job.y.data = y if l == count - 1 else base + (l & 1) * between
        job.y.row = w.hidden_size * job.size
        job.h0 = s.h + l * state if s.h != NULL else base + 2 * between
        job.h_n = s.h_out + l * state
        if w.cell.has_c:
            job.c0 = s.c + l * state if s.c != NULL else base + 2 * between
            job.c_n = s.c_out + l * state
        place_forward(&job, base + 3 * between)
        with nogil:
            run_placed(&job, threads)
    return True


cdef inline void fill(Job *j, Weights w, Py_ssize_t B) noexcept:
    set_weights(j, w)
    set_order(j, 1, B, False, None)
    j.h_in_y = True


def step(tuple layers, x, tuple state, y, tuple state_out, int threads, Py_ssize_t count=1):
    """x (B, I), y (B, H), each state (layers, B, H) or None for zeros; contiguous, checked. A state_out may be its state.

    count: times over, so that bench/step_overhead.py can tell what Python adds."""
    cdef States s
    cdef Py_ssize_t i
    s.h, s.h_out = data(state[0]), data(state_out[0])
    s.c = s.c_out = NULL
    if len(state) == 2:
        s.c, s.c_out = data(state[1]), data(state_out[1])
    for i in range(count):
        if not run(layers, cnp.PyArray_DIM(<cnp.ndarray>x, 0), data(x), data(y), &s, threads):
            raise MemoryError("rnnfast: no memory for the scratch of a step")


cdef inline bint fits(array, int kind, int ndim, Py_ssize_t layers, Py_ssize_t B, Py_ssize_t n, bint writeable) noexcept:
    """A plain contiguous array (layers, B, n), without B if ndim is one less, without layers if layers is 0."""
    cdef cnp.ndarray a
    cdef int axis = 0
    if not cnp.PyArray_CheckExact(array):
        return False
    a = <cnp.ndarray>array
    if cnp.PyArray_TYPE(a) != kind or cnp.PyArray_NDIM(a) != ndim:
        return False
    if not (cnp.PyArray_ISCARRAY(a) if writeable else cnp.PyArray_ISCARRAY_RO(a)):
        return False
    if layers:
        if cnp.PyArray_DIM(a, 0) != layers:
            return False
        axis = 1
    if ndim - axis == 2 and cnp.PyArray_DIM(a, axis) != B:
        return False
    return cnp.PyArray_DIM(a, ndim - 1) == n


cdef inline bint apart(const char *a, size_t a_bytes, const char *b, size_t b_bytes) noexcept:
    return a == NULL or b == NULL or a + a_bytes <= b or b + b_bytes <= a


def try_step(tuple layers, x, state, out, int threads):
    """The step, if x, state and out are exactly what they should be; else False, and nothing is done."""
    cdef Py_ssize_t count = len(layers), B
    cdef Weights w = <Weights>layers[0]
    cdef int kind = cnp.NPY_FLOAT if w.kernels.itemsize == 4 else cnp.NPY_DOUBLE, ndim
    cdef size_t x_bytes, y_bytes, state_bytes
    cdef bint two = w.cell.has_c
    cdef States s
    cdef char *px
    cdef char *py
    if type(out) is not tuple or len(<tuple>out) != 2 or not cnp.PyArray_CheckExact(x):
        return False
    y, new = (<tuple>out)[0], (<tuple>out)[1]
    ndim = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if ndim != 1 and ndim != 2:
        return False
    B = cnp.PyArray_DIM(<cnp.ndarray>x, 0) if ndim == 2 else 1
    if not fits(x, kind, ndim, 0, B, w.input_size, False) or not fits(y, kind, ndim, 0, B, w.hidden_size, True):
        return False
    h = h_out = c = c_out = None
    if two:
        if type(new) is not tuple or len(<tuple>new) != 2 or not (state is None or (type(state) is tuple and len(<tuple>state) == 2)):
            return False
        h_out, c_out = (<tuple>new)[0], (<tuple>new)[1]
        if state is not None:
            h, c = (<tuple>state)[0], (<tuple>state)[1]
        if not fits(c_out, kind, ndim + 1, count, B, w.hidden_size, True):
            return False
        if c is not None and not fits(c, kind, ndim + 1, count, B, w.hidden_size, False):
            return False
    else:
        h, h_out = state, new
    if not fits(h_out, kind, ndim + 1, count, B, w.hidden_size, True):
        return False
    if h is not None and not fits(h, kind, ndim + 1, count, B, w.hidden_size, False):
        return False
    s.h, s.c, s.h_out, s.c_out, px, py = data(h), data(c), data(h_out), data(c_out), data(x), data(y)
    x_bytes, y_bytes = B * w.input_size * w.kernels.itemsize, B * w.hidden_size * w.kernels.itemsize
    state_bytes = count * y_bytes
    if not (apart(py, y_bytes, px, x_bytes) and apart(py, y_bytes, s.h, state_bytes) and apart(py, y_bytes, s.c, state_bytes)
            and apart(py, y_bytes, s.h_out, state_bytes) and apart(py, y_bytes, s.c_out, state_bytes)
            and apart(s.h_out, state_bytes, px, x_bytes) and apart(s.c_out, state_bytes, px, x_bytes)
            and (s.h_out == s.h or apart(s.h_out, state_bytes, s.h, state_bytes))
            and (s.c_out == s.c or apart(s.c_out, state_bytes, s.c, state_bytes))
            and apart(s.h_out, state_bytes, s.c, state_bytes) and apart(s.c_out, state_bytes, s.h, state_bytes)
            and apart(s.h_out, state_bytes, s.c_out, state_bytes)):
        return False
    if not run(layers, B, px, py, &s, threads):
        raise MemoryError("rnnfast: no memory for the scratch of a step")
    return True
