# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""What tests and benchmarks reach of the kernels and nothing else needs: settings that force rare paths, the vector math on
arrays, the check of a cell's numbers, probes of the machine's limits."""
cimport numpy as cnp

from rnnfast._kernels cimport _call, _fast_path
from rnnfast._kernels._core cimport *
from rnnfast._kernels._core import operations

cnp.import_array()


# ---- settings; each returns what was set before ---------------------------------------------------------------------------
def set_cost_model(double call, double phase):
    """Work, in floating point operations, below which a call or a phase of a step takes no further thread."""
    before = _call.flops_per_thread, _call.flops_per_phase
    _call.flops_per_thread, _call.flops_per_phase = call, phase
    return before


def hoist_up_to(Py_ssize_t vectors):
    """How long a block of a step may be where forward computes ahead of the steps what does not depend on states; 0: never."""
    before = _call.hoisted_vectors
    _call.hoisted_vectors = vectors
    return before


def let_rest(bint on):
    """Whether the thread team may rest where other pools take its processors."""
    return bool(team_let_rest(on))


def exceed_cpus(bint on):
    """Whether calls may have more threads than there are CPUs in the affinity mask."""
    return bool(team_exceed(on))


def team(int want, bint brief):
    """How many threads a call that wants so many would have now."""
    cdef int threads
    team_cpus()
    threads = team_acquire(want, brief)
    team_release(threads)
    return threads


# ---- vector math -----------------------------------------------------------------------------------------------------------
def apply(str function, int isa, cnp.ndarray x):
    """An operation of programs with one argument (csrc/ops.h) on a contiguous float array; a new array."""
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    cdef const rf_kernels *kernels = isa_kernels(isa, cnp.PyArray_ITEMSIZE(x))
    cdef int op = list(operations()).index(function)
    kernels.apply(op, cnp.PyArray_DATA(x), NULL, NULL, cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    return y


# ---- cells -----------------------------------------------------------------------------------------------------------------
def numbers(str name):
    """The numbers of a compiled cell as a dictionary; phases, products and states are lists of dictionaries."""
    cdef int index
    cdef rf_cell c = compiled_cell(name, &index)[0]
    return {
        "x_gates": c.x_gates, "h_gates": c.h_gates, "slots": c.slots, "saves_slots": c.saves_slots, "y_is_state": c.y_is_state,
        "state": [c.state[i] for i in range(c.states)],
        "ih_of_slot": list(c.ih_of_slot)[:c.x_gates], "merged": list(c.merged)[:c.x_gates],
        "hh_of_slot": list(c.hh_of_slot)[:c.slots], "split": list(c.split)[:c.split_biases],
        "forward_product": [c.forward_product[i] for i in range(c.forward_products)],
        "backward_product": [c.backward_product[i] for i in range(c.backward_products)],
        "phases": [(c.forward[i].first, c.forward[i].products, c.forward[i].gates[0]) for i in range(c.forward_phases)],
        "product": [c.product[i] for i in range(c.products)],
    }


# ---- for bench/step_overhead.py ---------------------------------------------------------------------------------------------
def steps(_fast_path.FrozenLayers layers, x, tuple state, y, tuple state_out, int threads, Py_ssize_t count):
    """So many single steps (`_fast_path.step`), without Python between them."""
    cdef Py_ssize_t i
    for i in range(count):
        _fast_path.step(layers, x, state, y, state_out, threads)


# ---- probes, for bench/limit.py --------------------------------------------------------------------------------------------
def probe_fma(int isa, int itemsize, Py_ssize_t repeats):
    """Does multiply-adds on registers, without the GIL; returns how many floating point operations that were."""
    cdef const rf_kernels *kernels = isa_kernels(isa, itemsize)
    with nogil:
        kernels.probe_fma(repeats)
    return 4.0 * kernels.mr * kernels.lanes * repeats


def probe_load(int isa, cnp.ndarray data, Py_ssize_t repeats):
    """Reads a contiguous float array so many times, without the GIL, but for a rest of less than 2 kB; returns the bytes."""
    cdef const rf_kernels *kernels = isa_kernels(isa, cnp.PyArray_ITEMSIZE(data))
    cdef const void *address = cnp.PyArray_DATA(data)
    cdef Py_ssize_t block = 2 * kernels.mr * kernels.lanes, n = cnp.PyArray_SIZE(data) // block * block
    with nogil:
        kernels.probe_load(address, n, repeats)
    return float(n * kernels.itemsize * repeats)
