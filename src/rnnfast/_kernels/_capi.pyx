# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""The functions of include/rnnfast_api.h, which says what they do, and the capsule that hands them to other compiled code.

A rnnfast_frozen is the `Layers` of a frozen layer (_fast_path.pyx), and a call is the one that frozen.step makes, with one
thread and without Python around it.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from rnnfast._kernels._core cimport *
from rnnfast._kernels._fast_path cimport FrozenLayers, Layers, Plan, States, all_apart, plan, run_layers
from rnnfast._kernels._weights cimport Weights
from rnnfast.capi cimport *

cdef extern from "rnnfast_api.h":
    const char *RNNFAST_CAPSULE

cdef double MOST = 1e12     # elements of an array: beyond, sizes in bytes might overflow, and there is no such memory


cdef const rnnfast_frozen *frozen(object layer) except NULL:
    from rnnfast.frozen import Frozen  # which imports most of rnnfast

    if not isinstance(layer, Frozen):
        raise TypeError(f"layer: expected a frozen layer, got {type(layer).__name__}; net.freeze() returns one")
    if layer.bidirectional:
        raise ValueError("layer: expected one direction, got a bidirectional layer, which needs the whole sequence")
    if layer._layers is None:
        raise ValueError(f"layer: expected a cell that reads x and states alone, got {layer!r}, which needs inputs at each "
                         f"step: {', '.join(layer._form.variant.inputs)}; call its step from Python")
    return <const rnnfast_frozen *>&(<FrozenLayers?>layer._layers).layers


cdef inline const Layers *layers_of(const rnnfast_frozen *f) noexcept nogil:
    return <const Layers *>f


cdef Py_ssize_t input_size(const rnnfast_frozen *f) noexcept nogil:
    return (<Weights>layers_of(f).weights[0]).input_size


cdef Py_ssize_t hidden_size(const rnnfast_frozen *f) noexcept nogil:
    return (<Weights>layers_of(f).weights[0]).hidden_size


cdef Py_ssize_t num_layers(const rnnfast_frozen *f) noexcept nogil:
    return layers_of(f).count


cdef int num_states(const rnnfast_frozen *f) noexcept nogil:
    return (<Weights>layers_of(f).weights[0]).cell.states


cdef int itemsize(const rnnfast_frozen *f) noexcept nogil:
    return (<Weights>layers_of(f).weights[0]).kernels.itemsize


cdef int check_sizes(const rnnfast_frozen *f, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    if f == NULL or steps < 0 or rows < 0:
        return RNNFAST_BAD_ARGUMENT
    if <double>steps * rows * max(input_size(f), hidden_size(f)) > MOST or <double>num_layers(f) * rows * hidden_size(f) > MOST:
        return RNNFAST_NO_MEMORY
    return RNNFAST_OK


cdef int reserve(const rnnfast_frozen *f, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil:
    cdef int status = check_sizes(f, steps, rows)
    cdef Plan p
    if status == RNNFAST_OK and scratch_reserve(plan(&p, layers_of(f), steps, rows, 1)) <= 0:
        status = RNNFAST_NO_MEMORY
    return status


cdef int forward(const rnnfast_frozen *f, const void *x, const void **state_in, void *y, void **state_out, Py_ssize_t steps,
                 Py_ssize_t rows) noexcept nogil:
    cdef int status = check_sizes(f, steps, rows), i
    cdef size_t nbytes
    cdef States s
    cdef Plan p
    cdef Ear ear
    if status != RNNFAST_OK or rows == 0:
        return status
    if state_out == NULL or steps > 0 and (x == NULL or y == NULL):
        return RNNFAST_BAD_ARGUMENT
    s.count, s.extra = num_states(f), NULL
    for i in range(s.count):
        if state_out[i] == NULL:
            return RNNFAST_BAD_ARGUMENT
        s.after[i] = <char *>state_out[i]
        s.before[i] = <const char *>state_in[i] if state_in != NULL else NULL
    nbytes = plan(&p, layers_of(f), steps, rows, 1)
    if not all_apart(<const char *>x, steps * rows * input_size(f) * itemsize(f), <char *>y, steps * p.state, &s,
                     num_layers(f) * p.state):
        return RNNFAST_BAD_ARGUMENT
    memset(&ear, 0, sizeof(Ear))  # hears no signals
    if not run_layers(layers_of(f), &p, nbytes, steps, rows, <const char *>x, <char *>y, &s, 1, &ear):
        return RNNFAST_NO_MEMORY
    return RNNFAST_OK


cdef int step(const rnnfast_frozen *f, const void *x, const void **state_in, void *y, void **state_out,
              Py_ssize_t rows) noexcept nogil:
    return forward(f, x, state_in, y, state_out, 1, rows)


cdef rnnfast_api table
table.abi, table.size, table.frozen = RNNFAST_ABI, sizeof(rnnfast_api), frozen
table.input_size, table.hidden_size, table.num_layers = input_size, hidden_size, num_layers
table.num_states, table.itemsize = num_states, itemsize
table.reserve, table.step, table.forward = reserve, step, forward

_C_API = PyCapsule_New(&table, RNNFAST_CAPSULE, NULL)
