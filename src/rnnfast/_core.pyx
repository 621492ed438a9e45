# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""What the C side offers to Python: the ISAs, vector math for tests, probes for benchmarks, packed weights; and to the other modules: team and scratch."""
cimport cython
cimport numpy as cnp
import numpy as np
from libc.string cimport memcpy, memset

cnp.import_array()


# ---- csrc for the other Cython modules ---------------------------------------------------------------------------------
cdef uint64_t fp_enter() noexcept nogil:
    return rf_fp_enter()

cdef void fp_leave(uint64_t saved) noexcept nogil:
    rf_fp_leave(saved)

cdef void barrier(int threads) noexcept nogil:
    rf_team_barrier(threads)

cdef int team_acquire(int want, bint brief) noexcept nogil:
    return rf_team_acquire(want, brief)

cdef void team_run(rf_task task, void *arg, int threads) noexcept nogil:
    rf_team_run(task, arg, threads)

cdef void team_release(int threads) noexcept nogil:
    rf_team_release(threads)

cdef void *scratch(size_t bytes) noexcept nogil:
    return rf_scratch(bytes)

cdef ptrdiff_t panels(const rf_kernels *kernels, ptrdiff_t units, int gates) noexcept nogil:
    return rf_panels(kernels, units, gates)


MAX_THREADS = RF_MAX_THREADS


def let_rest(bint on):
    """Whether the thread team may rest where other pools take its processors; returns what was set before (for tests)."""
    return bool(rf_team_let_rest(on))


# ---- ISAs ----------------------------------------------------------------------------------------------------------------
def isas():
    """Names of the ISAs that are compiled in and that this CPU can run, best last."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()) if rf_isa_present(i))


def compiled_isas():
    """Names of the ISAs that are compiled in, best last; the positions are the numbers `Weights` takes."""
    return tuple(rf_isa_name(i).decode() for i in range(rf_isa_count()))


def apply(str function, int isa, cnp.ndarray x):
    """The kernels' own "tanh" or "sigmoid" of a contiguous float array; a new array (for tests of the vector math)."""
    cdef const rf_kernels *kernels = rf_isa_kernels(isa, cnp.PyArray_ITEMSIZE(x))
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    if function == "tanh":
        kernels.tanh(cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    else:
        kernels.sigmoid(cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))
    return y


def probe_fma(int isa, int itemsize, Py_ssize_t repeats):
    """Does multiply-adds on registers, without the GIL; returns how many floating point operations that were."""
    cdef const rf_kernels *kernels = rf_isa_kernels(isa, itemsize)
    with nogil:
        kernels.probe_fma(repeats)
    return 4.0 * kernels.mr * kernels.lanes * repeats


def probe_load(int isa, cnp.ndarray data, Py_ssize_t repeats):
    """Reads a contiguous float array so many times, without the GIL, but for a rest of less than 2 kB; returns the bytes."""
    cdef const rf_kernels *kernels = rf_isa_kernels(isa, cnp.PyArray_ITEMSIZE(data))
    cdef const void *address = cnp.PyArray_DATA(data)
    cdef Py_ssize_t block = 2 * kernels.mr * kernels.lanes, n = cnp.PyArray_SIZE(data) // block * block
    with nogil:
        kernels.probe_load(address, n, repeats)
    return float(n * kernels.itemsize * repeats)


# ---- memory ----------------------------------------------------------------------------------------------------------------
def trim():
    """Frees the large blocks that are kept for later calls; returns their bytes (for tests)."""
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


def empty(shape, dtype):
    """np.empty; a large array's memory is kept for the next when it goes: its pages are then not cleared at every call."""
    cdef cnp.npy_intp dims[3]
    cdef size_t nbytes = dtype.itemsize
    cdef int ndim = len(shape), i
    cdef Buffer memory
    for i in range(min(ndim, 3)):
        dims[i] = shape[i]
        nbytes *= dims[i]
    if ndim > 3 or nbytes < RF_KEPT_FROM:
        return np.empty(shape, dtype)
    memory = Buffer(nbytes)
    array = cnp.PyArray_SimpleNewFromData(ndim, dims, (<cnp.dtype>dtype).type_num, memory.data)
    cnp.set_array_base(array, memory)
    return array


