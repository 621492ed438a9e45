# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""What tests and benchmarks reach of the kernels and nothing else needs: settings that force rare paths, the vector math on
arrays, the check of a cell's numbers, probes of the machine's limits."""
cimport numpy as cnp

from rnnfast._kernels cimport _call, _fast_path
from rnnfast._kernels._core cimport *

cnp.import_array()


# ---- settings; each returns what was set before ---------------------------------------------------------------------------
def set_cost_model(double call, double phase):
    """Work, in floating point operations, below which a call or a phase of a step takes no further thread."""
    before = _call.flops_per_thread, _call.flops_per_phase
    _call.flops_per_thread, _call.flops_per_phase = call, phase
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
    """The kernels' own "tanh" or "sigmoid" of a contiguous float array; a new array."""
    cdef const rf_kernels *kernels = isa_kernels(isa, cnp.PyArray_ITEMSIZE(x))
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    if function == "tanh":
        kernels.tanh(cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    else:
        kernels.sigmoid(cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    return y


# ---- cells -----------------------------------------------------------------------------------------------------------------
def numbers(str name):
    """The numbers of a compiled cell as a dictionary; phases and products are lists of dictionaries."""
    cdef int index, i
    cdef rf_cell c = find_cell(name, &index)[0]
    return {
        "gates": c.gates, "slots": c.slots, "saves_slots": c.saves_slots, "has_c": c.has_c, "has_carry": c.has_carry,
        "reads_h_prev": c.reads_h_prev, "reads_h": c.reads_h, "split_bias": c.split_bias,
        "forward": [c.forward[i] for i in range(c.phases)],
        "backward": [c.backward[i] for i in range(c.phases)],
        "product": [c.product[i] for i in range(c.products)],
    }


def problem(dict numbers):
    """What the loops could not do with these numbers, in the form of `numbers`; "" if they can do all. Lists may be longer than
    there is room for: what is beyond only counts."""
    cdef rf_cell c
    cdef char text[200]
    cdef int i
    c.name, c.phases, c.products = b"test", <int>len(numbers["forward"]), <int>len(numbers["product"])
    c.gates, c.slots, c.saves_slots, c.has_c = numbers["gates"], numbers["slots"], numbers["saves_slots"], numbers["has_c"]
    c.has_carry, c.reads_h_prev, c.reads_h = numbers["has_carry"], numbers["reads_h_prev"], numbers["reads_h"]
    c.split_bias = numbers["split_bias"]
    for i in range(min(c.phases, RF_MAX_PHASES)):
        c.forward[i], c.backward[i] = numbers["forward"][i], numbers["backward"][i]
    for i in range(min(c.products, RF_MAX_PRODUCTS)):
        c.product[i] = numbers["product"][i]
    return text.decode() if cell_problem(&c, -1, text, sizeof(text)) else ""


# ---- for bench/step_overhead.py ---------------------------------------------------------------------------------------------
def steps(tuple layers, x, tuple state, y, tuple state_out, int threads, Py_ssize_t count):
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
