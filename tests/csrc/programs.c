/* programs.c: random programs of every ISA this CPU has, in both element types, through rf_kernels.interpret and, instruction
 * by instruction and row by row, through rf_kernels.apply (which ops.c tests): the same bits, in every element of every array,
 * the gaps between rows too. Every array ends where a page begins that may not be touched. `programs [SEED [CASES]]`. */
#include "system.h"

#include <math.h>

#include "rnnfast.h"

static const rf_kernels *k;
static const char *isa;
static char at[200]; /* the case, for the report of a failure */
static int failures;

static uint64_t seed;
static uint32_t draw(uint32_t n) /* 0 .. n-1 */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

#include "arrays.h"
static double value(const void *a, ptrdiff_t i) { return k->itemsize == 4 ? ((const float *)a)[i] : ((const double *)a)[i]; }
static void set(void *a, ptrdiff_t i, double x)
{
    if (k->itemsize == 4) ((float *)a)[i] = (float)x;
    else ((double *)a)[i] = x;
}

static void *random_array(ptrdiff_t n)
{
    void *a = array(n);
    for (ptrdiff_t i = 0; i < n; ++i) set(a, i, draw(1 << 20) / 262144.0 - 2);
    return a;
}

/* an array as the interpreter has it and as the reference has it */
typedef struct both {
    void *run, *plain;
    ptrdiff_t n;
} both;
static both twice(ptrdiff_t n)
{
    both b = {random_array(n), array(n), n};
    memcpy(b.plain, b.run, (size_t)(n * k->itemsize));
    return b;
}

static void must_be_same(const char *name, both b)
{
    for (ptrdiff_t i = 0; i < b.n; ++i) {
        if (memcmp(part(b.run, i), part(b.plain, i), (size_t)k->itemsize) == 0) continue;
        if (isnan(value(b.run, i)) && isnan(value(b.plain, i))) continue;
        if (++failures <= 20)
            printf("%s, float%d, %s: %s[%td of %td] is %.9g instead of %.9g\n", isa, 8 * k->itemsize, at, name, i, b.n,
                   value(b.run, i), value(b.plain, i));
        return;
    }
}

/* ---- a random program ------------------------------------------------------------------------------------------------- */
enum { SLOTS = 6, STATES = 2, VECTORS = 3, EXTRAS = 2, ROWS = 5, PARTIALS = 4, CONSTANTS = 4, INSTRUCTIONS = 40 };
typedef struct made {
    rf_program program;
    rf_instruction instruction[INSTRUCTIONS];
    rf_operand operand[RF_MAX_OPERANDS];
    double constant[CONSTANTS];
} made;

static int op_named(const char *name)
{
    for (int i = 0; i < rf_op_count(); ++i)
        if (strcmp(rf_op_name(i), name) == 0) return i;
    abort();
}

static int16_t operand(made *m, int space, int number)
{
    for (int i = 0; i < m->program.operands; ++i)
        if (m->operand[i].space == space && m->operand[i].number == number) return (int16_t)i;
    m->operand[m->program.operands] = (rf_operand){(int16_t)space, (int16_t)number};
    return (int16_t)m->program.operands++;
}

/* what an instruction may read: a register that was written, or anything that a pass reads */
static int16_t readable(made *m, const char *written, int sums, int of_rows)
{
    const int registers = m->program.registers;
    for (;;) {
        const int n = (int)draw((uint32_t)registers);
        switch (draw(of_rows ? 4 : 9)) {
        case 0: case 1: if (written[n]) return operand(m, RF_REGISTER, n); break;
        case 2: return operand(m, RF_CONSTANT, (int)draw(CONSTANTS));
        case 3:
            if (of_rows) return operand(m, RF_ROW, (int)draw(ROWS));
            if (sums) return operand(m, RF_SUM, (int)draw((uint32_t)sums));
            break;
        case 4: return operand(m, RF_SLOT, (int)draw(SLOTS));
        case 5: return operand(m, RF_BEFORE, (int)draw(STATES));
        case 6: return operand(m, RF_VECTOR, (int)draw(VECTORS));
        case 7: return operand(m, RF_EXTRA, (int)draw(EXTRAS));
        default: return operand(m, RF_AFTER, (int)draw(STATES)); /* read by programs backward, and as what was written */
        }
    }
}

