# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""From the weights of one layer and direction to the panels that the products read (csrc/tile.h draws them)."""
cimport cython
cimport numpy as cnp
from libc.string cimport memcpy, memset

cnp.import_array()

cdef enum:
    MOST_SETS = 2 + 2 * RF_MAX_PHASES   # sets of panels of one Weights: W_ih, and each phase of W_hh, both orientations
    BYTES_PER_THREAD = 2097152          # packing takes no further thread for less: 0.1 ms


cdef struct Panels:
    # one set of panels: of `count` units, `depth` deep, gates side by side; or, with gates 0, of `depth` columns, `count` deep
    char **target
    size_t offset
    const void **rows
    Py_ssize_t count, depth
    int gates


cdef struct Packing:
    const rf_kernels *kernels
    Pieces pieces
    int sets
    Panels panels[MOST_SETS]


cdef void plan(Packing *p, char **target, const void **rows, Py_ssize_t count, Py_ssize_t depth, int gates) noexcept:
    """One more set of panels, and its place."""
    cdef Panels *one = &p.panels[p.sets]
    one.target, one.rows, one.count, one.depth, one.gates = target, rows, count, depth, gates
    one.offset = p.pieces.used
    if gates:
        take_piece(&p.pieces, panel_bytes(p.kernels, count, depth, gates))
    else:
        take_piece(&p.pieces, panel_bytes(p.kernels, depth, count, 1))
    p.sets += 1


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


cdef void pack_by_threads(Packing *p, int threads) noexcept nogil:
    cdef int acquired
    threads = <int>min(<size_t>threads, max(p.pieces.used // BYTES_PER_THREAD, 1))
    acquired = team_acquire(min(threads, team_cpus()), False) if threads > 1 else 1
    team_run(pack_task, p, acquired)
    team_release(acquired)


cdef const void **list_rows(const void **rows, const rf_cell *cell, cnp.ndarray w, bint slot_order,
                            int gate, int gates) noexcept:
    """rows[i] = address of row i of w's gate blocks: blocks gate .. gate+gates, or all of them in slot order. Returns the
    end."""
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

    def __cinit__(self, str cell, int isa, bint trainable, int threads, cnp.ndarray w_ih, cnp.ndarray w_hh,
                  b_ih=None, b_hh=None):
        cdef const rf_kernels *k = isa_kernels(isa, cnp.PyArray_ITEMSIZE(w_ih))
        cdef Py_ssize_t itemsize = k.itemsize, H = cnp.PyArray_DIM(w_hh, 1), I = cnp.PyArray_DIM(w_ih, 1), G
        cdef size_t bias_x, bias_h
        cdef Packing packing
        cdef const rf_forward_phase *forward
        cdef const rf_backward_phase *backward
        cdef int i
        self.cell = find_cell(cell, &self.index)
        self.kernels, self.isa, self.input_size, self.hidden_size, self.trainable = k, isa, I, H, trainable
        G = self.cell.gates

        # what there will be, then the memory for it, then the contents
        cdef Buffer row_lists = Buffer((1 + 2 * self.cell.phases) * G * H * sizeof(void *))
        cdef const void **rows = <const void **>row_lists.data
        cdef const void **end = list_rows(rows, self.cell, w_ih, True, 0, G)
        packing.kernels, packing.sets = k, 0
        packing.pieces.base, packing.pieces.used = NULL, 0
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
        bias_x = packing.pieces.used
        take_piece(&packing.pieces, G * H * itemsize)
        bias_h = packing.pieces.used
        take_piece(&packing.pieces, H * itemsize)
        self.memory = Buffer(packing.pieces.used)
        for i in range(packing.sets):
            packing.panels[i].target[0] = self.memory.data + packing.panels[i].offset
        self.bias_x, self.bias_h = self.memory.data + bias_x, self.memory.data + bias_h
        with nogil:
            pack_by_threads(&packing, threads)
        self._pack_biases(b_ih, b_hh)

    cdef void _pack_biases(self, b_ih, b_hh):
        """bias_x = b_ih + b_hh in slot order; b_hh of the split gate goes to bias_h instead. None is zeros."""
        cdef Py_ssize_t G = self.cell.gates, H = self.hidden_size, itemsize = self.kernels.itemsize, i
        cdef const void *row
        cdef int p, one
        memset(self.bias_x, 0, G * H * itemsize)
        memset(self.bias_h, 0, H * itemsize)
        if b_ih is None:
            return
        for p in range(self.cell.products):
            if self.cell.product[p].source != RF_SRC_X:
                continue
            for i in range(self.cell.product[p].gates):
                one = self.cell.product[p].gate + i
                to = self.bias_x + (self.cell.product[p].slot + i) * H * itemsize
                row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b_ih) + one * H * itemsize
                self.kernels.column_sum(to, &row, 1, H)
                row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b_hh) + one * H * itemsize
                if one == self.cell.split_bias:
                    memcpy(self.bias_h, row, H * itemsize)
                else:
                    self.kernels.column_sum(to, &row, 1, H)

    @property
    def itemsize(self):
        return self.kernels.itemsize

    @property
    def nbytes(self):
        """Bytes of packed weights."""
        return self.memory.nbytes
