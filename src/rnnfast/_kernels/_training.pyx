# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""Training passes with as little as possible around them: of cells without inputs and draws, without lengths, dropout or
checkpoints.

`Plain.record` takes the arrays as the user gave them and does the work if they fit exactly; if anything is unusual it returns
None, and the caller goes the long way, where every problem has its text. Both ways end in the same calls of `_call`.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memset

from rnnfast._kernels._call cimport *
from rnnfast._kernels._fast_path cimport Sizes, fits, states_fit
from rnnfast._kernels._weights cimport pack

cnp.import_array()

import numpy as np

from rnnfast.cells.base import KINDS

NOTHING = frozenset()


@cython.final
cdef class Plain:
    """What a pass must know of layers; made once for each layer."""
    cdef readonly object form
    cdef object variant
    cdef str cell               # of a compiled one; None: a formula, which packs for itself
    cdef tuple names            # of each place, the names of its parameters
    cdef tuple initial          # of each state, what its numbers are where none are given
    cdef Buffer axes            # (params, 2): of each parameter of all places, the lengths of its axes; the second 0 if it has one
    cdef int each, w_hh, b_ih, b_hh, vectors  # of a place: how many parameters; where some are, -1 nowhere; where vectors begin
    cdef int kind, itemsize, states
    cdef bint batch_first
    cdef Py_ssize_t inputs, hidden, layers, directions, size

    def __init__(self, form, tuple names):
        """names: of each place, those of its parameters."""
        cdef list order = list(form.kinds())
        cdef Py_ssize_t *length
        self.form, self.variant, self.cell, self.names = form, form.variant, form.variant.kernel, names
        self.initial, self.states, self.each = form.variant.initial, len(form.variant.initial), len(order)
        self.w_hh, self.b_ih, self.b_hh = [order.index(kind) if kind in order else -1 for kind in KINDS[1:]]
        self.vectors = len([kind for kind in order if kind in KINDS])
        self.kind, self.itemsize, self.batch_first = (<cnp.dtype>form.dtype).type_num, form.dtype.itemsize, form.batch_first
        self.inputs, self.hidden = form.input_size, form.hidden_size
        self.layers, self.directions, self.size = form.num_layers, form.directions, 0
        self.axes = Buffer(self.each * len(names) * 2 * sizeof(Py_ssize_t))
        length = <Py_ssize_t *>self.axes.data
        for place in range(len(names)):
            for shape in form.kinds(place).values():
                length[0], length[1] = shape[0], shape[1] if len(shape) > 1 else 0
                self.size += length[0] * max(1, length[1])
                length += 2

    cdef inline Py_ssize_t *axes_of(self, Py_ssize_t place) noexcept:
        return <Py_ssize_t *>self.axes.data + place * self.each * 2

    cdef bint params_fit(self, tuple params) noexcept:
        """Of all places, in the order of `names`."""
        cdef const Py_ssize_t *length = self.axes_of(0)
        cdef Py_ssize_t i
        cdef Sizes z
        z.has_B, z.kind = False, self.kind
        if len(params) != self.each * len(self.names):
            return False
        for i in range(len(params)):
            if not fits(params[i], &z, length[0], length[1], False):
                return False
            length += 2
        return True

    cdef inline new(self, Py_ssize_t a, Py_ssize_t b, Py_ssize_t c, bint lockable):
        cdef cnp.npy_intp dims[3]
        dims[0], dims[1], dims[2] = a, b, c
        return fresh_array(3, dims, self.kind, self.itemsize, lockable)

    cdef inline states_of(self, Py_ssize_t B):
        """New ones of all places."""
        return tuple([self.new(len(self.names), B, self.hidden, False) for _ in range(self.states)])

    cdef list starts(self, state, Py_ssize_t B):
        """The states before the first step: copies of what is given, which stay as they are until backward; or (B, H) for every
        place."""
        cdef cnp.npy_intp dims[2]
        cdef list found = []
        cdef int i
        zeros = None
        dims[0], dims[1] = B, self.hidden
        for i in range(self.states):
            part = state if state is None or self.states == 1 else state[i]
            if part is not None:
                found.append(cnp.PyArray_NewCopy(<cnp.ndarray>part, cnp.NPY_CORDER))
                continue
            value = self.initial[i]
            if value:
                found.append(np.full((B, self.hidden), value, self.form.dtype))
                continue
            if zeros is None:
                zeros = cnp.PyArray_ZEROS(2, dims, self.kind, 0)
            found.append(zeros)
        return found

    cdef inline param(self, tuple params, Py_ssize_t place, int which):
        return params[place * self.each + which] if which >= 0 else None

    def record(self, tuple params, x, state, int isa, int threads, bint locked):
        """(y, state, Passed). params: as in `names`; locked: y cannot be made writeable again."""
        cdef cnp.ndarray seen
        cdef Py_ssize_t T, B, layer, place, D = self.directions, H = self.hidden
        cdef Passed passed
        cdef Weights w
        cdef Sizes z
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_NDIM(<cnp.ndarray>x) == 3):
            return None
        seen = <cnp.ndarray>x
        T, B = cnp.PyArray_DIM(seen, self.batch_first), cnp.PyArray_DIM(seen, not self.batch_first)
        if T == 0 or B == 0 or T > (RF_KEPT_FROM - 1) // (H * D * self.itemsize) // B:  # beside more, all this is nothing
            return None
        z.has_B, z.B, z.kind, z.layers = True, cnp.PyArray_DIM(seen, 1), self.kind, len(self.names)
        if not fits(x, &z, cnp.PyArray_DIM(seen, 0), self.inputs, False):
            return None
        z.B = B
        if not (states_fit(&z, self.states, state, H) and self.params_fit(params)):
            return None
        passed = Passed.__new__(Passed)
        passed.plain, passed.T, passed.B, passed.records, passed.packed = self, T, B, [], []
        before, last = self.starts(state, B), self.states_of(B)
        read = cnp.PyArray_SwapAxes(seen, 0, 1) if self.batch_first else x
        for layer in range(self.layers):
            if self.batch_first and layer == self.layers - 1:
                y = self.new(B, T, D * H, True)
                out = cnp.PyArray_SwapAxes(<cnp.ndarray>y, 0, 1)
            else:
                y = out = self.new(T, B, D * H, layer == self.layers - 1)
            for place in range(layer * D, layer * D + D):
                if self.cell is not None:
                    w = pack(self.cell, isa, True, threads, self.param(params, place, 0), self.param(params, place, self.w_hh),
                             self.param(params, place, self.b_ih), self.param(params, place, self.b_hh))
                else:
                    own = params[place * self.each : (place + 1) * self.each]
                    packed = self.variant.pack(own, isa, threads, NOTHING, trainable=True)
                    w = packed.weights
                    passed.packed.append(packed)
                first = tuple([part[place] if cnp.PyArray_NDIM(<cnp.ndarray>part) == 3 else part for part in before])
                ends = tuple([part[place] for part in last])
                passed.records.append(forward(w, read, direction_of(out, place % D, D, H), first, ends, place % D == 1, None, True,
                                              0, threads))
            read = out
        if locked:
            cnp.PyArray_CLEARFLAGS(<cnp.ndarray>y, cnp.NPY_ARRAY_WRITEABLE)
        return y, last if self.states > 1 else last[0], passed


