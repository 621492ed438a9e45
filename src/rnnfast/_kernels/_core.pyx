# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""csrc for the other modules: ISAs, cells' numbers, memory, the thread team; and Python's signals inside a long call."""
import os
import signal
import threading

cimport cython
cimport numpy as cnp
from cpython.unicode cimport PyUnicode_AsUTF8
import numpy as np

cnp.import_array()


# ---- csrc for the other Cython modules ---------------------------------------------------------------------------------
cdef const rf_kernels *isa_kernels(int isa, int itemsize) noexcept nogil:
    return rf_isa_kernels(isa, itemsize)

cdef bint cell_problem(const rf_cell *cell, int index, char *text, size_t room) noexcept nogil:
    return rf_cell_problem(cell, index, text, room)

cdef ptrdiff_t panel_count(const rf_kernels *kernels, ptrdiff_t units, int gates) noexcept nogil:
    return rf_panels(kernels, units, gates)

cdef size_t panel_bytes(const rf_kernels *kernels, ptrdiff_t units, ptrdiff_t k, int gates) noexcept nogil:
    return rf_panel_bytes(kernels, units, k, gates)

cdef uint64_t fp_enter() noexcept nogil:
    return rf_fp_enter()

cdef void fp_leave(uint64_t saved) noexcept nogil:
    rf_fp_leave(saved)

cdef int scratch_reserve(size_t bytes) noexcept nogil:
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

cdef void team_barrier(int threads) noexcept nogil:
    rf_team_barrier(threads)

cdef bint team_agree(int threads, bint vote) noexcept nogil:
    return rf_team_agree(threads, vote)

cdef bint team_orphaned() noexcept nogil:
    return rf_team_orphaned()

cdef bint team_let_rest(bint on) noexcept nogil:
    return rf_team_let_rest(on)

cdef bint team_exceed(bint on) noexcept nogil:
    return rf_team_exceed(on)

cdef int64_t now_ns() noexcept nogil:
    return rf_now_ns()


MAX_THREADS = RF_MAX_THREADS


# ---- signals in a long call --------------------------------------------------------------------------------------------
# Python runs the handlers of signals (of Ctrl-C too) in its main thread, between bytecodes. A call that takes seconds has to
# let it do so on its way; but to take the GIL for that 20 times a second could cost more than the call, beside a thread that keeps
# it for long. So a long call of the main thread has Python write a byte into a pipe when a signal comes (signal.set_wakeup_fd),
# and takes the GIL when it reads one. If somebody else uses that, an event loop say, it takes the GIL now and then, more rarely
# the longer that took. `interrupted` in _job.pxd is how the loops ask.
cdef enum:
    LOOK_EVERY_NS = 20000000
    GIL_EVERY_NS = 50000000
    GIL_PART = 20               # at most this part of the time is spent on taking the GIL

cdef extern from "pythread.h" nogil:
    unsigned long PyThread_get_thread_ident()

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef extern from *:
    """
    #if defined(_WIN32)
    static int rf_read_byte(int file) { (void)file; return 0; }
    #else
    #include <unistd.h>
    static int rf_read_byte(int file) { char byte; return read(file, &byte, 1) == 1; }
    #endif
    """
    int rf_read_byte(int file) nogil

cdef unsigned long main_thread
cdef int pipe_in = -1, pipe_out = -1    # non-blocking; made when first wanted
cdef object raised = None               # by a handler; main thread only


def _find_main_thread():
    """Again in a forked child: the thread that forked is the main one there, and the pipe is not its parent's."""
    global main_thread
    main_thread = threading.main_thread().ident
    if pipe_in >= 0:
        for new, old in zip(os.pipe(), (pipe_in, pipe_out)):
            os.set_blocking(new, False)
            os.dup2(new, old, inheritable=False)
            os.close(new)


_find_main_thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)


cdef int open_ear(Ear *ear, bint long_call) except -1:
    """Before a call; a long one of the main thread listens from here on. close_ear must follow."""
    global pipe_in, pipe_out
    ear.stopped, ear.look_at, ear.pipe, ear.before = 0, 0, -1, -1
    ear.listens = long_call and PyThread_get_thread_ident() == main_thread
    if not ear.listens or os.name != "posix":
        return 0
    if pipe_in < 0:
        pipe_in, pipe_out = os.pipe()
        os.set_blocking(pipe_in, False)
        os.set_blocking(pipe_out, False)
    try:
        ear.before = signal.set_wakeup_fd(pipe_out, warn_on_full_buffer=False)
    except ValueError:  # not the main interpreter
        ear.listens = False
        return 0
    if ear.before == -1 or ear.before == pipe_out:  # nobody's, or a call's in whose middle a handler made this one
        ear.pipe = pipe_in
    else:
        signal.set_wakeup_fd(ear.before)
    try:
        PyErr_CheckSignals()  # what came before the pipe was set
    except BaseException:
        close_ear(ear)
        raise
    return 0


