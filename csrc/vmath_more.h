/* vmath_more.h: the functions that only programs use (ops.h), on one vector, compiled per ISA and dtype. Included by kernels.h
 * only. Coefficients and parts of pi are from vmath_coefficients.py.
 *
 * The largest errors seen, in ULP, where the result is a normal number (tests/csrc/ops.c: float32 on all values, float64 on a
 * sample of every exponent) stand at each function. Subnormal arguments count as 0, and where the result would be
 * subnormal it is 0 or subnormal. NaN stays NaN.
 */
#ifdef RF_F32
#define RF_HALF_BITS 8388608.0f         /* 2^23: its low bits hold a small integer */
#define RF_LOG_FIRST 0.29579955687405957f
#define RF_LOG_POLYNOMIAL(C) C(0.3998878796647625f) C(0.6666668492928751f)
#define RF_SIN_FIRST -2.4080193253187184e-08f
#define RF_SIN_POLYNOMIAL(C) \
    C(2.7536469603546547e-06f) C(-0.0001984108678227102f) C(0.008333332771014673f) C(-0.16666666663936916f)
#define RF_PI_1 3.1415927410125732f
#define RF_PI_2 -8.742277657347586e-08f
#define RF_PI_3 -3.4302490200117637e-15f
#else
#define RF_HALF_BITS 4503599627370496.0 /* 2^52 */
#define RF_LOG_FIRST 0.14616458699287632
#define RF_LOG_POLYNOMIAL(C)                                                                                          \
    C(0.15331730733063914) C(0.18182888421924726) C(0.22222211153691326) C(0.28571428625757855) C(0.3999999999990051) \
    C(0.666666666666667)
#define RF_SIN_FIRST 2.731444883334855e-15
#define RF_SIN_POLYNOMIAL(C)                                                                                            \
    C(-7.643970794506777e-13) C(1.6058977348911425e-10) C(-2.505210761802293e-08) C(2.7557319219177024e-06)             \
    C(-0.00019841269841255064) C(0.008333333333333316) C(-0.16666666666666666)
#define RF_PI_1 3.141592653589793
#define RF_PI_2 1.2246467991473532e-16
#define RF_PI_3 -2.9947698097183397e-33
#endif
#define RF_BIAS ((1 << (8 * sizeof(rf_real) - 2 - RF_MANTISSA)) - 1) /* of an exponent field: 127 or 1023 */
#define RF_HORNER(coefficient) c = v_fma(c, z, v_set1((rf_real)coefficient));

RF_INLINE rf_vec v_neg(rf_vec a) { return v_sub(v_set1((rf_real)-0.0), a); }

/* For 0 < -z: e^-z may need 2^n beyond the largest exponent, so half of it is computed and doubled. *scale = 2^n or, where
 * *doubled is 1 and not 0, half of that; *q as in v_exp_parts. */
RF_INLINE void v_exp_any_sign(rf_vec z, rf_vec *scale, rf_vec *q, rf_vec *doubled)
{
    rf_vec shifted;
    z = v_max(v_set1((rf_real)-RF_LOWEST - 1), v_min(v_set1((rf_real)RF_LOWEST), z)); /* e^(RF_LOWEST + 1) is inf */
    v_exp_reduced(z, &shifted, q);
    *doubled = v_where_lt(z, v_set1(-1), v_set1(1), v_set1(0));
    *scale = v_shift_exponent(v_sub(shifted, *doubled));
}

/* e^x = 2^n (1 - q): the product is exact, and nothing small is flushed to zero before it, with one rounding or two. Largest
 * error seen 1.08 ULP (float32), 1.0 (float64). */
RF_INLINE rf_vec v_exp(rf_vec x)
{
    rf_vec scale, q, doubled;
    v_exp_any_sign(v_neg(x), &scale, &q, &doubled);
    const rf_vec e = v_mul(scale, v_sub(v_set1(1), q));
    return v_fma(doubled, e, e);
}

/* e^x - 1 = 2^n expm1(r) + (2^n - 1); the sign of 0 stays. 1.7 ULP (float32), 1.9 (float64). */
RF_INLINE rf_vec v_expm1(rf_vec x)
{
    rf_vec scale, q, doubled;
    v_exp_any_sign(v_neg(x), &scale, &q, &doubled);
    const rf_vec one = v_fnma(doubled, v_set1((rf_real)0.5), v_set1(1)); /* 1 or, if the scale is half, a half */
    const rf_vec e = v_fnma(scale, q, v_sub(scale, one));
    return v_copysign(v_fma(doubled, e, e), x);
}

/* log(u + rest) for a normal u > 0 and a rest of at most u's rounding: u = 2^k m with m in [sqrt(1/2), sqrt(2)]. Then
 * f = m - 1 + rest/2^k and s = f / (2 + f) give log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + s^2 c(s^2))), as
 * in fdlibm. */
