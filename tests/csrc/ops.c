/* ops.c: every operation of programs (csrc/ops.h), of every ISA this CPU has, in both element types, against libm in higher
 * precision or plain C. `ops [STRIDE]`: functions of one number take every STRIDEth float32 there is (1: all of them, which
 * takes minutes); float64 takes a sample of each exponent. Prints the largest error in ULP of each function. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rnnfast.h"

static const rf_kernels *k;
static const char *isa;
static int failures, itemsize;
static double worst_ulp, worst_at;
static char report[2000];

static void wrong(const char *name, double a, double b, double c, double got, double expected)
{
    if (++failures <= 30)
        printf("%s, float%d: %s(%.17g, %.17g, %.17g) = %.17g instead of %.17g\n", isa, 8 * itemsize, name, a, b, c, got,
               expected);
}

static int number_of(const char *name)
{
    for (int i = 0; i < rf_op_count(); ++i)
        if (strcmp(rf_op_name(i), name) == 0) return i;
    printf("no operation %s\n", name);
    exit(1);
}

/* inside a call, as programs run */
static void apply(int op, const void *a, const void *b, const void *c, void *y, ptrdiff_t n)
{
    const uint64_t saved = rf_fp_enter();
    k->apply(op, a, b, c, y, n);
    rf_fp_leave(saved);
}

static double tiny(void) { return itemsize == 4 ? FLT_MIN : DBL_MIN; }
static double epsilon(void) { return itemsize == 4 ? FLT_EPSILON : DBL_EPSILON; }
static double largest(void) { return itemsize == 4 ? FLT_MAX : DBL_MAX; }
static double at(const void *p, ptrdiff_t i) { return itemsize == 4 ? ((const float *)p)[i] : ((const double *)p)[i]; }
static void put(void *p, ptrdiff_t i, double x)
{
    if (itemsize == 4) ((float *)p)[i] = (float)x;
    else ((double *)p)[i] = x;
}

/* ---- functions of one number ------------------------------------------------------------------------------------------ */
typedef long double wide;
static wide sigmoid_wide(wide x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static wide softplus_wide(wide x) { return fmaxl(0, x) + log1pl(expl(-fabsl(x))); }
static double sigmoid_double(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double softplus_double(double x) { return fmax(0, x) + log1p(exp(-fabs(x))); }

/* ulp: bound where the result is a normal number; most: the largest argument of the domain */
static const struct {
    const char *name;
    double (*of_double)(double);
    wide (*of_wide)(wide);
    double ulp, most;
} functions[] = {
    {"exp", exp, expl, 2, INFINITY}, {"expm1", expm1, expm1l, 3, INFINITY},
    {"log", log, logl, 2, INFINITY}, {"log1p", log1p, log1pl, 3, INFINITY},
    {"sin", sin, sinl, 3, 1048576}, {"cos", cos, cosl, 3, 1048576},
    {"tanh", tanh, tanhl, 4, INFINITY}, {"sigmoid", sigmoid_double, sigmoid_wide, 2.5, INFINITY},
    {"softplus", softplus_double, softplus_wide, 4, INFINITY}, {"sqrt", sqrt, sqrtl, 0.5, INFINITY},
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0], CHUNK = 4096 };

static double ulp_of(double e) /* of a normal e */
{
    int exponent;
    frexp(e, &exponent);
    return ldexp(1, exponent - (itemsize == 4 ? 24 : 53));
}

/* By how many ULP of float64 the functions of long double may themselves be wrong. In musl on AArch64 they are those of double,
 * whose 0.52 ULP count twice in a sigmoid just below a power of 2; elsewhere the whole type may be double. */
static double wide_error(void)
{
    volatile const double x = 1.0 / 3;
    if (itemsize == 4 || expl(x) != (wide)exp(x)) return 0;
    return LDBL_MANT_DIG > DBL_MANT_DIG ? 1.1 : 3;
}

static void check_function(int f, const void *x, ptrdiff_t n)
{
    static double y[CHUNK]; /* room for either type */
    const double bound = functions[f].ulp + wide_error();
    apply(number_of(functions[f].name), x, NULL, NULL, y, n);
    for (ptrdiff_t i = 0; i < n; ++i) {
        const double given = at(x, i), got = at(y, i), a = fabs(given) < tiny() ? copysign(0, given) : given;
        const wide exact = itemsize == 4 ? (wide)functions[f].of_double(a) : functions[f].of_wide(a);
        const double size = (double)fabsl(exact);
        if (fabs(a) > functions[f].most) {
            if (!isnan(got) && (isinf(a) || fabs(got) > 1)) wrong(functions[f].name, a, 0, 0, got, NAN);
        } else if (isnan(exact)) {
            if (!isnan(got)) wrong(functions[f].name, a, 0, 0, got, NAN);
        } else if (size < tiny() * (1 + 1e-6)) {
            const int other_sign = exact == 0 && a == 0 && signbit(got) != signbit((double)exact);
            if (!(fabs(got) <= tiny() * (1 + 1e-6)) || other_sign) wrong(functions[f].name, a, 0, 0, got, (double)exact);
        } else if (size > largest()) {
            if (!(copysign(1, (double)exact) * got >= largest())) wrong(functions[f].name, a, 0, 0, got, (double)exact);
        } else {
            const double error = (double)fabsl(got - exact) / ulp_of(size);
            /* without a fused multiply-add, sigmoid's 2^n q is flushed to zero where it is subnormal */
            const int unfused = strcmp(isa, "scalar") == 0 && strcmp(functions[f].name, "sigmoid") == 0;
            if (unfused && fabsl(got - exact) <= tiny()) continue;
            if (isinf(got) && size > largest() * (1 - bound * epsilon())) continue;
            if (!(error <= bound)) wrong(functions[f].name, a, 0, 0, got, (double)exact);
            if (error > worst_ulp) worst_ulp = error, worst_at = a;
        }
    }
}

static void float_sample(int f, uint32_t stride)
{
    float x[CHUNK];
    ptrdiff_t n = 0;
    uint64_t bits = 0;
    for (; bits <= UINT32_MAX; bits += stride) {
        const uint32_t pattern = (uint32_t)bits;
        memcpy(x + n++, &pattern, sizeof pattern);
        if (n == CHUNK) check_function(f, x, n), n = 0;
    }
    check_function(f, x, n);
}

static uint64_t seed = 1;
static double uniform(void) /* [0, 1) */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return ldexp((double)(seed >> 11), -53);
}

