/* tile.h: the one product loop of the library, and the sweep that makes kernels of it.
 *
 * A tile is `rows` rows x `panels` panels x nv vectors of accumulators. They stay in registers for the whole pass over k
 * and reach a cell's finish through `acc`, a buffer of at most 1.5 kB that never leaves L1. (Finishes inlined into every
 * tile shape, with no buffer, made 2.6 MB of code for the same work: tried and dropped, docs/performance.md.)
 *
 * Packed panel of a weight: for each k, nv vectors side by side: the gates of LANES units, or, with one gate, two vectors
 * of units.          k=0: [gate 0: LANES units][gate 1: LANES units]...   k=1: [gate 0 ...
 */
enum { RF_TILE_VECTORS = 24 }; /* 12 x 2, 8 x 3, 6 x 4 */

/* acc[(r*pn + q)*nv + v] (+)= sum_k a[r, k] * panel_q[k, v], from 0 or, when `resume`, from what acc holds.
 * a: first element of the tile's first row; w: first element of its first panel. The const ints are literals. */
RF_INLINE void tile_product(const int mr, const int pn, const int nv, const int packed_a, const rf_product *p, const T *a,
                            const T *w, V *out, int resume)
{
    const ptrdiff_t row = packed_a ? 1 : p->lda, step = packed_a ? MR2 : 1;
    const ptrdiff_t panel = p->k_panel * nv * LANES;
    V acc[RF_TILE_VECTORS];
    RF_UNROLL for (int i = 0; i < mr * pn * nv; ++i) acc[i] = v_set1(0);
    if (resume) {
        RF_UNROLL for (int i = 0; i < mr * pn * nv; ++i) acc[i] = out[i];
    }
    for (ptrdiff_t k = 0; k < p->k; ++k, a += step, w += nv * LANES) {
        if (mr == 1) { /* every weight is used once: let the multiply-add read it from memory */
            const V x = v_splat(a);
            RF_UNROLL for (int q = 0; q < pn; ++q)
                RF_UNROLL for (int v = 0; v < nv; ++v)
                    acc[q * nv + v] = v_fma(x, v_load(w + q * panel + v * LANES), acc[q * nv + v]);
        } else if (mr < nv) { /* fewer broadcasts than weights: keep the broadcasts (3x4: 12 + 3 + 1 registers) */
            V x[4];
            RF_UNROLL for (int r = 0; r < mr; ++r) x[r] = v_splat(a + r * row);
            RF_UNROLL for (int v = 0; v < nv; ++v) {
                V weight = v_load(w + v * LANES);
                v_pin(weight);
                RF_UNROLL for (int r = 0; r < mr; ++r) acc[r * nv + v] = v_fma(x[r], weight, acc[r * nv + v]);
            }
        } else { /* keep the weights, one broadcast at a time (4x3: 12 + 3 + 1) */
            V weight[4];
            RF_UNROLL for (int v = 0; v < nv; ++v) {
                weight[v] = v_load(w + v * LANES);
                v_pin(weight[v]);
            }
            RF_UNROLL for (int r = 0; r < mr; ++r) {
                const V x = v_splat(a + r * row);
                RF_UNROLL for (int v = 0; v < nv; ++v) acc[r * nv + v] = v_fma(x, weight[v], acc[r * nv + v]);
            }
        }
    }
    RF_UNROLL for (int i = 0; i < mr * pn * nv; ++i) out[i] = acc[i];
}

/* Tile shapes of one nv: rows MR, 8, 4, 2, 1 as far as they are below MR, and one row of PN panels. A sweep takes each
 * shape while enough rows are left. */
typedef struct tile_shape {
    int rows, panels;
    void (*run)(const rf_product *, const T *a, const T *w, V *acc, int resume);
} tile_shape;

enum { RF_SHAPE_COUNT = 6 };
#define RF_SIZE_B(MR) ((MR) > 8 ? 8 : (MR) > 4 ? 4 : 2)
#define RF_SIZE_C(MR) ((MR) > 8 ? 4 : 2)
#define RF_TILE(NAME, ROWS, PANELS, NV, PACKED_A)                                                                \
    static void NAME(const rf_product *p, const T *a, const T *w, V *acc, int resume)                            \
    {                                                                                                            \
        tile_product(ROWS, PANELS, NV, PACKED_A, p, a, w, acc, resume);                                          \
    }