static int16_t writable(made *m, char *written, int of_rows)
{
    const int n = (int)draw((uint32_t)m->program.registers);
    switch (draw(of_rows ? 3 : 9)) {
    case 2: if (of_rows) return operand(m, RF_ROW, (int)draw(ROWS));
            return operand(m, RF_SLOT, (int)draw(SLOTS));
    case 3: return operand(m, RF_SLOT, (int)draw(SLOTS));
    case 4: return operand(m, RF_AFTER, (int)draw(STATES));
    case 5: return operand(m, RF_Y, 0);
    case 6: return operand(m, RF_D_BEFORE, (int)draw(STATES));
    case 7: return draw(2) ? operand(m, RF_D_EXTRA, (int)draw(EXTRAS)) : operand(m, RF_D_VECTOR, (int)draw(VECTORS));
    default: written[n] = 1; return operand(m, RF_REGISTER, n);
    }
}

static void make(made *m, int sums, int of_rows)
{
    char written[RF_MAX_REGISTERS] = {0};
    const int registers = draw(4) ? 1 + (int)draw(12) : RF_MAX_REGISTERS, count = 1 + (int)draw(INSTRUCTIONS);
    const int splat = op_named("splat"), total = op_named("total"), add_if = op_named("add_if");
    *m = (made){.program = {.instructions = count, .registers = registers, .constants = CONSTANTS}};
    for (int i = 0; i < CONSTANTS; ++i) m->constant[i] = draw(1000) / 250.0 - 2;
    for (int i = 0; i < count; ++i) {
        rf_instruction *now = m->instruction + i;
        now->op = (int16_t)draw((uint32_t)rf_op_count());
        memset(now->operand, -1, sizeof now->operand);
        if ((now->op == splat || now->op == total) && of_rows) now->op = (int16_t)add_if;
        for (int a = 1; a <= rf_op_arguments(now->op); ++a) now->operand[a] = readable(m, written, sums, of_rows);
        if (now->op == splat) now->operand[1] = operand(m, RF_ROW, (int)draw(ROWS));
        if (now->op == add_if && !of_rows) { /* the arrays that may be absent */
            const int space[] = {RF_DY, RF_D_AFTER, RF_D_EXTRA};
            const int which = (int)draw(3);
            now->operand[2] = operand(m, space[which], which ? (int)draw(2) : 0);
        }
        now->operand[0] = now->op == total ? operand(m, RF_PARTIAL, (int)draw(PARTIALS / 2)) : writable(m, written, of_rows);
    }
    m->program.instruction = m->instruction;
    m->program.operand = m->operand;
    m->program.constant = m->constant;
}

/* ---- the reference ---------------------------------------------------------------------------------------------------- */
/* what the operand is for one row; NULL: absent. `constants`, `registers`: blocks of `units` numbers. */
static void *plain_row(const rf_step *s, rf_operand o, ptrdiff_t row, ptrdiff_t units, void *constants, void *registers)
{
    const ptrdiff_t H = s->p[0].cols;
    rf_rows a = {NULL, 0};
    switch ((rf_space)o.space) {
    case RF_REGISTER: return part(registers, (row * RF_MAX_REGISTERS + o.number) * units);
    case RF_CONSTANT: return part(constants, o.number * units);
    case RF_VECTOR: return part(s->vectors, o.number * H);
    case RF_ROW: return part(s->row_values, o.number * s->ld_row_values + row);
    case RF_SUM: a = s->sums; return part(a.at, row * a.ld + o.number * H);
    case RF_SLOT: a = s->slots; return part(a.at, row * a.ld + o.number * H);
    case RF_BEFORE: a = s->before[o.number]; break;
    case RF_AFTER: a = s->after[o.number]; break;
    case RF_Y: a = s->y; break;
    case RF_DY: a = s->dy; break;
    case RF_D_AFTER: a = s->d_after[o.number]; break;
    case RF_D_BEFORE: a = s->d_before[o.number]; break;
    case RF_EXTRA: a = s->extra[o.number]; break;
    case RF_D_EXTRA: a = s->d_extra[o.number]; break;
    case RF_D_VECTOR: a = s->d_vectors; return part(a.at, row * a.ld + o.number * H);
    default: abort();
    }
    return a.at ? part(a.at, row * a.ld) : NULL;
}

