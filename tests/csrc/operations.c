/* operations.c: every operation of one ISA header, in one element type, against plain C: each value in each lane, NaN,
 * infinities, zeros of both signs and subnormals among them, with and without subnormals flushed. Compiled once for each ISA and
 * type, with RF_ISA, RF_ISA_HEADER and RF_F32 or RF_F64 defined (emulated.sh). */
#include "system.h"

#include <float.h>

#include "rnnfast.h"

static int run(void), frame_is_aligned(void);
#define NAME_OF(isa) #isa
#define NAME(isa) NAME_OF(isa)

int main(void) /* before the ISA's region: this must run everywhere */
{
    int present = 0, aligned = 1;
    for (int i = 0; i < rf_isa_count(); ++i) present |= strcmp(rf_isa_name(i), NAME(RF_ISA)) == 0 && rf_isa_present(i);
    if (!present) {
        printf("operations of %s: not on this CPU\n", NAME(RF_ISA));
        return 0;
    }
    for (int i = 0; i < 8; ++i) {
        MOVE_STACK();
        aligned &= frame_is_aligned();
    }
    if (!aligned) printf("operations of %s: vectors in a stack frame are not aligned\n", NAME(RF_ISA));
    return run() || !aligned || !stack_was_moved();
}

#include "isa/open.h"

#ifdef RF_F32
typedef uint32_t bits;
#define MANTISSA_BITS 23
#define SMALLEST FLT_MIN
#define LARGEST FLT_MAX
#define C(function) function##f
#else
typedef uint64_t bits;
#define MANTISSA_BITS 52
#define SMALLEST DBL_MIN
#define LARGEST DBL_MAX
#define C(function) function
#endif

static int failures, compared;

