/* pack.h: weights and rows rearranged into the panels that tile.h reads. Plain loops: each weight is packed once per
 * sequence or frozen once, each row block of the gradient products once per block. */

#ifndef v_turn4 /* an ISA may have better: x86.h */
RF_INLINE void v_turn4(T *to, ptrdiff_t step, const T *a, const T *b, const T *c, const T *d)
{
    for (int k = 0; k < 4; ++k, to += step) to[0] = a[k], to[1] = b[k], to[2] = c[k], to[3] = d[k];
}
#endif

/* rows: pointers to gates*hidden rows of k_len elements (units of gate 0, of gate 1, ...) -> panels of LANES units with the
 * gates side by side, or of 2*LANES units when gates == 1: the panels of units first .. last, first a multiple of 2*LANES.
 * Element (panel q, k, vector v, lane): gate v of unit q*LANES + lane, or unit (2q + v)*LANES + lane; 0 past hidden. */
static void pack_gates(void *out, const void *const *rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t hidden, ptrdiff_t k_len,
                       int gates)
{
    const int nv = gates == 1 ? 2 : gates, units = gates == 1 ? 2 : 1;
    T *to = (T *)out + first / units * nv * k_len;
    for (; first < last; first += units * LANES, to += k_len * nv * LANES)
        for (int v = 0; v < nv; ++v) {
            const ptrdiff_t unit = first + (gates == 1 ? v * LANES : 0), left = hidden - unit;
            const int n = left < 0 ? 0 : left < LANES ? (int)left : LANES;
            const void *const *from = rows + (gates == 1 ? 0 : v * hidden) + unit;
            ptrdiff_t k = 0;
            for (; n == LANES && LANES % 4 == 0 && k + 4 <= k_len; k += 4)
                for (int lane = 0; lane < LANES; lane += 4)
                    v_turn4(to + (k * nv + v) * LANES + lane, nv * LANES, (const T *)from[lane] + k,
                            (const T *)from[lane + 1] + k, (const T *)from[lane + 2] + k, (const T *)from[lane + 3] + k);
            for (; k < k_len; ++k) {
                T *at = to + (k * nv + v) * LANES;
                int lane = 0;
                for (; lane < n; ++lane) at[lane] = ((const T *)from[lane])[k];
                for (; lane < LANES; ++lane) at[lane] = 0;
            }
        }
}

/* rows: k_len pointers to rows of `cols` elements -> panels of `panel` columns; 0 past cols. This call packs the rows
 * first_row .. last_row; the last of them is written exactly, so that others may pack what follows. Rows go in blocks of 16: a
 * panel's piece of each lies in another page, and all rows of a large weight at once would miss the TLB at every piece.
 * Whole vectors are copied where what they spill over the panel's edge is written again by the row after. */
static void pack_rows(void *out, const void *const *rows, ptrdiff_t first_row, ptrdiff_t last_row, ptrdiff_t k_len,
                      ptrdiff_t cols, int panel)
{
    enum { ROWS = 16 };
    const int spill = (panel + LANES - 1) / LANES * LANES;
    for (ptrdiff_t k0 = first_row; k0 < last_row; k0 += ROWS) {
        const ptrdiff_t k1 = k0 + ROWS < last_row ? k0 + ROWS : last_row;
        T *to = (T *)out + k0 * panel;
        for (ptrdiff_t first = 0; first < cols; first += panel, to += k_len * panel) {
            const ptrdiff_t whole = first + spill > cols ? k0 : k1 < last_row || spill == panel ? k1 : k1 - 1;
            const int n = cols - first < panel ? (int)(cols - first) : panel;
            T *at = to;
            ptrdiff_t k = k0;
            for (; k < whole; ++k, at += panel)
                for (int j = 0; j < panel; j += LANES) v_store(at + j, v_load((const T *)rows[k] + first + j));
            for (; k < k1; ++k, at += panel) {
                memcpy(at, (const T *)rows[k] + first, (size_t)n * sizeof(T));
                for (int j = n; j < panel; ++j) at[j] = 0;
            }
        }
    }
}

/* out[j] += rows[0][j], then rows[1][j], ...: one running sum per column. */
static void column_sum(void *out, const void *const *rows, ptrdiff_t k_len, ptrdiff_t cols)
{
    T *sum = out;
    for (ptrdiff_t k = 0; k < k_len; ++k) {
        const T *row = rows[k];
        for (ptrdiff_t j = 0; j < cols; ++j) sum[j] += row[j];
    }
}
