/* isa/x86.h: what avx2.h and avx512.h have in common, once RF_OP(name) names their intrinsics. Contract: isa/scalar.h. */
RF_INLINE rf_vec v_load(const rf_real *p) { return RF_OP(loadu)(p); }
RF_INLINE void v_store(rf_real *p, rf_vec v) { RF_OP(storeu)(p, v); }
RF_INLINE rf_vec v_set1(rf_real x) { return RF_OP(set1)(x); }
RF_INLINE rf_vec v_add(rf_vec a, rf_vec b) { return RF_OP(add)(a, b); }
RF_INLINE rf_vec v_sub(rf_vec a, rf_vec b) { return RF_OP(sub)(a, b); }
RF_INLINE rf_vec v_mul(rf_vec a, rf_vec b) { return RF_OP(mul)(a, b); }
RF_INLINE rf_vec v_div(rf_vec a, rf_vec b) { return RF_OP(div)(a, b); }
RF_INLINE rf_vec v_fma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(fmadd)(a, b, c); }
RF_INLINE rf_vec v_fnma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(fnmadd)(a, b, c); }
RF_INLINE rf_vec v_min(rf_vec a, rf_vec b) { return RF_OP(min)(a, b); } /* the instruction returns b when either is NaN */
RF_INLINE rf_vec v_max(rf_vec a, rf_vec b) { return RF_OP(max)(a, b); }
RF_INLINE rf_vec v_abs(rf_vec a) { return RF_OP(andnot)(v_set1((rf_real)-0.0), a); }
RF_INLINE rf_vec v_copysign(rf_vec magnitude, rf_vec sign)
{
    const rf_vec minus = v_set1((rf_real)-0.0);
    return RF_OP(or)(RF_OP(andnot)(minus, magnitude), RF_OP(and)(minus, sign));
}

/* to[k*step + i] = from[i][k] for 4 rows and 4 columns: transposed in registers, one store a column */
#ifdef RF_F32
RF_INLINE void v_turn4(rf_real *to, ptrdiff_t step, const rf_real *a, const rf_real *b, const rf_real *c, const rf_real *d)
{
    __m128 r0 = _mm_loadu_ps(a), r1 = _mm_loadu_ps(b), r2 = _mm_loadu_ps(c), r3 = _mm_loadu_ps(d);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(to, r0);
    _mm_storeu_ps(to + step, r1);
    _mm_storeu_ps(to + 2 * step, r2);
    _mm_storeu_ps(to + 3 * step, r3);
}
#else
RF_INLINE void v_turn4(rf_real *to, ptrdiff_t step, const rf_real *a, const rf_real *b, const rf_real *c, const rf_real *d)
{
    const __m256d r0 = _mm256_loadu_pd(a), r1 = _mm256_loadu_pd(b), r2 = _mm256_loadu_pd(c), r3 = _mm256_loadu_pd(d);
    const __m256d low01 = _mm256_unpacklo_pd(r0, r1), high01 = _mm256_unpackhi_pd(r0, r1);
    const __m256d low23 = _mm256_unpacklo_pd(r2, r3), high23 = _mm256_unpackhi_pd(r2, r3);
    _mm256_storeu_pd(to, _mm256_permute2f128_pd(low01, low23, 0x20));
    _mm256_storeu_pd(to + step, _mm256_permute2f128_pd(high01, high23, 0x20));
    _mm256_storeu_pd(to + 2 * step, _mm256_permute2f128_pd(low01, low23, 0x31));
    _mm256_storeu_pd(to + 3 * step, _mm256_permute2f128_pd(high01, high23, 0x31));
}
#endif
#define v_turn4 v_turn4
