/* pack.h: weights and rows rearranged into the panels that tile.h reads, from either memory order. Each weight is packed once
 * per sequence or frozen once, each row block of the gradient products once per block. */

#ifndef RF_TURN /* an ISA may have better (x86.h): column[c] = element k + c of RF_LANES rows, c < RF_TURN */
#define RF_TURN 4
RF_INLINE void v_turn(rf_vec *column, const rf_real *const *from, ptrdiff_t k)
{
    rf_real lanes[RF_LANES];
    for (int c = 0; c < RF_TURN; ++c) {
        for (int i = 0; i < RF_LANES; ++i) lanes[i] = from[i][k + c];
        column[c] = v_load(lanes);
    }
}
#endif

/* Element `offset` of RF_LANES rows, one by one. */
RF_INLINE rf_vec rf_gathered(const rf_real *const *from, ptrdiff_t offset)
{
    rf_real lanes[RF_LANES];
    for (int i = 0; i < RF_LANES; ++i) lanes[i] = from[i][offset];
    return v_load(lanes);
}

/* Whether n addresses follow one another, element by element. */
RF_INLINE int rf_adjacent(const rf_real *const *from, ptrdiff_t n)
{
    for (ptrdiff_t i = 1; i < n; ++i)
        if (from[i] != from[0] + i) return 0;
    return 1;
}

/* The rows of vector v of panel q, of units with `gates` gates side by side, or with one gate in two vectors. rows:
 * gates*hidden, the units of gate 0, of gate 1, ... Past the last unit, that one again: what is computed there is never
 * stored. */
RF_INLINE void rf_rows_of_vector(const rf_real **from, const void *const *rows, ptrdiff_t q, int v, ptrdiff_t hidden, int gates)
{
    const ptrdiff_t unit = (gates == 1 ? 2 * q + v : q) * RF_LANES;
    if (gates > 1) rows += v * hidden;
    for (int i = 0; i < RF_LANES; ++i) from[i] = rows[unit + i < hidden ? unit + i : hidden - 1];
}

/* to[k*to_step + lane] = element k of row `lane`, k < k_len. */
RF_INLINE void rf_pack_turned(rf_real *to, ptrdiff_t to_step, const rf_real *const *from, ptrdiff_t k_len)
{
    ptrdiff_t k = 0;
    for (; k + RF_TURN <= k_len; k += RF_TURN) {
        rf_vec column[RF_TURN];
        v_turn(column, from, k);
        RF_UNROLL for (int c = 0; c < RF_TURN; ++c, to += to_step) v_store(to, column[c]);
    }
    for (; k < k_len; ++k, to += to_step) v_store(to, rf_gathered(from, k));
}

/* The panels q .. q+n, nv vectors side by side, of a weight whose rows are not contiguous: lines of memory that go through all
 * of them, a few lines at a time, and gate after gate, since lines a multiple of 4 kB apart meet in a few sets of L1. A vector
 * whose rows are not neighbours, at the end of a gate or because of odd strides, is gathered. */
enum { RF_LINE_PANELS = 64 };
static void rf_pack_lines(rf_real *to, const void *const *rows, ptrdiff_t step, ptrdiff_t q, int n, ptrdiff_t hidden,
                          ptrdiff_t k_len, int nv, int gates)
{
    enum { LINES = 8 };
    const rf_real *line[4][RF_LINE_PANELS];
    const ptrdiff_t panel = k_len * nv * RF_LANES;
    for (int v = 0; v < nv; ++v)
        for (int i = 0; i < n; ++i) {
            const rf_real *from[RF_LANES];
            rf_rows_of_vector(from, rows, q + i, v, hidden, gates);
            line[v][i] = rf_adjacent(from, RF_LANES) ? from[0] : NULL;
            for (ptrdiff_t k = 0; !line[v][i] && k < k_len; ++k)
                v_store(to + i * panel + (k * nv + v) * RF_LANES, rf_gathered(from, k * step));
        }
    for (ptrdiff_t k = 0; k < k_len; k += LINES)
        for (int v = 0; v < nv; ++v)
            for (int i = 0; i < n; ++i) {
                if (!line[v][i]) continue;
                const rf_real *at = line[v][i] + k * step;
                rf_real *out = to + i * panel + (k * nv + v) * RF_LANES;
                const int lines = k_len - k < LINES ? (int)(k_len - k) : LINES;
                for (int c = 0; c < lines; ++c) v_store(out + c * nv * RF_LANES, v_load(at + c * step));
            }
}

