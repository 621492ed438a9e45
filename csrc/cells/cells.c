/* cells/cells.c: the table of compiled cells, numbers only, and the check of such numbers. */
#include <stdio.h>
#include <string.h>

#include "../rnnfast.h"
#include "list.h"

#define RF_ROW(cell) RF_NUMBERS_##cell,
const rf_cell rf_cells[] = {RF_CELLS(RF_ROW)};
const int rf_cell_count = sizeof rf_cells / sizeof rf_cells[0];
_Static_assert(sizeof rf_cells / sizeof rf_cells[0] <= RF_MAX_CELLS, "raise RF_MAX_CELLS");

int rf_find_cell(const char *name)
{
    for (int i = 0; i < rf_cell_count; ++i)
        if (strcmp(rf_cells[i].name, name) == 0) return i;
    return -1;
}

/* ---- what the loops take for granted ------------------------------------------------------------------------------------- */
enum { WIDEST_PRODUCT = 4 /* gates side by side in a tile */ };

static int in_range(int first, int count, int end) { return count >= 1 && first >= 0 && first <= end - count; }
static int within(int n, int least, int most) { return n >= least && n <= most; }
static uint64_t set_of(int first, int count) { return count < 64 ? (((uint64_t)1 << count) - 1) << first : ~(uint64_t)0; }
static int is_slot(const rf_cell *c, int source) { return source >= 0 && source < c->slots; }
static int is_state(const rf_cell *c, int source) { return source <= RF_SRC_STATE && RF_SRC_STATE - source < c->states; }

/* EXPECT(condition, "text with what came", ...): ends the check with the text unless the condition holds */
#define EXPECT(condition, ...)                 \
    do {                                       \
        if (!(condition)) {                    \
            snprintf(text, room, __VA_ARGS__); \
            return 1;                          \
        }                                      \
    } while (0)

