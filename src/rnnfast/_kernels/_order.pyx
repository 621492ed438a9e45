# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""From `lengths` to the order of work: rows sorted by falling length, so that those at work at a step are a prefix."""
cimport cython
cimport numpy as cnp

from rnnfast._kernels._core cimport Buffer

cnp.import_array()


@cython.final
cdef class RowOrder:
    """RowOrder(lengths): (B,) intp, contiguous, checked by the caller. Samples of one length keep their order."""

    def __cinit__(self, cnp.ndarray lengths):
        cdef const Py_ssize_t *given = <const Py_ssize_t *>cnp.PyArray_DATA(lengths)
        cdef Py_ssize_t B = cnp.PyArray_SIZE(lengths), S = 0, b, s, row
        for b in range(B):
            S = max(S, given[b])
        self.memory, self.steps = Buffer(2 * (B + S + 1) * sizeof(Py_ssize_t)), S
        self.batch = B
        self.sample = <Py_ssize_t *>self.memory.data
        self.length = self.sample + B
        self.active = self.length + B
        self.first = self.active + S + 1
        for s in range(S + 1):
            self.active[s] = self.first[s] = 0
        for b in range(B):
            if given[b]:
                self.active[given[b] - 1] += 1
        for s in range(S - 1, -1, -1):  # of each length -> longer than s
            self.active[s] += self.active[s + 1]
        for b in range(B):  # counting sort: rows of a length come after all longer ones; `first` counts them meanwhile
            row = self.active[given[b]] + self.first[given[b]]
            self.first[given[b]] += 1
            self.sample[row], self.length[row] = b, given[b]
        self.first[0] = 0
        for s in range(S):
            self.first[s + 1] = self.first[s] + self.active[s]
        self.rows = self.first[S]


def first_outside(cnp.ndarray lengths, Py_ssize_t T):
    """Index of the first length that is not in 0 .. T, or -1."""
    cdef const Py_ssize_t *given = <const Py_ssize_t *>cnp.PyArray_DATA(lengths)
    cdef Py_ssize_t b
    for b in range(cnp.PyArray_SIZE(lengths)):
        if given[b] < 0 or given[b] > T:
            return b
    return -1


def order_of(lengths, Py_ssize_t T):
    """None where every sample has all T steps."""
    cdef Py_ssize_t b
    if lengths is not None:
        for b in range(cnp.PyArray_SIZE(<cnp.ndarray>lengths)):
            if (<const Py_ssize_t *>cnp.PyArray_DATA(<cnp.ndarray>lengths))[b] != T:
                return RowOrder(lengths)
    return None