static void plain_program(const rf_step *s, const rf_program *program, ptrdiff_t rows, ptrdiff_t units)
{
    const ptrdiff_t vectors = (s->p[0].cols + k->lanes - 1) / k->lanes;
    const size_t item = (size_t)k->itemsize;
    void *constants = malloc((size_t)(program->constants * units) * item), *row_of_sums = malloc((size_t)units * item);
    void *registers = malloc((size_t)(rows * RF_MAX_REGISTERS * units) * item);
    for (ptrdiff_t i = 0; i < program->constants * units; ++i) set(constants, i, program->constant[i / units]);
    for (int i = 0; i < program->instructions; ++i)
        for (ptrdiff_t row = 0; row < rows; ++row) {
            const rf_instruction *now = program->instruction + i;
            void *p[4] = {NULL};
            for (int a = 0; a <= rf_op_arguments(now->op); ++a) {
                const rf_operand o = program->operand[now->operand[a]];
                if (o.space != RF_PARTIAL) p[a] = plain_row(s, o, row, units, constants, registers);
            }
            if (strcmp(rf_op_name(now->op), "total") == 0) {
                k->apply(now->op, p[1], NULL, NULL, row_of_sums, units);
                for (ptrdiff_t q = 0; q < vectors; ++q)
                    set(s->partials, (program->operand[now->operand[0]].number * vectors + q) * s->ld_partials + row,
                        value(row_of_sums, q));
            } else if (p[0]) {
                k->apply(now->op, p[1], p[2], p[3], p[0], units);
            }
        }
    free(constants), free(row_of_sums), free(registers);
}

static double multiply_add(double a, double b, double c)
{
    if (strcmp(isa, "scalar")) return k->itemsize == 4 ? fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
    return k->itemsize == 4 ? (float)((float)a * (float)b) + (float)c : a * b + c;
}

/* ---- cases ------------------------------------------------------------------------------------------------------------ */
static rf_rows rows_of(const both *b, int plain, ptrdiff_t ld) { return (rf_rows){plain ? b->plain : b->run, ld}; }

