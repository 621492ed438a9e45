# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""From the weights of one layer and direction to the panels that the products read (csrc/tile.h draws them)."""
cimport cython
cimport numpy as cnp
from libc.string cimport memset

cnp.import_array()

cdef enum:
    MOST_SETS = 2 + 2 * RF_MAX_PHASES   # sets of panels of one Weights: W_ih, and each phase of W_hh, both orientations
    BYTES_PER_THREAD = 2097152          # packing takes no further thread for less: 0.1 ms


cdef struct Panels:
    # one set of panels: of `count` units, `depth` deep, gates side by side; or, with gates 0, of `depth` columns, `count` deep
    char **target
    size_t offset
    const void **rows
    ptrdiff_t step
    Py_ssize_t count, depth
    int gates


cdef struct Packing:
    const rf_kernels *kernels
    Pieces pieces
    int sets
    Panels panels[MOST_SETS]


cdef void plan(Packing *p, char **target, const void **rows, ptrdiff_t step, Py_ssize_t count, Py_ssize_t depth,
               int gates) noexcept:
    """One more set of panels, and its place."""
    cdef Panels *one = &p.panels[p.sets]
    one.target, one.rows, one.step, one.count, one.depth, one.gates = target, rows, step, count, depth, gates
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
            k.pack_gates(one.target[0], one.rows, one.step, first, last, one.count, one.depth, one.gates)
        else:
            k.pack_rows(one.target[0], one.rows, one.step, first, last, one.count, one.depth, k.width)


