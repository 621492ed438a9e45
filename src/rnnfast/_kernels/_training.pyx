# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""Training passes with as little as possible around them: of compiled cells, without lengths, dropout or checkpoints.

`Plain.record` takes the arrays as the user gave them and does the work if they fit exactly; if anything is unusual it returns
None, and the caller goes the long way, where every problem has its text. Both ways end in the same calls of `_call`.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memset

from rnnfast._kernels._call cimport *
from rnnfast._kernels._weights cimport pack

cnp.import_array()

import numpy as np


@cython.final
cdef class Plain:
    """What a pass must know of layers of a compiled cell; made once for each layer."""
    cdef readonly object form
    cdef str cell
    cdef const rf_cell *numbers
    cdef tuple names            # of each place, the names of its parameters: w_ih, w_hh and perhaps b_ih, b_hh
    cdef int kind, itemsize
    cdef bint batch_first
    cdef Py_ssize_t inputs, hidden, layers, directions, each, params

    def __init__(self, form, tuple names):
        """names: of each place, those of its parameters, 2 or, with biases, 4."""
        cdef int index
        cdef Py_ssize_t layer
        self.form, self.names, self.each = form, names, len(names[0])
        self.cell, self.numbers = form.variant.kernel, compiled_cell(form.variant.kernel, &index)
        self.kind, self.itemsize, self.batch_first = (<cnp.dtype>form.dtype).type_num, form.dtype.itemsize, form.batch_first
        self.inputs, self.hidden = form.input_size, form.hidden_size
        self.layers, self.directions, self.params = form.num_layers, form.directions, 0
        for layer in range(self.layers):
            self.params += self.directions * self.rows() * (self.width(layer) + self.hidden + self.each - 2)

    cdef inline Py_ssize_t rows(self) noexcept:
        """Of the weights of a place."""
        return self.numbers.x_gates * self.hidden

    cdef inline Py_ssize_t width(self, Py_ssize_t layer) noexcept:
        """What a layer reads at each step."""
        return self.hidden * self.directions if layer else self.inputs

    cdef inline bint fits(self, array, int ndim, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c) noexcept:
        """A plain contiguous array of this dtype and of the first ndim of these lengths."""
        cdef cnp.ndarray it
        if not cnp.PyArray_CheckExact(array):
            return False
        it = <cnp.ndarray>array
        return (cnp.PyArray_TYPE(it) == self.kind and cnp.PyArray_NDIM(it) == ndim and cnp.PyArray_ISCARRAY_RO(it)
                and cnp.PyArray_DIM(it, 0) == a and (ndim < 2 or cnp.PyArray_DIM(it, 1) == b)
                and (ndim < 3 or cnp.PyArray_DIM(it, 2) == c))

    cdef bint params_fit(self, tuple params) noexcept:
        """Of all places, in the order of `names`."""
        cdef Py_ssize_t place, i = 0, k, rows = self.rows()
        if len(params) != self.each * len(self.names):
            return False
        for place in range(len(self.names)):
            if not (self.fits(params[i], 2, rows, self.width(place // self.directions), 0)
                    and self.fits(params[i + 1], 2, rows, self.hidden, 0)):
                return False
            for k in range(2, self.each):
                if not self.fits(params[i + k], 1, rows, 0, 0):
                    return False
            i += self.each
        return True

    cdef bint state_fits(self, state, Py_ssize_t B) noexcept:
        """None, or the state itself, or a tuple if there are several, each an array or None."""
        cdef Py_ssize_t places = len(self.names)
        if state is None:
            return True
        if self.numbers.states == 1:
            return self.fits(state, 3, places, B, self.hidden)
        if type(state) is not tuple or len(<tuple>state) != self.numbers.states:
            return False
        for part in <tuple>state:
            if part is not None and not self.fits(part, 3, places, B, self.hidden):
                return False
        return True

    cdef inline new(self, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, bint lockable):
        cdef cnp.npy_intp dims[3]
        dims[0], dims[1], dims[2] = a, b, c
        return fresh_array(3, dims, self.kind, self.itemsize, lockable)

    cdef inline states_of(self, Py_ssize_t B):
        """New ones of all places."""
        return tuple([self.new(len(self.names), B, self.hidden, False) for _ in range(self.numbers.states)])

    def record(self, tuple params, x, state, int isa, int threads, bint locked):
        """(y, state, Passed). params: as in `names`; locked: y is read-only for good."""
        cdef cnp.ndarray seen
        cdef Py_ssize_t T, B, layer, place, i, D = self.directions, H = self.hidden
        cdef cnp.npy_intp dims[2]
        cdef Passed passed
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_NDIM(<cnp.ndarray>x) == 3):
            return None
        seen = <cnp.ndarray>x
        T, B = cnp.PyArray_DIM(seen, self.batch_first), cnp.PyArray_DIM(seen, not self.batch_first)
        if T == 0 or B == 0 or T > (RF_KEPT_FROM - 1) // (H * D * self.itemsize) // B:  # beside more, all this is nothing
            return None
        if not (self.fits(x, 3, B if self.batch_first else T, T if self.batch_first else B, self.inputs)
                and self.state_fits(state, B) and self.params_fit(params)):
            return None
        passed = Passed.__new__(Passed)
        passed.plain, passed.T, passed.B, passed.records = self, T, B, []
        parts = (state,) if self.numbers.states == 1 else (None,) * self.numbers.states if state is None else state
        zeros = None
        before = []
        for part in parts:  # copies, which stay as they are until backward
            if part is None and zeros is None:
                dims[0], dims[1] = B, H
                zeros = cnp.PyArray_ZEROS(2, dims, self.kind, 0)
            before.append(zeros if part is None else cnp.PyArray_NewCopy(<cnp.ndarray>part, cnp.NPY_CORDER))
        last = self.states_of(B)
        read = cnp.PyArray_SwapAxes(seen, 0, 1) if self.batch_first else x
        for layer in range(self.layers):
            if self.batch_first and layer == self.layers - 1:
                y = self.new(B, T, D * H, True)
                out = cnp.PyArray_SwapAxes(<cnp.ndarray>y, 0, 1)
            else:
                y = out = self.new(T, B, D * H, layer == self.layers - 1)
            for place in range(layer * D, layer * D + D):
                i = place * self.each
                b_ih, b_hh = (params[i + 2], params[i + 3]) if self.each == 4 else (None, None)
                w = pack(self.cell, isa, True, threads, params[i], params[i + 1], b_ih, b_hh)
                first = tuple([part if part is zeros else part[place] for part in before])
                ends = tuple([part[place] for part in last])
                passed.records.append(forward(w, read, direction_of(out, place % D, D, H), first, ends, place % D == 1, None, True,
                                              0, threads))
            read = out
        if locked:
            cnp.PyArray_CLEARFLAGS(<cnp.ndarray>y, cnp.NPY_ARRAY_WRITEABLE)
        return y, last if self.numbers.states > 1 else last[0], passed


cdef inline direction_of(array, Py_ssize_t direction, Py_ssize_t D, Py_ssize_t H):
    """(T, B, D*H) -> (T, B, H)"""
    return array if D == 1 else array[:, :, direction * H : direction * H + H]


@cython.final
cdef class Passed:
    """What a pass left for backward."""
    cdef Plain plain
    cdef Py_ssize_t T, B
    cdef list records           # of each place; backward takes them off

    def prepare(self, bint need_x, int threads):
        """All memory of a backward pass, before anything is used up: dx of the layers above the first share two sets."""
        cdef Plain plain = self.plain
        cdef Filled f = Filled.__new__(Filled)
        cdef Py_ssize_t layer, direction, D = plain.directions, place = 0, at = 0, rows = plain.rows(), k, end
        cdef cnp.npy_intp dims[2]
        cdef list sets = []
        dims[0] = plain.params
        f.flat = fresh_array(1, dims, plain.kind, plain.itemsize, False)
        f.params, f.dx, f.d_params, f.initial = {}, [], [], plain.states_of(self.B)
        for layer in range(plain.layers):
            if layer < 3:
                sets.append([plain.new(self.T, self.B, plain.width(layer), False) if layer or need_x else None for _ in range(D)])
            for direction in range(D):
                dx = sets[layer if layer < 3 else 2 - layer % 2][direction]
                prepare(self.records[place], dx, threads)
                f.dx.append(dx)
                for k in range(plain.each):
                    dims[0], dims[1] = rows, plain.hidden if k == 1 else plain.width(layer)
                    end = at + rows * (dims[1] if k < 2 else 1)
                    d = cnp.PyArray_SimpleNewFromData(2 if k < 2 else 1, dims, plain.kind, address(f.flat) + at * plain.itemsize)
                    cnp.set_array_base(d, f.flat)
                    if k >= 2:  # added to
                        memset(address(d), 0, (end - at) * plain.itemsize)
                    f.params[(<tuple>plain.names[place])[k]] = d
                    f.d_params.append(d)
                    at = end
                place += 1
        return f

    def run(self, Filled f, dy, tuple dstate):
        """dy (T, B, D*H) or None; dstate (places, B, H) or None each. Returns dx (T, B, I) or None."""
        cdef Plain plain = self.plain
        cdef Py_ssize_t place, i, direction, D = plain.directions, H = plain.hidden
        cdef list p = f.d_params
        for place in range(len(plain.names) - 1, -1, -1):
            i, direction = place * plain.each, place % D
            b_ih, b_hh = (p[i + 2], p[i + 3]) if plain.each == 4 else (None, None)
            d_last = tuple([None if d is None else d[place] for d in dstate])
            d_first = tuple([d[place] for d in f.initial])
            part = None if dy is None else direction_of(dy, direction, D, H)
            run_backward(self.records.pop(), part, d_last, f.dx[place], d_first, p[i], p[i + 1], b_ih, b_hh, None)
            if direction == 0:
                dy = f.dx[place]
                if D == 2 and dy is not None:
                    np.add(dy, f.dx[place + 1], out=dy)
        return dy


@cython.final
cdef class Filled:
    """The arrays that backward fills."""
    cdef readonly object flat       # (params,): the gradients of all parameters
    cdef readonly dict params       # its views by name
    cdef readonly tuple initial     # of the initial states, (places, B, H) each
    cdef list d_params, dx          # the views in order; of each place (T, B, I), or None


def arrays_of(tensors):
    """Arrays of the memory of tensors of PyTorch, dense ones on the CPU of float32 or float64; None stays None.

    For the call alone: each array keeps its tensor, but not the memory of one that is given other memory. This costs a quarter
    of Tensor.numpy, which helps with those that are not contiguous."""
    cdef cnp.npy_intp dims[3]
    cdef list found = []
    cdef size_t data
    cdef int ndim, i
    for t in tensors:
        if t is None:
            found.append(None)
            continue
        shape = t.shape
        ndim, data = len(<tuple>shape), t.data_ptr()
        if data == 0 or ndim > 3 or t.is_neg() or not t.is_contiguous():
            found.append(t.numpy(force=True))
            continue
        for i in range(ndim):
            dims[i] = (<tuple>shape)[i]
        a = cnp.PyArray_SimpleNewFromData(ndim, dims, cnp.NPY_DOUBLE if t.element_size() == 8 else cnp.NPY_FLOAT, <void *>data)
        cnp.set_array_base(a, t)
        found.append(a)
    return tuple(found)
