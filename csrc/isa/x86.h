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