static void double_sample(int f, int each)
{
    double x[CHUNK];
    for (int exponent = -1074; exponent < 1024; ++exponent)
        for (int done = 0; done < each; done += CHUNK) {
            const int n = each - done < CHUNK ? each - done : CHUNK;
            for (int i = 0; i < n; ++i) x[i] = ldexp(1 + uniform(), exponent) * (i % 2 ? -1 : 1);
            check_function(f, x, n);
        }
    for (int i = 0; i < 40 * each; i += CHUNK) { /* where most arguments are, around 1, and next to multiples of pi/2 */
        for (int j = 0; j < CHUNK; ++j) x[j] = (uniform() - 0.5) * (i % (2 * CHUNK) ? 1500 : 40);
        check_function(f, x, CHUNK);
        for (int j = 0; j < CHUNK; ++j) x[j] = 1 + (uniform() - 0.5) * ldexp(1, -(j % 50));
        check_function(f, x, CHUNK);
        for (int j = 0; j < CHUNK; ++j)
            x[j] = floor(uniform() * 600000) * 1.57079632679489661923 * (1 + (j % 3 - 1) * DBL_EPSILON);
        check_function(f, x, CHUNK);
    }
}

/* ---- the others: every combination of values -------------------------------------------------------------------------- */
static double plain(const char *name, double a, double b, double c)
{
#define IS(text) (strcmp(name, text) == 0)
    const double same = itemsize == 4 ? (float)(a * b) : a * b;
    if (IS("move")) return a;
    if (IS("add") || IS("add_if")) return a + b;
    if (IS("sub")) return a - b;
    if (IS("mul") || IS("both")) return a * b;
    if (IS("div")) return a / b;
    if (IS("fma") && strcmp(isa, "scalar") == 0) return same + c;
    if (IS("fnma") && strcmp(isa, "scalar") == 0) return c - same;
    if (IS("fma")) return itemsize == 4 ? fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
    if (IS("fnma")) return itemsize == 4 ? fmaf(-(float)a, (float)b, (float)c) : fma(-a, b, c);
    if (IS("neg")) return -a;
    if (IS("abs")) return fabs(a);
    if (IS("sign")) return a > 0 ? 1 : a < 0 ? -1 : a;
    if (IS("floor")) return floor(a);
    if (IS("relu")) return a <= 0 ? 0 : a;
    if (IS("maximum")) return isnan(a) ? a : isnan(b) ? b : fmax(a, b);
    if (IS("minimum")) return isnan(a) ? a : isnan(b) ? b : fmin(a, b);
    if (IS("either")) return fmax(a, b);
    if (IS("clip")) return isnan(a) ? a : fmin(c, fmax(b, a));
    if (IS("lt")) return a < b;
    if (IS("le")) return a <= b;
    if (IS("not_")) return 1 - a;
    if (IS("where")) return a != 0 ? b : c;
    printf("no test of the operation %s\n", name);
    exit(1);
#undef IS
}

static void check_plain(const char *name)
{
    const double positive[] = {0, tiny(), 1e-20, 0.1, 0.5, 1, 1.5, 2.75, 1e18, 8388609.5, largest(), INFINITY};
    double values[25], a[64], b[64], c[64], y[64];
    for (int i = 0; i < 12; ++i) values[2 * i] = positive[i], values[2 * i + 1] = -positive[i];
    values[24] = NAN;
    const int op = number_of(name), n = 64;
    const int numbers = strcmp(name, "clip") == 0, masks = strcmp(name, "either") == 0;
    for (int round = 0; round < 25 * 25 * 25; round += n) {
        for (int i = 0; i < n; ++i) {
            const int which = round + i;
            put(a, i, masks ? which % 2 : values[which % 25]);
            put(b, i, masks ? which / 2 % 2 : numbers ? -0.75 : values[which / 25 % 25]);
            put(c, i, numbers ? 1.5 : values[which / 625 % 25]);
        }
        apply(op, a, b, c, y, n);
        for (int i = 0; i < n; ++i) {
            const double got = at(y, i), wanted = plain(name, at(a, i), at(b, i), at(c, i));
            const double expected = itemsize == 4 ? (float)wanted : wanted;
            const double flushed = fabs(expected) < tiny() ? 0 : expected;
            if (!(isnan(got) ? isnan(expected) : got == flushed))
                if (fabs(expected) >= 2 * tiny() || fabs(got) > tiny())
                    wrong(name, at(a, i), at(b, i), at(c, i), got, expected);
        }
    }
}

