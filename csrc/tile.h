/* tile.h: the one product loop of the library, and the sweep that makes kernels of it.
 *
 * A tile is `rows` rows x `panels` panels x nv vectors of accumulators. They stay in registers for a pass over k, or over a
 * piece of it. Those of a plain product go straight into C and go on from there; those of a cell reach its finish through
 * `acc`, a buffer that stays in L1.
 * (Finishes inlined into every tile shape, with no buffer, made 2.6 MB of code for the same work: tried and dropped,
 * docs/performance.md.)
 *
 * Packed panel of a weight: for each k, nv vectors side by side: the gates of RF_LANES units, or, with one gate, two vectors
 * of units.          k=0: [gate 0: RF_LANES units][gate 1: RF_LANES units]...   k=1: [gate 0 ...
 */
enum { RF_TILE_VECTORS = 24 }; /* 12 x 2, 8 x 3, 6 x 4 */

typedef struct rf_tile_args {
    const rf_real *a, *w;        /* first element of the tile's first row, of its first panel */
    rf_vec *acc;                /* [(r*pn + q)*nv + v]: where the accumulators go, */
    rf_real *c;                  /* or, if not NULL, the tile's place in C (full panels of nv = 2 alone) */
    ptrdiff_t ldc;
    const rf_real *bias;         /* added to what goes into C, or NULL */
    int resume;            /* go on from what acc or C holds, not from 0 */
    const rf_real *ahead;        /* fetched into L2, ahead_step further at each k */
    ptrdiff_t ahead_step;
} rf_tile_args;

/* acc[(r*pn + q)*nv + v] (+)= sum_k a[r, k] * panel_q[k, v], v < used: fewer than nv in a last panel whose other vectors are
 * padding. The const ints are literals. */
RF_INLINE void rf_tile_product(const int mr, const int pn, const int nv, const int used, const int packed_a,
                               const rf_product *p, const rf_tile_args *t)
{
    const ptrdiff_t row = packed_a ? 1 : p->lda, step = packed_a ? RF_MR2 : 1, panel = p->k_panel * nv * RF_LANES;
    const rf_real *a = t->a, *w = t->w, *ahead = t->ahead;
    const ptrdiff_t ahead_step = t->ahead_step;
    const int wide = pn * used, direct = nv == 2 && used == nv && t->c;
    rf_vec acc[RF_TILE_VECTORS];
    RF_UNROLL for (int i = 0; i < mr * wide; ++i) acc[i] = v_set1(0);
    if (direct) {
        RF_UNROLL for (int r = 0; r < mr; ++r)
            RF_UNROLL for (int v = 0; v < wide; ++v) {
                if (t->resume) acc[r * wide + v] = v_load(t->c + r * t->ldc + v * RF_LANES);
                /* the place of the next panel, a product ahead: no hardware prefetcher sees columns */
                __builtin_prefetch(t->c + r * t->ldc + (wide + v) * RF_LANES, 1);
            }
    } else if (t->resume) {
        RF_UNROLL for (int i = 0; i < mr * wide; ++i) acc[i] = t->acc[i / used * nv + i % used];
    }
    for (ptrdiff_t k = 0; k < p->k; ++k, a += step, w += nv * RF_LANES, ahead += ahead_step) {
        if (mr > 1) __builtin_prefetch(ahead, 0, 2);
        if (mr == 1) { /* every weight is used once: let the multiply-add read it from memory */
            const rf_vec x = v_splat(a);
            RF_UNROLL for (int q = 0; q < pn; ++q)
                RF_UNROLL for (int v = 0; v < used; ++v)
                    acc[q * used + v] = v_fma(x, v_load(w + q * panel + v * RF_LANES), acc[q * used + v]);
        } else if (mr < used) { /* fewer broadcasts than weights: keep the broadcasts (3x4: 12 + 3 + 1 registers) */
            rf_vec x[4];
            RF_UNROLL for (int r = 0; r < mr; ++r) x[r] = v_splat(a + r * row);
            RF_UNROLL for (int v = 0; v < used; ++v) {
                rf_vec weight = v_load(w + v * RF_LANES);
                v_pin(weight);
                RF_UNROLL for (int r = 0; r < mr; ++r) acc[r * used + v] = v_fma(x[r], weight, acc[r * used + v]);
            }
        } else { /* keep the weights, one broadcast at a time (4x3: 12 + 3 + 1) */
            rf_vec weight[4];
            RF_UNROLL for (int v = 0; v < used; ++v) {
                weight[v] = v_load(w + v * RF_LANES);
                v_pin(weight[v]);
            }
            RF_UNROLL for (int r = 0; r < mr; ++r) {
                const rf_vec x = v_splat(a + r * row);
                RF_UNROLL for (int v = 0; v < used; ++v) acc[r * used + v] = v_fma(x, weight[v], acc[r * used + v]);
            }
        }
    }
    if (!direct) {
        RF_UNROLL for (int i = 0; i < mr * wide; ++i) t->acc[i / used * nv + i % used] = acc[i];
        return;
    }
    if (t->bias) {
        RF_UNROLL for (int i = 0; i < mr * wide; ++i) acc[i] = v_add(acc[i], v_load(t->bias + i % wide * RF_LANES));
    }
    RF_UNROLL for (int r = 0; r < mr; ++r)
        RF_UNROLL for (int v = 0; v < wide; ++v) v_store(t->c + r * t->ldc + v * RF_LANES, acc[r * wide + v]);
}

