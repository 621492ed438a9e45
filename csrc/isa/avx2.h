/* isa/avx2.h: x86-64 with AVX2 and FMA (Haswell 2013, Zen 2017 and later). Contract: isa/scalar.h.
 * 16 registers: 12 accumulators + 3 or 2 broadcasts + the weight vectors. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define RF_CLOSE_TARGET
#else
#pragma GCC target("avx2,fma")
#endif
#include "intrinsics.h"

#define RF_LANES (32 / (int)sizeof(rf_real))
#define RF_MR4 3
#define RF_MR3 4
#define RF_MR2 6
#define RF_PN4 2
#define RF_PN3 3
#define RF_PN2 4

/* window into ones-then-zeros: the mask of the first n lanes */
static const int32_t rf_mask_source[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

#ifdef RF_F32
typedef float rf_real;
typedef __m256 rf_vec;
RF_INLINE __m256i v_mask(int n) { return _mm256_loadu_si256((const __m256i *)(rf_mask_source + 8 - n)); }
#define RF_OP(name) _mm256_##name##_ps
#define v_splat(p) _mm256_broadcast_ss(p)
#define RF_INTEGER(name) _mm256_##name##_epi32
#define RF_BITS _mm256_castps_si256
#define RF_REAL _mm256_castsi256_ps
#define RF_MANTISSA 23
#else
typedef double rf_real;
typedef __m256d rf_vec;
RF_INLINE __m256i v_mask(int n) { return _mm256_loadu_si256((const __m256i *)(rf_mask_source + 8 - 2 * n)); }
#define RF_OP(name) _mm256_##name##_pd
#define v_splat(p) _mm256_broadcast_sd(p)
#define RF_INTEGER(name) _mm256_##name##_epi64
#define RF_BITS _mm256_castpd_si256
#define RF_REAL _mm256_castsi256_pd
#define RF_MANTISSA 52
#endif

#ifdef RF_F32
RF_INLINE rf_vec v_rows(const rf_real *const *from, ptrdiff_t k)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from[0] + k)), _mm_loadu_ps(from[4] + k), 1);
}
#else
RF_INLINE rf_vec v_rows(const rf_real *const *from, ptrdiff_t k)
{
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(from[0] + k)), _mm_loadu_pd(from[2] + k), 1);
}
#endif
RF_INLINE rf_vec v_load_n(const rf_real *p, int n) { return RF_OP(maskload)(p, v_mask(n)); }
RF_INLINE void v_store_n(rf_real *p, rf_vec v, int n) { RF_OP(maskstore)(p, v_mask(n), v); }
#define RF_WHERE(x, is, y, a, b) RF_OP(blendv)(b, a, RF_OP(cmp)(x, y, is))
#define RF_LANES_SUM(v) rf_sum256(v)
#include "x86.h"
RF_INLINE rf_vec v_floor(rf_vec a) { return RF_OP(floor)(a); }
RF_INLINE rf_vec v_where_pos(rf_vec x, rf_vec a) { return RF_OP(andnot)(RF_OP(cmp)(x, RF_OP(setzero)(), _CMP_LE_OQ), a); }
#define v_pin(v) __asm__("" : "+x"(v))
