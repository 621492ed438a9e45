/* rnnfast.h: the C side of rnnfast as the Cython loops see it.
 *
 * What it is:  plain structs, one table of kernels per (ISA, dtype), one table of cells, the thread team.
 * What it is not: it has no time loop (those are in Cython) and never sees Python.
 *
 * Letters used everywhere: T steps, B batch rows, I input size, H hidden size, G gates of a cell.
 * Strides ("ld...") count elements, not bytes. No function here allocates unless it says so.
 */
#ifndef RNNFAST_H
#define RNNFAST_H

#include <stddef.h>
#include <stdint.h>

/* ---- products ---------------------------------------------------------------------------------
 * out[m, n] = sum over k = 0 .. k_len-1, in this order, of a[m, k] * w[k, n], from 0 or from what out holds.
 * One accumulator per output element: its bits depend neither on how rows are grouped, nor on
 * panels, nor on threads, nor on whether the weight is packed (tile.h draws it) or not (live.h: few rows). */
typedef struct rf_product {
    ptrdiff_t rows;            /* m: rows of this call */
    ptrdiff_t cols;            /* n: units (H) or columns the panels cover; the last panel may be partial */
    ptrdiff_t k;               /* depth of this call; 0 = no product, only the epilogue */
    ptrdiff_t k_panel;         /* depth the panels were packed with: distance of two panels */
    ptrdiff_t panel0, panel1;  /* half-open range of panels of this call */
    const void *a;             /* (rows, k) row-major, or packed by pack_rows when `packed_a` */
    ptrdiff_t lda;             /* elements from one row of a to the next (row-major a) */
    const void *w;             /* packed panels; or NULL, and the weight lies where the user keeps it (forward only: the
                                * sums start from 0, rows of a are not packed): */
    const void *const *w_rows; /* the addresses of its rows, as pack_gates takes them */
    ptrdiff_t w_step;          /* elements from one k to the next in a row */
    int descending;            /* go through the panels from the last to the first: what the cache still holds comes first */
    int packed_a;              /* a is in panels of `mr` rows (see rf_kernels.pack_rows) */
} rf_product;

typedef enum { RF_START_ZERO, RF_START_BIAS, RF_START_C } rf_start; /* the bias is added after the sum */

typedef struct rf_gemm {
    rf_product p;
    void *c;                   /* (rows, cols) out, and in when start == RF_START_C */
    ptrdiff_t ldc;
    const void *bias;          /* (cols,), start == RF_START_BIAS */
    rf_start start;
} rf_gemm;

/* ---- one step of one cell, one phase ------------------------------------------------------------
 * Used by both passes. An rf_rows is an array of rows: element (row, unit) is at + row*ld + unit; at NULL: there is none.
 * Rows of `slots` are S blocks of H columns: the x-projections before a forward step, the saved values after it, the gradients
 * of the gates after a backward step. Nothing may alias except a state's `after` with its `before`, and d_before with d_after;
 * and a product's left operand may be slots that this phase does not write. The caller owns everything. */
enum { RF_MAX_STATES = 8, RF_MAX_EXTRAS = 16, RF_MAX_TOGETHER = 8 /* products of a phase */, RF_MAX_SLOTS = 64 };

typedef struct rf_rows {
    void *at;
    ptrdiff_t ld;
} rf_rows;

typedef struct rf_step {
    rf_product p[RF_MAX_TOGETHER];          /* the products of the phase; compiled kernels have one */
    int save;                               /* forward, read by compiled kernels: write the activations back into slots */
    rf_rows slots;
    const void *vectors;                    /* (n, H): biases that stand apart from the x-projection (GRU: b_hn), ... */
    rf_rows before[RF_MAX_STATES];          /* states before the step; backward: those that the cell reads */
    rf_rows after[RF_MAX_STATES];           /* forward: out; backward: in, those that the cell reads */
    rf_rows dy;                             /* backward: gradient of y from outside, or none */
    rf_rows d_after[RF_MAX_STATES];         /* backward: in, gradients of the states after the step that no product carries,
                                             * without dy; or none */
    rf_rows d_before[RF_MAX_STATES];        /* backward: out, the same of the states before it */
    /* the rest is read by programs alone */
    const struct rf_phase *phase;
    ptrdiff_t unit0, unit1;                 /* units of this call: unit0 a multiple of 2 lanes, unit1 too, or H */
    rf_rows y;                              /* forward: out, the output, where it is no state */
    rf_rows extra[RF_MAX_EXTRAS];           /* inputs and draws of every unit */
    rf_rows d_extra[RF_MAX_EXTRAS];         /* backward: gradients of inputs are added to it, or none */
    rf_rows d_vectors;                      /* backward: rows of vectors*H, gradients of vectors are added to them */
    rf_rows sums;                           /* scratch for the sums of a phase with several products or few rows: rows of the
                                             * phase's sums * H; units of other calls are not touched */
    void *row_values;                       /* value v of a row: row_values + v*ld_row_values + row; this thread's own */
    ptrdiff_t ld_row_values;
    void *partials; /* partial v, of the vector q of units: partials + (v*vectors + q)*ld_partials + row,
                     * where a row of H units has so many vectors; shared by all threads */
    ptrdiff_t ld_partials;
} rf_step;

