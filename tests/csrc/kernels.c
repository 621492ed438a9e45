/* kernels.c: every kernel of every ISA this CPU has, float32 and float64, against scalar float64; no Python.
 *
 * The same cases run once per table of kernels, the first time with scalar float64, whose results are kept. Every array
 * ends where a page begins that may not be touched: a read or a write past an end is a crash. */
#include "system.h"

#include <math.h>

#include "rnnfast.h"

static const rf_kernels *k; /* those under test */
static const char *isa;
static char at[96]; /* what is computed, for the report of a failure */
static int failures;
static double worst; /* error, as a part of what is allowed */

#include "arrays.h"
static double value(const void *a, ptrdiff_t i) { return k->itemsize == 4 ? ((const float *)a)[i] : ((const double *)a)[i]; }
static void set(void *a, ptrdiff_t i, double x)
{
    if (k->itemsize == 4) ((float *)a)[i] = (float)x;
    else ((double *)a)[i] = x;
}

/* n numbers in (-scale, scale), the same for every table: floats in both types */
static uint32_t seed;
static void *random_array(ptrdiff_t n, double scale)
{
    void *a = array(n);
    for (ptrdiff_t i = 0; i < n; ++i) {
        seed = seed * 1664525u + 1013904223u;
        set(a, i, (float)(scale * ((seed >> 8) / 8388608.0 - 1)));
    }
    return a;
}

static const void **rows_of(void *a, ptrdiff_t rows, ptrdiff_t cols)
{
    const void **list = malloc((size_t)(rows + 1) * sizeof *list);
    for (ptrdiff_t i = 0; i < rows; ++i) list[i] = part(a, i * cols);
    return list;
}

/* rows (k_len, cols) as panels of `panel` columns; the later rows first, as another thread may pack them */
static void *packed(void *a, ptrdiff_t k_len, ptrdiff_t cols, int panel)
{
    const void **rows = rows_of(a, k_len, cols);
    void *out = array((cols + panel - 1) / panel * panel * k_len);
    k->pack_rows(out, rows, 1, k_len / 2, k_len, k_len, cols, panel);
    k->pack_rows(out, rows, 1, 0, k_len / 2, k_len, cols, panel);
    free(rows);
    return out;
}

/* ---- comparison ------------------------------------------------------------------------------------------------------ */
static struct { double *values; size_t used, room; } kept; /* of scalar float64, in order */
static int keeping;

static void compare(const char *name, const void *a, ptrdiff_t n)
{
    double error = 0, norm = 0, numbers = 0;
    int apart = 0; /* NaN on one side only */
    if (kept.used + (size_t)n > kept.room) {
        kept.room = 2 * (kept.used + (size_t)n);
        if (!(kept.values = realloc(kept.values, kept.room * sizeof *kept.values))) abort();
    }
    for (ptrdiff_t i = 0; i < n; ++i) {
        double *x = kept.values + kept.used++, y = value(a, i);
        if (keeping) *x = y;
        apart |= isnan(*x) != isnan(y);
        if (isnan(*x) || isnan(y)) continue;
        error += (*x - y) * (*x - y);
        norm += *x * *x;
        numbers += 1e-6;
    }
    /* as in README's measure, numbers below 1e-3 count as 1e-3: what is left where large terms cancel */
    error = sqrt(error) / (sqrt(fmax(norm, numbers)) + 1e-30) / (k->itemsize == 4 ? 1e-5 : 1e-13);
    worst = error > worst ? error : worst;
    if (apart || !(error <= 1)) {
        ++failures;
        printf("%s, float%d, %s, %s: %s (error %.3g of what is allowed)\n", isa, 8 * k->itemsize, at, name,
               apart ? "NaN on one side only" : "wrong", error);
    }
}

