/* isa/avx512.h: x86-64 with AVX-512 F, DQ, BW and VL (Skylake-SP 2017, Zen 4 and later). Contract: isa/scalar.h.
 * 32 registers: 24 accumulators + the weight vectors + broadcasts. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#define RF_CLOSE_TARGET
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#include "intrinsics.h"

#include "avx512_tiles.h"

#ifdef RF_F32
typedef float rf_real;
typedef __m512 rf_vec;
typedef __mmask16 rf_mask;
#define RF_OP(name) _mm512_##name##_ps
#define RF_CMP_MASK _mm512_cmp_ps_mask
#define RF_INTEGER(name) _mm512_##name##_epi32
#define RF_BITS _mm512_castps_si512
#define RF_REAL _mm512_castsi512_ps
#define RF_MANTISSA 23
#else
typedef double rf_real;
typedef __m512d rf_vec;
typedef __mmask8 rf_mask;
#define RF_OP(name) _mm512_##name##_pd
#define RF_CMP_MASK _mm512_cmp_pd_mask
#define RF_INTEGER(name) _mm512_##name##_epi64
#define RF_BITS _mm512_castpd_si512
#define RF_REAL _mm512_castsi512_pd
#define RF_MANTISSA 52
#endif

/* a masked load, which no shuffle unit has to do, unlike an insertion */
#ifdef RF_F32
RF_INLINE rf_vec v_rows(const rf_real *const *from, ptrdiff_t k)
{
    rf_vec v = _mm512_castps128_ps512(_mm_loadu_ps(from[0] + k));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(from[4] + k));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(from[8] + k));
    return _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(from[12] + k));
}
#else
RF_INLINE rf_vec v_rows(const rf_real *const *from, ptrdiff_t k)
{
    rf_vec v = _mm512_castpd128_pd512(_mm_loadu_pd(from[0] + k));
    v = _mm512_mask_broadcast_f64x2(v, 0x0c, _mm_loadu_pd(from[2] + k));
    v = _mm512_mask_broadcast_f64x2(v, 0x30, _mm_loadu_pd(from[4] + k));
    return _mm512_mask_broadcast_f64x2(v, 0xc0, _mm_loadu_pd(from[6] + k));
}
#endif
RF_INLINE rf_mask v_mask(int n) { return (rf_mask)((1u << n) - 1u); }
RF_INLINE rf_vec v_load_n(const rf_real *p, int n) { return RF_OP(maskz_loadu)(v_mask(n), p); }
RF_INLINE void v_store_n(rf_real *p, rf_vec v, int n) { RF_OP(mask_storeu)(p, v_mask(n), v); }
#define RF_WHERE(x, is, y, a, b) RF_OP(mask_blend)(RF_CMP_MASK(x, y, is), b, a)
#ifdef RF_F32
#define RF_LANES_SUM(v) rf_sum256(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)))
#else
#define RF_LANES_SUM(v) rf_sum256(_mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1)))
#endif
#include "x86.h"
RF_INLINE rf_vec v_splat(const rf_real *p) { return RF_OP(set1)(*p); }
RF_INLINE rf_vec v_floor(rf_vec a) { return RF_OP(roundscale)(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
RF_INLINE rf_vec v_where_pos(rf_vec x, rf_vec a) { return RF_OP(maskz_mov)(RF_CMP_MASK(x, RF_OP(setzero)(), _CMP_NLE_UQ), a); }
#define v_pin(v) __asm__("" : "+v"(v))