/* Tile shapes of one nv: 1 .. MR rows of one panel; one row of 1 .. PN panels, which gives a single row enough independent
 * accumulators; and, with one gate, 1 .. MR rows of one vector, where a last panel is half padding or more.
 * RF_UPTO_n(X, ...) is X(1, ...) .. X(n, ...), n a literal of the ISA header. */
#define RF_UPTO_1(X, ...) X(1, __VA_ARGS__)
#define RF_UPTO_2(X, ...) RF_UPTO_1(X, __VA_ARGS__) X(2, __VA_ARGS__)
#define RF_UPTO_3(X, ...) RF_UPTO_2(X, __VA_ARGS__) X(3, __VA_ARGS__)
#define RF_UPTO_4(X, ...) RF_UPTO_3(X, __VA_ARGS__) X(4, __VA_ARGS__)
#define RF_UPTO_6(X, ...) RF_UPTO_4(X, __VA_ARGS__) X(5, __VA_ARGS__) X(6, __VA_ARGS__)
#define RF_UPTO_8(X, ...) RF_UPTO_6(X, __VA_ARGS__) X(7, __VA_ARGS__) X(8, __VA_ARGS__)
#define RF_UPTO_12(X, ...) RF_UPTO_8(X, __VA_ARGS__) X(9, __VA_ARGS__) X(10, __VA_ARGS__) X(11, __VA_ARGS__) X(12, __VA_ARGS__)
#define RF_PASTE(a, b) a##b
#define RF_UPTO(n) RF_PASTE(RF_UPTO_, n)

typedef void (*rf_tile_fn)(const rf_product *, const rf_tile_args *);
typedef struct rf_tile_shapes {
    int nv, mr, pn;
    const rf_tile_fn *rows, *wide;   /* rows[r - 1]: r rows of a panel; wide[n - 1]: one row of n panels; */
    const rf_tile_fn *half;          /* half[r - 1]: r rows of a panel's first vector; NULL if they are gates */
} rf_tile_shapes;

#define RF_TILE_FN(NAME, ROWS, PANELS, NV, USED, PACKED_A) \
    static void NAME(const rf_product *p, const rf_tile_args *t) { rf_tile_product(ROWS, PANELS, NV, USED, PACKED_A, p, t); }
#define RF_ROW_TILE(R, NAME, NV, PACKED_A) RF_TILE_FN(NAME##_##R##x1, R, 1, NV, NV, PACKED_A)
#define RF_WIDE_TILE(N, NAME, NV, PACKED_A) RF_TILE_FN(NAME##_wide_##N, 1, N, NV, NV, PACKED_A)
#define RF_HALF_TILE(R, NAME, PACKED_A) RF_TILE_FN(NAME##_half_##R, R, 1, 2, 1, PACKED_A)
#define RF_ROW_TILE_NAME(R, NAME) NAME##_##R##x1,
#define RF_WIDE_TILE_NAME(N, NAME) NAME##_wide_##N,
#define RF_HALF_TILE_NAME(R, NAME) NAME##_half_##R,
#define RF_HALVES(NAME, MR, PACKED_A)         \
    RF_UPTO(MR)(RF_HALF_TILE, NAME, PACKED_A) \
    static const rf_tile_fn NAME##_half[] = {RF_UPTO(MR)(RF_HALF_TILE_NAME, NAME)};
