/* live.h: few rows times a weight that is not packed, read where the user keeps it: a step or two with weights as arguments.
 *
 * The sums are those of the packed panels, in the same order, so the bits are too. Rows of contiguous elements (C order) are
 * transposed in registers; where neighbouring rows are contiguous (Fortran order, a transposed view) its lines are added to
 * accumulators in L1. Zen 5, LSTM, H = 512, weights of 4.7 MB in L3: 61 and 105 GB/s; reading them in order, and no more, 110.
 */
enum { RF_LIVE_LINES = 8 };

/* sum[v] += elements k .. k+count of x times those of the rows of n vectors. count: a literal, a multiple of
 * RF_TURN. */
RF_INLINE void rf_live_columns(const int n, const rf_real *x, const rf_real *const (*from)[RF_LANES], ptrdiff_t k,
                               const int count, rf_vec *sum)
{
    RF_UNROLL for (int v = 0; v < n; ++v)
        RF_UNROLL for (int at = 0; at < count; at += RF_TURN) {
            rf_vec column[RF_TURN];
            v_turn(column, from[v], k + at);
            RF_UNROLL for (int c = 0; c < RF_TURN; ++c) sum[v] = v_fma(v_splat(x + k + at + c), column[c], sum[v]);
        }
}

/* acc[v] = x times the rows of n vectors: 1 or 2. Two hide the latency of the sums; with all four of a panel the rows are too
 * many for the prefetchers (49 GB/s). A line of memory is used up before the next one is touched: of rows that are a power of
 * two apart few fit into L1, and a line that is left half used (NumPy's arrays often begin within one) would come twice. */
RF_INLINE void rf_live_turned(const int n, const rf_real *x, ptrdiff_t k_len, const rf_real *const (*from)[RF_LANES],
                              rf_vec *acc)
{
    enum { LINE = 64 / sizeof(rf_real) };
    const ptrdiff_t whole = k_len / RF_TURN * RF_TURN, begun = (ptrdiff_t)((uintptr_t)from[0][0] / sizeof(rf_real) % LINE);
    const ptrdiff_t head = (LINE - begun) % LINE / RF_TURN * RF_TURN;
    rf_vec sum[2];
    ptrdiff_t k = head < whole ? head : whole;
    RF_UNROLL for (int v = 0; v < n; ++v) sum[v] = v_set1(0);
    for (ptrdiff_t at = 0; at < k; at += RF_TURN) rf_live_columns(n, x, from, at, RF_TURN, sum);
    for (; k + LINE <= whole; k += LINE) rf_live_columns(n, x, from, k, LINE, sum);
    for (; k < whole; k += RF_TURN) rf_live_columns(n, x, from, k, RF_TURN, sum);
    for (; k < k_len; ++k)
        RF_UNROLL for (int v = 0; v < n; ++v) sum[v] = v_fma(v_splat(x + k), rf_gathered(from[v], k), sum[v]);
    RF_UNROLL for (int v = 0; v < n; ++v) acc[v] = sum[v];
}

/* sum[v] += elements k .. k+lines of x times those of n vectors; vector v lies at line[v], from one k to the next is `step`. */
RF_INLINE void rf_live_lines(const int lines, const rf_real *x, const rf_real *const *line, ptrdiff_t step, ptrdiff_t k, int n,
                           rf_vec *sum)
{
    rf_vec factor[RF_LIVE_LINES];
    RF_UNROLL for (int c = 0; c < lines; ++c) factor[c] = v_splat(x + k + c);
    for (int v = 0; v < n; ++v) {
        const rf_real *at = line[v] + k * step;
        rf_vec s = sum[v];
        RF_UNROLL for (int c = 0; c < lines; ++c) s = v_fma(factor[c], v_load(at + c * step), s);
        sum[v] = s;
    }
}

/* The panels q .. q+panels of a weight in C order. */
static void rf_live_by_rows(const rf_product *p, const rf_real *x, int nv, int gates, ptrdiff_t q, int panels, rf_vec *acc)
{
    for (int done = 0; done < panels; ++done)
        for (int v = 0, i = p->descending ? panels - 1 - done : done; v < nv; v += 2) {
            const rf_real *from[2][RF_LANES];
            const int n = nv - v < 2 ? 1 : 2;
            for (int j = 0; j < n; ++j) rf_rows_of_vector(from[j], p->w_rows, q + i, v + j, p->cols, gates);
            if (n == 1) rf_live_turned(1, x, p->k, from, acc + i * nv + v);
            else rf_live_turned(2, x, p->k, from, acc + i * nv + v);
        }
}

/* The same of any other. Gate after gate: lines of several gates, often a multiple of 4 kB apart, would meet in a few sets of
 * L1. A vector whose rows are not neighbours, at the end of a gate or because of odd strides, is gathered. */
static void rf_live_by_lines(const rf_product *p, const rf_real *x, int nv, int gates, ptrdiff_t q, int panels, rf_vec *acc)
{
    const rf_real *line[RF_BLOCK_VECTORS];
    rf_vec sum[RF_BLOCK_VECTORS];
    int place[RF_BLOCK_VECTORS], n = 0;
    for (int v = 0; v < nv; ++v)
        for (int i = 0; i < panels; ++i) {
            const rf_real *from[RF_LANES];
            rf_rows_of_vector(from, p->w_rows, q + i, v, p->cols, gates);
            if (rf_adjacent(from, RF_LANES)) {
                sum[n] = v_set1(0), line[n] = from[0], place[n++] = i * nv + v;
                continue;
            }
            rf_vec s = v_set1(0);
            for (ptrdiff_t k = 0; k < p->k; ++k) s = v_fma(v_splat(x + k), rf_gathered(from, k * p->w_step), s);
            acc[i * nv + v] = s;
        }
    ptrdiff_t k = 0;
    for (; k + RF_LIVE_LINES <= p->k; k += RF_LIVE_LINES) rf_live_lines(RF_LIVE_LINES, x, line, p->w_step, k, n, sum);
    for (; k < p->k; ++k) rf_live_lines(1, x, line, p->w_step, k, n, sum);
    for (int i = 0; i < n; ++i) acc[place[i]] = sum[i];
}

/* Every row by itself: with more than a few, packing pays (used_once in _fast_path.pyx). */
static void rf_live_sweep(const rf_product *p, const rf_tile_shapes *shapes, rf_tile_hook finish, const void *args)
{
    rf_vec acc[RF_BLOCK_VECTORS];
    const int nv = shapes->nv, gates = shapes->half ? 1 : nv, most = RF_BLOCK_VECTORS / nv;
    const ptrdiff_t groups = (p->panel1 - p->panel0 + most - 1) / most;
    for (ptrdiff_t m = 0; m < p->rows; ++m)
        for (ptrdiff_t g = 0; g < groups; ++g) {
            const ptrdiff_t q = p->panel0 + (p->descending ? groups - 1 - g : g) * most;
            const int panels = p->panel1 - q < most ? (int)(p->panel1 - q) : most;
            const rf_real *x = (const rf_real *)p->a + m * p->lda;
            (p->w_step == 1 ? rf_live_by_rows : rf_live_by_lines)(p, x, nv, gates, q, panels, acc);
            finish(args, m, 1, q, panels, acc);
        }
}