cdef inline direction_of(array, Py_ssize_t direction, Py_ssize_t D, Py_ssize_t H):
    """(T, B, D*H) -> (T, B, H)"""
    return array if D == 1 else array[:, :, direction * H : direction * H + H]


@cython.final
cdef class Passed:
    """What a pass left for backward."""
    cdef Plain plain
    cdef Py_ssize_t T, B
    cdef list records           # of each place; backward takes them off
    cdef list packed            # of each place, if the cell is a formula

    def prepare(self, bint need_x, int threads):
        """All memory of a backward pass, before anything is used up: dx of the layers above the first share two sets."""
        cdef Plain plain = self.plain
        cdef Filled f = Filled.__new__(Filled)
        cdef Py_ssize_t layer, direction, place = 0, at = 0, ones, n, k, width
        cdef const Py_ssize_t *length = plain.axes_of(0)
        cdef cnp.npy_intp dims[2]
        cdef list sets = []
        cdef Record record
        dims[0] = plain.size
        f.flat = fresh_array(1, dims, plain.kind, plain.itemsize, False)
        f.params, f.dx, f.d_params, f.d_vectors, f.initial = {}, [], [], [], plain.states_of(self.B)
        for layer in range(plain.layers):
            width = plain.hidden * plain.directions if layer else plain.inputs
            if layer < 3:
                sets.append([plain.new(self.T, self.B, width, False) if layer or need_x else None
                             for _ in range(plain.directions)])
            for direction in range(plain.directions):
                record, dx = self.records[place], sets[layer if layer < 3 else 2 - layer % 2][direction]
                prepare(record, dx, threads)
                f.dx.append(dx)
                f.d_vectors.append(np.zeros((record.vectors, plain.hidden), plain.form.dtype) if record.vectors else None)
                ones = -1
                for k in range(plain.each):
                    dims[0], dims[1], n = length[0], length[1], length[0] * max(1, length[1])
                    d = cnp.PyArray_SimpleNewFromData(2 if length[1] else 1, dims, plain.kind, address(f.flat) + at * plain.itemsize)
                    cnp.set_array_base(d, f.flat)
                    ones = at if ones < 0 and not length[1] else ones
                    f.params[(<tuple>plain.names[place])[k]] = d
                    f.d_params.append(d)
                    at += n
                    length += 2
                if ones >= 0:  # biases are added to; vectors come last
                    memset(address(f.flat) + ones * plain.itemsize, 0, (at - ones) * plain.itemsize)
                place += 1
        return f

    def run(self, Filled f, dy, tuple dstate):
        """dy (T, B, D*H) or None; dstate (places, B, H) or None each. Returns dx (T, B, I) or None."""
        cdef Plain plain = self.plain
        cdef Py_ssize_t place, direction, D = plain.directions, H = plain.hidden
        cdef tuple p = tuple(f.d_params)
        for place in range(len(plain.names) - 1, -1, -1):
            direction = place % D
            d_last = tuple([None if d is None else d[place] for d in dstate])
            d_first = tuple([d[place] for d in f.initial])
            part = None if dy is None else direction_of(dy, direction, D, H)
            run_backward(self.records.pop(), part, d_last, f.dx[place], d_first, plain.param(p, place, 0),
                         plain.param(p, place, plain.w_hh), plain.param(p, place, plain.b_ih), plain.param(p, place, plain.b_hh),
                         f.d_vectors[place])
            if f.d_vectors[place] is not None:
                names = (<tuple>plain.names[place])[plain.vectors:]
                found = plain.variant.vector_gradients(self.packed[place], f.d_vectors[place])
                for name, kind in zip(names, plain.variant.vectors):
                    f.params[name][...] = found[kind]
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
    cdef list d_vectors             # of each place, those of what the kernels read of vectors, or None


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