#define RF_SHAPES(NAME, MR, PN, NV, PACKED_A, HALF)                                 \
    RF_UPTO(MR)(RF_ROW_TILE, NAME, NV, PACKED_A)                                    \
    RF_UPTO(PN)(RF_WIDE_TILE, NAME, NV, PACKED_A)                                   \
    static const rf_tile_fn NAME##_rows[] = {RF_UPTO(MR)(RF_ROW_TILE_NAME, NAME)};  \
    static const rf_tile_fn NAME##_wide[] = {RF_UPTO(PN)(RF_WIDE_TILE_NAME, NAME)}; \
    static const rf_tile_shapes NAME = {                                            \
        .nv = NV, .mr = MR, .pn = PN, .rows = NAME##_rows, .wide = NAME##_wide, .half = HALF};

RF_SHAPES(rf_tiles_4, RF_MR4, RF_PN4, 4, 0, NULL)
RF_SHAPES(rf_tiles_3, RF_MR3, RF_PN3, 3, 0, NULL)
RF_HALVES(rf_tiles_2, RF_MR2, 0)
RF_SHAPES(rf_tiles_2, RF_MR2, RF_PN2, 2, 0, rf_tiles_2_half)
/* two gates, not 2 RF_LANES units */
static const rf_tile_shapes rf_tiles_2_gates = {
    .nv = 2, .mr = RF_MR2, .pn = RF_PN2, .rows = rf_tiles_2_rows, .wide = rf_tiles_2_wide, .half = NULL};
static const rf_tile_shapes *const rf_shapes_of_gates[] = {&rf_tiles_2, &rf_tiles_2_gates, &rf_tiles_3, &rf_tiles_4};
RF_HALVES(rf_tiles_2_packed, RF_MR2, 1)
RF_SHAPES(rf_tiles_2_packed, RF_MR2, 1, 2, 1, rf_tiles_2_packed_half)

/* What happens to a tile's accumulators: rows m .. m+rows, panels q .. q+panels. */
enum { RF_BLOCK_VECTORS = 384 }; /* of acc */
typedef void (*rf_tile_hook)(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, rf_vec *acc);

#include "live.h"

/* Covers all rows and panels of p: [begin fills acc, else 0] -> product -> finish. args goes to the hooks. plain: the plain
 * product that this is, or NULL; its full panels need no hooks.
 * Rows go in blocks whose accumulators wait in acc or C while k goes in pieces of a panel that half of a small L2 (256 kB)
 * holds. Tiles of a block are as equal as can be: none starves for rows. Where the panels are larger than a usual L2,
 * the first tiles of each fetch the next one: 6 to 9 % at H = 1024, B = 64.
 * A weight that is not packed (w NULL) has a sweep of its own, live.h: the same sums. */
enum { RF_PANEL_BYTES = 131072, RF_FAR_BYTES = 1 << 20, RF_LINE = 64 };

static void rf_sweep(const rf_product *p, const rf_tile_shapes *shapes, rf_tile_hook begin, rf_tile_hook finish,
                     const void *args, const rf_gemm *plain)
{
    if (!p->w) {
        rf_live_sweep(p, shapes, finish, args);
        return;
    }
    rf_vec acc[RF_BLOCK_VECTORS];
    const int nv = shapes->nv, most = RF_BLOCK_VECTORS / nv / shapes->mr * shapes->mr, line = RF_LINE / (int)sizeof(rf_real);
    const ptrdiff_t vectors = nv * RF_LANES, next = (p->descending ? -1 : 1) * p->k_panel * vectors;
    const ptrdiff_t deep = RF_PANEL_BYTES / (vectors * (ptrdiff_t)sizeof(rf_real));
    const int far = (p->panel1 - p->panel0) * p->k * vectors * (ptrdiff_t)sizeof(rf_real) > RF_FAR_BYTES;
    for (ptrdiff_t m0 = 0; m0 < p->rows; m0 += most) {
        const int rows = p->rows - m0 < most ? (int)(p->rows - m0) : most;
        const int tiles = (rows + shapes->mr - 1) / shapes->mr;
        ptrdiff_t left = p->panel1 - p->panel0;
        while (left > 0) {
            const int panels = rows > 1 ? 1 : left < shapes->pn ? (int)left : shapes->pn;
            const ptrdiff_t q = p->descending ? p->panel0 + left - panels : p->panel1 - left, unit = q * vectors;
            const int direct = plain && unit + panels * vectors <= p->cols;
            const int half = shapes->half && panels == 1 && p->cols - unit <= RF_LANES; /* padding is not multiplied */
            const rf_real *w = (const rf_real *)p->w + q * p->k_panel * vectors;
            rf_product part = *p;
            ptrdiff_t k = 0;
            if (begin && !direct) begin(args, m0, rows, q, panels, acc);
            do {
                part.k = tiles > 1 && p->k - k > deep ? deep : p->k - k;
                int r = 0;
                for (int i = 0; i < tiles; ++i) {
                    const int n = p->packed_a ? (rows - r < shapes->mr ? rows - r : shapes->mr) : (rows - r) / (tiles - i);
                    const ptrdiff_t at = p->packed_a ? (m0 + r) * p->k + k * shapes->mr : (m0 + r) * p->lda + k;
                    const ptrdiff_t fetched = k * vectors + i * part.k * line;
                    const int fetch = far && left > panels && fetched < p->k * vectors;
                    rf_tile_args t = {.a = (const rf_real *)p->a + at, .w = w + k * vectors, .acc = acc + r * panels * nv,
                                   .resume = begin || k > 0, .ahead = fetch ? w + next + fetched : w,
                                   .ahead_step = fetch ? line : 0};
                    if (direct) {
                        t.c = (rf_real *)plain->c + (m0 + r) * plain->ldc + unit;
                        t.ldc = plain->ldc;
                        if (plain->start == RF_START_BIAS && k + part.k == p->k) t.bias = (const rf_real *)plain->bias + unit;
                    }
                    (half ? shapes->half[n - 1] : rows == 1 ? shapes->wide[panels - 1] : shapes->rows[n - 1])(&part, &t);
                    r += n;
                }
                k += part.k;
            } while (k < p->k);
            if (!direct) finish(args, m0, rows, q, panels, acc);
            left -= panels;
        }
    }
}

/* The elements of a vector of units that exist: all of them, or the first n. */
typedef struct v_span { int full, n; } v_span;
RF_INLINE rf_vec v_get(const rf_real *p, const v_span s) { return s.full ? v_load(p) : v_load_n(p, s.n); }
RF_INLINE void v_put(rf_real *p, rf_vec v, const v_span s) { if (s.full) v_store(p, v); else v_store_n(p, v, s.n); }

/* Defines the hook NAME from NAME_unit(args, row, unit, v_span, pre), which treats RF_LANES of the COLS units of one row:
 * pre[GATES]. */
#define RF_HOOK(NAME, ARGS, GATES, COLS)                                                                       \
    static void NAME(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, rf_vec *acc)         \
    {                                                                                                       \
        const ARGS *s = args;                                                                               \
        const int units = (GATES) == 1 ? 2 : 1;                                                             \
        for (int r = 0; r < rows; ++r)                                                                      \
            for (int j = 0; j < panels * units; ++j, acc += (GATES)) {                                      \
                const ptrdiff_t unit = (q * units + j) * RF_LANES, left = (COLS) - unit;                    \
                if (left >= RF_LANES) NAME##_unit(s, m + r, unit, (v_span){.full = 1, .n = RF_LANES}, acc); \
                else if (left > 0) NAME##_unit(s, m + r, unit, (v_span){.full = 0, .n = (int)left}, acc);   \
            }                                                                                               \
    }
#define RF_KERNEL(NAME, GATES)                                                                       \
    enum { NAME##_gates = (GATES) };                                                                 \
    RF_HOOK(NAME##_finish, rf_step, GATES, s->p->cols)                                               \
    static void NAME(const rf_step *s)                                                               \
    {                                                                                                \
        rf_sweep(s->p, rf_shapes_of_gates[(GATES) - 1], NULL, NAME##_finish, s, NULL);               \
    }
#define RF_ROW_OF_KERNEL(NAME) {.run = NAME, .gates = NAME##_gates}