cdef int close_ear(Ear *ear) except -1:
    """After a call. Raises what a handler raised in it."""
    global raised
    if ear.pipe >= 0:
        now = signal.set_wakeup_fd(ear.before, warn_on_full_buffer=False)
        if now != pipe_out:  # a handler gave it to somebody
            signal.set_wakeup_fd(now)
    if ear.stopped == ORPHANED:
        raise RuntimeError("rnnfast: expected to go on in one process, got a fork by a signal's handler in the middle of a call "
                           "of several threads; the child cannot finish that call")
    if ear.stopped:
        problem, raised = raised, None
        raise problem
    return 0


cdef bint run_handlers() noexcept nogil:
    """Runs the handlers of signals that have come. True: one raised an exception, which is kept for close_ear."""
    global raised
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as problem:
            raised = problem
            return True
    return False


cdef void look_for_signals(Ear *ear) noexcept nogil:
    """Called by the thread that called, now and then; sets ear.stopped."""
    cdef int64_t now = rf_now_ns()
    if ear.look_at == 0:  # most calls are over before it is time to look
        ear.look_at = now + (LOOK_EVERY_NS if ear.pipe >= 0 else GIL_EVERY_NS)
    if now < ear.look_at:
        return
    if ear.pipe < 0 or rf_read_byte(ear.pipe):
        if run_handlers():
            rf_set_flag(&ear.stopped, STOPPED)
    ear.look_at = rf_now_ns()
    ear.look_at += LOOK_EVERY_NS if ear.pipe >= 0 else max(GIL_EVERY_NS, GIL_PART * (ear.look_at - now))


# ---- ISAs ----------------------------------------------------------------------------------------------------------------
def isas():
    """Names of the ISAs that are compiled in and that this CPU can run, best last."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()) if rf_isa_present(i))


def compiled_isas():
    """Names of the ISAs that are compiled in, best last; the positions are the numbers `Weights` takes."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()))


# ---- cells -----------------------------------------------------------------------------------------------------------------
cdef const rf_cell *compiled_cell(str name, int *index) except NULL:
    index[0] = rf_find_cell(PyUnicode_AsUTF8(name))
    if index[0] < 0:
        raise ValueError(f"cell: expected the name of a row in csrc/cells/list.h, got {name!r}")
    return &rf_cells[index[0]]


def cell_numbers(str name):
    """Checks the numbers of a compiled cell, as the loops need them; returns those that Python wants: gates, slots and
    states."""
    cdef int index
    cdef const rf_cell *cell = compiled_cell(name, &index)
    cdef char text[200]
    if rf_cell_problem(cell, index, text, sizeof(text)):
        raise ValueError(f"cell {name}: {text.decode()}")
    return {"gates": cell.x_gates, "slots": cell.slots, "states": cell.states}


def operations():
    """The operations of programs, as csrc/ops.h lists them: name -> number of arguments."""
    return {rf_op_name(op).decode(): rf_op_arguments(op) for op in range(rf_op_count())}


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


cdef fresh_array(int ndim, cnp.npy_intp *dims, int kind, size_t itemsize, bint lockable):
    """A new C-contiguous array, uninitialised; kind: NumPy's number of its dtype. See `empty`."""
    cdef size_t nbytes = itemsize
    cdef Buffer memory
    cdef int i
    for i in range(ndim):
        nbytes *= dims[i]
    if nbytes < RF_KEPT_FROM and not lockable:
        return cnp.PyArray_EMPTY(ndim, dims, kind, 0)
    memory = Buffer(nbytes)
    array = cnp.PyArray_SimpleNewFromData(ndim, dims, kind, memory.data)
    cnp.set_array_base(array, memory)
    return array


def empty(shape, dtype, bint lockable=False):
    """np.empty; a large array's memory is kept for the next when it goes: its pages are then not cleared at every call.

    lockable: made read-only, the array stays so. (NumPy lets the owner of memory become writeable again at any time, but not an
    array whose memory belongs to an object that is no array and offers no buffer.)"""
    cdef cnp.npy_intp dims[3]
    cdef int ndim = len(shape), i
    if ndim > 3:
        return np.empty(shape, dtype)
    for i in range(ndim):
        dims[i] = shape[i]
    return fresh_array(ndim, dims, (<cnp.dtype>dtype).type_num, dtype.itemsize, lockable)
