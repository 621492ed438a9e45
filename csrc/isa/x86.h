/* isa/x86.h: what avx2.h and avx512.h have in common, once RF_OP(name) names their intrinsics,
 * RF_INTEGER(name) those on bits, which RF_BITS and RF_REAL go to and come from, and RF_WHERE(x, is, y, a, b) selects.
 * Contract: isa/scalar.h. */
RF_INLINE rf_vec v_load(const rf_real *p) { return RF_OP(loadu)(p); }
RF_INLINE void v_store(rf_real *p, rf_vec v) { RF_OP(storeu)(p, v); }
RF_INLINE rf_vec v_set1(rf_real x) { return RF_OP(set1)(x); }
RF_INLINE rf_vec v_add(rf_vec a, rf_vec b) { return RF_OP(add)(a, b); }
RF_INLINE rf_vec v_sub(rf_vec a, rf_vec b) { return RF_OP(sub)(a, b); }
RF_INLINE rf_vec v_mul(rf_vec a, rf_vec b) { return RF_OP(mul)(a, b); }
RF_INLINE rf_vec v_div(rf_vec a, rf_vec b) { return RF_OP(div)(a, b); }
RF_INLINE rf_vec v_fma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(fmadd)(a, b, c); }
RF_INLINE rf_vec v_fnma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(fnmadd)(a, b, c); }
RF_INLINE rf_vec v_fnma_once(rf_vec a, rf_vec b, rf_vec c) { return v_fnma(a, b, c); }
RF_INLINE rf_vec v_sqrt(rf_vec a) { return RF_OP(sqrt)(a); }
RF_INLINE rf_vec v_min(rf_vec a, rf_vec b) { return RF_OP(min)(a, b); } /* the instruction returns b when either is NaN */
RF_INLINE rf_vec v_max(rf_vec a, rf_vec b) { return RF_OP(max)(a, b); }
RF_INLINE rf_vec v_abs(rf_vec a) { return RF_OP(andnot)(v_set1((rf_real)-0.0), a); }
RF_INLINE rf_vec v_copysign(rf_vec magnitude, rf_vec sign)
{
    const rf_vec minus = v_set1((rf_real)-0.0);
    return RF_OP(or)(RF_OP(andnot)(minus, magnitude), RF_OP(and)(minus, sign));
}
RF_INLINE rf_vec v_shift_exponent(rf_vec a) { return RF_REAL(RF_INTEGER(slli)(RF_BITS(a), RF_MANTISSA)); }
RF_INLINE rf_vec v_shift_down(rf_vec a) { return RF_REAL(RF_INTEGER(srli)(RF_BITS(a), RF_MANTISSA)); }
RF_INLINE rf_vec v_bits_add(rf_vec a, rf_vec b) { return RF_REAL(RF_INTEGER(add)(RF_BITS(a), RF_BITS(b))); }
RF_INLINE rf_vec v_bits_sub(rf_vec a, rf_vec b) { return RF_REAL(RF_INTEGER(sub)(RF_BITS(a), RF_BITS(b))); }
RF_INLINE rf_vec v_where_lt(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_WHERE(x, _CMP_LT_OQ, y, a, b); }
RF_INLINE rf_vec v_where_le(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_WHERE(x, _CMP_LE_OQ, y, a, b); }
RF_INLINE rf_vec v_where_eq(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_WHERE(x, _CMP_EQ_OQ, y, a, b); }
RF_INLINE rf_vec v_where_neg(rf_vec x, rf_vec a, rf_vec b) { return v_where_lt(x, v_set1(0), a, b); }

/* RF_LANES_SUM of the ISA headers, from 256 bits on: half to half, as rf_lanes_sum in program.h */
#ifdef RF_F32
RF_INLINE float rf_sum256(__m256 a)
{
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)), c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
#else
RF_INLINE double rf_sum256(__m256d a)
{
    const __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
}
#endif

/* v_turn: pieces of 128 bits of the rows come together as they are loaded, which no shuffle unit has to do; what is left is
 * a transposition within each 128 bits. v_rows(from, k) of the ISA header: row 0's piece at k, row RF_TURN's, ... */
#define RF_TURN (16 / (int)sizeof(rf_real))
#ifdef RF_F32
RF_INLINE void v_turn(rf_vec *column, const rf_real *const *from, ptrdiff_t k)
{
    const rf_vec r0 = v_rows(from, k), r1 = v_rows(from + 1, k), r2 = v_rows(from + 2, k), r3 = v_rows(from + 3, k);
    const rf_vec low01 = RF_OP(unpacklo)(r0, r1), high01 = RF_OP(unpackhi)(r0, r1);
    const rf_vec low23 = RF_OP(unpacklo)(r2, r3), high23 = RF_OP(unpackhi)(r2, r3);
    column[0] = RF_OP(shuffle)(low01, low23, 0x44), column[1] = RF_OP(shuffle)(low01, low23, 0xee);
    column[2] = RF_OP(shuffle)(high01, high23, 0x44), column[3] = RF_OP(shuffle)(high01, high23, 0xee);
}
#else
RF_INLINE void v_turn(rf_vec *column, const rf_real *const *from, ptrdiff_t k)
{
    const rf_vec r0 = v_rows(from, k), r1 = v_rows(from + 1, k);
    column[0] = RF_OP(unpacklo)(r0, r1), column[1] = RF_OP(unpackhi)(r0, r1);
}
#endif
