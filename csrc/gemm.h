/* gemm.h: the plain product C = start + A W on packed panels. Full panels are stored by the tiles themselves (tile.h); these
 * hooks treat the partial one at the right edge. */

RF_INLINE void rf_gemm_begin_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec *sum)
{
    sum[0] = v_get((const rf_real *)s->c + row * s->ldc + unit, n);
}
RF_INLINE void rf_gemm_store_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, const rf_vec *sum)
{
    const rf_vec value = s->start == RF_START_BIAS ? v_add(sum[0], v_get((const rf_real *)s->bias + unit, n)) : sum[0];
    v_put((rf_real *)s->c + row * s->ldc + unit, value, n);
}
RF_HOOK(rf_gemm_begin, rf_gemm, 1, s->p.cols)
RF_HOOK(rf_gemm_store, rf_gemm, 1, s->p.cols)

static void rf_plain_product(const rf_gemm *s)
{
    const rf_tile_shapes *shapes = s->p.packed_a ? &rf_tiles_2_packed : &rf_tiles_2;
    rf_sweep(&s->p, shapes, s->start == RF_START_C ? rf_gemm_begin : NULL, rf_gemm_store, s, s);
}
