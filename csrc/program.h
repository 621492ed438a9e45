/* program.h: the interpreter of programs (rf_program): the elementwise work of a phase as a list of instructions, each a loop
 * over a block of vectors that stays in L1. Programs are checked elsewhere, once: nothing is checked here.
 *
 * A block is a stretch of units of one row, or one vector of units of consecutive rows. For each block the operands become
 * streams: an address and a distance from one vector to the next, 0 where all share it. So registers, constants, arrays,
 * accumulators of a tile and numbers of rows are one kind. A finish written by hand (LSTM, AVX-512) takes half the time on
 * blocks of two vectors, 0.7 of it on four, and the same from eight or so on.
 */
#include "ops.h"

typedef struct rf_stream {
    rf_real *at;
    ptrdiff_t step; /* elements from one vector of the block to the next */
} rf_stream;

/* An operand in memory: where it is for row 0 and vector 0 of the units (as an integer: that need not be within an array), and
 * the elements from one row, and from one vector of units, to the next. */
typedef struct rf_place {
    uintptr_t at;
    ptrdiff_t row, vector;
    int operand, sum; /* sum: which one of a tile's, or -1 */
} rf_place;

enum {
    RF_WORK_VECTORS = 24576 / sizeof(rf_vec),    /* constants, then registers */
    RF_MOST_VECTORS = 1536 / sizeof(rf_vec),     /* of a block */
    RF_COLUMN_ROWS = 16,                         /* of a block down the rows: lines a power of two apart share few sets of L1 */
    RF_FEW_ROWS = 4,
    RF_FEW_VECTORS = 5 /* with four in a row, blocks down 16 rows make the layer-norm LSTM at 64 units 12 % faster */
};
/* the first vectors of work: what is read and what is written where an array is absent, and sums without a product */
enum { RF_ABSENT, RF_DROPPED, RF_NO_SUM, RF_FIRST_CONSTANT };

typedef struct rf_run {
    const rf_step *step;
    const rf_program *program;
    ptrdiff_t most;         /* vectors of a block */
    int places;             /* entries of place */
    rf_place place[RF_MAX_OPERANDS];
    rf_stream stream[RF_MAX_OPERANDS];
    rf_vec work[RF_WORK_VECTORS];
} rf_run;

/* ---- operations on a block -------------------------------------------------------------------------------------------- */
RF_INLINE rf_vec rf_stream_get(const rf_stream *s, ptrdiff_t i, const v_span n) { return v_get(s->at + i * s->step, n); }

/* The sum of all lanes, half to half. An ISA may have better than this, with the same bits. */
RF_INLINE rf_real rf_lanes_sum(rf_vec v)
{
#ifdef RF_LANES_SUM
    return RF_LANES_SUM(v);
#else
    rf_real lane[RF_LANES];
    v_store(lane, v);
    RF_UNROLL for (int half = RF_LANES / 2; half > 0; half /= 2)
        RF_UNROLL for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
#endif
}

/* For each operation: on n vectors, all of whose lanes exist, and where only the first ones do. */
#define RF_STREAMS const rf_stream *y, const rf_stream *a, const rf_stream *b, const rf_stream *c, ptrdiff_t n
#define RF_OP_LOOPS(name)                                                  \
    static void rf_whole_##name(RF_STREAMS, int lanes)                     \
    {                                                                      \
        (void)lanes;                                                       \
        rf_loop_##name(y, a, b, c, n, (v_span){.full = 1, .n = RF_LANES}); \
    }                                                                      \
    static void rf_part_##name(RF_STREAMS, int lanes)                      \
    {                                                                      \
        rf_loop_##name(y, a, b, c, n, (v_span){.full = 0, .n = lanes});    \
    }