# ---- packed weights --------------------------------------------------------------------------------------------------------
cdef enum:
    MOST_PANELS = 6                 # sets of panels of one Weights: W_ih and two phases of W_hh, both orientations
    BYTES_PER_THREAD = 2097152      # packing takes no further thread for less: 0.1 ms


cdef struct Panels:
    # one set of panels: of `count` units, `depth` deep, gates side by side; or, with gates 0, of `depth` columns, `count` deep
    char **target
    size_t offset
    const void **rows
    Py_ssize_t count, depth
    int gates


cdef struct Packing:
    const rf_kernels *kernels
    size_t total
    int sets
    Panels panels[MOST_PANELS]


cdef void plan(Packing *p, char **target, const void **rows, Py_ssize_t count, Py_ssize_t depth, int gates) noexcept:
    """One more set of panels, and its place."""
    cdef Panels *one = &p.panels[p.sets]
    one.target, one.rows, one.count, one.depth, one.gates = target, rows, count, depth, gates
    if gates:
        one.offset = take(&p.total, rf_panel_bytes(p.kernels, count, depth, gates))
    else:
        one.offset = take(&p.total, rf_panel_bytes(p.kernels, depth, count, 1))
    p.sets += 1


cdef size_t take(size_t *total, size_t nbytes) noexcept:
    """The next 64-byte aligned piece: returns its offset and adds it to the total."""
    cdef size_t offset = total[0]
    total[0] += (nbytes + 63) & ~<size_t>63
    return offset


