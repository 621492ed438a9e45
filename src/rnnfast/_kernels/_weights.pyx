# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
"""From the weights of one layer and direction to the panels that the products read (csrc/tile.h draws them)."""
cimport cython
cimport numpy as cnp
from libc.string cimport memcpy, memset

cnp.import_array()

cdef enum:
    MOST_SETS = 2 + 2 * RF_MAX_PRODUCTS # sets of panels of one Weights: W_ih, and each product of W_hh, both orientations
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


cdef const rf_cell *find_cell(cell, int *index) except NULL:
    """Of a compiled cell by its name, or of the code of any other."""
    if type(cell) is Code:
        index[0] = -1
        return &(<Code>cell).cell
    return compiled_cell(cell, index)


cdef const void **list_gate(const void **rows, Weights w, cnp.ndarray array, int gate) noexcept:
    """rows[i] = address of row i of a gate. Returns the end."""
    cdef Py_ssize_t step = cnp.PyArray_STRIDE(array, 0), i
    cdef char *row = row_of(array, w.block[gate], w.hidden_size)
    for i in range(w.hidden_size):
        rows[i] = row + i * step
    return rows + w.hidden_size


cdef const void **list_slots(const void **rows, Weights w, cnp.ndarray array) noexcept:
    """The same of all gates of x, in the order of the slots that they are projected to."""
    cdef int slot
    for slot in range(w.cell.x_gates):
        rows = list_gate(rows, w, array, w.cell.ih_of_slot[slot])
    return rows


cdef const void **list_forward(const void **rows, Weights w, cnp.ndarray array, const rf_forward_product *f) noexcept:
    cdef int i
    for i in range(f.gates):
        rows = list_gate(rows, w, array, f.gate[i])
    return rows