RF_INLINE rf_vec v_log_reduced(rf_vec u, rf_vec rest)
{
    const rf_vec one = v_set1(1), half_bits = v_set1(RF_HALF_BITS);
    const rf_vec field = v_shift_down(v_mul(u, v_set1((rf_real)1.41421356237309504880))); /* exponent field of u sqrt(2) */
    const rf_vec k = v_sub(v_bits_add(field, half_bits), v_set1(RF_HALF_BITS + RF_BIAS));
    const rf_vec down = v_bits_sub(one, v_shift_exponent(field)); /* takes k from an exponent */
    const rf_vec scale = v_max(v_set1(0), v_bits_add(one, down)); /* 1/2^k, 0 where that is too small */
    const rf_vec f = v_fma(rest, scale, v_sub(v_bits_add(u, down), one));
    const rf_vec s = v_div(f, v_add(v_set1(2), f)), z = v_mul(s, s), half_square = v_mul(v_mul(v_set1((rf_real)0.5), f), f);
    rf_vec c = v_set1(RF_LOG_FIRST);
    RF_LOG_POLYNOMIAL(RF_HORNER)
    const rf_vec tail = v_fma(s, v_fma(z, c, half_square), v_mul(k, v_set1((rf_real)RF_LN2_LOW)));
    return v_fma(k, v_set1((rf_real)RF_LN2_HIGH), v_sub(f, v_sub(half_square, tail)));
}

/* What log gives where u is no positive number. */
RF_INLINE rf_vec v_log_ends(rf_vec u, rf_vec y)
{
    const rf_vec zero = v_set1(0), inf = v_set1((rf_real)INFINITY);
    y = v_where_lt(zero, u, y, v_where_eq(u, zero, v_neg(inf), v_set1((rf_real)NAN)));
    return v_where_eq(u, inf, inf, y);
}

/* log x; -inf at 0, NaN below. 0.86 ULP (float32), 0.8 (float64). */
RF_INLINE rf_vec v_log(rf_vec x) { return v_log_ends(x, v_log_reduced(x, v_set1(0))); }

/* log(1 + x): 1 + x is rounded, and what that loses goes on as the rest; the sign of 0 stays. 1.42 ULP (float32), 1.4
 * (float64). */
RF_INLINE rf_vec v_log1p(rf_vec x)
{
    const rf_vec one = v_set1(1), u = v_add(one, x);
    return v_copysign(v_log_ends(u, v_log_reduced(u, v_sub(x, v_sub(u, one)))), x);
}

/* log(1 + e^x) = max(0, x) + log1p(e^-|x|). 1.71 ULP (float32), 1.6 (float64). */
RF_INLINE rf_vec v_softplus(rf_vec x)
{
    rf_vec scale, q;
    v_exp_parts(v_abs(x), &scale, &q);
    const rf_vec one = v_set1(1), e = v_mul(scale, v_sub(one, q)), u = v_add(one, e);
    return v_add(v_max(v_set1(0), x), v_log_reduced(u, v_sub(e, v_sub(u, one))));
}

/* (-1)^n sin(r), where n is a whole number and r = x - at pi, for |at| up to 2^20: multiply-adds of one rounding make the first
 * step exact. Within [-1, 1] where x is larger than that, too. */
RF_INLINE rf_vec v_sin_about(rf_vec x, rf_vec at, rf_vec n)
{
    const rf_vec parity = v_fnma(v_floor(v_mul(n, v_set1((rf_real)0.5))), v_set1(2), n), one = v_set1(1);
    rf_vec r = v_fnma_once(at, v_set1(RF_PI_1), x);
    r = v_fnma_once(at, v_set1(RF_PI_2), r);
    r = v_fnma_once(at, v_set1(RF_PI_3), r);
    r = v_mul(r, v_fnma(parity, v_set1(2), one));
    const rf_vec z = v_mul(r, r);
    rf_vec c = v_set1((rf_real)RF_SIN_FIRST);
    RF_SIN_POLYNOMIAL(RF_HORNER)
    return v_max(v_set1(-1), v_min(one, v_fma(v_mul(r, z), c, r)));
}

/* sin x for |x| <= 2^20; beyond it a number in [-1, 1]; NaN for infinities. 2.33 ULP (float32), 2.0 (float64). */
RF_INLINE rf_vec v_sin(rf_vec x)
{
    const rf_vec n = v_floor(v_fma(x, v_set1((rf_real)0.31830988618379067154), v_set1((rf_real)0.5))); /* 1 / pi */
    return v_where_eq(x, v_set1(0), x, v_sin_about(x, n, n));
}

/* cos x, as sin x: x = (n + 1/2) pi + r, cos x = -(-1)^n sin(r). 2.31 ULP (float32), 2.0 (float64). */
RF_INLINE rf_vec v_cos(rf_vec x)
{
    const rf_vec n = v_floor(v_mul(x, v_set1((rf_real)0.31830988618379067154)));
    return v_sin_about(x, v_add(n, v_set1((rf_real)0.5)), v_add(n, v_set1(1)));
}
#undef RF_HORNER
