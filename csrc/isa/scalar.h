/* isa/scalar.h: the portable ISA, one lane. Every other ISA header has the same names and the same contract:
 *
 *   rf_real rf_vec     element type, vector type;  RF_LANES: elements per vector
 *   RF_MR4 RF_MR3 RF_MR2  rows of a tile with 4, 3, 2 vectors side by side (accumulators that fit the registers)
 *   RF_PN4 RF_PN3 RF_PN2  panels a single row takes at once, for enough independent accumulators at batch 1
 *   v_load v_store     unaligned;  v_load_n v_store_n: the first n of RF_LANES elements, others read as 0, not written
 *   v_set1 v_splat     broadcast a value / a value in memory
 *   v_add v_sub v_mul v_div
 *   v_fma(a,b,c)       a*b + c;  v_fnma(a,b,c): c - a*b  (one rounding where the CPU has FMA, two here)
 *   v_min v_max (a,b)  a must be a number; NaN in b comes out
 *   v_abs v_copysign(magnitude, sign)
 *   v_shift_exponent   bits << mantissa bits (see vmath.h: builds 2^n)
 *   v_fnma_once(a,b,c) c - a*b with one rounding on every ISA
 *   v_sqrt v_floor
 *   v_where_lt v_where_le v_where_eq (x,y,a,b)  x < y (<=, ==) ? a : b; false where either is NaN
 *   v_bits_add v_bits_sub  of the bits, as integers;  v_shift_down  bits >> mantissa bits
 *   v_where_neg(x,a,b) x < 0 ? a : b;  v_where_pos(x,a): x <= 0 ? 0 : a, NaN in x keeps a
 *   v_turn RF_TURN     optional, see pack.h: RF_TURN elements of each of RF_LANES rows, transposed
 *   v_pin(v)           keep v in a register (stops the compiler folding one load into every use)
 */
#ifdef RF_F32
typedef float rf_real;
typedef uint32_t rf_bits;
#define RF_MANTISSA 23
#define rf_abs fabsf
#define rf_copysign copysignf
#define rf_fma fmaf
#define rf_sqrt sqrtf
#define rf_floor floorf
#else
typedef double rf_real;
typedef uint64_t rf_bits;
#define RF_MANTISSA 52
#define rf_abs fabs
#define rf_copysign copysign
#define rf_fma fma
#define rf_sqrt sqrt
#define rf_floor floor
#endif
typedef rf_real rf_vec;

#define RF_LANES 1
#define RF_MR4 3
#define RF_MR3 4
#define RF_MR2 6
#define RF_PN4 2
#define RF_PN3 2
#define RF_PN2 4

RF_INLINE rf_vec v_load(const rf_real *p) { return *p; }
RF_INLINE void v_store(rf_real *p, rf_vec v) { *p = v; }
RF_INLINE rf_vec v_load_n(const rf_real *p, int n) { return n > 0 ? *p : 0; }
RF_INLINE void v_store_n(rf_real *p, rf_vec v, int n) { if (n > 0) *p = v; }
RF_INLINE rf_vec v_set1(rf_real x) { return x; }
RF_INLINE rf_vec v_splat(const rf_real *p) { return *p; }
RF_INLINE rf_vec v_add(rf_vec a, rf_vec b) { return a + b; }
RF_INLINE rf_vec v_sub(rf_vec a, rf_vec b) { return a - b; }
RF_INLINE rf_vec v_mul(rf_vec a, rf_vec b) { return a * b; }
RF_INLINE rf_vec v_div(rf_vec a, rf_vec b) { return a / b; }
RF_INLINE rf_vec v_fma(rf_vec a, rf_vec b, rf_vec c) { return a * b + c; }
RF_INLINE rf_vec v_fnma(rf_vec a, rf_vec b, rf_vec c) { return c - a * b; }
RF_INLINE rf_vec v_min(rf_vec a, rf_vec b) { return a < b ? a : b; }
RF_INLINE rf_vec v_max(rf_vec a, rf_vec b) { return a > b ? a : b; }
RF_INLINE rf_vec v_abs(rf_vec a) { return rf_abs(a); }
RF_INLINE rf_vec v_copysign(rf_vec magnitude, rf_vec sign) { return rf_copysign(magnitude, sign); }
RF_INLINE rf_vec v_fnma_once(rf_vec a, rf_vec b, rf_vec c) { return rf_fma(-a, b, c); }
RF_INLINE rf_vec v_sqrt(rf_vec a) { return rf_sqrt(a); }
RF_INLINE rf_vec v_floor(rf_vec a) { return rf_floor(a); }
RF_INLINE rf_bits rf_bits_of(rf_vec a)
{
    rf_bits bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
RF_INLINE rf_vec rf_of_bits(rf_bits bits)
{
    rf_vec a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
RF_INLINE rf_vec v_shift_exponent(rf_vec a) { return rf_of_bits(rf_bits_of(a) << RF_MANTISSA); }
RF_INLINE rf_vec v_shift_down(rf_vec a) { return rf_of_bits(rf_bits_of(a) >> RF_MANTISSA); }
RF_INLINE rf_vec v_bits_add(rf_vec a, rf_vec b) { return rf_of_bits(rf_bits_of(a) + rf_bits_of(b)); }
RF_INLINE rf_vec v_bits_sub(rf_vec a, rf_vec b) { return rf_of_bits(rf_bits_of(a) - rf_bits_of(b)); }
RF_INLINE rf_vec v_where_lt(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return x < y ? a : b; }
RF_INLINE rf_vec v_where_le(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return x <= y ? a : b; }
RF_INLINE rf_vec v_where_eq(rf_vec x, rf_vec y, rf_vec a, rf_vec b) { return x == y ? a : b; }
RF_INLINE rf_vec v_where_neg(rf_vec x, rf_vec a, rf_vec b) { return x < 0 ? a : b; }
RF_INLINE rf_vec v_where_pos(rf_vec x, rf_vec a) { return x <= 0 ? 0 : a; }
#define v_pin(v) ((void)0)