typedef struct rf_step_kernel {
    void (*run)(const rf_step *);
    int gates;                 /* vectors of a panel of its product, 1 in backward */
} rf_step_kernel;

/* ---- programs: elementwise work as a list of instructions, run by program.h ------------------------------------- */
typedef enum rf_space {                     /* where an operand is: src/rnnfast/formula/spec.py says what each may do */
    RF_REGISTER, RF_CONSTANT, RF_SUM, RF_SLOT, RF_BEFORE, RF_AFTER, RF_Y, RF_DY, RF_D_AFTER, RF_D_BEFORE, RF_VECTOR, RF_EXTRA,
    RF_D_EXTRA, RF_D_VECTOR, RF_ROW, RF_PARTIAL, RF_SPACES
} rf_space;

typedef struct rf_operand {
    int16_t space, number;                  /* of a register, constant, sum, slot, state, vector, ... */
} rf_operand;

typedef struct rf_instruction {
    int16_t op;                             /* of ops.h */
    int16_t operand[4];                     /* of the program's list: the result, then the arguments; -1: no more */
} rf_instruction;

enum { RF_MAX_REGISTERS = 64, RF_MAX_OPERANDS = 256 };
typedef struct rf_program {
    int instructions, operands, registers, constants;
    const rf_instruction *instruction;
    const rf_operand *operand;
    const double *constant;
} rf_program;

/* ---- what the loops must know of a cell -------------------------------------------------------------------------
 * Numbers, and programs where the cell has no compiled kernels. What the loops take for granted of these numbers stands at
 * rf_cell_problem (cells/cells.c), which checks it. */
enum { RF_SRC_X = -1, RF_SRC_STATE = -2 }; /* RF_SRC_STATE - i: state i before the step; sources >= 0 are slot numbers */
enum { RF_TO_IH, RF_TO_HH };

typedef struct rf_total { int partial, row; } rf_total;

/* In this order: partials are added up to row values; the program of rows; the products; the program of units. */
typedef struct rf_phase {
    int totals;
    const rf_total *total;
    const rf_program *row_program, *program; /* or NULL */
    int first, products;                    /* of the cell's products of the pass, */
    int sum[RF_MAX_TOGETHER], gates[RF_MAX_TOGETHER]; /* each of which gives so many sums, from this one on */
} rf_phase;

typedef struct rf_forward_product {         /* sums of `gates` blocks of W_hh from `source` */
    int source, gates, gate[4];
} rf_forward_product;

typedef struct rf_backward_product {        /* slots[slot : slot+gates] @ the blocks of W_hh that hh_of_slot says */
    int slot, gates;
    int state;                              /* -1: gradients of the step itself; else of step t+1, and the product is the
                                             * gradient of this state after step t */
} rf_backward_product;

typedef struct rf_weight_product {         /* dW[gate : gate+gates] += slots[slot : slot+gates]^T source */
    int to, source, slot, gate, gates;
} rf_weight_product;

typedef struct rf_state {
    int product;                           /* of backward that carries its gradient from step to step, or -1 */
    int carried;                           /* its gradient has a part that no product gives (GRU: z * dh_t) */
    int kept;                              /* all its values must live until backward (those that are y do anyway) */
    int in_place;                          /* forward may write `after` over `before` */
    int reads_before, reads_after;         /* backward's elementwise part reads them */
} rf_state;

