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
 * Used by both passes. All (rows, H) arrays; `slots` rows are (S*H): S blocks of H columns, the
 * x-projection before a forward step, the saved activations after it, the gate gradients after a
 * backward step. Nothing may alias except c with c_prev; and p.a may be slots that this phase does not
 * write (a later phase reads what an earlier one wrote). The caller owns everything. */
typedef struct rf_step {
    rf_product p;
    int save;                  /* forward: write the activations back into slots */
    void *slots;      ptrdiff_t ld_slots;
    const void *bias;          /* (H,) bias that stays apart from the x-projection (GRU: b_hn) */
    const void *h_prev; ptrdiff_t ld_h_prev;
    void *h;          ptrdiff_t ld_h;       /* forward: out h_t; backward: in h_t */
    const void *c_prev;                     /* ld H */
    void *c;                                /* forward: out c_t; backward: in c_t; ld H */
    const void *dy;   ptrdiff_t ld_dy;      /* backward: gradient of h_t from outside, or NULL */
    void *carry;                            /* backward: (rows, H) gradient of h_t that no product carries */
    int carry_in;                           /* backward: add carry to dh (first step of a row, or the cell keeps one) */
    void *dc;                               /* backward: (rows, H) in dc_t, out dc_{t-1} */
} rf_step;

typedef struct rf_step_kernel {
    void (*run)(const rf_step *);
    int gates;                 /* vectors of a panel of its product, 1 in backward */
} rf_step_kernel;

/* ---- what the loops must know of a cell: numbers only -------------------------------------------
 * What the loops take for granted of these numbers stands at rf_cell_problem (cells/cells.c), which checks it. */
enum { RF_SRC_X = -1, RF_SRC_H = -2 };     /* sources >= 0 are slot numbers */
enum { RF_TO_IH, RF_TO_HH };

typedef struct rf_forward_phase {          /* pre-activations of `gates` gates from `source` */
    int source;                            /* RF_SRC_H, or the slot an earlier phase wrote */
    int gate, gates;                       /* block of rows of W_hh */
} rf_forward_phase;

typedef struct rf_backward_phase {         /* slots[slot : slot+gates] @ W_hh[gate : gate+gates] */
    int same_step;                         /* 0: gradients of step t+1 (gives dh_t); 1: of step t itself */
    int slot, gate, gates;
} rf_backward_phase;

typedef struct rf_weight_product {         /* dW[gate : gate+gates] += slots[slot : slot+gates]^T source */
    int to, source, slot, gate, gates;
} rf_weight_product;

enum { RF_MAX_PHASES = 2, RF_MAX_PRODUCTS = 4, RF_MAX_GATES = 64 /* bits of a set of gates or slots */ };

typedef struct rf_cell {
    const char *name;
    int gates;                             /* G: blocks of H rows in W_ih and W_hh */
    int slots;                             /* S: blocks of H columns in a row of slots */
    int saves_slots;                       /* the slots must live until backward, else they are only scratch */
    int has_c;                             /* keeps a cell state c */
    int has_carry;                         /* dh_{t-1} has a part that no product gives (GRU: z * dh_t) */
    int reads_h_prev;                      /* backward's elementwise part reads h_{t-1} */
    int reads_h;                           /* ... reads h_t */
    int split_bias;                        /* gate whose b_hh is not added to b_ih, or -1 */
    int phases;
    rf_forward_phase forward[RF_MAX_PHASES];
    rf_backward_phase backward[RF_MAX_PHASES];
    int products;                          /* rows with source RF_SRC_X also say which slot each gate's x-projection goes to */
    rf_weight_product product[RF_MAX_PRODUCTS];
} rf_cell;

extern const rf_cell rf_cells[];
extern const int rf_cell_count;
int rf_find_cell(const char *name);        /* index, or -1 */

/* Writes into text what the loops could not do with these numbers, or which kernels of the table at this index do not fit
 * them, and returns 1; 0 if all is well. index -1: the numbers alone. */
int rf_cell_problem(const rf_cell *, int index, char *text, size_t room);

/* ---- kernels of one (ISA, dtype) ------------------------------------------------------------------ */
enum { RF_MAX_CELLS = 8 };

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
    rf_step_kernel forward[RF_MAX_CELLS][RF_MAX_PHASES];
    rf_step_kernel backward[RF_MAX_CELLS][RF_MAX_PHASES];
} rf_kernels;

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
