/* isa/x86.h: what avx2.h and avx512.h have in common, once RF_OP(name) names their intrinsics. Contract: isa/scalar.h. */
RF_INLINE V v_load(const T *p) { return RF_OP(loadu)(p); }
RF_INLINE void v_store(T *p, V v) { RF_OP(storeu)(p, v); }
RF_INLINE V v_set1(T x) { return RF_OP(set1)(x); }
RF_INLINE V v_add(V a, V b) { return RF_OP(add)(a, b); }
RF_INLINE V v_sub(V a, V b) { return RF_OP(sub)(a, b); }
RF_INLINE V v_mul(V a, V b) { return RF_OP(mul)(a, b); }
RF_INLINE V v_div(V a, V b) { return RF_OP(div)(a, b); }
RF_INLINE V v_fma(V a, V b, V c) { return RF_OP(fmadd)(a, b, c); }
RF_INLINE V v_fnma(V a, V b, V c) { return RF_OP(fnmadd)(a, b, c); }
RF_INLINE V v_min(V a, V b) { return RF_OP(min)(a, b); } /* the instruction returns b when either is NaN */
RF_INLINE V v_max(V a, V b) { return RF_OP(max)(a, b); }
RF_INLINE V v_abs(V a) { return RF_OP(andnot)(v_set1((T)-0.0), a); }
RF_INLINE V v_copysign(V magnitude, V sign)
{
    const V minus = v_set1((T)-0.0);
    return RF_OP(or)(RF_OP(andnot)(minus, magnitude), RF_OP(and)(minus, sign));
}
