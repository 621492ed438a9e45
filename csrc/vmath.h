/* vmath.h: tanh and sigmoid on one vector, compiled per ISA and dtype; the other functions are in vmath_more.h. Included by
 * kernels.h only.
 *
 * Both start from expm1 of a number y <= 0:
 *   n = round(y / ln 2),  r = y - n ln 2 (ln 2 in two parts, the high one with enough trailing zeros for n * high to be exact),
 *   p = expm1(r) = r + r*r*c(r) on |r| <= ln(2)/2,  e^y = 2^n + 2^n p.
 * c: Chebyshev interpolant, degree 4 (float32, relative error of p 2.4e-8) or 10 (float64, 5.3e-19), from
 * vmath_coefficients.py.
 * n is rounded, and 2^n built, by adding 1.5 * 2^mantissa + bias: the low bits of the sum are then the exponent field.
 * y is clamped where 2^n becomes exactly 0, which is below the smallest normal number.
 * NaN stays NaN (v_min and v_max let it through).
 */
#ifdef RF_F32
#define RF_MAGIC 12583039.0f            /* 1.5 * 2^23 + 127 */
#define RF_LOWEST 88.0f                 /* round(88 / ln 2) = 127: 2^-127 is built as 0 */
#define RF_LN2_HIGH 0.693359375f        /* 355/512 */
#define RF_LN2_LOW -2.12194440e-4f      /* ln 2 - 355/512 */
#define RF_FIRST 0.0013926250831497611f
#define RF_POLYNOMIAL(C) C(0.008363232883682618f) C(0.04166655421298415f) C(0.16666576666119928f) C(0.5f)
#else
#define RF_MAGIC 6755399441056767.0     /* 1.5 * 2^52 + 1023 */
#define RF_LOWEST 709.0                 /* round(709 / ln 2) = 1023: 2^-1023 is built as 0 */
#define RF_LN2_HIGH 6.93147180369123816490e-01 /* upper 32 bits of ln 2, as in fdlibm's exp */
#define RF_LN2_LOW 1.90821492927058770002e-10
#define RF_FIRST 2.09147553258932e-09
#define RF_POLYNOMIAL(C)                                                                               \
    C(2.5105312729622103e-08) C(2.755727347871858e-07) C(2.755725517000089e-06)                        \
    C(2.480158732567746e-05) C(0.0001984126987500228) C(0.0013888888888883711) C(0.008333333333326084) \
    C(0.04166666666666667) C(0.1666666666666667) C(0.5)
#endif

/* *q = -expm1(r) and, in the low bits of *shifted, the exponent field of 2^n, so that e^-z = 2^n - 2^n * q. All signs are turned
 * (m = -n, s = -r) so that no negation is left. */
RF_INLINE void v_exp_reduced(rf_vec z, rf_vec *shifted, rf_vec *q)
{
    const rf_vec magic = v_set1(RF_MAGIC);
    *shifted = v_fnma(z, v_set1((rf_real)1.44269504088896340736), magic); /* 1 / ln 2 */
    const rf_vec m = v_sub(magic, *shifted);
    rf_vec s = v_fnma(m, v_set1((rf_real)RF_LN2_HIGH), z);
    s = v_fnma(m, v_set1((rf_real)RF_LN2_LOW), s);
    rf_vec c = v_set1((rf_real)RF_FIRST);
#define RF_HORNER(coefficient) c = v_fnma(c, s, v_set1((rf_real)coefficient));
    RF_POLYNOMIAL(RF_HORNER)
#undef RF_HORNER
    *q = v_fnma(v_mul(s, s), c, s);
}

/* For 0 <= z: *scale = 2^n and *q = -expm1(r), so that e^-z = scale - scale * q: 13 operations in float32. */
RF_INLINE void v_exp_parts(rf_vec z, rf_vec *scale, rf_vec *q)
{
    rf_vec shifted;
    v_exp_reduced(v_min(v_set1((rf_real)RF_LOWEST), z), &shifted, q);
    *scale = v_shift_exponent(shifted);
}

/* 1 / (1 + e^-x). Largest error seen where the result is normal: 2.40 ULP (float32, all 2^32 values), 2.2 (float64); below it
 * is 0 or subnormal.
 * e^-|x| <= 1 keeps the relative accuracy of both tails: 1/(1+e) for x >= 0, e/(1+e) for x < 0. */
RF_INLINE rf_vec v_sigmoid(rf_vec x)
{
    rf_vec scale, q;
    v_exp_parts(v_abs(x), &scale, &q);
    const rf_vec e = v_fnma(scale, q, scale), one = v_set1(1);
    return v_div(v_where_neg(x, e, one), v_add(one, e));
}

/* tanh |x| = m / (2 - m), m = -expm1(-2|x|); the sign is copied, so tanh(-x) = -tanh(x) exactly.
 * Largest error seen 2.50 ULP (float32, all 2^32 values), 2.5 (float64). */
RF_INLINE rf_vec v_tanh(rf_vec x)
{
    rf_vec scale, q;
    const rf_vec z = v_abs(x);
    v_exp_parts(v_add(z, z), &scale, &q);
    const rf_vec m = v_fma(scale, q, v_sub(v_set1(1), scale));
    return v_copysign(v_div(m, v_sub(v_set1(2), m)), x);
}

#define RF_MAP(name)                                                                                             \
    static void rf_map_##name(const void *x, void *y, ptrdiff_t n)                                               \
    {                                                                                                            \
        ptrdiff_t i = 0;                                                                                         \
        for (; i + RF_LANES <= n; i += RF_LANES)                                                                 \
            v_store((rf_real *)y + i, v_##name(v_load((const rf_real *)x + i)));                                 \
        if (i < n)                                                                                               \
            v_store_n((rf_real *)y + i, v_##name(v_load_n((const rf_real *)x + i, (int)(n - i))), (int)(n - i)); \
    }
RF_MAP(tanh)
RF_MAP(sigmoid)