static int problem_of_sizes(const rf_cell *c, char *text, size_t room)
{
    const struct {
        const char *name;
        int value, least, most;
    } sizes[] = {{"x_gates", c->x_gates, 1, c->slots},
                 {"h_gates", c->h_gates, 0, RF_MAX_GATES},
                 {"slots", c->slots, 1, RF_MAX_SLOTS},
                 {"states", c->states, 1, RF_MAX_STATES},
                 {"split_biases", c->split_biases, 0, RF_MAX_VECTORS},
                 {"vectors", c->vectors, 0, RF_MAX_VECTORS - c->split_biases},
                 {"extras", c->extras, 0, RF_MAX_EXTRAS},
                 {"row_values", c->row_values, 0, RF_MAX_ROW_VALUES},
                 {"row_inputs", c->row_inputs, 0, RF_MAX_EXTRAS},
                 {"row_saved", c->row_saved, 0, c->row_values - c->row_inputs},
                 {"partials", c->partials, 0, RF_MAX_ROW_VALUES},
                 {"forward_products", c->forward_products, 0, RF_MAX_PRODUCTS},
                 {"backward_products", c->backward_products, 0, RF_MAX_PRODUCTS},
                 {"products", c->products, c->backward_phases ? 1 : 0, RF_MAX_PRODUCTS},
                 {"forward_phases", c->forward_phases, 1, RF_MAX_PHASES},
                 {"backward_phases", c->backward_phases, 0, RF_MAX_PHASES},
                 {"ahead_phases", c->ahead_phases, 0, RF_MAX_PHASES},
                 {"rest_phases", c->rest_phases, c->ahead_phases ? 1 : 0, c->ahead_phases ? RF_MAX_PHASES : 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
        EXPECT(within(sizes[i].value, sizes[i].least, sizes[i].most), "%s: expected %d to %d, got %d", sizes[i].name,
               sizes[i].least, sizes[i].most, sizes[i].value);
    for (int i = 0; i < c->split_biases; ++i)
        EXPECT(in_range(c->split[i], 1, c->h_gates), "split[%d]: expected a gate of W_hh, got %d", i, c->split[i]);
    for (int i = 0; i < c->row_inputs; ++i)
        EXPECT(within(c->d_row_input[i], -1, c->row_values - 1), "d_row_input[%d]: expected -1 or a row value, got %d", i,
               c->d_row_input[i]);
    for (int i = 0; i < c->states; ++i) {
        const rf_state *s = &c->state[i];
        const int in_y = i == 0 && c->y_is_state;
        EXPECT(within(s->product, -1, c->backward_products - 1), "state[%d]: expected -1 or a product, got %d", i, s->product);
        EXPECT(s->product < 0 || c->backward_product[s->product].state == i, "state[%d]: expected a product of its own, got %d",
               i, s->product);
        EXPECT(in_y || s->kept || !(s->reads_before || s->reads_after), "state[%d]: expected it kept, since backward reads it",
               i);
        EXPECT(in_y || s->kept || s->product < 0, "state[%d]: expected it kept, since a gradient of W_hh reads it", i);
        EXPECT(!(in_y && s->in_place), "state[%d]: expected y apart from the state before it", i);
        EXPECT(!s->kept || in_y || c->saves_slots, "state[%d]: expected saved slots beside a kept state", i);
    }
    EXPECT(!c->row_saved || c->saves_slots, "row_saved: expected saved slots beside row values, got none");
    return 0;
}

/* Each gate of x has one projection; each of h one forward product; every gradient has its place. */
static int problem_of_gates(const rf_cell *c, char *text, size_t room)
{
    uint64_t x = 0, h = 0, back = 0, to[2] = {0, 0};
    for (int s = 0; s < c->x_gates; ++s) {
        EXPECT(in_range(c->ih_of_slot[s], 1, c->x_gates), "ih_of_slot[%d]: expected a gate of W_ih, got %d", s,
               c->ih_of_slot[s]);
        EXPECT(within(c->merged[s], -1, c->h_gates - 1), "merged[%d]: expected -1 or a gate of W_hh, got %d", s, c->merged[s]);
        x |= set_of(c->ih_of_slot[s], 1);
    }
    for (int p = 0; p < c->forward_products; ++p) {
        const rf_forward_product *f = &c->forward_product[p];
        EXPECT(within(f->gates, 1, WIDEST_PRODUCT), "forward_product[%d]: expected 1 to %d gates, got %d", p, WIDEST_PRODUCT,
               f->gates);
        EXPECT(is_state(c, f->source) || is_slot(c, f->source),
               "forward_product[%d]: expected a state or a slot as source, got %d", p, f->source);
        for (int g = 0; g < f->gates; ++g) {
            EXPECT(in_range(f->gate[g], 1, c->h_gates) && !(h & set_of(f->gate[g], 1)),
                   "forward_product[%d]: expected each of %d gates in one product, got %d", p, c->h_gates, f->gate[g]);
            h |= set_of(f->gate[g], 1);
        }
    }
    for (int p = 0; p < c->backward_products; ++p) {
        const rf_backward_product *b = &c->backward_product[p];
        EXPECT(in_range(b->slot, b->gates, c->slots), "backward_product[%d]: expected some of %d slots, got %d from %d", p,
               c->slots, b->gates, b->slot);
        EXPECT(within(b->state, -1, c->states - 1), "backward_product[%d]: expected -1 or a state, got %d", p, b->state);
        for (int i = b->slot; i < b->slot + b->gates; ++i) {
            EXPECT(in_range(c->hh_of_slot[i], 1, c->h_gates) && !(back & set_of(c->hh_of_slot[i], 1)),
                   "hh_of_slot[%d]: expected each of %d gates in one product, got %d", i, c->h_gates, c->hh_of_slot[i]);
            back |= set_of(c->hh_of_slot[i], 1);
        }
    }
    for (int p = 0; p < c->products && c->backward_phases; ++p) {
        const rf_weight_product *w = &c->product[p], *after = w + 1;
        const int gates = w->to == RF_TO_IH ? c->x_gates : c->h_gates;
        EXPECT(within(w->to, RF_TO_IH, RF_TO_HH) && in_range(w->gate, w->gates, gates) && in_range(w->slot, w->gates, c->slots),
               "product[%d]: expected some of %d gates and %d slots, got %d from gate %d, slot %d", p, gates, c->slots,
               w->gates, w->gate, w->slot);
        EXPECT(w->to == RF_TO_IH ? w->source == RF_SRC_X : is_state(c, w->source) || (is_slot(c, w->source) && c->saves_slots),
               "product[%d]: expected x for W_ih, a state or a saved slot for W_hh, got %d", p, w->source);
        for (int i = 0; i < w->gates; ++i) {
            const int of = w->to == RF_TO_IH ? c->ih_of_slot[w->slot + i] : c->hh_of_slot[w->slot + i];
            EXPECT(of == w->gate + i && (w->to == RF_TO_HH || w->slot + i < c->x_gates) && !(to[w->to] & set_of(of, 1)),
                   "product[%d]: expected the gradient of gate %d once, in its slot, got it in slot %d", p, w->gate + i,
                   w->slot + i);
            to[w->to] |= set_of(of, 1);
        }
        EXPECT(p + 1 >= c->products || w->slot != after->slot || w->to != after->to,
               "product[%d]: expected another weight than the next, whose slot it shares", p);
        EXPECT(p + 2 >= c->products || w->slot != after->slot || w->slot != after[1].slot,
               "product[%d]: expected at most two products in a row with one first slot, got three", p);
    }
    EXPECT(x == set_of(0, c->x_gates) && h == set_of(0, c->h_gates), "gates: expected each of them to be computed");
    EXPECT(!c->backward_phases || (back == h && to[RF_TO_IH] == x && to[RF_TO_HH] == h),
           "gates: expected a gradient of each of them");
    return 0;
}

/* ---- programs ---------------------------------------------------------------------------------------------------------------
 */
static int most_of(const rf_cell *c, const rf_phase *phase, const rf_program *p, int space)
{
    const int ahead = phase >= c->ahead && phase < c->ahead + c->ahead_phases; /* there is no step then */
    int sums = 0;
    for (int i = 0; i < phase->products; ++i)
        sums = phase->sum[i] + phase->gates[i] > sums ? phase->sum[i] + phase->gates[i] : sums;
    switch (space) {
    case RF_REGISTER: return p->registers;
    case RF_CONSTANT: return p->constants;
    case RF_SLOT: return c->slots;
    case RF_VECTOR: return c->split_biases + c->vectors;
    case RF_ROW: return c->row_values;
    case RF_PARTIAL: return c->partials;
    default: if (ahead) return 0;
    }
    switch (space) {
    case RF_SUM: return sums;
    case RF_BEFORE: case RF_AFTER: case RF_D_AFTER: case RF_D_BEFORE: return c->states;
    case RF_Y: case RF_DY: return 1;
    case RF_EXTRA: case RF_D_EXTRA: return c->extras;
    case RF_D_VECTOR: return c->vectors;
    default: return 0;
    }
}

static int problem_of_program(const rf_cell *c, const rf_phase *phase, const rf_program *p, char *text, size_t room)
{
    if (!p) return 0;
    EXPECT(within(p->registers, 0, RF_MAX_REGISTERS) && within(p->operands, 0, RF_MAX_OPERANDS) && p->instructions >= 0,
           "program: expected at most %d registers and %d operands, got %d and %d", RF_MAX_REGISTERS, RF_MAX_OPERANDS,
           p->registers, p->operands);
    for (int i = 0; i < p->operands; ++i)
        EXPECT(within(p->operand[i].space, 0, RF_SPACES - 1)
                   && in_range(p->operand[i].number, 1, most_of(c, phase, p, p->operand[i].space)),
               "program: expected what there is as operand %d, got number %d of space %d", i, p->operand[i].number,
               p->operand[i].space);
    for (int i = 0; i < p->instructions; ++i) {
        const rf_instruction *n = &p->instruction[i];
        EXPECT(within(n->op, 0, rf_op_count() - 1), "program: expected an operation at %d, got %d", i, n->op);
        for (int a = 0; a < 4; ++a)
            EXPECT(a <= rf_op_arguments(n->op) ? in_range(n->operand[a], 1, p->operands) : n->operand[a] == -1,
                   "program: expected %d arguments of %s at %d, got operand %d", rf_op_arguments(n->op), rf_op_name(n->op), i,
                   n->operand[a]);
    }
    return 0;
}

static int problem_of_phases(const rf_cell *c, const rf_phase *phase, int phases, int products, int forward, char *text,
                             size_t room)
{
    int next = 0;
    for (int i = 0; i < phases; ++i, ++phase) {
        EXPECT(phase->first == next && within(phase->products, 0, RF_MAX_TOGETHER) && next + phase->products <= products,
               "phase %d: expected the products in order, at most %d, got %d from %d", i, RF_MAX_TOGETHER, phase->products,
               phase->first);
        next += phase->products;
        for (int p = 0; p < phase->products; ++p) {
            const int gates = forward ? c->forward_product[phase->first + p].gates : 1;
            EXPECT(phase->gates[p] == gates && within(phase->sum[p], 0, RF_MAX_SLOTS - gates),
                   "phase %d: expected %d sums of product %d, got %d from %d", i, gates, p, phase->gates[p], phase->sum[p]);
        }
        for (int t = 0; t < phase->totals; ++t)
            EXPECT(in_range(phase->total[t].partial, 1, c->partials) && in_range(phase->total[t].row, 1, c->row_values),
                   "phase %d: expected totals of partials in row values, got %d, %d", i, phase->total[t].partial,
                   phase->total[t].row);
        if (problem_of_program(c, phase, phase->row_program, text, room)
            || problem_of_program(c, phase, phase->program, text, room))
            return 1;
    }
    EXPECT(next == products, "phases: expected %d products, got %d", products, next);
    return 0;
}

/* The kernels at this index fit the phases, in every ISA and type. */
static int problem_of_kernels(const rf_cell *c, int index, char *text, size_t room)
{
    EXPECT(c->forward_phases == c->backward_phases && c->forward_phases <= RF_COMPILED_PHASES,
           "phases: expected as many forward as backward and at most %d, got %d and %d", RF_COMPILED_PHASES, c->forward_phases,
           c->backward_phases);
    for (int i = 0; i < 2 * rf_isa_count(); ++i) {
        const rf_kernels *k = rf_isa_kernels(i / 2, i % 2 ? 8 : 4);
        for (int p = 0; p < c->forward_phases; ++p) {
            const rf_step_kernel *f = &k->forward[index][p], *b = &k->backward[index][p];
            EXPECT(f->run && b->run, "phases: expected a kernel of phase %d, forward and backward, got none in %s", p,
                   rf_isa_name(i / 2));
            EXPECT(c->forward[p].products == 1 && f->gates == c->forward[p].gates[0] && c->backward[p].products == 1
                       && b->gates == 1,
                   "phases: expected kernels of %d gates forward and 1 backward in phase %d, got %d and %d",
                   c->forward[p].gates[0], p, f->gates, b->gates);
        }
    }
    return 0;
}

int rf_cell_problem(const rf_cell *c, int index, char *text, size_t room)
{
    return problem_of_sizes(c, text, room) || problem_of_gates(c, text, room)
           || problem_of_phases(c, c->forward, c->forward_phases, c->forward_products, 1, text, room)
           || problem_of_phases(c, c->ahead, c->ahead_phases, 0, 1, text, room)
           || problem_of_phases(c, c->rest, c->rest_phases, c->rest_phases ? c->forward_products : 0, 1, text, room)
           || problem_of_phases(c, c->backward, c->backward_phases, c->backward_products, 0, text, room)
           || (index >= 0 && problem_of_kernels(c, index, text, room));
}
