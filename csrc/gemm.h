/* gemm.h: the plain product C = start + A W on packed panels. Full panels are stored by the tiles themselves (tile.h); these
 * hooks treat the partial one at the right edge. */

RF_INLINE void gemm_begin_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec *sum)
{
    sum[0] = v_get((const rf_real *)s->c + row * s->ldc + unit, n);
}
RF_INLINE void gemm_store_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, const rf_vec *sum)
{
    const rf_vec value = s->start == RF_START_BIAS ? v_add(sum[0], v_get((const rf_real *)s->bias + unit, n)) : sum[0];
    v_put((rf_real *)s->c + row * s->ldc + unit, value, n);
}
RF_HOOK(gemm_begin, rf_gemm, 1)
RF_HOOK(gemm_store, rf_gemm, 1)

static void gemm(const rf_gemm *s)
{
    sweep(&s->p, s->p.packed_a ? &tiles_2_packed : &tiles_2, s->start == RF_START_C ? gemm_begin : NULL, gemm_store, s, s);
}
