/* cells/gru.h: GRU, gates r z n, with the reset gate after (gru) or before (gru_before) the recurrent product.
 *   r, z = sigmoid(W x_t + b + U h_{t-1}),   h_t = (1-z) n + z h_{t-1}
 *   gru:         n = tanh(W_n x_t + b_in + r (U_n h_{t-1} + b_hn))
 *   gru_before:  n = tanh(W_n x_t + b_in + U_n (r h_{t-1}) + b_hn)          two phases: r h must be whole first
 * Slots: n r z and a fourth, so that the x-side (n r z) and the h-side gradients are each contiguous:
 *   gru:         fourth = U_n h + b_hn, after backward its gradient: h-side is slots 1..3 = r z (n r)
 *   gru_before:  fourth = r h, kept: it is the left factor of dU_n */
#define RF_NUMBERS_gru                                                                            \
    {                                                                                             \
        .name = "gru", .x_gates = 3, .h_gates = 3, .slots = 4, .saves_slots = 1,                  \
        .states = 1, .y_is_state = 1, .state = {{.product = 0, .carried = 1, .reads_before = 1}}, \
        .ih_of_slot = {2, 0, 1}, .merged = {-1, 0, 1}, .hh_of_slot = {-1, 0, 1, 2},               \
        .split_biases = 1, .split = {2},                                                          \
        .forward_products = 1, .backward_products = 1,                                            \
        .forward_product = {{.source = RF_SRC_STATE, .gates = 3, .gate = {0, 1, 2}}},             \
        .backward_product = {{.slot = 1, .gates = 3, .state = 0}},                                \
        .forward_phases = 1, .backward_phases = 1,                                                \
        .forward = {{.products = 1, .gates = {3}}},                                               \
        .backward = {{.products = 1, .gates = {1}}},                                              \
        .products = 3,                                                                            \
        .product = {                                                                              \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 0, .gate = 2, .gates = 1},               \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 1, .gate = 0, .gates = 2},               \
            {.to = RF_TO_HH, .source = RF_SRC_STATE, .slot = 1, .gate = 0, .gates = 3}},          \
    }
#define RF_NUMBERS_gru_before                                                                               \
    {                                                                                                       \
        .name = "gru_before", .x_gates = 3, .h_gates = 3, .slots = 4, .saves_slots = 1,                     \
        .states = 1, .y_is_state = 1, .state = {{.product = 0, .carried = 1, .reads_before = 1}},           \
        .ih_of_slot = {2, 0, 1}, .merged = {2, 0, 1}, .hh_of_slot = {2, 0, 1, -1},                          \
        .forward_products = 2, .backward_products = 2,                                                      \
        .forward_product = {                                                                                \
            {.source = RF_SRC_STATE, .gates = 2, .gate = {0, 1}},                                           \
            {.source = 3, .gates = 1, .gate = {2}}},                                                        \
        .backward_product = {{.slot = 1, .gates = 2, .state = 0}, {.slot = 0, .gates = 1, .state = -1}},    \
        .forward_phases = 2, .backward_phases = 2,                                                          \
        .forward = {{.first = 0, .products = 1, .gates = {2}}, {.first = 1, .products = 1, .gates = {1}}},  \
        .backward = {{.first = 0, .products = 1, .gates = {1}}, {.first = 1, .products = 1, .gates = {1}}}, \
        .products = 4,                                                                                      \
        .product = {                                                                                        \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 0, .gate = 2, .gates = 1},                         \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 1, .gate = 0, .gates = 2},                         \
            {.to = RF_TO_HH, .source = RF_SRC_STATE, .slot = 1, .gate = 0, .gates = 2},                     \
            {.to = RF_TO_HH, .source = 3, .slot = 0, .gate = 2, .gates = 1}},                               \
    }

#ifdef RF_KERNELS
/* h = n_gate + z (h_prev - n_gate) */
RF_INLINE void gru_state(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec n_gate, rf_vec z)
{
    v_put(rf_at(&s->after[0], row, unit), v_fma(z, v_sub(v_get(rf_at(&s->before[0], row, unit), n), n_gate), n_gate), n);
}

/* dh -> gradients of the pre-activations of n and z; carry = dh z. Returns the one of n. */
RF_INLINE rf_vec gru_state_gradient(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec dh)
{
    const rf_vec one = v_set1(1);
    rf_real *n_slot = rf_at(&s->slots, row, unit), *z_slot = n_slot + 2 * s->p->cols;
    const rf_vec n_gate = v_get(n_slot, n), z = v_get(z_slot, n), h_prev = v_get(rf_at(&s->before[0], row, unit), n);
    const rf_vec dn = v_mul(v_fnma(dh, z, dh), v_fnma(n_gate, n_gate, one));
    v_put(n_slot, dn, n);
    v_put(z_slot, v_mul(v_mul(dh, v_sub(h_prev, n_gate)), v_fnma(z, z, z)), n);
    v_put(rf_at(&s->d_before[0], row, unit), v_mul(dh, z), n);
    return dn;
}