/* ---- cases --------------------------------------------------------------------------------------------------------------- */
static void vector_math(ptrdiff_t n)
{
    const double special[] = {NAN, -0.0, 0, INFINITY, -INFINITY, 1e-30, -200, 200};
    void *x = random_array(n, n > 100 ? 30 : 2), *y = array(n);
    for (ptrdiff_t i = 0; i < 8 && i < n; ++i) set(x, n - 1 - i, special[i]);
    snprintf(at, sizeof at, "%td elements", n);
    k->tanh(x, y, n);
    compare("tanh", y, n);
    for (ptrdiff_t i = 0; i < n; ++i)
        if (!isnan(value(x, i)) && signbit(value(x, i)) != signbit(value(y, i))) set(y, i, 2); /* the sign of 0 too */
    compare("sign of tanh", y, n);
    k->sigmoid(x, y, n);
    compare("sigmoid", y, n);
    free_arrays();
}

static void product(ptrdiff_t rows, ptrdiff_t depth, ptrdiff_t cols, rf_start start, int packed_a)
{
    void *a = random_array(rows * depth, 1), *w = random_array(depth * cols, 1), *bias = random_array(cols, 1);
    void *c = random_array(rows * cols, 1);
    rf_gemm g = {.c = c, .ldc = cols, .bias = bias, .start = start};
    g.p = (rf_product){.rows = rows, .cols = cols, .k = depth, .k_panel = depth, .panel1 = rf_panels(k, cols, 1),
                       .a = packed_a ? packed(a, depth, rows, k->mr) : a, /* then a is read as (depth, rows) */
                       .lda = depth, .w = packed(w, depth, cols, k->width), .packed_a = packed_a};
    snprintf(at, sizeof at, "gemm %td x %td x %td, start %d, packed %d", rows, depth, cols, (int)start, packed_a);
    k->gemm(&g);
    compare("c", c, rows * cols);
    const void **list = rows_of(a, rows, depth);
    k->column_sum(w, list, rows, depth < cols ? depth : cols);
    compare("column sum", w, depth < cols ? depth : cols);
    free(list);
    free_arrays();
}

static void must_be_same(const char *name, const void *a, const void *b, ptrdiff_t n)
{
    if (memcmp(a, b, (size_t)(n * k->itemsize)) == 0) return;
    ++failures;
    printf("%s, float%d, %s, %s: not the same bits\n", isa, 8 * k->itemsize, at, name);
}

/* a weight (units, depth) in C order and in Fortran order: packed from either, and read where it is, it gives the same bits */
static void unpacked(ptrdiff_t rows, ptrdiff_t depth, ptrdiff_t units, int gates)
{
    const ptrdiff_t all = gates * units, elements = rf_panels(k, units, gates) * depth * (gates == 1 ? 2 : gates) * k->lanes;
    void *w = random_array(all * depth, 1), *turned = array(all * depth), *panels[2], *c[3], *a = random_array(rows * depth, 1);
    for (ptrdiff_t i = 0; i < all * depth; ++i) set(turned, i % depth * all + i / depth, value(w, i));
    const void **lists[2] = {rows_of(w, all, depth), rows_of(turned, all, 1)};
    const ptrdiff_t steps[2] = {1, all};
    snprintf(at, sizeof at, "unpacked, %td rows, %td deep, %td units, %d gates", rows, depth, units, gates);
    for (int i = 0; i < 2; ++i) {
        panels[i] = array(elements);
        k->pack_gates(panels[i], lists[i], steps[i], 0, units, units, depth, gates);
    }
    must_be_same("panels", panels[0], panels[1], elements);
    rf_gemm g = {.ldc = units, .bias = random_array(units, 1), .start = RF_START_BIAS};
    for (int i = 0; gates == 1 && i < 3; ++i) {
        g.c = c[i] = array(rows * units);
        g.p = (rf_product){.rows = rows, .cols = units, .k = depth, .k_panel = depth, .panel1 = rf_panels(k, units, 1), .a = a,
                           .lda = depth, .w = i ? NULL : panels[0], .w_rows = i ? lists[i - 1] : NULL,
                           .w_step = i ? steps[i - 1] : 0, .descending = i && rows % 2};
        k->gemm(&g);
        must_be_same("c", c[i], c[0], rows * units);
    }
    free(lists[0]);
    free(lists[1]);
    free_arrays();
}

