/* gemm.h: the plain product C = start + A W on packed panels: a sweep whose finish is a store.
 * Large depths go in blocks of RF_K_BLOCK, continued by reloading the accumulators from C: same bits as in one go. */
enum { RF_K_BLOCK = 256 };

RF_INLINE void gemm_begin_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const span n, V *pre)
{
    if (s->start == RF_START_BIAS) pre[0] = get((const T *)s->bias + unit, n);
    else if (s->start == RF_START_C) pre[0] = get((const T *)s->c + row * s->ldc + unit, n);
    else pre[0] = v_set1(0);
}
RF_INLINE void gemm_store_unit(const rf_gemm *s, ptrdiff_t row, ptrdiff_t unit, const span n, const V *pre)
{
    put((T *)s->c + row * s->ldc + unit, pre[0], n);
}
RF_HOOK(gemm_begin, rf_gemm, 1)
RF_HOOK(gemm_store, rf_gemm, 1)

static void gemm(const rf_gemm *args)
{
    rf_gemm s = *args;
    if (s.p.packed_a) {
        sweep(&s.p, tiles_2_packed, 2, gemm_begin, gemm_store, &s);
        return;
    }
    ptrdiff_t k = 0;
    do {
        s.p.k = args->p.k - k < RF_K_BLOCK ? args->p.k - k : RF_K_BLOCK;
        s.p.a = (const T *)args->p.a + k;
        s.p.w = (const T *)args->p.w + k * 2 * LANES;
        sweep(&s.p, tiles_2, 2, gemm_begin, gemm_store, &s);
        s.start = RF_START_C;
        k += s.p.k;
    } while (k < args->p.k);
}
