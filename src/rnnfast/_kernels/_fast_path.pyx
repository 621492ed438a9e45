# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""Calls with as little as possible around them: single steps, and short sequences, of one direction, time first.

What is called try_... takes the arrays as the user gave them and does the work if they fit exactly; if anything is unusual it
returns None, and the caller goes the long way, where every problem has its text. `step` takes arrays that were checked.
"""
cimport cython
cimport numpy as cnp
from cpython.ref cimport PyObject
from libc.string cimport memset

from rnnfast._kernels._call cimport *
from rnnfast._kernels._weights cimport is_weight, pack, point_at

cnp.import_array()

cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(tuple)


cdef enum:
    MANY_LAYERS = 8     # together they may be a long call, though each of them is short


cpdef bint used_once(Py_ssize_t T, Py_ssize_t B) noexcept:
    """Whether the call uses each weight so few times that packing it does not pay (csrc/live.h)."""
    return B == 1 and T <= 2


@cython.final
cdef class FrozenLayers:
    """Layers of one direction, ready for calls; `_capi.pyx` gives C the address of `layers`."""

    def __init__(self, tuple weights, tuple initial):
        """initial: of each state, what it is where the caller gives none."""
        cdef int i
        self.weights = weights
        point_to(&self.layers, weights)
        for i in range(len(initial)):
            self.layers.initial[i] = initial[i]


cdef inline void point_to(Layers *k, tuple weights) noexcept:
    """All but the initial values."""
    k.count, k.weights = len(weights), PySequence_Fast_ITEMS(weights)


cdef size_t plan(Plan *p, const Layers *k, Py_ssize_t T, Py_ssize_t B, int threads) noexcept nogil:
    """Sizes of a call of (T, B, I); returns all bytes of its scratch."""
    cdef Py_ssize_t l
    cdef Job job
    p.layer, p.is_long = 0, k.count > MANY_LAYERS
    for l in range(k.count):
        fill(&job, <Weights>k.weights[l], T, B)
        p.layer = max(p.layer, place_forward(&job, NULL, threads))
        p.is_long = p.is_long or is_long(&job, 1)
    p.state = B * job.hidden * job.itemsize
    p.first = (p.state + 63) & ~<size_t>63
    p.y = (T * p.state + 63) & ~<size_t>63
    return min(k.count - 1, 2) * p.y + job.cell.states * p.first + p.layer


cdef bint run_layers(const Layers *k, const Plan *p, size_t nbytes, Py_ssize_t T, Py_ssize_t B, const char *x, char *y,
                     const States *s, int threads, Ear *ear) noexcept nogil:
    """x (T, B, I) -> y (T, B, H), as planned. False: there is no memory, and nothing was done.

    Its scratch: y of two lower layers, initial states that the caller does not give, what a layer needs."""
    cdef char *base = scratch_open(nbytes)
    cdef char *first
    cdef char *made = NULL          # the last state that was filled, with `value`
    cdef char *own[RF_MAX_STATES]
    cdef double value = 0
    cdef Py_ssize_t l
    cdef Job job
    cdef int i
    if base == NULL:
        return False
    first = base + min(k.count - 1, 2) * p.y
    for i in range(s.count):
        if s.before[i] == NULL:
            if made == NULL or value != k.initial[i]:
                made, value = first + i * p.first, k.initial[i]
                fill_state(made, p.state, (<Weights>k.weights[0]).kernels.itemsize, value)
            own[i] = made
    for l in range(k.count):
        fill(&job, <Weights>k.weights[l], T, B)
        job.ear, job.extra = ear, s.extra
        job.panels_descend = rf_alternate(&(<Weights>k.weights[l]).panels_descend)
        set_rows(&job.x, x if l == 0 else base + ((l - 1) & 1) * p.y, B, job.inputs * job.itemsize)
        set_rows(&job.y, y if l == k.count - 1 else base + (l & 1) * p.y, B, job.hidden * job.itemsize)
        for i in range(s.count):
            job.state[i].first = <char *>s.before[i] + l * p.state if s.before[i] != NULL else own[i]
            job.state[i].last = s.after[i] + l * p.state
        place_forward(&job, first + s.count * p.first, threads)
        run_placed(&job, threads)
        if ear.stopped:
            break
    scratch_close(base)
    return True


cdef void fill_state(char *to, size_t nbytes, int itemsize, double value) noexcept nogil:
    cdef size_t i
    if value == 0:
        memset(to, 0, nbytes)
    elif itemsize == sizeof(float):
        for i in range(nbytes // sizeof(float)):
            (<float *>to)[i] = <float>value
    else:
        for i in range(nbytes // sizeof(double)):
            (<double *>to)[i] = value


cdef bint run(const Layers *k, Py_ssize_t T, Py_ssize_t B, const char *x, char *y, const States *s, int threads) except False:
    """run_layers for Python: signals are heard, and errors are raised."""
    cdef Plan p
    cdef size_t nbytes = plan(&p, k, T, B, threads)
    cdef Ear ear
    cdef bint done
    open_ear(&ear, p.is_long)
    with nogil:
        done = run_layers(k, &p, nbytes, T, B, x, y, s, threads, &ear)
    close_ear(&ear)
    if not done:
        raise MemoryError("rnnfast: no memory for the scratch of a call")
    return True


cdef inline void fill(Job *j, Weights w, Py_ssize_t T, Py_ssize_t B) noexcept nogil:
    set_weights(j, w)
    set_order(j, T, B, False, None)
    set_rows(&j.x, NULL, B, w.input_size * j.itemsize)
    j.h_in_y = w.cell.y_is_state


cdef inline void set_rows(View *v, const char *data, Py_ssize_t B, Py_ssize_t row) noexcept nogil:
    """A contiguous (T, B, n) array."""
    v.data, v.step, v.row = <char *>data, B * row, row


cpdef step(FrozenLayers layers, x, tuple state, y, tuple state_out, int threads):
    """x (B, I), y (B, H), each state (layers, B, H) or None for its initial value; contiguous, checked. A state_out may be its
    state."""
    cdef const rf_cell *c = (<Weights>layers.layers.weights[0]).cell
    cdef States s
    cdef int i
    if c.extras or c.row_inputs:
        raise ValueError("rnnfast: expected a cell without inputs")
    s.count, s.extra = <int>len(state), NULL
    for i in range(s.count):
        s.before[i], s.after[i] = address(state[i]), address(state_out[i])
    run(&layers.layers, 1, cnp.PyArray_DIM(<cnp.ndarray>x, 0), address(x), address(y), &s, threads)


cdef inline new_array(const Sizes *z, Py_ssize_t lead, Py_ssize_t n):
    """What `fits`, uninitialised."""
    cdef cnp.npy_intp dims[3]
    cdef int axes = 0
    if lead:
        dims[axes], axes = lead, axes + 1
    if z.has_B:
        dims[axes], axes = z.B, axes + 1
    dims[axes] = n
    return cnp.PyArray_EMPTY(axes + 1, dims, z.kind, 0)


cdef inline bint apart(const char *a, size_t a_bytes, const char *b, size_t b_bytes) noexcept nogil:
    return a == NULL or b == NULL or a + a_bytes <= b or b + b_bytes <= a


cdef bint all_apart(const char *x, size_t x_bytes, const char *y, size_t y_bytes, const States *s,
                    size_t each) noexcept nogil:
    """y and the states out overlap nothing, but for a state out that is exactly its state in. each: bytes of a state."""
    cdef int i, k
    if not apart(y, y_bytes, x, x_bytes):
        return False
    for i in range(s.count):
        if not (apart(y, y_bytes, s.before[i], each) and apart(y, y_bytes, s.after[i], each)
                and apart(s.after[i], each, x, x_bytes)):
            return False
        for k in range(s.count):
            if not (i == k and s.after[i] == s.before[i] or apart(s.after[i], each, s.before[k], each)):
                return False
            if i < k and not apart(s.after[i], each, s.after[k], each):
                return False
    return True


cdef inline bint is_tuple(value, Py_ssize_t length) noexcept:
    return type(value) is tuple and len(<tuple>value) == length


cdef bint size_up(Sizes *z, x, bint one_step, Py_ssize_t layers, int kind, Py_ssize_t I, Py_ssize_t H) noexcept:
    """Fills z from x; whether x fits and the call is small enough.

    If y has a megabyte or more, what surrounds a call is nothing beside it, and its memory is kept for the next. x (T, B, I)
    or (T, I), or if one_step (B, I) or (I,)."""
    cdef int ndim
    if not cnp.PyArray_CheckExact(x) or cnp.PyArray_TYPE(<cnp.ndarray>x) != kind:  # others may have items of 0 bytes
        return False
    ndim = cnp.PyArray_NDIM(<cnp.ndarray>x) + one_step
    if ndim != 2 and ndim != 3:
        return False
    z.has_T, z.has_B, z.layers, z.kind = not one_step, ndim == 3, layers, kind
    z.T = 1 if one_step else cnp.PyArray_DIM(<cnp.ndarray>x, 0)
    z.B = cnp.PyArray_DIM(<cnp.ndarray>x, z.has_T) if z.has_B else 1
    if z.T == 0 or z.B == 0 or z.T > (RF_KEPT_FROM - 1) // (H * cnp.PyArray_ITEMSIZE(<cnp.ndarray>x)) // z.B:
        return False
    return fits(x, z, z.T if z.has_T else 0, I, False)


cdef bint states_fit(const Sizes *z, int count, state, Py_ssize_t H) noexcept:
    """state: None, or the state itself, or a tuple if there are several, each an array or None."""
    cdef int i
    if state is None:
        return True
    if count == 1:
        return fits(state, z, z.layers, H, False)
    if not is_tuple(state, count):
        return False
    for i in range(count):
        part = (<tuple>state)[i]
        if part is not None and not fits(part, z, z.layers, H, False):
            return False
    return True


cdef bint inputs_fit(Extra *extra, const rf_cell *c, const Sizes *z, tuple inputs, Py_ssize_t H) noexcept:
    """Fills extra, which has room for all inputs that a cell can have: those of every unit, then those of one number a row."""
    cdef Py_ssize_t i, n
    if len(inputs) != c.extras + c.row_inputs or len(inputs) > RF_MAX_EXTRAS:
        return False
    memset(extra, 0, len(inputs) * sizeof(Extra))
    for i in range(len(inputs)):
        n = H if i < c.extras else 0
        if not fits(inputs[i], z, z.T if z.has_T else 0, n, False):
            return False
        set_rows(&extra[i].value, address(inputs[i]), z.B, max(n, 1) * cnp.PyArray_ITEMSIZE(<cnp.ndarray>inputs[i]))
    return True


cdef bint inputs_apart(tuple inputs, const char *y, size_t y_bytes, const States *s, size_t each) noexcept:
    """y and the states out overlap no input."""
    cdef int i
    for value in inputs:
        nbytes = cnp.PyArray_NBYTES(<cnp.ndarray>value)
        if not apart(address(value), nbytes, y, y_bytes):
            return False
        for i in range(s.count):
            if not apart(address(value), nbytes, s.after[i], each):
                return False
    return True


cdef run_sized(const Layers *k, const Sizes *z, x, state, out, int threads, Extra *extra, tuple inputs):
    """The call of arrays that fit; None if those of out do not."""
    cdef Weights w = <Weights>k.weights[0]
    cdef Py_ssize_t H = w.hidden_size, itemsize = w.kernels.itemsize, y_bytes, each
    cdef States s
    cdef int i
    s.count, s.extra = w.cell.states, extra
    if out is None:
        y = new_array(z, z.T if z.has_T else 0, H)
        last = new_array(z, z.layers, H) if s.count == 1 else tuple([new_array(z, z.layers, H) for i in range(s.count)])
        result = y, last
    else:
        if not is_tuple(out, 2) or (s.count > 1 and not is_tuple((<tuple>out)[1], s.count)):
            return None
        result = out
        y, last = <tuple>out
        if not fits(y, z, z.T if z.has_T else 0, H, True):
            return None
    for i in range(s.count):
        part = last if s.count == 1 else (<tuple>last)[i]
        if out is not None and not fits(part, z, z.layers, H, True):
            return None
        s.after[i] = address(part)
        s.before[i] = NULL if state is None else address(state if s.count == 1 else (<tuple>state)[i])
    if out is not None:
        y_bytes, each = z.T * z.B * H * itemsize, z.layers * z.B * H * itemsize
        if not (all_apart(address(x), z.T * z.B * w.input_size * itemsize, address(y), y_bytes, &s, each)
                and inputs_apart(inputs, address(y), y_bytes, &s, each)):
            return None
    run(k, z.T, z.B, address(x), address(y), &s, threads)
    return result


def try_frozen(FrozenLayers layers, bint one_step, x, state, out, int threads, tuple inputs=()):
    """(y, state), in out if that is not None. inputs: of the cell, in its order."""
    cdef Weights w = <Weights>layers.layers.weights[0]
    cdef Extra extra[RF_MAX_EXTRAS]
    cdef Sizes z
    if (size_up(&z, x, one_step, layers.layers.count, w.kind, w.input_size, w.hidden_size)
            and states_fit(&z, w.cell.states, state, w.hidden_size)
            and inputs_fit(extra, w.cell, &z, inputs, w.hidden_size)):
        return run_sized(&layers.layers, &z, x, state, out, threads, extra if inputs else NULL, inputs)
    return None


cdef bint is_bias(b, int kind, Py_ssize_t rows) noexcept:
    return b is None or (cnp.PyArray_CheckExact(b) and cnp.PyArray_TYPE(<cnp.ndarray>b) == kind
                         and cnp.PyArray_NDIM(<cnp.ndarray>b) == 1 and cnp.PyArray_DIM(<cnp.ndarray>b, 0) == rows
                         and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>b))


cdef int calls_descend = 0   # the next call goes through weights that are not packed from the last panels to the first


def try_live(str cell, int isa, tuple weights, int each, tuple blocks, Py_ssize_t layers, x, state, int threads):
    """(y, state) of layers whose weights are arrays that may change until the next call.

    weights: of each layer w_ih, w_hh and, if each is 4 and not 2, b_ih and b_hh, which may be None. blocks: of each gate, which
    block of rows it has; None: in order. layers: how many; 0: one, and states have no axis of layers. Weights that
    are used once stay where they are; others are packed."""
    cdef Sizes z
    cdef int index, kind
    cdef const rf_cell *numbers = compiled_cell(cell, &index)
    cdef Py_ssize_t count = max(layers, 1), l, H
    cdef int descend = rf_alternate(&calls_descend)
    cdef list made = []
    cdef Layers all_of_them
    cdef tuple packed
    cdef Weights w
    if len(weights) != each * count:
        return None
    w_ih, w_hh, b_ih, b_hh = weights[0], weights[1], None, None
    if not (cnp.PyArray_CheckExact(w_ih) and cnp.PyArray_NDIM(<cnp.ndarray>w_ih) == 2
            and cnp.PyArray_CheckExact(w_hh) and cnp.PyArray_NDIM(<cnp.ndarray>w_hh) == 2):
        return None
    kind, H = cnp.PyArray_TYPE(<cnp.ndarray>w_hh), cnp.PyArray_DIM(<cnp.ndarray>w_hh, 1)
    if not ((kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE)
            and is_weight(w_ih, kind, numbers.x_gates * H, cnp.PyArray_DIM(<cnp.ndarray>w_ih, 1))
            and size_up(&z, x, False, layers, kind, cnp.PyArray_DIM(<cnp.ndarray>w_ih, 1), H)
            and states_fit(&z, numbers.states, state, H)):
        return None
    for l in range(count):
        w_ih, w_hh = weights[l * each], weights[l * each + 1]
        if each == 4:
            b_ih, b_hh = weights[l * each + 2], weights[l * each + 3]
        if not ((l == 0 or is_weight(w_ih, kind, numbers.x_gates * H, H)) and is_weight(w_hh, kind, numbers.x_gates * H, H)
                and is_bias(b_ih, kind, numbers.x_gates * H) and is_bias(b_hh, kind, numbers.x_gates * H)):
            return None
        if used_once(z.T, z.B):
            w = point_at(cell, isa, w_ih, w_hh, b_ih, b_hh, blocks)
            w.panels_descend = descend
        else:
            w = pack(cell, isa, False, threads, w_ih, w_hh, b_ih, b_hh, blocks)
        made.append(w)
    packed = tuple(made)
    memset(&all_of_them, 0, sizeof(Layers))  # initial values are zeros
    point_to(&all_of_them, packed)
    return run_sized(&all_of_them, &z, x, state, None, threads, NULL, ())