/* all panels at once for one row, else in two parts, as two threads would have them */
static void run(rf_step_kernel kernel, rf_step *s, int gates)
{
    rf_product *p = s->p;
    const ptrdiff_t panels = rf_panels(k, p->cols, gates), half = p->rows == 1 ? 0 : panels / 2;
    p->descending = p->rows % 2;
    for (int i = 0; i < 2; ++i) {
        p->panel0 = i ? half : 0;
        p->panel1 = i ? panels : half;
        kernel.run(s);
    }
}

/* the rows of `blocks` blocks of H rows of W_hh, in the order of block[] */
static const void **rows_of_blocks(void *w, ptrdiff_t H, const int *block, int blocks)
{
    const void **list = malloc((size_t)(blocks * H) * sizeof *list);
    for (ptrdiff_t i = 0; i < blocks * H; ++i) list[i] = part(w, (block[i / H] * H + i % H) * H);
    return list;
}

/* one step of a cell forward, then backward from what it left, with gradients of the step after it */
static void step(int cell, ptrdiff_t rows, ptrdiff_t H)
{
    const rf_cell *c = &rf_cells[cell];
    const ptrdiff_t S = c->slots, n = rows * H, middle = H / (4 * k->lanes) * 2 * k->lanes;
    void *w = random_array(c->h_gates * H * H, 1 / sqrt((double)H)), *slots = random_array(n * S, 2);
    void *next = random_array(n * S, 1);
    rf_step s = {.save = 1, .slots = {slots, S * H}, .vectors = random_array((c->split_biases + 1) * H, 1),
                 .dy = {random_array(n, 1), H}};
    for (int i = 0; i < c->states; ++i) {
        s.before[i] = (rf_rows){random_array(n, 1), H};
        s.after[i] = (rf_rows){array(n), H};
        if (c->state[i].carried) s.d_before[i] = s.d_after[i] = (rf_rows){random_array(n, 1), H};
    }
    if (rows > 1) set(slots, n * S - 1, NAN); /* in the partial panel; must stay there, and must not be lost */
    snprintf(at, sizeof at, "%s, %td rows, %td units", c->name, rows, H);

    for (int i = 0; i < c->forward_phases; ++i) {
        const rf_forward_product f = c->forward_product[c->forward[i].first];
        const int vectors = f.gates == 1 ? 2 : f.gates, state = RF_SRC_STATE - f.source;
        const void **units = rows_of_blocks(w, H, f.gate, f.gates);
        void *panels = array(rf_panels(k, H, f.gates) * H * vectors * k->lanes);
        k->pack_gates(panels, units, 1, middle, H, H, H, f.gates); /* packed by another thread, before the others */
        k->pack_gates(panels, units, 1, 0, middle, H, H, f.gates);
        free(units);
        s.p[0] = (rf_product){.rows = rows, .cols = H, .k = H, .k_panel = H, .w = panels,
                              .a = state >= 0 ? s.before[state].at : part(slots, f.source * H), .lda = state >= 0 ? H : S * H};
        run(k->forward[cell][i], &s, f.gates);
    }
    for (int i = 0; i < c->states; ++i) compare("state", s.after[i].at, n);
    compare("slots", slots, n * S);

    for (int i = 0; i < c->backward_phases; ++i) {
        const rf_backward_product b = c->backward_product[c->backward[i].first];
        const ptrdiff_t depth = b.gates * H;
        const void **units = rows_of_blocks(w, H, c->hh_of_slot + b.slot, b.gates);
        void *panels = array(rf_panels(k, H, 1) * depth * k->width);
        k->pack_rows(panels, units, 1, 0, depth, depth, H, k->width);
        free(units);
        s.p[0] = (rf_product){.rows = rows, .cols = H, .k = depth, .k_panel = depth, .w = panels,
                              .a = part(b.state < 0 ? slots : next, b.slot * H), .lda = S * H};
        run(k->backward[cell][i], &s, 1);
    }
    compare("gradients", slots, n * S);
    for (int i = 0; i < c->states; ++i)
        if (c->state[i].carried) compare("gradient of a state", s.d_before[i].at, n);
    free_arrays();
}