RF_UNIT(gru_forward_0_finish)
{
    const ptrdiff_t H = s->p->cols;
    rf_real *n_slot = rf_at(&s->slots, row, unit), *r_slot = n_slot + H, *z_slot = n_slot + 2 * H;
    const rf_vec r = v_sigmoid(v_add(v_get(r_slot, n), sum[0])), z = v_sigmoid(v_add(v_get(z_slot, n), sum[1]));
    const rf_vec hn = v_add(v_get((const rf_real *)s->vectors + unit, n), sum[2]);
    const rf_vec n_gate = v_tanh(v_fma(r, hn, v_get(n_slot, n)));
    gru_state(s, row, unit, n, n_gate, z);
    if (s->save) {
        v_put(n_slot, n_gate, n);
        v_put(r_slot, r, n);
        v_put(z_slot, z, n);
        v_put(n_slot + 3 * H, hn, n);
    }
}

RF_UNIT(gru_backward_0_finish)
{
    rf_real *r_slot = rf_at(&s->slots, row, unit) + s->p->cols, *hn_slot = r_slot + 2 * s->p->cols;
    const rf_vec r = v_get(r_slot, n), hn = v_get(hn_slot, n);
    const rf_vec dn = gru_state_gradient(s, row, unit, n, rf_dh_at(s, row, unit, n, sum[0]));
    v_put(r_slot, v_mul(v_mul(dn, hn), v_fnma(r, r, r)), n);
    v_put(hn_slot, v_mul(dn, r), n);
}

/* phase 0 of gru_before: r, z, and r h for phase 1 */
RF_UNIT(gru_before_forward_0_finish)
{
    const ptrdiff_t H = s->p->cols;
    rf_real *r_slot = rf_at(&s->slots, row, unit) + H, *z_slot = r_slot + H;
    const rf_vec r = v_sigmoid(v_add(v_get(r_slot, n), sum[0]));
    v_put(r_slot, r, n);
    v_put(z_slot, v_sigmoid(v_add(v_get(z_slot, n), sum[1])), n);
    v_put(z_slot + H, v_mul(r, v_get(rf_at(&s->before[0], row, unit), n)), n);
}

RF_UNIT(gru_before_forward_1_finish)
{
    rf_real *n_slot = rf_at(&s->slots, row, unit);
    const rf_vec n_gate = v_tanh(v_add(v_get(n_slot, n), sum[0]));
    gru_state(s, row, unit, n, n_gate, v_get(n_slot + 2 * s->p->cols, n));
    if (s->save) v_put(n_slot, n_gate, n);
}

RF_UNIT(gru_before_backward_0_finish)
{
    (void)gru_state_gradient(s, row, unit, n, rf_dh_at(s, row, unit, n, sum[0]));
}

/* the sum is drh = dn U_n -> gradient of r's pre-activation; carry += drh r */
RF_UNIT(gru_before_backward_1_finish)
{
    rf_real *r_slot = rf_at(&s->slots, row, unit) + s->p->cols, *carry = rf_at(&s->d_before[0], row, unit);
    const rf_vec r = v_get(r_slot, n), drh = sum[0];
    v_put(r_slot, v_mul(v_mul(drh, v_get(rf_at(&s->before[0], row, unit), n)), v_fnma(r, r, r)), n);
    v_put(carry, v_fma(drh, r, v_get(carry, n)), n);
}

RF_KERNEL(gru_forward_0, 3)
RF_KERNEL(gru_backward_0, 1)
RF_KERNEL(gru_before_forward_0, 2)
RF_KERNEL(gru_before_forward_1, 1)
RF_KERNEL(gru_before_backward_0, 1)
RF_KERNEL(gru_before_backward_1, 1)
#define RF_FORWARD_gru {RF_ROW_OF_KERNEL(gru_forward_0)}
#define RF_BACKWARD_gru {RF_ROW_OF_KERNEL(gru_backward_0)}
#define RF_FORWARD_gru_before {RF_ROW_OF_KERNEL(gru_before_forward_0), RF_ROW_OF_KERNEL(gru_before_forward_1)}
#define RF_BACKWARD_gru_before {RF_ROW_OF_KERNEL(gru_before_backward_0), RF_ROW_OF_KERNEL(gru_before_backward_1)}
#endif
