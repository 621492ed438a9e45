/* isa/scalar.h: the portable ISA, one lane. Every other ISA header has the same names and the same contract:
 *
 *   T, V, LANES        element type, vector type, elements per vector
 *   MR4 MR3 MR2        rows of a tile with 4, 3, 2 vectors side by side (accumulators that fit the registers)
 *   PN4 PN3 PN2        panels a single row takes at once, for enough independent accumulators at batch 1
 *   v_load v_store     unaligned;  v_load_n v_store_n: the first n of LANES elements, others read as 0, not written
 *   v_set1 v_splat     broadcast a value / a value in memory
 *   v_add v_sub v_mul v_div
 *   v_fma(a,b,c)       a*b + c;  v_fnma(a,b,c): c - a*b  (one rounding where the CPU has FMA, two here)
 *   v_min v_max (a,b)  a must be a number; NaN in b comes out
 *   v_abs v_copysign(magnitude, sign)
 *   v_shift_exponent   bits << mantissa bits (see vmath.h: builds 2^n)
 *   v_where_neg(x,a,b) x < 0 ? a : b;  v_where_pos(x,a): x <= 0 ? 0 : a, NaN in x keeps a
 *   v_turn4            optional: transposes 4 x 4 elements, see pack.h
 *   v_pin(v)           keep v in a register (stops the compiler folding one load into every use)
 */
#ifdef RF_F32
typedef float T;
typedef uint32_t rf_bits;
#define MANTISSA 23
#define t_abs fabsf
#define t_copysign copysignf
#else
typedef double T;
typedef uint64_t rf_bits;
#define MANTISSA 52
#define t_abs fabs
#define t_copysign copysign
#endif
typedef T V;

#define LANES 1
#define MR4 3
#define MR3 4
#define MR2 6
#define PN4 2
#define PN3 2
#define PN2 4

RF_INLINE V v_load(const T *p) { return *p; }
RF_INLINE void v_store(T *p, V v) { *p = v; }
RF_INLINE V v_load_n(const T *p, int n) { return n > 0 ? *p : 0; }
RF_INLINE void v_store_n(T *p, V v, int n) { if (n > 0) *p = v; }
RF_INLINE V v_set1(T x) { return x; }
RF_INLINE V v_splat(const T *p) { return *p; }
RF_INLINE V v_add(V a, V b) { return a + b; }
RF_INLINE V v_sub(V a, V b) { return a - b; }
RF_INLINE V v_mul(V a, V b) { return a * b; }
RF_INLINE V v_div(V a, V b) { return a / b; }
RF_INLINE V v_fma(V a, V b, V c) { return a * b + c; }
RF_INLINE V v_fnma(V a, V b, V c) { return c - a * b; }
RF_INLINE V v_min(V a, V b) { return a < b ? a : b; }
RF_INLINE V v_max(V a, V b) { return a > b ? a : b; }
RF_INLINE V v_abs(V a) { return t_abs(a); }
RF_INLINE V v_copysign(V magnitude, V sign) { return t_copysign(magnitude, sign); }
RF_INLINE V v_shift_exponent(V a)
{
    rf_bits bits;
    memcpy(&bits, &a, sizeof bits);
    bits <<= MANTISSA;
    memcpy(&a, &bits, sizeof bits);
    return a;
}
RF_INLINE V v_where_neg(V x, V a, V b) { return x < 0 ? a : b; }
RF_INLINE V v_where_pos(V x, V a) { return x <= 0 ? 0 : a; }
#define v_pin(v) ((void)0)