static void all_cases(void)
{
    static const ptrdiff_t rows[] = {1, 2, 3, 7, 13, 29}, sizes[] = {1, 3, 16, 37, 130}, depths[] = {1, 5, 300};
    seed = 1;
    for (ptrdiff_t n = 1; n < 40; ++n) vector_math(n);
    vector_math(20000);
    for (int m = 0; m < 6; ++m)
        for (int j = 0; j < 5; ++j) {
            MOVE_STACK();
            for (int d = 0; d < 3; ++d)
                for (int start = RF_START_ZERO; start <= RF_START_C; ++start)
                    for (int packed_a = 0; packed_a < 2; ++packed_a)
                        product(rows[m], depths[d], sizes[j], (rf_start)start, packed_a);
            for (int cell = 0; cell < rf_cell_count; ++cell) step(cell, rows[m], sizes[j]);
        }
    for (int gates = 1; gates <= 4; ++gates)
        for (int m = 0; m < 3; ++m, MOVE_STACK())
            for (int j = 0; j < 5; ++j)
                for (int d = 0; d < 3; ++d) unpacked(rows[m], depths[d], sizes[j], gates);
    unpacked(2, 20, 13000, 1); /* more panels than fit the accumulators at a time */
    /* deep enough for k in pieces (tile.h: 131072 bytes of a panel), large enough for panels to be fetched ahead (1 MiB) */
    for (int start = RF_START_ZERO; start <= RF_START_C; ++start)
        for (int packed_a = 0; packed_a < 2; ++packed_a) product(29, 2500, 130, (rf_start)start, packed_a);
    for (int cell = 0; cell < rf_cell_count; ++cell) step(cell, 13, 600); /* an odd number of rows: panels in falling order */
}

/* volatile: compilers take the state for granted and would move or drop the sums */
static int subnormals_live(void)
{
    volatile float single = 1e-40f;
    volatile double twice = 1e-310;
    single = single + single;
    twice = twice + twice;
    return (single > 0) + (twice > 0);
}

static void flushed_subnormals(void)
{
    const uint64_t saved = rf_fp_enter();
    const int inside = subnormals_live();
    rf_fp_leave(saved);
    if (inside != 0 || subnormals_live() != 2) {
        ++failures;
        printf("subnormals: %d of 2 live inside a call, %d of 2 after it\n", inside, subnormals_live());
    }
}

/* what csrc/isa/cpuid.h finds in the CPU is what GCC's library finds (other compilers need not have one) */
static void detected(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
                       && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    for (int i = 0; i < rf_isa_count(); ++i) {
        const char *name = rf_isa_name(i);
        const int expected = strcmp(name, "scalar") == 0 || (strcmp(name, "avx512") == 0 ? avx512 : avx2);
        if (rf_isa_present(i) == expected) continue;
        ++failures;
        printf("%s: present %d, but GCC says %d\n", name, rf_isa_present(i), expected);
    }
#endif
}

int main(void)
{
    flushed_subnormals();
    detected();
    for (int i = -1; i < rf_isa_count(); ++i) /* -1: scalar once more, to keep its results */
        for (int itemsize = i < 0 ? 8 : 4; itemsize <= 8; itemsize += 4) {
            isa = rf_isa_name(i < 0 ? 0 : i);
            if (i >= 0 && !rf_isa_present(i)) {
                printf("%s: not on this CPU\n", isa);
                break;
            }
            k = rf_isa_kernels(i < 0 ? 0 : i, itemsize);
            keeping = i < 0;
            kept.used = 0;
            worst = 0;
            const int before = failures;
            all_cases();
            if (!keeping)
                printf("%s, float%d: %s, largest error %.2g of what is allowed\n", isa, 8 * itemsize,
                       failures == before ? "right" : "WRONG", worst);
        }
    return !stack_was_moved() || failures > 0;
}