static void one_case(ptrdiff_t H, ptrdiff_t rows)
{
    const int products = (int)draw(4), totals = (int)draw(3), absent = (int)draw(8), live = draw(4) == 0;
    const ptrdiff_t vectors = (H + k->lanes - 1) / k->lanes, ld = H + draw(4), middle = H / 2 / (2 * k->lanes) * 2 * k->lanes;
    static made units_made, rows_made;
    rf_phase phase = {.totals = totals, .products = products};
    const rf_total total[2] = {{PARTIALS / 2, 0}, {PARTIALS / 2 + 1, ROWS - 1}};
    rf_step run = {0};
    int sums = 0;
    for (int i = 0; i < products; ++i) {
        phase.sum[i] = sums;
        phase.gates[i] = 1 + (int)draw(4);
        sums += phase.gates[i];
    }
    make(&units_made, sums, 0);
    make(&rows_made, 0, 1);
    phase.total = total;
    phase.program = draw(10) ? &units_made.program : NULL;
    phase.row_program = draw(2) ? &rows_made.program : NULL;
    snprintf(at, sizeof at, "%td units, %td rows, %d products of %d sums, %d instructions%s", H, rows, products, sums,
             units_made.program.instructions, live ? ", live" : "");

    both slots = twice(rows * (SLOTS * H + 5)), vector = twice(VECTORS * H), y = twice(rows * ld), dy = twice(rows * ld);
    both d_vector = twice(rows * (VECTORS * H + 3));
    both before[STATES], after[STATES], d_after[STATES], d_before[STATES], extra[EXTRAS], d_extra[EXTRAS];
    for (int i = 0; i < STATES; ++i) {
        before[i] = twice(rows * ld), after[i] = twice(rows * ld);
        d_after[i] = twice(rows * ld), d_before[i] = twice(rows * ld);
        extra[i] = twice(rows * ld), d_extra[i] = twice(rows * ld);
    }
    both row_values = twice(ROWS * (rows + 1)), partials = twice(PARTIALS * vectors * (rows + 2));
    both summed = twice(rows * (sums * H + 1));
    rf_step plain = run;
    for (int which = 0; which < 2; ++which) {
        rf_step *s = which ? &plain : &run;
        s->phase = &phase;
        s->slots = rows_of(&slots, which, SLOTS * H + 5);
        s->vectors = which ? vector.plain : vector.run;
        s->y = rows_of(&y, which, ld);
        s->d_vectors = rows_of(&d_vector, which, VECTORS * H + 3);
        if (absent & 1) s->dy = rows_of(&dy, which, ld);
        for (int i = 0; i < STATES; ++i) {
            s->before[i] = rows_of(before + i, which, ld), s->after[i] = rows_of(after + i, which, ld);
            s->d_before[i] = rows_of(d_before + i, which, ld), s->extra[i] = rows_of(extra + i, which, ld);
            if (absent & 2) s->d_after[i] = rows_of(d_after + i, which, ld);
            if (absent & 4) s->d_extra[i] = rows_of(d_extra + i, which, ld);
        }
        s->sums = rows_of(&summed, which, sums * H + 1);
        s->row_values = which ? row_values.plain : row_values.run, s->ld_row_values = rows + 1;
        s->partials = which ? partials.plain : partials.run, s->ld_partials = rows + 2;
        s->p[0].rows = rows, s->p[0].cols = H;
    }

    const void **lists[3] = {NULL};
    for (int i = 0; i < products; ++i) {
        const int gates = phase.gates[i];
        const ptrdiff_t depth = draw(5) ? 1 + (ptrdiff_t)draw(40) : 0;
        void *a = random_array(rows * (depth + 1)), *w = random_array(gates * H * depth + 1);
        void *panels = array(rf_panels(k, H, gates) * depth * (gates == 1 ? 2 : gates) * k->lanes + 1);
        lists[i] = malloc((size_t)(gates * H) * sizeof *lists[i]);
        for (ptrdiff_t j = 0; j < gates * H; ++j) lists[i][j] = part(w, j * depth);
        k->pack_gates(panels, lists[i], 1, 0, H, H, depth, gates);
        run.p[i] = (rf_product){.rows = rows, .cols = H, .k = depth, .k_panel = depth, .a = a, .lda = depth + 1,
                                .w = live ? NULL : panels, .w_rows = lists[i], .w_step = 1, .descending = (int)draw(2)};
        for (ptrdiff_t row = 0; row < rows; ++row)
            for (ptrdiff_t j = 0; j < gates * H; ++j) {
                double sum = 0;
                for (ptrdiff_t d = 0; d < depth; ++d)
                    sum = multiply_add(value(a, row * (depth + 1) + d), value(w, j * depth + d), sum);
                set(plain.sums.at, row * plain.sums.ld + phase.sum[i] * H + j, sum);
            }
    }

    const size_t row_bytes = (size_t)(row_values.n * k->itemsize);
    void *first_values = malloc(row_bytes);
    memcpy(first_values, row_values.run, row_bytes);
    for (int half = middle > 0 ? 0 : 1; half < 2; ++half) { /* as two threads would have it */
        memcpy(row_values.run, first_values, row_bytes);
        run.unit0 = half ? middle : 0;
        run.unit1 = half ? H : middle;
        for (int i = 0; i < products; ++i) {
            run.p[i].panel0 = rf_panels(k, run.unit0, phase.gates[i]);
            run.p[i].panel1 = rf_panels(k, run.unit1, phase.gates[i]);
        }
        k->interpret(&run);
    }
    for (int t = 0; t < totals; ++t)
        for (ptrdiff_t row = 0; row < rows; ++row) {
            void *sum = part(plain.row_values, total[t].row * plain.ld_row_values + row);
            const void *from = part(plain.partials, total[t].partial * vectors * plain.ld_partials + row);
            memcpy(sum, from, (size_t)k->itemsize);
            for (ptrdiff_t q = 1; q < vectors; ++q)
                set(sum, 0, value(sum, 0) + value(from, q * plain.ld_partials)); /* of floats exact, then rounded */
        }
    if (phase.row_program) plain_program(&plain, phase.row_program, 1, rows);
    if (phase.program) plain_program(&plain, phase.program, rows, H);

    must_be_same("slots", slots), must_be_same("vectors", vector), must_be_same("y", y), must_be_same("dy", dy);
    must_be_same("d_vectors", d_vector);
    for (int i = 0; i < STATES; ++i) {
        must_be_same("before", before[i]), must_be_same("after", after[i]), must_be_same("d_after", d_after[i]);
        must_be_same("d_before", d_before[i]), must_be_same("extra", extra[i]), must_be_same("d_extra", d_extra[i]);
    }
    must_be_same("row values", row_values), must_be_same("partials", partials);
    for (int i = 0; i < products; ++i) free(lists[i]);
    free(first_values);
    free_arrays();
}

int main(int count, char **arguments)
{
    const uint64_t first = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
    const int cases = count > 2 ? atoi(arguments[2]) : 3;
    for (int i = 0; i < 2 * rf_isa_count(); ++i) {
        isa = rf_isa_name(i / 2);
        if (!rf_isa_present(i / 2)) {
            printf("%s: not on this CPU\n", isa);
            continue;
        }
        k = rf_isa_kernels(i / 2, i % 2 ? 8 : 4);
        const int before = failures;
        int done = 0;
        seed = first;
        const uint64_t saved = rf_fp_enter();
        for (ptrdiff_t H = 1; H <= 140; H += H < 70 ? 1 : 23, MOVE_STACK())
            for (int j = 0; j < cases; ++j, ++done) one_case(H, draw(3) ? 1 + draw(13) : 1 + draw(110));
        rf_fp_leave(saved);
        printf("programs, %s, float%d: %s, %d cases\n", isa, 8 * k->itemsize, failures == before ? "right" : "WRONG", done);
    }
    return !stack_was_moved() || failures > 0;
}
