# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""csrc for the other modules: ISAs, cells' numbers, memory, the thread team; and Python's signals inside a long call."""
import os
import threading

cimport cython
cimport numpy as cnp
import numpy as np

cnp.import_array()


# ---- csrc for the other Cython modules ---------------------------------------------------------------------------------
cdef const rf_kernels *isa_kernels(int isa, int itemsize) noexcept nogil:
    return rf_isa_kernels(isa, itemsize)

cdef bint cell_problem(const rf_cell *cell, char *text, size_t room) noexcept nogil:
    return rf_cell_problem(cell, text, room)

cdef ptrdiff_t panels(const rf_kernels *kernels, ptrdiff_t units, int gates) noexcept nogil:
    return rf_panels(kernels, units, gates)

cdef size_t panel_bytes(const rf_kernels *kernels, ptrdiff_t units, ptrdiff_t k, int gates) noexcept nogil:
    return rf_panel_bytes(kernels, units, k, gates)

cdef uint64_t fp_enter() noexcept nogil:
    return rf_fp_enter()

cdef void fp_leave(uint64_t saved) noexcept nogil:
    rf_fp_leave(saved)

cdef bint scratch_reserve(size_t bytes) noexcept nogil:
    return rf_scratch_reserve(bytes)

cdef char *scratch_open(size_t bytes) noexcept nogil:
    return <char *>rf_scratch_open(bytes)

cdef void scratch_close(char *base) noexcept nogil:
    rf_scratch_close(base)

cdef int team_cpus() noexcept nogil:
    return rf_team_cpus()

cdef int team_acquire(int want, bint brief) noexcept nogil:
    return rf_team_acquire(want, brief)

cdef void team_run(rf_task task, void *arg, int threads) noexcept nogil:
    rf_team_run(task, arg, threads)

cdef void team_release(int acquired) noexcept nogil:
    rf_team_release(acquired)

cdef void barrier(int threads) noexcept nogil:
    rf_team_barrier(threads)

cdef bint agree(int threads, bint vote) noexcept nogil:
    return rf_team_agree(threads, vote)

cdef bint team_let_rest(bint on) noexcept nogil:
    return rf_team_let_rest(on)

cdef bint team_exceed(bint on) noexcept nogil:
    return rf_team_exceed(on)

cdef int64_t now_ns() noexcept nogil:
    return rf_now_ns()


MAX_THREADS = RF_MAX_THREADS


# ---- signals ---------------------------------------------------------------------------------------------------------------
# Python runs the handlers of signals (of Ctrl-C too) in its main thread, between bytecodes: a call that takes seconds has to
# let it do so on its way (`interrupted` in _job.pxd).
cdef extern from "pythread.h" nogil:
    unsigned long PyThread_get_thread_ident()

cdef extern from "Python.h":
    int PyErr_CheckSignals()

cdef unsigned long main_thread


def _find_main_thread():
    """Again in a forked child: the thread that forked is the main one there."""
    global main_thread
    main_thread = threading.main_thread().ident


_find_main_thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)


cdef bint in_main_thread() noexcept nogil:
    return PyThread_get_thread_ident() == main_thread


cdef bint run_signal_handlers() noexcept nogil:
    """Runs the handlers of signals that have come. True: one raised an exception, which stays pending for raise_pending; until
    then no Python code may run in this thread."""
    with gil:
        return PyErr_CheckSignals() != 0


cdef int raise_pending() except -1:
    """Raises the exception that run_signal_handlers left."""
    return -1


# ---- ISAs ----------------------------------------------------------------------------------------------------------------
def isas():
    """Names of the ISAs that are compiled in and that this CPU can run, best last."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()) if rf_isa_present(i))


def compiled_isas():
    """Names of the ISAs that are compiled in, best last; the positions are the numbers `Weights` takes."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()))


# ---- cells -----------------------------------------------------------------------------------------------------------------
cdef const rf_cell *find_cell(str name, int *index) except NULL:
    index[0] = rf_find_cell(name.encode())
    if index[0] < 0:
        raise ValueError(f"cell: expected the name of a row in csrc/cells/list.h, got {name!r}")
    return &rf_cells[index[0]]


def cell_numbers(str name):
    """Checks the numbers of a compiled cell, as the loops need them; returns those that Python wants: gates, slots and
    states."""
    cdef int index
    cdef const rf_cell *cell = find_cell(name, &index)
    cdef char text[200]
    if rf_cell_problem(cell, text, sizeof(text)):
        raise ValueError(f"cell {name}: {text.decode()}")
    return {"gates": cell.gates, "slots": cell.slots, "states": 2 if cell.has_c else 1}


# ---- memory ----------------------------------------------------------------------------------------------------------------
def trim():
    """Frees the large blocks that are kept for later calls and this thread's scratch; returns their bytes."""
    return rf_trim()


@cython.final
cdef class Buffer:
    def __cinit__(self, size_t nbytes):
        self.data = <char *>rf_alloc(nbytes)
        self.nbytes = nbytes
        if self.data == NULL:
            raise MemoryError(f"rnnfast: could not allocate {nbytes} bytes")

    def __dealloc__(self):
        rf_free(self.data, self.nbytes)


def empty(shape, dtype, bint lockable=False):
    """np.empty; a large array's memory is kept for the next when it goes: its pages are then not cleared at every call.

    lockable: made read-only, the array stays so. (NumPy lets the owner of memory become writeable again at any time, but not an
    array whose memory belongs to an object that is no array and offers no buffer.)"""
    cdef cnp.npy_intp dims[3]
    cdef size_t nbytes = dtype.itemsize
    cdef int ndim = len(shape), i
    cdef Buffer memory
    for i in range(min(ndim, 3)):
        dims[i] = shape[i]
        nbytes *= dims[i]
    if ndim > 3 or (nbytes < RF_KEPT_FROM and not lockable):
        return np.empty(shape, dtype)
    memory = Buffer(nbytes)
    array = cnp.PyArray_SimpleNewFromData(ndim, dims, (<cnp.dtype>dtype).type_num, memory.data)
    cnp.set_array_base(array, memory)
    return array