/* Packs gates*hidden rows, whose elements are `step` apart, into the panels of units first .. last; first is a multiple of
 * 2*RF_LANES. Panels are of RF_LANES units with the gates side by side, or of 2*RF_LANES units when gates == 1. Element (panel
 * q, k, vector v, lane): gate v of unit q*RF_LANES + lane, or unit (2q + v)*RF_LANES + lane. */
static void rf_pack_gates(void *out, const void *const *rows, ptrdiff_t step, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden,
                          ptrdiff_t k_len, int gates)
{
    const int nv = gates == 1 ? 2 : gates, units = gates == 1 ? 2 * RF_LANES : RF_LANES, most = step == 1 ? 1 : RF_LINE_PANELS;
    const ptrdiff_t end = (last + units - 1) / units;
    for (ptrdiff_t q = first / units; q < end; q += most) {
        rf_real *to = (rf_real *)out + q * k_len * nv * RF_LANES;
        if (step != 1) rf_pack_lines(to, rows, step, q, end - q < most ? (int)(end - q) : most, hidden, k_len, nv, gates);
        for (int v = 0; step == 1 && v < nv; ++v) {
            const rf_real *from[RF_LANES];
            rf_rows_of_vector(from, rows, q, v, hidden, gates);
            rf_pack_turned(to + v * RF_LANES, nv * RF_LANES, from, k_len);
        }
    }
}

/* rows: k_len addresses of rows of `cols` elements that are `step` apart -> panels of `panel` columns. This call packs the rows
 * first_row .. last_row; the last of them is written exactly, so that others may pack what follows. Past cols there are zeros,
 * or anything. Rows go in blocks: a panel's piece of each lies in another page, and all rows of a large weight at once would
 * miss the TLB at every piece.
 * Whole vectors are copied where what they spill over the panel's edge is written again by the row after. */
static void rf_pack_rows(void *out, const void *const *rows, ptrdiff_t step, ptrdiff_t first_row, ptrdiff_t last_row,
                         ptrdiff_t k_len, ptrdiff_t cols, int panel)
{
    enum { ROWS = 16 };
    const int spill = (panel + RF_LANES - 1) / RF_LANES * RF_LANES;
    for (ptrdiff_t k0 = first_row; k0 < last_row; k0 += ROWS) {
        const ptrdiff_t k1 = k0 + ROWS < last_row ? k0 + ROWS : last_row;
        const int turn = step != 1 && spill == panel && rf_adjacent((const rf_real *const *)rows + k0, k1 - k0);
        rf_real *to = (rf_real *)out + k0 * panel;
        for (ptrdiff_t first = 0; first < cols; first += panel, to += k_len * panel) {
            const ptrdiff_t whole = step != 1 || first + spill > cols ? k0 : k1 < last_row || spill == panel ? k1 : k1 - 1;
            const int n = cols - first < panel ? (int)(cols - first) : panel;
            rf_real *at = to;
            ptrdiff_t k = k0;
            for (int j = 0; turn && j < panel; j += RF_LANES) {
                const rf_real *from[RF_LANES];
                for (int i = 0; i < RF_LANES; ++i)
                    from[i] = (const rf_real *)rows[k0] + (first + (j + i < n ? j + i : n - 1)) * step;
                rf_pack_turned(to + j, panel, from, k1 - k0);
            }
            if (turn) continue;
            for (; k < whole; ++k, at += panel)
                for (int j = 0; j < panel; j += RF_LANES) v_store(at + j, v_load((const rf_real *)rows[k] + first + j));
            for (; k < k1; ++k, at += panel) {
                const rf_real *row = (const rf_real *)rows[k] + first * step;
                for (int j = 0; j < panel; ++j) at[j] = j < n ? row[j * step] : 0;
            }
        }
    }
}

/* out[j] += rows[0][j], then rows[1][j], ...: one running sum per column. */
static void rf_column_sum(void *out, const void *const *rows, ptrdiff_t k_len, ptrdiff_t cols)
{
    rf_real *sum = out;
    for (ptrdiff_t k = 0; k < k_len; ++k) {
        const rf_real *row = rows[k];
        for (ptrdiff_t j = 0; j < cols; ++j) sum[j] += row[j];
    }
}