enum { RF_MAX_PHASES = 12, RF_MAX_PRODUCTS = 32, RF_MAX_VECTORS = 64, RF_MAX_ROW_VALUES = 64 };
enum { RF_MAX_GATES = RF_MAX_SLOTS };

typedef struct rf_cell {
    const char *name;
    int x_gates, h_gates;                  /* blocks of H rows in W_ih and in W_hh */
    int slots;                             /* S: blocks of H columns in a row of slots; x is projected to the first x_gates */
    int saves_slots;                       /* the slots must live until backward, else they are only scratch */
    int states;
    int y_is_state;                        /* y is state 0, else it is written apart */
    rf_state state[RF_MAX_STATES];
    int ih_of_slot[RF_MAX_SLOTS];          /* of each x-projection its block of W_ih and b_ih */
    int merged[RF_MAX_SLOTS];              /* ... the block of b_hh that is added to its bias, or -1 */
    int hh_of_slot[RF_MAX_SLOTS];          /* of each slot the block of W_hh whose gradient it holds after backward, or -1 */
    int split_biases, split[RF_MAX_VECTORS]; /* blocks of b_hh that stand apart, the first vectors; */
    int vectors;                           /* others that follow them */
    int extras;
    int row_values, row_inputs, row_saved; /* numbers a row; the first are inputs, the next are kept for backward */
    int d_row_input[RF_MAX_EXTRAS];        /* of each row input the row value that is its gradient after backward, or -1 */
    int partials;
    int forward_products, backward_products;
    rf_forward_product forward_product[RF_MAX_PRODUCTS];
    rf_backward_product backward_product[RF_MAX_PRODUCTS];
    int forward_phases, backward_phases;
    rf_phase forward[RF_MAX_PHASES], backward[RF_MAX_PHASES];
    int ahead_phases, rest_phases;         /* another way forward, or 0: what does not depend on states is computed for many */
    rf_phase ahead[RF_MAX_PHASES];         /* steps at once, without products, from slots and vectors alone, into slots; */
    rf_phase rest[RF_MAX_PHASES];          /* each step then has these phases in place of `forward`, and the same products */
    int products;
    rf_weight_product product[RF_MAX_PRODUCTS];
} rf_cell;

extern const rf_cell rf_cells[];
extern const int rf_cell_count;
int rf_find_cell(const char *name);        /* index, or -1 */

/* Writes into text what the loops could not do with these numbers, or which kernels of the table at this index do not fit
 * them, and returns 1; 0 if all is well. index -1: the numbers alone. */
int rf_cell_problem(const rf_cell *, int index, char *text, size_t room);

/* ---- kernels of one (ISA, dtype) ------------------------------------------------------------------ */
enum { RF_MAX_CELLS = 8, RF_COMPILED_PHASES = 2 };

typedef struct rf_kernels {
    int itemsize;                          /* 4 or 8 */
    int lanes;                             /* elements per vector */
    int width;                             /* columns of a panel of a plain product */
    int mr;                                /* rows of its tile: width of a panel of a packed left operand */
    /* gates*hidden rows of k elements, `step` apart, given by address -> panels with the gates side by side: the panels of
     * units first .. last, first a multiple of 2*lanes */
    void (*pack_gates)(void *out, const void *const *rows, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden,
                       ptrdiff_t k, int gates);
    /* k rows given by address, their columns [0, cols), `step` apart -> panels of `panel` columns; rows first .. last */
    void (*pack_rows)(void *out, const void *const *rows, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, ptrdiff_t k,
                      ptrdiff_t cols, int panel);
    /* out[j] += sum over the k rows, in their order, of row[j] */
    void (*column_sum)(void *out, const void *const *rows, ptrdiff_t k, ptrdiff_t cols);
    void (*gemm)(const rf_gemm *);
    void (*tanh)(const void *x, void *y, ptrdiff_t n);          /* the kernels' vector math on an array, */
    void (*sigmoid)(const void *x, void *y, ptrdiff_t n);       /* so that tests can reach it */
    double (*probe_fma)(ptrdiff_t repeats);                     /* for benchmarks (probe.h): 2 mr vectors' multiply-adds */
    double (*probe_load)(const void *data, ptrdiff_t n, ptrdiff_t repeats); /* n elements, a multiple of 2 mr vectors */
    rf_step_kernel forward[RF_MAX_CELLS][RF_COMPILED_PHASES];
    rf_step_kernel backward[RF_MAX_CELLS][RF_COMPILED_PHASES];
    void (*interpret)(const rf_step *);                         /* a phase of any other cell: program.h */
    /* operation `op` of ops.h on arrays of n elements, as programs compute it; for tests */
    void (*apply)(int op, const void *a, const void *b, const void *c, void *y, ptrdiff_t n);
} rf_kernels;