#define RF_SHAPES(NAME, MR, PN, NV, PACKED_A)                                                                    \
    RF_TILE(NAME##_a, MR, 1, NV, PACKED_A)                                                                       \
    RF_TILE(NAME##_b, RF_SIZE_B(MR), 1, NV, PACKED_A)                                                            \
    RF_TILE(NAME##_c, RF_SIZE_C(MR), 1, NV, PACKED_A)                                                            \
    RF_TILE(NAME##_2, 2, 1, NV, PACKED_A)                                                                        \
    RF_TILE(NAME##_1, 1, 1, NV, PACKED_A)                                                                        \
    RF_TILE(NAME##_1_wide, 1, PN, NV, PACKED_A)                                                                  \
    static const tile_shape NAME[RF_SHAPE_COUNT] = {                                                             \
        {MR, 1, NAME##_a}, {RF_SIZE_B(MR), 1, NAME##_b}, {RF_SIZE_C(MR), 1, NAME##_c}, {2, 1, NAME##_2},         \
        {1, 1, NAME##_1}, {1, PN, NAME##_1_wide}};

RF_SHAPES(tiles_4, MR4, PN4, 4, 0)
RF_SHAPES(tiles_3, MR3, PN3, 3, 0)
RF_SHAPES(tiles_2, MR2, PN2, 2, 0)
RF_SHAPES(tiles_2_packed, MR2, 1, 2, 1)

/* What happens to a tile's accumulators: rows m .. m+rows, panels q .. q+panels. */
typedef void (*tile_hook)(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, V *acc);

/* Covers all rows and panels of p: [begin fills acc, else 0] -> product -> finish. args goes to the hooks. */
static void sweep(const rf_product *p, const tile_shape *shapes, int nv, tile_hook begin, tile_hook finish, const void *args)
{
    V acc[RF_TILE_VECTORS];
    const tile_shape *wide = shapes + RF_SHAPE_COUNT - 1;
    ptrdiff_t left = p->panel1 - p->panel0;
    while (left > 0) {
        const int single = p->rows == 1 && left >= wide->panels;
        const tile_shape *shape = single ? wide : shapes;
        const ptrdiff_t q = p->descending ? p->panel0 + left - shape->panels : p->panel1 - left;
        const T *w = (const T *)p->w + q * p->k_panel * nv * LANES;
        for (ptrdiff_t m = 0; m < p->rows; ++shape)
            for (; p->rows - m >= shape->rows; m += shape->rows) {
                const ptrdiff_t at = p->packed_a ? m / MR2 * MR2 * p->k + m % MR2 : m * p->lda;
                if (begin) begin(args, m, shape->rows, q, shape->panels, acc);
                shape->run(p, (const T *)p->a + at, w, acc, begin != NULL);
                finish(args, m, shape->rows, q, shape->panels, acc);
            }
        left -= single ? wide->panels : 1;
    }
}

/* The elements of a vector of units that exist: all of them, or the first n. */
typedef struct span { int full, n; } span;
RF_INLINE V get(const T *p, const span s) { return s.full ? v_load(p) : v_load_n(p, s.n); }
RF_INLINE void put(T *p, V v, const span s) { if (s.full) v_store(p, v); else v_store_n(p, v, s.n); }

/* Defines the hook NAME from NAME_unit(args, row, unit, span, pre), which treats LANES units of one row: pre[GATES]. */
#define RF_HOOK(NAME, ARGS, GATES)                                                                               \
    static void NAME(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, V *acc)                   \
    {                                                                                                            \
        const ARGS *s = args;                                                                                    \
        const int units = (GATES) == 1 ? 2 : 1;                                                                  \
        for (int r = 0; r < rows; ++r)                                                                           \
            for (int j = 0; j < panels * units; ++j, acc += (GATES)) {                                           \
                const ptrdiff_t unit = (q * units + j) * LANES, left = s->p.cols - unit;                         \
                if (left >= LANES) NAME##_unit(s, m + r, unit, (span){1, LANES}, acc);                           \
                else if (left > 0) NAME##_unit(s, m + r, unit, (span){0, (int)left}, acc);                       \
            }                                                                                                    \
    }
#define RF_KERNEL(NAME, GATES)                                                                                   \
    RF_HOOK(NAME##_finish, rf_step, GATES)                                                                       \
    static void NAME(const rf_step *s)                                                                           \
    {                                                                                                            \
        sweep(&s->p, (GATES) == 4 ? tiles_4 : (GATES) == 3 ? tiles_3 : tiles_2,                                  \
              (GATES) == 1 ? 2 : (GATES), NULL, NAME##_finish, s);                                               \
    }
