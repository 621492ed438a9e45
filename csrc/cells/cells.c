/* cells/cells.c: the table of cells, numbers only, and the check of such numbers. */
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
enum { WIDEST_PHASE = 4 /* gates side by side in a tile */ };

static int in_range(int first, int count, int end) { return count >= 1 && first >= 0 && first <= end - count; }
static uint64_t set_of(int first, int count) { return (((uint64_t)1 << count) - 1) << first; }
static int is_slot(const rf_cell *c, int source) { return source >= 0 && source < c->slots; }

/* EXPECT(condition, "text with what came", ...): ends the check with the text unless the condition holds */
#define EXPECT(condition, ...)                 \
    do {                                       \
        if (!(condition)) {                    \
            snprintf(text, room, __VA_ARGS__); \
            return 1;                          \
        }                                      \
    } while (0)

/* slot_of[gate]: the slot that holds the gradient of the gate's pre-activation after a backward step. */
static int problem_of_phases(const rf_cell *c, int *slot_of, char *text, size_t room)
{
    uint64_t forward = 0, backward = 0; /* gates that have a phase */
    for (int p = 0; p < c->phases; ++p) {
        const rf_forward_phase *f = &c->forward[p];
        const rf_backward_phase *b = &c->backward[p];
        EXPECT(in_range(f->gate, f->gates, c->gates) && f->gates <= WIDEST_PHASE,
               "forward[%d]: expected 1 to %d of the %d gates, got gates %d from gate %d", p, WIDEST_PHASE, c->gates,
               f->gates, f->gate);
        EXPECT(f->source == RF_SRC_H || (p > 0 && is_slot(c, f->source)),
               "forward[%d]: expected h or, after the first phase, a slot as source, got %d", p, f->source);
        EXPECT(in_range(b->gate, b->gates, c->gates) && in_range(b->slot, b->gates, c->slots),
               "backward[%d]: expected some of the %d gates and %d slots, got gates %d from gate %d, slot %d", p, c->gates,
               c->slots, b->gates, b->gate, b->slot);
        EXPECT(!b->same_step == (p == 0),
               "backward[%d]: expected the first phase, and no other, to go across steps, got same_step %d", p,
               b->same_step);
        EXPECT(!(forward & set_of(f->gate, f->gates)) && !(backward & set_of(b->gate, b->gates)),
               "phases: expected each gate in one phase, got one of phase %d twice", p);
        forward |= set_of(f->gate, f->gates);
        backward |= set_of(b->gate, b->gates);
        for (int i = 0; i < b->gates; ++i) slot_of[b->gate + i] = b->slot + i;
    }
    EXPECT(forward == set_of(0, c->gates) && backward == forward,
           "phases: expected every gate in a phase, forward and backward");
    return 0;
}

static int problem_of_products(const rf_cell *c, const int *slot_of, char *text, size_t room)
{
    uint64_t gates[2] = {0, 0}, x_slots = 0; /* gates that have a gradient, by weight; slots that x is projected to */
    for (int p = 0; p < c->products; ++p) {
        const rf_weight_product *w = &c->product[p], *after = w + 1;
        EXPECT(in_range(w->gate, w->gates, c->gates) && in_range(w->slot, w->gates, c->slots),
               "product[%d]: expected some of the %d gates and %d slots, got gates %d from gate %d, slot %d", p, c->gates,
               c->slots, w->gates, w->gate, w->slot);
        EXPECT(w->to == RF_TO_IH ? w->source == RF_SRC_X : w->to == RF_TO_HH && w->source != RF_SRC_X,
               "product[%d]: expected source x for W_ih and another for W_hh, got to %d, source %d", p, w->to, w->source);
        EXPECT(w->source < 0 ? w->source >= RF_SRC_H : is_slot(c, w->source) && c->saves_slots,
               "product[%d]: expected x, h or a saved slot as source, got %d", p, w->source);
        EXPECT(!(gates[w->to] & set_of(w->gate, w->gates)), "product[%d]: expected each gate once a weight, got it twice", p);
        for (int i = 0; w->to == RF_TO_HH && i < w->gates; ++i)
            EXPECT(slot_of[w->gate + i] == w->slot + i,
                   "product[%d]: expected gate %d in slot %d, as in its backward phase, got slot %d", p, w->gate + i,
                   slot_of[w->gate + i], w->slot + i);
        gates[w->to] |= set_of(w->gate, w->gates);
        if (w->to == RF_TO_IH) x_slots |= set_of(w->slot, w->gates);
        if (p + 1 < c->products && w->slot == after->slot && w->gate == after->gate) {
            EXPECT(w->to != after->to, "product[%d]: expected another weight than the next, whose left factor it shares", p);
            EXPECT(p + 2 >= c->products || after->slot != after[1].slot || after->gate != after[1].gate,
                   "product[%d]: expected at most two products in a row with one left factor, got three", p);
        }
    }
    for (int to = 0; to < 2; ++to)
        EXPECT(gates[to] == set_of(0, c->gates), "product: expected a gradient of every gate of %s", to ? "W_hh" : "W_ih");
    EXPECT(x_slots == set_of(0, c->gates), "product: expected x to be projected to the first %d slots", c->gates);
    return 0;
}

/* The kernels at this index fit the phases, in every ISA and type. */
static int problem_of_kernels(const rf_cell *c, int index, char *text, size_t room)
{
    for (int i = 0; i < 2 * rf_isa_count(); ++i) {
        const rf_kernels *k = rf_isa_kernels(i / 2, i % 2 ? 8 : 4);
        for (int p = 0; p < c->phases; ++p) {
            const rf_step_kernel *f = &k->forward[index][p], *b = &k->backward[index][p];
            EXPECT(f->run && b->run, "phases: expected a kernel of phase %d, forward and backward, got none in %s", p,
                   rf_isa_name(i / 2));
            EXPECT(f->gates == c->forward[p].gates && b->gates == 1,
                   "phases: expected kernels of %d gates forward and 1 backward in phase %d, got %d and %d",
                   c->forward[p].gates, p, f->gates, b->gates);
        }
    }
    return 0;
}

int rf_cell_problem(const rf_cell *c, int index, char *text, size_t room)
{
    int slot_of[RF_MAX_GATES] = {0};
    EXPECT(c->gates >= 1 && c->gates <= c->slots && c->slots < RF_MAX_GATES,
           "gates, slots: expected 1 <= gates <= slots < %d, got %d and %d", RF_MAX_GATES, c->gates, c->slots);
    EXPECT(c->phases >= 1 && c->phases <= RF_MAX_PHASES, "phases: expected 1 to %d, got %d", RF_MAX_PHASES, c->phases);
    EXPECT(c->products >= 2 && c->products <= RF_MAX_PRODUCTS, "products: expected 2 to %d, got %d", RF_MAX_PRODUCTS,
           c->products);
    EXPECT(c->split_bias >= -1 && c->split_bias < c->gates, "split_bias: expected -1 or a gate, got %d", c->split_bias);
    EXPECT(c->saves_slots || !c->has_c, "has_c: expected saved slots beside c, which is kept where they are");
    EXPECT(!(c->reads_h && c->reads_h_prev), "reads_h, reads_h_prev: expected one of them at most, got both");
    return problem_of_phases(c, slot_of, text, room) || problem_of_products(c, slot_of, text, room)
           || (index >= 0 && problem_of_kernels(c, index, text, room));
}