cdef void pack_by_threads(Packing *p, int threads) noexcept nogil:
    cdef int acquired
    threads = <int>min(<size_t>threads, max(p.pieces.used // BYTES_PER_THREAD, 1))
    acquired = team_acquire(min(threads, team_cpus()), False) if threads > 1 else 1
    team_run(pack_task, p, acquired)
    team_release(acquired)


# ---- weights where the user keeps them --------------------------------------------------------------------------------------
cdef inline char *row_of(cnp.ndarray w, Py_ssize_t block, Py_ssize_t hidden) noexcept:
    """The first row of a block of rows."""
    return <char *>cnp.PyArray_DATA(w) + block * hidden * cnp.PyArray_STRIDE(w, 0)


cdef inline ptrdiff_t step_of(cnp.ndarray w) noexcept:
    """Elements from one column to the next."""
    return cnp.PyArray_STRIDE(w, 1) // cnp.PyArray_ITEMSIZE(w) if cnp.PyArray_DIM(w, 1) > 1 else 1


cdef bint is_weight(w, int kind, Py_ssize_t rows, Py_ssize_t columns) noexcept:
    """Whether it is a plain array that can be read where it is: any strides of whole elements."""
    cdef cnp.ndarray a
    if not cnp.PyArray_CheckExact(w):
        return False
    a = <cnp.ndarray>w
    return (cnp.PyArray_TYPE(a) == kind and cnp.PyArray_NDIM(a) == 2 and rows > 0 and columns > 0
            and cnp.PyArray_DIM(a, 0) == rows and cnp.PyArray_DIM(a, 1) == columns and cnp.PyArray_ISBEHAVED_RO(a)
            and cnp.PyArray_STRIDE(a, 0) % cnp.PyArray_ITEMSIZE(a) == 0
            and cnp.PyArray_STRIDE(a, 1) % cnp.PyArray_ITEMSIZE(a) == 0)


cdef const void **list_rows(const void **rows, Weights w, cnp.ndarray array, int gate, int gates) noexcept:
    """rows[i] = address of row i of the gates gate .. gate+gates. Returns the end."""
    cdef Py_ssize_t step = cnp.PyArray_STRIDE(array, 0), i
    cdef char *row
    cdef int g
    for g in range(gate, gate + gates):
        row = row_of(array, w.block[g], w.hidden_size)
        for i in range(w.hidden_size):
            rows[i] = row + i * step
        rows += w.hidden_size
    return rows


cdef const void **list_slots(const void **rows, Weights w, cnp.ndarray array) noexcept:
    """The same of all gates, in the order of the slots that they are projected to."""
    cdef const rf_weight_product *one
    cdef int p
    for p in range(w.cell.products):
        one = &w.cell.product[p]
        if one.source == RF_SRC_X:
            list_rows(rows + one.slot * w.hidden_size, w, array, one.gate, one.gates)
    return rows + w.cell.gates * w.hidden_size


@cython.final
cdef class Weights:
    def __init__(self):
        raise TypeError("Weights: made by pack")

    cdef _describe(self, str cell, int isa, cnp.ndarray w_ih, cnp.ndarray w_hh, tuple blocks):
        """All but the memory. blocks: of each gate, which block of rows it has; None: in order."""
        cdef int g
        self.cell, self.isa = find_cell(cell, &self.index), isa
        self.kernels, self.kind = isa_kernels(isa, cnp.PyArray_ITEMSIZE(w_ih)), cnp.PyArray_TYPE(w_ih)
        self.input_size, self.hidden_size = cnp.PyArray_DIM(w_ih, 1), cnp.PyArray_DIM(w_hh, 1)
        self.permuted = blocks is not None
        for g in range(self.cell.gates):
            self.block[g] = g if blocks is None else <int>blocks[g]

    cdef _pack(self, bint trainable, int threads, cnp.ndarray w_ih, cnp.ndarray w_hh, b_ih, b_hh):
        """Everything in panels. What there will be comes first, then the memory for it, then the contents."""
        cdef Py_ssize_t G = self.cell.gates, H = self.hidden_size, I = self.input_size
        cdef Buffer row_lists = Buffer((1 + 2 * self.cell.phases) * G * H * sizeof(void *))
        cdef const void **rows = <const void **>row_lists.data
        cdef const void **end = list_slots(rows, self, w_ih)
        cdef const rf_forward_phase *forward
        cdef const rf_backward_phase *backward
        cdef Packing packing
        cdef size_t biases
        cdef int i
        packing.kernels, packing.sets = self.kernels, 0
        packing.pieces.base, packing.pieces.used = NULL, 0
        plan(&packing, &self.ih, rows, step_of(w_ih), G * H, I, 1)
        if trainable:
            plan(&packing, &self.back_ih, rows, step_of(w_ih), G * H, I, 0)
        for i in range(self.cell.phases):
            forward, backward, rows = &self.cell.forward[i], &self.cell.backward[i], end
            end = list_rows(rows, self, w_hh, forward.gate, forward.gates)
            plan(&packing, &self.hh[i], rows, step_of(w_hh), H, H, forward.gates)
            if trainable:
                rows = end
                end = list_rows(rows, self, w_hh, backward.gate, backward.gates)
                plan(&packing, &self.back_hh[i], rows, step_of(w_hh), backward.gates * H, H, 0)
        biases = packing.pieces.used
        self._take_biases(&packing.pieces)
        self.trainable, self.memory = trainable, Buffer(packing.pieces.used)
        for i in range(packing.sets):
            packing.panels[i].target[0] = self.memory.data + packing.panels[i].offset
        packing.pieces.base, packing.pieces.used = self.memory.data, biases
        with nogil:
            pack_by_threads(&packing, threads)
        self._take_biases(&packing.pieces)
        self._fill_biases(b_ih, b_hh)

    cdef _point(self, cnp.ndarray w_ih, cnp.ndarray w_hh, b_ih, b_hh):
        """Nothing in panels, only the addresses of the rows: the arrays must live on and stay as they are."""
        cdef Pieces pieces
        cdef Py_ssize_t list_bytes = self.cell.gates * self.hidden_size * sizeof(void *)
        cdef const void **rows
        cdef int i
        pieces.base, pieces.used = NULL, 2 * list_bytes
        self._take_biases(&pieces)
        self.memory = Buffer(pieces.used)
        rows = self.ih_rows = <const void **>self.memory.data
        rows = list_slots(rows, self, w_ih)
        for i in range(self.cell.phases):
            self.hh_rows[i] = rows
            rows = list_rows(rows, self, w_hh, self.cell.forward[i].gate, self.cell.forward[i].gates)
        self.ih_step, self.hh_step = step_of(w_ih), step_of(w_hh)
        pieces.base, pieces.used = self.memory.data, 2 * list_bytes
        self._take_biases(&pieces)
        self._fill_biases(b_ih, b_hh)

    cdef void _take_biases(self, Pieces *p) noexcept:
        self.bias_x = take_piece(p, self.cell.gates * self.hidden_size * self.kernels.itemsize)
        self.bias_h = take_piece(p, self.hidden_size * self.kernels.itemsize)

    cdef void _fill_biases(self, b_ih, b_hh) noexcept:
        """bias_x = b_ih + b_hh in slot order; b_hh of the split gate goes to bias_h instead. None is zeros."""
        cdef Py_ssize_t H = self.hidden_size
        cdef const rf_weight_product *one
        cdef int p, gate
        memset(self.bias_x, 0, self.bias_h - self.bias_x + H * self.kernels.itemsize)
        for p in range(self.cell.products):
            one = &self.cell.product[p]
            if one.source == RF_SRC_X:
                for gate in range(one.gate, one.gate + one.gates):
                    to = self.bias_x + (one.slot + gate - one.gate) * H * self.kernels.itemsize
                    self._add_bias(to, b_ih, gate)
                    self._add_bias(self.bias_h if gate == self.cell.split_bias else to, b_hh, gate)

    cdef void _add_bias(self, char *to, b, int gate) noexcept:
        cdef const void *row
        if b is not None:
            row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b) + self.block[gate] * self.hidden_size * self.kernels.itemsize
            self.kernels.column_sum(to, &row, 1, self.hidden_size)

    @property
    def itemsize(self):
        return self.kernels.itemsize

    @property
    def nbytes(self):
        """Bytes of packed weights; of others, those of their rows' addresses."""
        return self.memory.nbytes


cpdef Weights pack(str cell, int isa, bint trainable, int threads, w_ih, w_hh, b_ih=None, b_hh=None, tuple blocks=None):
    """The Weights of arrays of one float dtype, checked by the caller: of any strides, but the biases contiguous.

    trainable: the orientations that backward needs are packed too. blocks: of each gate, which block of rows it has."""
    cdef Weights w = Weights.__new__(Weights)
    w._describe(cell, isa, w_ih, w_hh, blocks)
    w._pack(trainable, threads, w_ih, w_hh, b_ih, b_hh)
    return w


cpdef Weights point_at(str cell, int isa, w_ih, w_hh, b_ih=None, b_hh=None, tuple blocks=None):
    """As `pack`, for weights that are used once: they stay where they are, and the products read them there (csrc/live.h). They
    must not change meanwhile."""
    cdef Weights w = Weights.__new__(Weights)
    w._describe(cell, isa, w_ih, w_hh, blocks)
    w._point(w_ih, w_hh, b_ih, b_hh)
    w.pointed = (w_ih, w_hh)
    return w
