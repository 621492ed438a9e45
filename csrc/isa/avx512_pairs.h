/* isa/avx512_pairs.h: the lanes and tiles of avx512.h on pairs of AVX2 vectors, so that they can be tested on a CPU that
 * has only AVX2. Compiled in with RF_EMULATE alone, and taken only by name. Contract: isa/scalar.h. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define RF_CLOSE_TARGET
#else
#pragma GCC target("avx2,fma")
#endif
#include "intrinsics.h"

#include "avx512_tiles.h"

#ifdef RF_F32
typedef float rf_real;
typedef struct { __m256 low, high; } rf_vec;
#define RF_OP(name) _mm256_##name##_ps
#define RF_SPLAT _mm256_broadcast_ss
#define RF_INTEGER(name) _mm256_##name##_epi32
#define RF_BITS _mm256_castps_si256
#define RF_REAL _mm256_castsi256_ps
#define RF_MANTISSA 23
#else
typedef double rf_real;
typedef struct { __m256d low, high; } rf_vec;
#define RF_OP(name) _mm256_##name##_pd
#define RF_SPLAT _mm256_broadcast_sd
#define RF_INTEGER(name) _mm256_##name##_epi64
#define RF_BITS _mm256_castpd_si256
#define RF_REAL _mm256_castsi256_pd
#define RF_MANTISSA 52
#endif

/* window into ones-then-zeros: the mask of those of the first n lanes that lie in the low or the high half */
static const int32_t rf_mask_source[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
RF_INLINE __m256i rf_mask(int half, int n)
{
    return _mm256_loadu_si256((const __m256i *)(rf_mask_source + 16 + 8 * half - n * (int)sizeof(rf_real) / 4));
}

RF_INLINE rf_vec v_load(const rf_real *p) { return (rf_vec){RF_OP(loadu)(p), RF_OP(loadu)(p + RF_LANES / 2)}; }
RF_INLINE rf_vec v_load_n(const rf_real *p, int n)
{
    return (rf_vec){RF_OP(maskload)(p, rf_mask(0, n)), RF_OP(maskload)(p + RF_LANES / 2, rf_mask(1, n))};
}
RF_INLINE void v_store(rf_real *p, rf_vec v) { RF_OP(storeu)(p, v.low), RF_OP(storeu)(p + RF_LANES / 2, v.high); }
RF_INLINE void v_store_n(rf_real *p, rf_vec v, int n)
{
    RF_OP(maskstore)(p, rf_mask(0, n), v.low), RF_OP(maskstore)(p + RF_LANES / 2, rf_mask(1, n), v.high);
}
RF_INLINE rf_vec v_set1(rf_real x) { return (rf_vec){RF_OP(set1)(x), RF_OP(set1)(x)}; }
RF_INLINE rf_vec v_splat(const rf_real *p) { return (rf_vec){RF_SPLAT(p), RF_SPLAT(p)}; }

#define RF_BINARY(name)                                                          \
    RF_INLINE rf_vec v_##name(rf_vec a, rf_vec b)                                \
    {                                                                            \
        return (rf_vec){RF_OP(name)(a.low, b.low), RF_OP(name)(a.high, b.high)}; \
    }
RF_BINARY(add)
RF_BINARY(sub)
RF_BINARY(mul)
RF_BINARY(div)
RF_BINARY(min) /* the instruction returns b when either is NaN */
RF_BINARY(max)
RF_BINARY(and)
RF_BINARY(andnot)
RF_BINARY(or)
RF_INLINE rf_vec v_fma(rf_vec a, rf_vec b, rf_vec c)
{
    return (rf_vec){RF_OP(fmadd)(a.low, b.low, c.low), RF_OP(fmadd)(a.high, b.high, c.high)};
}
RF_INLINE rf_vec v_fnma(rf_vec a, rf_vec b, rf_vec c)
{
    return (rf_vec){RF_OP(fnmadd)(a.low, b.low, c.low), RF_OP(fnmadd)(a.high, b.high, c.high)};
}
RF_INLINE rf_vec v_abs(rf_vec a) { return v_andnot(v_set1((rf_real)-0.0), a); }
RF_INLINE rf_vec v_copysign(rf_vec magnitude, rf_vec sign)
{
    return v_or(v_abs(magnitude), v_and(v_set1((rf_real)-0.0), sign));
}
RF_INLINE rf_vec v_fnma_once(rf_vec a, rf_vec b, rf_vec c) { return v_fnma(a, b, c); }
RF_INLINE rf_vec v_sqrt(rf_vec a) { return (rf_vec){RF_OP(sqrt)(a.low), RF_OP(sqrt)(a.high)}; }
RF_INLINE rf_vec v_floor(rf_vec a) { return (rf_vec){RF_OP(floor)(a.low), RF_OP(floor)(a.high)}; }

#define RF_SHIFT(name, a) RF_REAL(RF_INTEGER(name)(RF_BITS(a), RF_MANTISSA))
RF_INLINE rf_vec v_shift_exponent(rf_vec a) { return (rf_vec){RF_SHIFT(slli, a.low), RF_SHIFT(slli, a.high)}; }
RF_INLINE rf_vec v_shift_down(rf_vec a) { return (rf_vec){RF_SHIFT(srli, a.low), RF_SHIFT(srli, a.high)}; }
#define RF_OF_BITS(name, a, b) RF_REAL(RF_INTEGER(name)(RF_BITS(a), RF_BITS(b)))
RF_INLINE rf_vec v_bits_add(rf_vec a, rf_vec b)
{
    return (rf_vec){RF_OF_BITS(add, a.low, b.low), RF_OF_BITS(add, a.high, b.high)};
}
RF_INLINE rf_vec v_bits_sub(rf_vec a, rf_vec b)
{
    return (rf_vec){RF_OF_BITS(sub, a.low, b.low), RF_OF_BITS(sub, a.high, b.high)};
}

/* all bits set where the comparison holds, else none */
#define RF_COMPARED(x, is, y) ((rf_vec){RF_OP(cmp)((x).low, (y).low, is), RF_OP(cmp)((x).high, (y).high, is)})
RF_INLINE rf_vec rf_select(rf_vec mask, rf_vec a, rf_vec b) { return v_or(v_and(mask, a), v_andnot(mask, b)); }
RF_INLINE rf_vec v_where_lt(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return rf_select(RF_COMPARED(x, _CMP_LT_OQ, y), a, b); }
RF_INLINE rf_vec v_where_le(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return rf_select(RF_COMPARED(x, _CMP_LE_OQ, y), a, b); }
RF_INLINE rf_vec v_where_eq(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return rf_select(RF_COMPARED(x, _CMP_EQ_OQ, y), a, b); }
RF_INLINE rf_vec v_where_neg(rf_vec x, rf_vec a, rf_vec b) { return v_where_lt(x, v_set1(0), a, b); }
RF_INLINE rf_vec v_where_pos(rf_vec x, rf_vec a) { return v_andnot(RF_COMPARED(x, _CMP_LE_OQ, v_set1(0)), a); }
#define v_pin(v) __asm__("" : "+x"((v).low), "+x"((v).high))