#define RF_OP_LOOP(name, arguments, value)                                                                     \
    RF_INLINE rf_vec rf_value_##name(rf_vec a, rf_vec b, rf_vec c)                                             \
    {                                                                                                          \
        (void)a, (void)b, (void)c;                                                                             \
        return value;                                                                                          \
    }                                                                                                          \
    RF_INLINE rf_vec rf_at_##name(RF_STREAMS, const v_span span) /* of vector n */                             \
    {                                                                                                          \
        (void)y;                                                                                               \
        const rf_vec first = rf_stream_get(a, n, span);                                                        \
        return rf_value_##name(first, (arguments) > 1 ? rf_stream_get(b, n, span) : first,                     \
                               (arguments) > 2 ? rf_stream_get(c, n, span) : first);                           \
    }                                                                                                          \
    RF_INLINE void rf_loop_##name(RF_STREAMS, const v_span span)                                               \
    {                                                                                                          \
        ptrdiff_t i = 0;                                                                                       \
        for (; span.full && i + 2 <= n; i += 2) { /* no load waits for the address of the store before it */   \
            const rf_vec one = rf_at_##name(y, a, b, c, i, span), two = rf_at_##name(y, a, b, c, i + 1, span); \
            v_put(y->at + i * y->step, one, span);                                                             \
            v_put(y->at + (i + 1) * y->step, two, span);                                                       \
        }                                                                                                      \
        for (; i < n; ++i) v_put(y->at + i * y->step, rf_at_##name(y, a, b, c, i, span), span);                \
    }                                                                                                          \
    RF_OP_LOOPS(name)
#define RF_NOTHING(...)
RF_OPERATIONS(RF_OP_LOOP, RF_NOTHING)

RF_INLINE void rf_loop_splat(RF_STREAMS, const v_span span)
{
    (void)b, (void)c;
    for (ptrdiff_t i = 0; i < n; ++i) v_put(y->at + i * y->step, v_splat(a->at + i * a->step), span);
}
RF_INLINE void rf_loop_total(RF_STREAMS, const v_span span)
{
    (void)b, (void)c;
    for (ptrdiff_t i = 0; i < n; ++i) y->at[i * y->step] = rf_lanes_sum(rf_stream_get(a, i, span));
}
RF_OP_LOOPS(splat)
RF_OP_LOOPS(total)

#define RF_OP_POINTERS(name, ...) {rf_whole_##name, rf_part_##name},
static const struct { void (*whole)(RF_STREAMS, int lanes), (*part)(RF_STREAMS, int lanes); } rf_op_loops[] = {
    RF_OPERATIONS(RF_OP_POINTERS, RF_OP_POINTERS)};

/* rf_kernels.apply. splat gives a[0] n times; total the sums of a vector each. b NULL: absent, for add_if. */
static void rf_apply(int op, const void *a, const void *b, const void *c, void *y, ptrdiff_t n)
{
    const ptrdiff_t whole = n / RF_LANES, left = n % RF_LANES, from = op == RF_OP_splat ? 0 : RF_LANES;
    const ptrdiff_t to = op == RF_OP_total ? 1 : RF_LANES;
    rf_vec nothing = v_set1((rf_real)-0.0);
    const rf_stream absent = {(rf_real *)&nothing, 0}, second = {(rf_real *)b, RF_LANES}, third = {(rf_real *)c, RF_LANES};
    rf_stream s[4] = {{y, to}, {(rf_real *)a, from}, b ? second : absent, third};
    rf_op_loops[op].whole(s, s + 1, s + 2, s + 3, whole, RF_LANES);
    if (left == 0) return;
    for (int i = 0; i < 4; ++i)
        if (s[i].at) s[i].at += whole * s[i].step;
    rf_op_loops[op].part(s, s + 1, s + 2, s + 3, 1, (int)left);
}

/* ---- a program on a block --------------------------------------------------------------------------------------------- */
/* n vectors from (row, q) on: along the units of the row, or down the rows. lanes of each exist. */
static void rf_block(rf_run *run, ptrdiff_t row, ptrdiff_t q, ptrdiff_t n, const int down, ptrdiff_t lanes)
{
    const rf_program *program = run->program;
    rf_stream *stream = run->stream;
    for (int i = 0; i < run->places; ++i) {
        const rf_place *p = run->place + i;
        const ptrdiff_t offset = row * p->row + q * p->vector;
        stream[p->operand] = (rf_stream){(rf_real *)(p->at + (uintptr_t)offset * sizeof(rf_real)), down ? p->row : p->vector};
    }
    const rf_stream dropped = {(rf_real *)(run->work + RF_DROPPED), 0};
    for (int i = 0; i < program->instructions; ++i) {
        const rf_instruction *now = program->instruction + i;
        const int16_t *o = now->operand;
        const rf_stream *y = stream + o[0], *a = stream + o[1];
        const rf_stream *b = o[2] < 0 ? a : stream + o[2], *c = o[2] < 0 || o[3] < 0 ? a : stream + o[3];
        if (y->at == (rf_real *)(run->work + RF_ABSENT)) y = &dropped;
        if (lanes >= RF_LANES) rf_op_loops[now->op].whole(y, a, b, c, n, RF_LANES);
        else rf_op_loops[now->op].part(y, a, b, c, n, (int)lanes);
    }
}

/* Rows from `row` on, vectors q0 .. q1 of `units` units. The last of them, if incomplete, and few vectors of many rows go down
 * the rows; the others along the units. */
static void rf_blocks(rf_run *run, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t q0, ptrdiff_t q1, ptrdiff_t units)
{
    const ptrdiff_t whole = units / RF_LANES, vectors = (units + RF_LANES - 1) / RF_LANES, end = row + rows;
    const ptrdiff_t most = run->most < RF_COLUMN_ROWS ? run->most : RF_COLUMN_ROWS;
    ptrdiff_t q = q0;
    if (q1 > vectors) q1 = vectors;
    if ((q1 < whole ? q1 : whole) - q0 >= (rows < RF_FEW_VECTORS ? rows : RF_FEW_VECTORS)) {
        q = q1 < whole ? q1 : whole;
        for (ptrdiff_t r = row; r < end; ++r)
            for (ptrdiff_t i = q0; i < q; i += run->most)
                rf_block(run, r, i, q - i < run->most ? q - i : run->most, 0, RF_LANES);
    }
    for (ptrdiff_t r = row; r < end; r += most)
        for (ptrdiff_t i = q; i < q1; ++i) rf_block(run, r, i, end - r < most ? end - r : most, 1, units - i * RF_LANES);
}

/* ---- where operands are ----------------------------------------------------------------------------------------------- */
/* Whether a product of this step gives this sum; else it is 0. */
static int rf_has_product(const rf_step *s, int sum)
{
    const rf_phase *phase = s->phase;
    for (int i = 0; i < phase->products; ++i)
        if (sum >= phase->sum[i] && sum < phase->sum[i] + phase->gates[i]) return s->p[i].k > 0;
    return 0;
}

/* Where the arrays of a space are in rf_step: one array for each number, or one with blocks of H columns. */
static const struct { size_t rows; int blocks; } rf_arrays[RF_SPACES] = {
    [RF_SUM] = {offsetof(rf_step, sums), 1},       [RF_SLOT] = {offsetof(rf_step, slots), 1},
    [RF_BEFORE] = {offsetof(rf_step, before), 0},  [RF_AFTER] = {offsetof(rf_step, after), 0},
    [RF_Y] = {offsetof(rf_step, y), 0},            [RF_DY] = {offsetof(rf_step, dy), 0},
    [RF_D_AFTER] = {offsetof(rf_step, d_after), 0}, [RF_D_BEFORE] = {offsetof(rf_step, d_before), 0},
    [RF_EXTRA] = {offsetof(rf_step, extra), 0},    [RF_D_EXTRA] = {offsetof(rf_step, d_extra), 0},
    [RF_D_VECTOR] = {offsetof(rf_step, d_vectors), 1},
};

RF_INLINE void rf_find(rf_place *place, const rf_step *s, rf_operand o, int of_rows)
{
    const ptrdiff_t H = s->p[0].cols, n = o.number;
    rf_rows from;
    ptrdiff_t first;
    place->vector = RF_LANES;
    if (o.space == RF_VECTOR) {
        from = (rf_rows){(void *)s->vectors, 0}, first = n * H;
    } else if (o.space == RF_ROW) { /* in programs of rows they are what units are in others */
        from = (rf_rows){s->row_values, of_rows ? 0 : 1}, first = n * s->ld_row_values;
        if (!of_rows) place->vector = 0;
    } else if (o.space == RF_PARTIAL) {
        from = (rf_rows){s->partials, 1}, first = n * ((H + RF_LANES - 1) / RF_LANES) * s->ld_partials;
        place->vector = s->ld_partials;
    } else {
        const rf_rows *arrays = (const rf_rows *)((const char *)s + rf_arrays[o.space].rows);
        from = rf_arrays[o.space].blocks ? *arrays : arrays[n], first = rf_arrays[o.space].blocks ? n * H : 0;
    }
    place->at = from.at ? (uintptr_t)((rf_real *)from.at + first) : 0;
    place->row = from.ld;
}

/* Makes a run of a program. of_rows: its lanes are rows. in_tile: sums are in a tile's accumulators; rf_finish_program says
 * where. */
static void rf_prepare(rf_run *run, const rf_step *s, const rf_program *program, int of_rows, int in_tile)
{
    rf_vec *constants = run->work + RF_FIRST_CONSTANT, *registers = constants + program->constants;
    const ptrdiff_t room = run->work + RF_WORK_VECTORS - registers;
    run->step = s;
    run->program = program;
    run->most = program->registers * RF_MOST_VECTORS <= room ? RF_MOST_VECTORS : room / program->registers;
    run->places = 0;
    run->work[RF_ABSENT] = v_set1((rf_real)-0.0); /* a + -0 is a */
    run->work[RF_NO_SUM] = v_set1(0);
    for (int i = 0; i < program->constants; ++i) constants[i] = v_set1((rf_real)program->constant[i]);
    for (int i = 0; i < program->operands; ++i) {
        const rf_operand o = program->operand[i];
        rf_stream *stream = run->stream + i;
        if (o.space == RF_REGISTER) *stream = (rf_stream){(rf_real *)(registers + o.number * run->most), RF_LANES};
        else if (o.space == RF_CONSTANT) *stream = (rf_stream){(rf_real *)(constants + o.number), 0};
        else if (o.space == RF_SUM && !rf_has_product(s, o.number))
            *stream = (rf_stream){(rf_real *)(run->work + RF_NO_SUM), 0};
        else {
            rf_place *place = run->place + run->places;
            rf_find(place, s, o, of_rows);
            place->operand = i;
            place->sum = in_tile && o.space == RF_SUM ? o.number - s->phase->sum[0] : -1;
            if (place->at || place->sum >= 0) ++run->places;
            else *stream = (rf_stream){(rf_real *)(run->work + RF_ABSENT), 0};
        }
    }
}

/* ---- phases ----------------------------------------------------------------------------------------------------------- */
/* The hook that runs the program on what a sweep has just computed. */
static void rf_finish_program(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, rf_vec *acc)
{
    rf_run *run = (rf_run *)args;
    const int gates = run->step->phase->gates[0], units = gates == 1 ? 2 : 1, nv = gates * units;
    const ptrdiff_t row = panels * nv * RF_LANES, vector = gates * RF_LANES, origin = m * row + q * units * vector;
    for (int i = 0; i < run->places; ++i) {
        rf_place *place = run->place + i;
        if (place->sum < 0) continue;
        place->at = (uintptr_t)(acc + place->sum) - (uintptr_t)origin * sizeof(rf_real);
        place->row = row, place->vector = vector;
    }
    rf_blocks(run, m, rows, q * units, (q + panels) * units, run->step->p[0].cols);
}

/* The hook that stores the sums of a product: block v at v*H. */
typedef struct rf_kept_sums {
    rf_real *at;
    ptrdiff_t ld, H;
    int gates;
} rf_kept_sums;
static void rf_store_sums(const void *args, ptrdiff_t m, int rows, ptrdiff_t q, int panels, rf_vec *acc)
{
    const rf_kept_sums *to = args;
    const int units = to->gates == 1 ? 2 : 1;
    for (ptrdiff_t r = m; r < m + rows; ++r)
        for (ptrdiff_t unit = q * units * RF_LANES; unit < (q + panels) * units * RF_LANES; unit += RF_LANES)
            for (int v = 0; v < to->gates; ++v, ++acc) {
                const ptrdiff_t left = to->H - unit;
                rf_real *at = to->at + r * to->ld + v * to->H + unit;
                if (left >= RF_LANES) v_store(at, *acc);
                else if (left > 0) v_store_n(at, *acc, (int)left);
            }
}

static __attribute__((noinline)) void rf_run_rows(const rf_step *s)
{
    rf_run run;
    const ptrdiff_t rows = s->p[0].rows;
    rf_prepare(&run, s, s->phase->row_program, 1, 0);
    rf_blocks(&run, 0, 1, 0, (rows + RF_LANES - 1) / RF_LANES, rows);
}

/* With one product the program runs on the accumulators as they come, if enough of them come at a time: columns of many rows,
 * or all panels of a row. Else it runs on stored sums. */
static __attribute__((noinline)) void rf_run_units(const rf_step *s)
{
    rf_run run;
    const rf_phase *phase = s->phase;
    const rf_product *p = s->p;
    const rf_tile_shapes *shapes = phase->products ? rf_shapes_of_gates[phase->gates[0] - 1] : NULL;
    const int enough = shapes && (p->rows > RF_FEW_ROWS || p->panel1 - p->panel0 <= shapes->pn || !p->w);
    const int in_tile = phase->products == 1 && p->k > 0 && enough;
    rf_prepare(&run, s, phase->program, 0, in_tile);
    if (in_tile) {
        rf_sweep(p, shapes, NULL, rf_finish_program, &run, NULL);
        return;
    }
    for (int i = 0; i < phase->products; ++i) {
        const rf_kept_sums to = {(rf_real *)s->sums.at + phase->sum[i] * p->cols, s->sums.ld, p->cols, phase->gates[i]};
        if (p[i].k > 0) rf_sweep(p + i, rf_shapes_of_gates[to.gates - 1], NULL, rf_store_sums, &to, NULL);
    }
    rf_blocks(&run, 0, p->rows, s->unit0 / RF_LANES, (s->unit1 + RF_LANES - 1) / RF_LANES, p->cols);
}

/* rf_kernels.interpret. p[0] says the rows and units of the step, without products too. */
static void rf_interpret(const rf_step *s)
{
    const rf_phase *phase = s->phase;
    const ptrdiff_t rows = s->p[0].rows, vectors = (s->p[0].cols + RF_LANES - 1) / RF_LANES;
    for (int i = 0; i < phase->totals; ++i) {
        const rf_real *partial = (const rf_real *)s->partials + phase->total[i].partial * vectors * s->ld_partials;
        rf_real *sum = (rf_real *)s->row_values + phase->total[i].row * s->ld_row_values;
        memcpy(sum, partial, (size_t)rows * sizeof *sum);
        for (ptrdiff_t q = 1; q < vectors; ++q)
            for (ptrdiff_t row = 0; row < rows; ++row) sum[row] += partial[q * s->ld_partials + row];
    }
    if (phase->row_program) rf_run_rows(s);
    if (phase->program) rf_run_units(s);
}
