/* isa/neon.h: AArch64 with its NEON (every AArch64 CPU has it). Contract: isa/scalar.h.
 * 32 registers: 16 or 18 accumulators + the weight vectors + the broadcasts of all rows, which GCC loads ahead (with 24
 * accumulators it spilled some of them in the loop). Large cores start four multiply-adds a cycle of latency 4: 16 are enough. */
#include <arm_neon.h>

#define LANES (16 / (int)sizeof(T))
#define MR4 4
#define MR3 6
#define MR2 8
#define PN4 4
#define PN3 4
#define PN2 8

#ifdef RF_F32
typedef float T;
typedef float32x4_t V;
#define RF_OP(name) name##_f32
#define RF_SIGN vdupq_n_u32(1u << 31)
#define v_shift_exponent(a) vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), 23))
#else
typedef double T;
typedef float64x2_t V;
#define RF_OP(name) name##_f64
#define RF_SIGN vdupq_n_u64((uint64_t)1 << 63)
#define v_shift_exponent(a) vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a), 52))
#endif

RF_INLINE V v_load(const T *p) { return RF_OP(vld1q)(p); }
RF_INLINE void v_store(T *p, V v) { RF_OP(vst1q)(p, v); }
RF_INLINE V v_set1(T x) { return RF_OP(vdupq_n)(x); }
RF_INLINE V v_splat(const T *p) { return RF_OP(vld1q_dup)(p); }
/* lane by lane: NEON has no masks, and a whole vector would reach past the end */
RF_INLINE V v_load_n(const T *p, int n)
{
    V v = v_set1(0);
    if (n > 0) v = RF_OP(vld1q_lane)(p, v, 0);
    if (n > 1) v = RF_OP(vld1q_lane)(p + 1, v, 1);
#ifdef RF_F32
    if (n > 2) v = RF_OP(vld1q_lane)(p + 2, v, 2);
    if (n > 3) v = RF_OP(vld1q_lane)(p + 3, v, 3);
#endif
    return v;
}
RF_INLINE void v_store_n(T *p, V v, int n)
{
    if (n > 0) RF_OP(vst1q_lane)(p, v, 0);
    if (n > 1) RF_OP(vst1q_lane)(p + 1, v, 1);
#ifdef RF_F32
    if (n > 2) RF_OP(vst1q_lane)(p + 2, v, 2);
    if (n > 3) RF_OP(vst1q_lane)(p + 3, v, 3);
#endif
}
RF_INLINE V v_add(V a, V b) { return RF_OP(vaddq)(a, b); }
RF_INLINE V v_sub(V a, V b) { return RF_OP(vsubq)(a, b); }
RF_INLINE V v_mul(V a, V b) { return RF_OP(vmulq)(a, b); }
RF_INLINE V v_div(V a, V b) { return RF_OP(vdivq)(a, b); }
RF_INLINE V v_fma(V a, V b, V c) { return RF_OP(vfmaq)(c, a, b); } /* the addend comes first here */
RF_INLINE V v_fnma(V a, V b, V c) { return RF_OP(vfmsq)(c, a, b); }
RF_INLINE V v_min(V a, V b) { return RF_OP(vminq)(a, b); } /* a NaN comes out; vminnmq would drop it */
RF_INLINE V v_max(V a, V b) { return RF_OP(vmaxq)(a, b); }
RF_INLINE V v_abs(V a) { return RF_OP(vabsq)(a); }
RF_INLINE V v_copysign(V magnitude, V sign) { return RF_OP(vbslq)(RF_SIGN, sign, magnitude); }
RF_INLINE V v_where_neg(V x, V a, V b) { return RF_OP(vbslq)(RF_OP(vcltzq)(x), a, b); }
RF_INLINE V v_where_pos(V x, V a) { return RF_OP(vbslq)(RF_OP(vclezq)(x), v_set1(0), a); }
#define v_pin(v) __asm__("" : "+w"(v))