/* fused operations have the bits of what they stand for, and a tail those of whole vectors */
static void check_fused(void)
{
    enum { N = 1000 };
    double a[N], b[N], sum[N], one[N], slope[N], expected[N], y[N + 1];
    for (int i = 0; i < N; ++i) put(a, i, (uniform() - 0.5) * 12), put(b, i, uniform() * 2 - 1), put(one, i, 1);
    const char *const fused[] = {"add_tanh", "add_sigmoid", "slope_tanh", "slope_sigmoid"};
    for (int f = 0; f < 4; ++f) {
        if (f < 2) {
            apply(number_of("add"), a, b, NULL, sum, N);
            apply(number_of(f ? "sigmoid" : "tanh"), sum, NULL, NULL, expected, N);
        } else {
            apply(number_of("fnma"), b, b, f == 2 ? one : b, slope, N);
            apply(number_of("mul"), a, slope, NULL, expected, N);
        }
        for (int n = N - 40; n <= N; ++n) {
            memset(y, 0x55, sizeof y);
            apply(number_of(fused[f]), a, b, NULL, y, n);
            if (memcmp(y, expected, (size_t)(n * itemsize))) wrong(fused[f], 0, 0, 0, n, N);
            for (int i = 0; i < itemsize; ++i)
                if (((char *)y)[n * itemsize + i] != 0x55) wrong(fused[f], 0, 0, 0, n, N);
        }
    }
    apply(number_of("add_if"), a, NULL, NULL, y, N - 1);
    if (memcmp(y, a, (size_t)((N - 1) * itemsize))) wrong("add_if without b", 0, 0, 0, 0, 0);
    apply(number_of("splat"), a, NULL, NULL, y, N - 1);
    for (int i = 0; i < N - 1; ++i)
        if (at(y, i) != at(a, 0)) wrong("splat", at(a, 0), 0, 0, at(y, i), at(a, 0));
    for (int n = 1; n < 70; ++n) {
        memset(y, 0, sizeof y);
        apply(number_of("total"), a, NULL, NULL, y, n);
        for (int q = 0; q * k->lanes < n; ++q) {
            double exact = 0;
            for (int i = q * k->lanes; i < n && i < (q + 1) * k->lanes; ++i) exact += at(a, i);
            if (!(fabs(at(y, q) - exact) <= 100 * epsilon())) wrong("total", n, q, 0, at(y, q), exact);
        }
    }
}

static int is_checked_apart(const char *name)
{
    static const char *const apart[] = {"splat", "total", "add_tanh", "add_sigmoid", "slope_tanh", "slope_sigmoid"};
    for (size_t i = 0; i < sizeof apart / sizeof apart[0]; ++i)
        if (strcmp(name, apart[i]) == 0) return 1;
    for (int f = 0; f < FUNCTIONS; ++f)
        if (strcmp(name, functions[f].name) == 0) return 1;
    return 0;
}

int main(int count, char **arguments)
{
    const uint32_t stride = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 100003;
    const char *const only_isa = count > 2 ? arguments[2] : NULL, *const only = count > 3 ? arguments[3] : NULL;
    for (int i = 0; i < 2 * rf_isa_count(); ++i) {
        isa = rf_isa_name(i / 2);
        itemsize = i % 2 ? 8 : 4;
        k = rf_isa_kernels(i / 2, itemsize);
        if (only_isa && strcmp(isa, only_isa)) continue;
        if (!rf_isa_present(i / 2)) {
            printf("%s: not on this CPU\n", isa);
            continue;
        }
        const int before = failures;
        report[0] = 0;
        for (int f = 0; f < FUNCTIONS; ++f) {
            if (only && strcmp(only, functions[f].name)) continue;
            worst_ulp = 0;
            if (itemsize == 4) float_sample(f, stride);
            else double_sample(f, stride > 1000 ? 32 : 5000);
            sprintf(report + strlen(report), " %s %.2f (%.9g)", functions[f].name, worst_ulp, worst_at);
        }
        for (int op = 0; op < rf_op_count(); ++op)
            if (!is_checked_apart(rf_op_name(op))) check_plain(rf_op_name(op));
        check_fused();
        printf("operations of programs, %s, float%d: %s, ULP:%s\n", isa, 8 * itemsize, failures == before ? "right" : "WRONG",
               report);
        fflush(stdout);
    }
    return failures > 0;
}