cdef void pack_task(void *arg, int thread, int threads) noexcept nogil:
    """This thread's share of every set, in whole panels or blocks of rows."""
    cdef Packing *p = <Packing *>arg
    cdef const rf_kernels *k = p.kernels
    cdef Panels *one
    cdef Py_ssize_t blocks, first, last
    cdef int i
    for i in range(p.sets):
        one = &p.panels[i]
        blocks = (one.count + 2 * k.lanes - 1) // (2 * k.lanes)
        first = blocks * thread // threads * 2 * k.lanes
        last = min(blocks * (thread + 1) // threads * 2 * k.lanes, one.count)
        if one.gates:
            k.pack_gates(one.target[0], one.rows, first, last, one.count, one.depth, one.gates)
        else:
            k.pack_rows(one.target[0], one.rows, first, last, one.count, one.depth, k.width)


cdef const void **list_rows(const void **rows, const rf_cell *cell, cnp.ndarray w, bint slot_order, int gate, int gates) noexcept:
    """rows[i] = address of row i of w's gate blocks: blocks gate .. gate+gates, or all of them in slot order. Returns the end."""
    cdef Py_ssize_t hidden = cnp.PyArray_DIM(w, 0) // cell.gates
    cdef Py_ssize_t row_bytes = cnp.PyArray_DIM(w, 1) * cnp.PyArray_ITEMSIZE(w), i
    cdef char *data = <char *>cnp.PyArray_DATA(w)
    cdef int p
    if not slot_order:
        for i in range(gates * hidden):
            rows[i] = data + (gate * hidden + i) * row_bytes
        return rows + gates * hidden
    for p in range(cell.products):
        if cell.product[p].source == RF_SRC_X:
            for i in range(cell.product[p].gates * hidden):
                rows[cell.product[p].slot * hidden + i] = data + (cell.product[p].gate * hidden + i) * row_bytes
    return rows + cell.gates * hidden


@cython.final
cdef class Weights:
    """Weights(cell, isa, trainable, threads, w_ih, w_hh, b_ih, b_hh): C-contiguous arrays of one float dtype, checked by the
    caller."""

    def __cinit__(self, str cell, int isa, bint trainable, int threads, cnp.ndarray w_ih, cnp.ndarray w_hh, b_ih=None, b_hh=None):
        cdef const rf_kernels *k = rf_isa_kernels(isa, cnp.PyArray_ITEMSIZE(w_ih))
        cdef Py_ssize_t size = k.itemsize, H = cnp.PyArray_DIM(w_hh, 1), I = cnp.PyArray_DIM(w_ih, 1), G
        cdef size_t bias_x, bias_h
        cdef Packing packing
        cdef const rf_forward_phase *forward
        cdef const rf_backward_phase *backward
        cdef int i
        self.index = rf_find_cell(cell.encode())
        self.cell = &rf_cells[self.index]
        self.kernels, self.isa, self.input_size, self.hidden_size, self.trainable = k, isa, I, H, trainable
        G = self.cell.gates

        # what there will be, then the memory for it, then the contents
        cdef Buffer row_lists = Buffer((1 + 2 * self.cell.phases) * G * H * sizeof(void *))
        cdef const void **rows = <const void **>row_lists.data
        cdef const void **end = list_rows(rows, self.cell, w_ih, True, 0, G)
        packing.kernels, packing.total, packing.sets = k, 0, 0
        plan(&packing, &self.ih, rows, G * H, I, 1)
        if trainable:
            plan(&packing, &self.back_ih, rows, G * H, I, 0)
        for i in range(self.cell.phases):
            forward, backward, rows = &self.cell.forward[i], &self.cell.backward[i], end
            end = list_rows(rows, self.cell, w_hh, False, forward.gate, forward.gates)
            plan(&packing, &self.hh[i], rows, H, H, forward.gates)
            if trainable:
                rows = end
                end = list_rows(rows, self.cell, w_hh, False, backward.gate, backward.gates)
                plan(&packing, &self.back_hh[i], rows, backward.gates * H, H, 0)
        bias_x, bias_h = take(&packing.total, G * H * size), take(&packing.total, H * size)
        self.memory = Buffer(packing.total)
        for i in range(packing.sets):
            packing.panels[i].target[0] = self.memory.data + packing.panels[i].offset
        self.bias_x, self.bias_h = self.memory.data + bias_x, self.memory.data + bias_h
        with nogil:
            threads = rf_team_acquire(<int>min(<size_t>threads, max(packing.total // BYTES_PER_THREAD, 1)), False)
            rf_team_run(pack_task, &packing, threads)
            rf_team_release(threads)
        self._pack_biases(b_ih, b_hh)

    cdef void _pack_biases(self, b_ih, b_hh):
        """bias_x = b_ih + b_hh in slot order; b_hh of the split gate goes to bias_h instead. None is zeros."""
        cdef Py_ssize_t G = self.cell.gates, H = self.hidden_size, size = self.kernels.itemsize, i
        cdef const void *row
        cdef int p, one
        memset(self.bias_x, 0, G * H * size)
        memset(self.bias_h, 0, H * size)
        if b_ih is None:
            return
        for p in range(self.cell.products):
            if self.cell.product[p].source != RF_SRC_X:
                continue
            for i in range(self.cell.product[p].gates):
                one = self.cell.product[p].gate + i
                to = self.bias_x + (self.cell.product[p].slot + i) * H * size
                row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b_ih) + one * H * size
                self.kernels.column_sum(to, &row, 1, H)
                row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b_hh) + one * H * size
                if one == self.cell.split_bias:
                    memcpy(self.bias_h, row, H * size)
                else:
                    self.kernels.column_sum(to, &row, 1, H)

    @property
    def itemsize(self):
        return self.kernels.itemsize

    @property
    def nbytes(self):
        """Bytes of packed weights."""
        return self.memory.nbytes