static bits bits_of(rf_real x)
{
    bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* how two results may differ: in nothing but the kind of NaN, or, where the contract leaves it open, in the sign of 0 */
enum how { SAME, SAME_VALUE };

static void expect(const char *name, enum how how, rf_real got, rf_real expected, rf_real a, rf_real b, rf_real c, int lane)
{
    ++compared;
    if (isnan(got) && isnan(expected)) return;
    if (how == SAME_VALUE ? got == expected : bits_of(got) == bits_of(expected)) return;
    if (++failures <= 20)
        printf("%s, %d bytes: %s(%g, %g, %g) in lane %d: %g instead of %g\n", NAME(RF_ISA), (int)sizeof(rf_real), name, (double)a,
               (double)b, (double)c, lane, (double)got, (double)expected);
}

/* ---- values -------------------------------------------------------------------------------------------------------------- */
enum { VALUES = 25, PAIRS = VALUES * VALUES, TRIPLES = VALUES * PAIRS };
static rf_real value[VALUES];

static void fill_values(void)
{
    const rf_real positive[] = {0, SMALLEST / 4, SMALLEST - SMALLEST / 8, SMALLEST, (rf_real)1e-20, (rf_real)0.1, 1, (rf_real)1.5,
                                (rf_real)3.14159265, (rf_real)1e18, LARGEST};
    for (int i = 0; i < 11; ++i) {
        value[2 * i] = positive[i];
        value[2 * i + 1] = -positive[i];
    }
    value[22] = INFINITY, value[23] = -INFINITY, value[24] = NAN;
}

static int is_subnormal(rf_real x) { return x != 0 && C(fabs)(x) < SMALLEST; }

/* ---- operations: the vector's and plain C's -------------------------------------------------------------------------------- */
#define PLAIN static rf_real __attribute__((noinline))
PLAIN c_add(rf_real a, rf_real b, rf_real c) { (void)c; return a + b; }
PLAIN c_sub(rf_real a, rf_real b, rf_real c) { (void)c; return a - b; }
PLAIN c_mul(rf_real a, rf_real b, rf_real c) { (void)c; return a * b; }
PLAIN c_div(rf_real a, rf_real b, rf_real c) { (void)c; return a / b; }
/* the ISA of one lane is the only one without a fused multiply-add */
PLAIN c_fma(rf_real a, rf_real b, rf_real c) { return RF_LANES == 1 ? a * b + c : C(fma)(a, b, c); }
PLAIN c_fnma(rf_real a, rf_real b, rf_real c) { return RF_LANES == 1 ? c - a * b : C(fma)(-a, b, c); }
PLAIN c_min(rf_real a, rf_real b, rf_real c) { (void)c; return isnan(b) ? b : C(fmin)(a, b); }
PLAIN c_max(rf_real a, rf_real b, rf_real c) { (void)c; return isnan(b) ? b : C(fmax)(a, b); }
PLAIN c_abs(rf_real a, rf_real b, rf_real c) { (void)b; (void)c; return C(fabs)(a); }
PLAIN c_copysign(rf_real a, rf_real b, rf_real c) { (void)c; return C(copysign)(a, b); }
PLAIN c_where_neg(rf_real a, rf_real b, rf_real c) { return a < 0 ? b : c; }
PLAIN c_where_pos(rf_real a, rf_real b, rf_real c) { (void)c; return a <= 0 ? 0 : b; }

PLAIN c_fnma_once(rf_real a, rf_real b, rf_real c) { return C(fma)(-a, b, c); }
PLAIN c_sqrt(rf_real a, rf_real b, rf_real c) { (void)b; (void)c; return C(sqrt)(a); }
PLAIN c_floor(rf_real a, rf_real b, rf_real c) { (void)b; (void)c; return C(floor)(a); }
PLAIN c_where_lt(rf_real a, rf_real b, rf_real c) { return a < b ? c : a; }
PLAIN c_where_le(rf_real a, rf_real b, rf_real c) { return a <= b ? c : a; }
PLAIN c_where_eq(rf_real a, rf_real b, rf_real c) { return a == b ? c : a; }
static rf_real of_bits(bits b)
{
    rf_real x;
    memcpy(&x, &b, sizeof x);
    return x;
}
PLAIN c_bits_add(rf_real a, rf_real b, rf_real c) { (void)c; return of_bits(bits_of(a) + bits_of(b)); }
PLAIN c_bits_sub(rf_real a, rf_real b, rf_real c) { (void)c; return of_bits(bits_of(a) - bits_of(b)); }
PLAIN c_shift_down(rf_real a, rf_real b, rf_real c) { (void)b; (void)c; return of_bits(bits_of(a) >> MANTISSA_BITS); }

#define VECTOR(name, call)                                                                           \
    static void vector_##name(const rf_real *pa, const rf_real *pb, const rf_real *pc, rf_real *out) \
    {                                                                                                \
        const rf_vec a = v_load(pa), b = v_load(pb), c = v_load(pc);                                 \
        (void)a, (void)b, (void)c;                                                                   \
        v_store(out, call);                                                                          \
    }
VECTOR(add, v_add(a, b))
VECTOR(sub, v_sub(a, b))
VECTOR(mul, v_mul(a, b))
VECTOR(div, v_div(a, b))
VECTOR(fma, v_fma(a, b, c))
VECTOR(fnma, v_fnma(a, b, c))
VECTOR(min, v_min(a, b))
VECTOR(max, v_max(a, b))
VECTOR(abs, v_abs(a))
VECTOR(copysign, v_copysign(a, b))
VECTOR(where_neg, v_where_neg(a, b, c))
VECTOR(where_pos, v_where_pos(a, b))
VECTOR(fnma_once, v_fnma_once(a, b, c))
VECTOR(sqrt, v_sqrt(a))
VECTOR(floor, v_floor(a))
VECTOR(where_lt, v_where_lt(a, b, c, a))
VECTOR(where_le, v_where_le(a, b, c, a))
VECTOR(where_eq, v_where_eq(a, b, c, a))
VECTOR(bits_add, v_bits_add(a, b))
VECTOR(bits_sub, v_bits_sub(a, b))
VECTOR(shift_down, v_shift_down(a))

static const struct {
    const char *name;
    void (*vector)(const rf_real *, const rf_real *, const rf_real *, rf_real *);
    rf_real (*plain)(rf_real, rf_real, rf_real);
    int operands, arithmetic /* rounds, and flushes subnormals */;
    enum how how;
} operations[] = {
#define ROW(name, operands, arithmetic, how) {#name, vector_##name, c_##name, operands, arithmetic, how},
    ROW(add, 2, 1, SAME) ROW(sub, 2, 1, SAME) ROW(mul, 2, 1, SAME) ROW(div, 2, 1, SAME)
    ROW(fma, 3, 1, SAME) ROW(fnma, 3, 1, SAME)
    ROW(min, 2, 0, SAME_VALUE) ROW(max, 2, 0, SAME_VALUE)
    ROW(abs, 1, 0, SAME) ROW(copysign, 2, 0, SAME) ROW(where_neg, 3, 0, SAME) ROW(where_pos, 2, 0, SAME)
    ROW(fnma_once, 3, 0, SAME) ROW(sqrt, 1, 0, SAME) ROW(floor, 1, 0, SAME)
    ROW(where_lt, 3, 0, SAME) ROW(where_le, 3, 0, SAME) ROW(where_eq, 3, 0, SAME)
    ROW(bits_add, 2, 0, SAME) ROW(bits_sub, 2, 0, SAME) ROW(shift_down, 1, 0, SAME)
};

/* every combination of values in every lane; with subnormals flushed, plain C's own arithmetic flushes them too */
static void all_combinations(int flushed)
{
    static rf_real a[TRIPLES + RF_LANES], b[TRIPLES + RF_LANES], c[TRIPLES + RF_LANES], out[RF_LANES];
    for (size_t o = 0; o < sizeof operations / sizeof operations[0]; ++o) {
        const int count = operations[o].operands == 3 ? TRIPLES : operations[o].operands == 2 ? PAIRS : VALUES;
        const int ordered = operations[o].how == SAME_VALUE; /* the first operand must be a number there */
        if (flushed && !operations[o].arithmetic) continue;
        for (int i = 0; i < count + RF_LANES; ++i) {
            a[i] = value[i % VALUES];
            b[i] = value[i / VALUES % VALUES];
            c[i] = value[i / PAIRS % VALUES];
            if (ordered && isnan(a[i])) a[i] = 2;
        }
        for (int shift = 0; shift < RF_LANES; ++shift)
            for (int i = shift; i + RF_LANES <= count + RF_LANES; i += RF_LANES) {
                const uint64_t saved = flushed ? rf_fp_enter() : 0;
                rf_real expected[RF_LANES];
                operations[o].vector(a + i, b + i, c + i, out);
                for (int lane = 0; lane < RF_LANES; ++lane)
                    expected[lane] = operations[o].plain(a[i + lane], b[i + lane], c[i + lane]);
                if (flushed) rf_fp_leave(saved);
                for (int lane = 0; lane < RF_LANES; ++lane) {
                    expect(operations[o].name, operations[o].how, out[lane], expected[lane], a[i + lane], b[i + lane],
                           c[i + lane], lane);
                    if (flushed && is_subnormal(out[lane])) ++failures;
                }
            }
    }
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */
/* loads and stores of the first n elements, at any address, up to the last one that may be touched */
static void partial(void)
{
    const guarded memory = guard((RF_LANES + 2) * sizeof(rf_real));
    rf_real *end = (rf_real *)memory.end, out[RF_LANES];
    for (int n = 0; n <= RF_LANES; ++n)
        for (int first = 0; first < VALUES; ++first) {
            rf_real *p = end - n;
            for (int i = 0; i < n; ++i) p[i] = value[(first + i) % VALUES];
            v_store(out, v_load_n(p, n));
            for (int i = 0; i < RF_LANES; ++i) expect("load_n", SAME, out[i], i < n ? p[i] : 0, (rf_real)n, 0, 0, i);
            for (int i = 1; i <= 2; ++i) p[-i] = 7;
            for (int i = 0; i < RF_LANES; ++i) out[i] = value[(first + 2 * i) % VALUES];
            v_store_n(p, v_load(out), n);
            for (int i = 0; i < n; ++i) expect("store_n", SAME, p[i], out[i], (rf_real)n, 0, 0, i);
            for (int i = 1; i <= 2; ++i) expect("before store_n", SAME, p[-i], 7, (rf_real)n, 0, 0, i);
            if (n < RF_LANES) { /* what follows the n elements stays */
                rf_real around[2 * RF_LANES];
                for (int i = 0; i < 2 * RF_LANES; ++i) around[i] = 7;
                v_store_n(around, v_load(out), n);
                for (int i = n; i < 2 * RF_LANES; ++i) expect("after store_n", SAME, around[i], 7, (rf_real)n, 0, 0, i);
            }
        }
    unguard(memory);
}

static void whole(void)
{
    rf_real in[3 * RF_LANES], out[3 * RF_LANES];
    for (int shift = 0; shift < RF_LANES; ++shift) {
        for (int i = 0; i < 3 * RF_LANES; ++i) in[i] = value[(i + shift) % VALUES], out[i] = 7;
        rf_vec v = v_load(in + shift);
        v_pin(v);
        v_store(out + shift, v);
        for (int i = 0; i < 3 * RF_LANES; ++i)
            expect("load, store", SAME, out[i], i >= shift && i < shift + RF_LANES ? in[i] : 7, 0, 0, 0, i);
    }
    for (int k = 0; k < VALUES; ++k) {
        v_store(out, v_set1(value[k]));
        v_store(out + RF_LANES, v_splat(value + k));
        for (int i = 0; i < 2 * RF_LANES; ++i) expect("set1, splat", SAME, out[i], value[k], 0, 0, 0, i);
    }
}

/* 1.5 * 2^mantissa + e has e in its low bits: shifted, they are the exponent field of a power of two */
static void exponents(void)
{
    const int bias = sizeof(rf_real) == 4 ? 127 : 1023;
    rf_real in[RF_LANES], out[RF_LANES];
    for (int first = 0; first <= 2 * bias; ++first) {
        for (int i = 0; i < RF_LANES; ++i)
            in[i] = (rf_real)1.5 * C(ldexp)(1, MANTISSA_BITS) + (rf_real)((first + i) % (2 * bias + 1));
        v_store(out, v_shift_exponent(v_load(in)));
        for (int i = 0; i < RF_LANES; ++i) {
            const int e = (first + i) % (2 * bias + 1);
            expect("shift_exponent", SAME, out[i], e ? C(ldexp)(1, e - bias) : 0, in[i], 0, 0, i);
        }
    }
}

#ifdef RF_TURN
static void turned(void)
{
    rf_real in[RF_LANES][20], out[RF_LANES];
    const rf_real *rows[RF_LANES];
    rf_vec column[RF_TURN];
    for (int k = 0; k + RF_TURN <= 20; ++k) {
        for (int i = 0; i < RF_LANES; ++i) {
            rows[i] = in[i];
            for (int j = 0; j < 20; ++j) in[i][j] = value[(20 * i + j + k) % VALUES];
        }
        v_turn(column, rows, k);
        for (int c = 0; c < RF_TURN; ++c) {
            v_store(out, column[c]);
            for (int i = 0; i < RF_LANES; ++i) expect("turn", SAME, out[i], in[i][k + c], (rf_real)k, (rf_real)c, 0, i);
        }
    }
}
#else
static void turned(void) {}
#endif

/* Vectors in a stack frame, alone and as the interpreter's working memory has them (rf_run), are aligned, wherever the caller's
 * stack is. The address goes through assembly, since a compiler takes the alignment that it owes for granted. */
static __attribute__((noinline)) int frame_is_aligned(void)
{
    struct { const void *step; rf_vec work[3]; } frame;
    rf_vec alone = v_set1(1);
    uintptr_t first = (uintptr_t)&alone, second = (uintptr_t)frame.work;
    v_pin(alone);
    frame.work[0] = alone;
    __asm__ __volatile__("" : "+r"(first), "+r"(second) : : "memory");
    return first % _Alignof(rf_vec) == 0 && second % _Alignof(rf_vec) == 0;
}

static int run(void)
{
    fill_values();
    all_combinations(0);
    all_combinations(1);
    partial();
    whole();
    exponents();
    turned();
    printf("operations of %s, float%d: %s, %d results\n", NAME(RF_ISA), 8 * (int)sizeof(rf_real), failures ? "WRONG" : "right",
           compared);
    return failures > 0;
}

#include "isa/close.h"