/* operations of programs (ops.h): how many, their names and numbers of arguments */
int rf_op_count(void);
const char *rf_op_name(int op);
int rf_op_arguments(int op);

/* panels that `units` units need with `gates` gates side by side, and the bytes of panels k deep */
ptrdiff_t rf_panels(const rf_kernels *, ptrdiff_t units, int gates);
size_t rf_panel_bytes(const rf_kernels *, ptrdiff_t units, ptrdiff_t k, int gates);

/* ---- choice of ISA --------------------------------------------------------------------------------- */
int rf_isa_count(void);                    /* compiled in, best last */
const char *rf_isa_name(int isa);
int rf_isa_present(int isa);               /* this CPU and OS can run it */
const rf_kernels *rf_isa_kernels(int isa, int itemsize);

/* ---- floating point environment: flush subnormals, round to nearest, no traps, inside a call ------ */
uint64_t rf_fp_enter(void);
void rf_fp_leave(uint64_t saved);

/* ---- memory ------------------------------------------------------------------------------------------
 * rf_alloc: 64-byte aligned, uninitialised, NULL on failure. rf_free: with the bytes asked for; keeps large blocks
 * for later rf_allocs, up to a bound. rf_trim frees those and the scratch of the calling OS thread; returns the bytes. */
enum { RF_KEPT_FROM = 1 << 20 };            /* bytes of a large block */
void *rf_alloc(size_t bytes);
void rf_free(void *, size_t bytes);
size_t rf_trim(void);

/* The scratch of the calling OS thread: one block, kept for the next call, freed with the thread. open returns so many bytes
 * until close, NULL on failure. A second open before the close (a signal handler's call inside a call) gets a block of its own.
 * reserve makes the block large enough for a later open: 1; 0 on failure, -1 if the block is open. */
int rf_scratch_reserve(size_t bytes);
void *rf_scratch_open(size_t bytes);
void rf_scratch_close(void *);

/* ---- words that several threads may touch at once, in no order with anything else --------------------- */
/* 0 and 1 in turns: returns what was there and leaves the other. */
static inline int rf_alternate(int *word) { return __atomic_fetch_xor(word, 1, __ATOMIC_RELAXED); }
static inline int rf_flag(const int *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
static inline void rf_set_flag(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELAXED); }

/* ---- thread team -------------------------------------------------------------------------------------
 * cpus -> acquire -> run -> release. cpus: how many threads a call of this thread may have, the CPUs in its affinity mask;
 * remembered for the acquire that follows. acquire returns how many threads the caller has, never more than cpus said or than
 * asked for; 1 when the team is busy with another caller, rests or threads cannot be had; or the call is brief and workers are
 * asleep: waking them would take longer. run may use fewer than acquired; release takes what acquire returned. */
enum { RF_MAX_THREADS = 256 };
typedef void (*rf_task)(void *arg, int thread, int threads);
int rf_team_cpus(void);
int rf_team_acquire(int want, int brief);
void rf_team_run(rf_task task, void *arg, int threads);
void rf_team_release(int acquired);

/* Inside a task, called by every thread; also orders memory. agree: the same answer for all, whether any thread's vote was
 * not 0. orphaned: asked by the caller of several threads after code that may fork: this is a child, without the other
 * threads; barrier and agree return at once, agree with 1, and the task must end. */
void rf_team_barrier(int threads);
int rf_team_agree(int threads, int vote);
int rf_team_orphaned(void);

/* For tests; each returns what was set before. let_rest: whether the team may rest where other pools take its processors.
 * exceed: whether calls may have more threads than the CPUs in the mask. */
int rf_team_let_rest(int on);
int rf_team_exceed(int on);

/* A clock that only goes forward. */
int64_t rf_now_ns(void);

#endif
