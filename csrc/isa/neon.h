/* isa/neon.h: AArch64 with its NEON (every AArch64 CPU has it). Contract: isa/scalar.h.
 * 32 registers: 16 or 18 accumulators + the weight vectors + the broadcasts of all rows, which GCC loads ahead (with 24
 * accumulators it spilled some of them in the loop). Large cores start four multiply-adds a cycle of latency 4: 16 are
 * enough. */
#include <arm_neon.h>

#define RF_LANES (16 / (int)sizeof(rf_real))
#define RF_MR4 4
#define RF_MR3 6
#define RF_MR2 8
#define RF_PN4 4
#define RF_PN3 4
#define RF_PN2 8

#ifdef RF_F32
typedef float rf_real;
typedef float32x4_t rf_vec;
#define RF_OP(name) name##_f32
#define RF_SIGN vdupq_n_u32(1u << 31)
#define RF_INTEGER(name) name##_u32
#define RF_BITS vreinterpretq_u32_f32
#define RF_REAL vreinterpretq_f32_u32
#define RF_MANTISSA 23
#else
typedef double rf_real;
typedef float64x2_t rf_vec;
#define RF_OP(name) name##_f64
#define RF_SIGN vdupq_n_u64((uint64_t)1 << 63)
#define RF_INTEGER(name) name##_u64
#define RF_BITS vreinterpretq_u64_f64
#define RF_REAL vreinterpretq_f64_u64
#define RF_MANTISSA 52
#endif

RF_INLINE rf_vec v_load(const rf_real *p) { return RF_OP(vld1q)(p); }
RF_INLINE void v_store(rf_real *p, rf_vec v) { RF_OP(vst1q)(p, v); }
RF_INLINE rf_vec v_set1(rf_real x) { return RF_OP(vdupq_n)(x); }
RF_INLINE rf_vec v_splat(const rf_real *p) { return RF_OP(vld1q_dup)(p); }
/* lane by lane: NEON has no masks, and a whole vector would reach past the end */
RF_INLINE rf_vec v_load_n(const rf_real *p, int n)
{
    rf_vec v = v_set1(0);
    if (n > 0) v = RF_OP(vld1q_lane)(p, v, 0);
    if (n > 1) v = RF_OP(vld1q_lane)(p + 1, v, 1);
#ifdef RF_F32
    if (n > 2) v = RF_OP(vld1q_lane)(p + 2, v, 2);
    if (n > 3) v = RF_OP(vld1q_lane)(p + 3, v, 3);
#endif
    return v;
}
RF_INLINE void v_store_n(rf_real *p, rf_vec v, int n)
{
    if (n > 0) RF_OP(vst1q_lane)(p, v, 0);
    if (n > 1) RF_OP(vst1q_lane)(p + 1, v, 1);
#ifdef RF_F32
    if (n > 2) RF_OP(vst1q_lane)(p + 2, v, 2);
    if (n > 3) RF_OP(vst1q_lane)(p + 3, v, 3);
#endif
}
RF_INLINE rf_vec v_add(rf_vec a, rf_vec b) { return RF_OP(vaddq)(a, b); }
RF_INLINE rf_vec v_sub(rf_vec a, rf_vec b) { return RF_OP(vsubq)(a, b); }
RF_INLINE rf_vec v_mul(rf_vec a, rf_vec b) { return RF_OP(vmulq)(a, b); }
RF_INLINE rf_vec v_div(rf_vec a, rf_vec b) { return RF_OP(vdivq)(a, b); }
RF_INLINE rf_vec v_fma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(vfmaq)(c, a, b); } /* the addend comes first here */
RF_INLINE rf_vec v_fnma(rf_vec a, rf_vec b, rf_vec c) { return RF_OP(vfmsq)(c, a, b); }
RF_INLINE rf_vec v_fnma_once(rf_vec a, rf_vec b, rf_vec c) { return v_fnma(a, b, c); }
RF_INLINE rf_vec v_sqrt(rf_vec a) { return RF_OP(vsqrtq)(a); }
RF_INLINE rf_vec v_floor(rf_vec a) { return RF_OP(vrndmq)(a); }
RF_INLINE rf_vec v_min(rf_vec a, rf_vec b) { return RF_OP(vminq)(a, b); } /* a NaN comes out; vminnmq would drop it */
RF_INLINE rf_vec v_max(rf_vec a, rf_vec b) { return RF_OP(vmaxq)(a, b); }
RF_INLINE rf_vec v_abs(rf_vec a) { return RF_OP(vabsq)(a); }
RF_INLINE rf_vec v_copysign(rf_vec magnitude, rf_vec sign) { return RF_OP(vbslq)(RF_SIGN, sign, magnitude); }
RF_INLINE rf_vec v_shift_exponent(rf_vec a) { return RF_REAL(RF_INTEGER(vshlq_n)(RF_BITS(a), RF_MANTISSA)); }
RF_INLINE rf_vec v_shift_down(rf_vec a) { return RF_REAL(RF_INTEGER(vshrq_n)(RF_BITS(a), RF_MANTISSA)); }
RF_INLINE rf_vec v_bits_add(rf_vec a, rf_vec b) { return RF_REAL(RF_INTEGER(vaddq)(RF_BITS(a), RF_BITS(b))); }
RF_INLINE rf_vec v_bits_sub(rf_vec a, rf_vec b) { return RF_REAL(RF_INTEGER(vsubq)(RF_BITS(a), RF_BITS(b))); }
RF_INLINE rf_vec v_where_lt(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_OP(vbslq)(RF_OP(vcltq)(x, y), a, b); }
RF_INLINE rf_vec v_where_le(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_OP(vbslq)(RF_OP(vcleq)(x, y), a, b); }
RF_INLINE rf_vec v_where_eq(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return RF_OP(vbslq)(RF_OP(vceqq)(x, y), a, b); }
RF_INLINE rf_vec v_where_neg(rf_vec x, rf_vec a, rf_vec b) { return RF_OP(vbslq)(RF_OP(vcltzq)(x), a, b); }
RF_INLINE rf_vec v_where_pos(rf_vec x, rf_vec a) { return RF_OP(vbslq)(RF_OP(vclezq)(x), v_set1(0), a); }
#define v_pin(v) __asm__("" : "+w"(v))
