/* pack.h: weights and rows rearranged into the panels that tile.h reads. Plain loops: each weight is packed once per
 * sequence or frozen once, each row block of the gradient products once per block. */

#ifndef v_turn4 /* an ISA may have better: x86.h */
RF_INLINE void v_turn4(rf_real *to, ptrdiff_t step, const rf_real *a, const rf_real *b, const rf_real *c, const rf_real *d)
{
    for (int k = 0; k < 4; ++k, to += step) to[0] = a[k], to[1] = b[k], to[2] = c[k], to[3] = d[k];
}
#endif

/* rows: pointers to gates*hidden rows of k_len elements (units of gate 0, of gate 1, ...) -> panels of RF_LANES units with the
 * gates side by side, or of 2*RF_LANES units when gates == 1: the panels of units first .. last, first a multiple of
 * 2*RF_LANES.
 * Element (panel q, k, vector v, lane): gate v of unit q*RF_LANES + lane, or unit (2q + v)*RF_LANES + lane; 0 past hidden. */
static void rf_pack_gates(void *out, const void *const *rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden,
                          ptrdiff_t k_len, int gates)
{
    const int nv = gates == 1 ? 2 : gates, units = gates == 1 ? 2 : 1;
    rf_real *to = (rf_real *)out + first / units * nv * k_len;
    for (; first < last; first += units * RF_LANES, to += k_len * nv * RF_LANES)
        for (int v = 0; v < nv; ++v) {
            const ptrdiff_t unit = first + (gates == 1 ? v * RF_LANES : 0), left = hidden - unit;
            const int n = left < 0 ? 0 : left < RF_LANES ? (int)left : RF_LANES;
            const void *const *from = rows + (gates == 1 ? 0 : v * hidden) + unit;
            ptrdiff_t k = 0;
            for (; n == RF_LANES && RF_LANES % 4 == 0 && k + 4 <= k_len; k += 4)
                for (int lane = 0; lane < RF_LANES; lane += 4)
                    v_turn4(to + (k * nv + v) * RF_LANES + lane, nv * RF_LANES, (const rf_real *)from[lane] + k,
                            (const rf_real *)from[lane + 1] + k, (const rf_real *)from[lane + 2] + k,
                            (const rf_real *)from[lane + 3] + k);
            for (; k < k_len; ++k) {
                rf_real *at = to + (k * nv + v) * RF_LANES;
                int lane = 0;
                for (; lane < n; ++lane) at[lane] = ((const rf_real *)from[lane])[k];
                for (; lane < RF_LANES; ++lane) at[lane] = 0;
            }
        }
}

/* rows: k_len pointers to rows of `cols` elements -> panels of `panel` columns; 0 past cols. This call packs the rows
 * first_row .. last_row; the last of them is written exactly, so that others may pack what follows. Rows go in blocks of 16: a
 * panel's piece of each lies in another page, and all rows of a large weight at once would miss the TLB at every piece.
 * Whole vectors are copied where what they spill over the panel's edge is written again by the row after. */
static void rf_pack_rows(void *out, const void *const *rows, ptrdiff_t first_row, ptrdiff_t last_row, ptrdiff_t k_len,
                         ptrdiff_t cols, int panel)
{
    enum { ROWS = 16 };
    const int spill = (panel + RF_LANES - 1) / RF_LANES * RF_LANES;
    for (ptrdiff_t k0 = first_row; k0 < last_row; k0 += ROWS) {
        const ptrdiff_t k1 = k0 + ROWS < last_row ? k0 + ROWS : last_row;
        rf_real *to = (rf_real *)out + k0 * panel;
        for (ptrdiff_t first = 0; first < cols; first += panel, to += k_len * panel) {
            const ptrdiff_t whole = first + spill > cols ? k0 : k1 < last_row || spill == panel ? k1 : k1 - 1;
            const int n = cols - first < panel ? (int)(cols - first) : panel;
            rf_real *at = to;
            ptrdiff_t k = k0;
            for (; k < whole; ++k, at += panel)
                for (int j = 0; j < panel; j += RF_LANES) v_store(at + j, v_load((const rf_real *)rows[k] + first + j));
            for (; k < k1; ++k, at += panel) {
                memcpy(at, (const rf_real *)rows[k] + first, (size_t)n * sizeof(rf_real));
                for (int j = n; j < panel; ++j) at[j] = 0;
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