@cython.final
cdef class Weights:
    def __init__(self):
        raise TypeError("Weights: made by pack")

    cdef _describe(self, cell, int isa, cnp.ndarray w_ih, w_hh, tuple blocks):
        """All but the memory of weights. blocks: of each gate, which block of rows it has; None: in order."""
        cdef const rf_phase *phase
        cdef Pieces pieces
        cdef int i, p
        self.cell, self.isa, self.code = find_cell(cell, &self.index), isa, cell
        self.kernels, self.kind = isa_kernels(isa, cnp.PyArray_ITEMSIZE(w_ih)), cnp.PyArray_TYPE(w_ih)
        self.input_size, self.hidden_size = cnp.PyArray_DIM(w_ih, 1), cnp.PyArray_DIM(w_ih, 0) // self.cell.x_gates
        self.permuted = blocks is not None
        for i in range(max(self.cell.x_gates, self.cell.h_gates)):
            self.block[i] = i if blocks is None else <int>blocks[i]
        for p in range(self.cell.forward_phases + self.cell.backward_phases):
            phase = &self.cell.forward[p] if p < self.cell.forward_phases else &self.cell.backward[p - self.cell.forward_phases]
            for i in range(phase.products):
                self.most_sums = max(self.most_sums, phase.sum[i] + phase.gates[i])
        self.hh = <char **>self.few
        if max(self.cell.forward_products, self.cell.backward_products) > RF_COMPILED_PHASES:
            self.tables = Buffer((2 * self.cell.forward_products + self.cell.backward_products) * sizeof(void *))
            memset(self.tables.data, 0, self.tables.nbytes)
            self.hh = <char **>self.tables.data
        self.hh_rows = <const void ***>(self.hh + self.cell.forward_products)
        self.back_hh = <char **>(self.hh_rows + self.cell.forward_products)

    cdef _pack(self, bint trainable, int threads, cnp.ndarray w_ih, w_hh, b_ih, b_hh, vectors):
        """Everything in panels. What there will be comes first, then the memory for it, then the contents."""
        cdef Py_ssize_t X = self.cell.x_gates, H = self.hidden_size, I = self.input_size
        cdef Buffer row_lists = Buffer((X + 2 * self.cell.h_gates) * H * sizeof(void *))
        cdef const void **rows = <const void **>row_lists.data
        cdef const void **end = list_slots(rows, self, w_ih)
        cdef const rf_forward_product *forward
        cdef const rf_backward_product *backward
        cdef Packing packing
        cdef size_t biases
        cdef int i, slot
        packing.kernels, packing.sets = self.kernels, 0
        packing.pieces.base, packing.pieces.used = NULL, 0
        plan(&packing, &self.ih, rows, step_of(w_ih), X * H, I, 1)
        if trainable:
            plan(&packing, &self.back_ih, rows, step_of(w_ih), X * H, I, 0)
        for i in range(self.cell.forward_products):
            forward, rows = &self.cell.forward_product[i], end
            end = list_forward(rows, self, w_hh, forward)
            plan(&packing, &self.hh[i], rows, step_of(w_hh), H, H, forward.gates)
        for i in range(self.cell.backward_products if trainable else 0):
            backward, rows = &self.cell.backward_product[i], end
            for slot in range(backward.slot, backward.slot + backward.gates):
                end = list_gate(end, self, w_hh, self.cell.hh_of_slot[slot])
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
        self._fill_biases(b_ih, b_hh, vectors)

    cdef _point(self, cnp.ndarray w_ih, w_hh, b_ih, b_hh, vectors):
        """Nothing in panels, only the addresses of the rows: the arrays must live on and stay as they are."""
        cdef Pieces pieces
        cdef Py_ssize_t list_bytes = (self.cell.x_gates + self.cell.h_gates) * self.hidden_size * sizeof(void *)
        cdef const void **rows
        cdef int i
        pieces.base, pieces.used = NULL, list_bytes
        self._take_biases(&pieces)
        self.memory = Buffer(pieces.used)
        self.ih_rows = <const void **>self.memory.data
        rows = list_slots(self.ih_rows, self, w_ih)
        self.ih_step = step_of(w_ih)
        for i in range(self.cell.forward_products):
            self.hh_rows[i], self.hh_step = rows, step_of(w_hh)
            rows = list_forward(rows, self, w_hh, &self.cell.forward_product[i])
        pieces.base, pieces.used = self.memory.data, list_bytes
        self._take_biases(&pieces)
        self._fill_biases(b_ih, b_hh, vectors)

    cdef void _take_biases(self, Pieces *p) noexcept:
        self.bias_x = take_piece(p, self.cell.x_gates * self.hidden_size * self.kernels.itemsize)
        self.vectors = take_piece(p, (self.cell.split_biases + self.cell.vectors) * self.hidden_size * self.kernels.itemsize)

    cdef void _fill_biases(self, b_ih, b_hh, vectors) noexcept:
        """bias_x = b_ih + b_hh in slot order, but for the b_hh that stand apart. None is zeros."""
        cdef Py_ssize_t nbytes = self.hidden_size * self.kernels.itemsize
        cdef int i
        memset(self.bias_x, 0, self.cell.x_gates * nbytes)
        memset(self.vectors, 0, self.cell.split_biases * nbytes)
        for i in range(self.cell.x_gates):
            self._add_bias(self.bias_x + i * nbytes, b_ih, self.cell.ih_of_slot[i])
            if self.cell.merged[i] >= 0:
                self._add_bias(self.bias_x + i * nbytes, b_hh, self.cell.merged[i])
        for i in range(self.cell.split_biases):
            self._add_bias(self.vectors + i * nbytes, b_hh, self.cell.split[i])
        if self.cell.vectors:
            memcpy(self.vectors + self.cell.split_biases * nbytes, cnp.PyArray_DATA(<cnp.ndarray>vectors),
                   self.cell.vectors * nbytes)

    cdef void _add_bias(self, char *to, b, int gate) noexcept:
        cdef const void *row
        if b is not None:
            row = <char *>cnp.PyArray_DATA(<cnp.ndarray>b) + self.block[gate] * self.hidden_size * self.kernels.itemsize
            self.kernels.column_sum(to, &row, 1, self.hidden_size)

    def keeping_states(self):
        """The same weights of an interpreted cell, for a pass that keeps all its states: Record.copy_state."""
        cdef Weights w = Weights.__new__(Weights)
        cdef Code code = (<Code>self.code).keeping_states()
        w.cell, w.code, w.kernels, w.index, w.isa, w.kind = &code.cell, code, self.kernels, self.index, self.isa, self.kind
        w.input_size, w.hidden_size, w.most_sums = self.input_size, self.hidden_size, self.most_sums
        w.ih, w.bias_x, w.vectors, w.hh = self.ih, self.bias_x, self.vectors, self.hh
        w.back_hh, w.hh_rows, w.pointed = self.back_hh, self.hh_rows, (self,)
        return w

    @property
    def itemsize(self):
        return self.kernels.itemsize

    @property
    def nbytes(self):
        """Bytes of packed weights; of others, those of their rows' addresses."""
        return self.memory.nbytes


cpdef Weights pack(cell, int isa, bint trainable, int threads, w_ih, w_hh, b_ih=None, b_hh=None, tuple blocks=None,
                   vectors=None):
    """The Weights of arrays of one float dtype, checked by the caller: of any strides, but biases and vectors contiguous.

    cell: the name of a compiled one, or a Code. trainable: the orientations that backward needs are packed too. w_hh: None
    where there are no products with it. blocks: of each gate, which block of rows it has. vectors: (n, H) as the cell has
    them."""
    cdef Weights w = Weights.__new__(Weights)
    w._describe(cell, isa, w_ih, w_hh, blocks)
    w._pack(trainable, threads, w_ih, w_hh, b_ih, b_hh, vectors)
    return w


cpdef Weights point_at(cell, int isa, w_ih, w_hh, b_ih=None, b_hh=None, tuple blocks=None, vectors=None):
    """As `pack`, for weights that are used once: they stay where they are, and the products read them there (csrc/live.h). They
    must not change meanwhile."""
    cdef Weights w = Weights.__new__(Weights)
    w._describe(cell, isa, w_ih, w_hh, blocks)
    w._point(w_ih, w_hh, b_ih, b_hh, vectors)
    w.pointed = (w_ih, w_hh)
    return w
