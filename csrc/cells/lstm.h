/* cells/lstm.h: LSTM, gates i f g o.
 *   i, f, o = sigmoid(W x_t + b + U h_{t-1}),  g = tanh(...),  c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
 * Slots: i f g o (before the step: their x-projections; after backward: gradients of their pre-activations). c is saved
 * apart. */
#define RF_NUMBERS_lstm                                                                                    \
    {                                                                                                      \
        .name = "lstm", .x_gates = 4, .h_gates = 4, .slots = 4, .saves_slots = 1,                          \
        .states = 2, .y_is_state = 1,                                                                      \
        .state = {                                                                                         \
            {.product = 0},                                                                                \
            {.product = -1, .carried = 1, .kept = 1, .in_place = 1, .reads_before = 1, .reads_after = 1}}, \
        .ih_of_slot = {0, 1, 2, 3}, .merged = {0, 1, 2, 3}, .hh_of_slot = {0, 1, 2, 3},                    \
        .forward_products = 1, .backward_products = 1,                                                     \
        .forward_product = {{.source = RF_SRC_STATE, .gates = 4, .gate = {0, 1, 2, 3}}},                   \
        .backward_product = {{.slot = 0, .gates = 4, .state = 0}},                                         \
        .forward_phases = 1, .backward_phases = 1,                                                         \
        .forward = {{.products = 1, .gates = {4}}},                                                        \
        .backward = {{.products = 1, .gates = {1}}},                                                       \
        .products = 2,                                                                                     \
        .product = {                                                                                       \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 0, .gate = 0, .gates = 4},                        \
            {.to = RF_TO_HH, .source = RF_SRC_STATE, .slot = 0, .gate = 0, .gates = 4}},                   \
    }

#ifdef RF_KERNELS
RF_UNIT(lstm_forward_0_finish)
{
    const ptrdiff_t H = s->p->cols;
    rf_real *i_slot = rf_at(&s->slots, row, unit), *f_slot = i_slot + H, *g_slot = i_slot + 2 * H, *o_slot = i_slot + 3 * H;
    const rf_vec i = v_sigmoid(v_add(v_get(i_slot, n), sum[0])), f = v_sigmoid(v_add(v_get(f_slot, n), sum[1]));
    const rf_vec g = v_tanh(v_add(v_get(g_slot, n), sum[2])), o = v_sigmoid(v_add(v_get(o_slot, n), sum[3]));
    const rf_vec c = v_fma(f, v_get(rf_at(&s->before[1], row, unit), n), v_mul(i, g));
    v_put(rf_at(&s->after[1], row, unit), c, n);
    v_put(rf_at(&s->after[0], row, unit), v_mul(o, v_tanh(c)), n);
    if (s->save) {
        v_put(i_slot, i, n);
        v_put(f_slot, f, n);
        v_put(g_slot, g, n);
        v_put(o_slot, o, n);
    }
}

RF_UNIT(lstm_backward_0_finish)
{
    const ptrdiff_t H = s->p->cols;
    const rf_vec one = v_set1(1);
    rf_real *i_slot = rf_at(&s->slots, row, unit), *f_slot = i_slot + H, *g_slot = i_slot + 2 * H, *o_slot = i_slot + 3 * H;
    const rf_vec i = v_get(i_slot, n), f = v_get(f_slot, n), g = v_get(g_slot, n), o = v_get(o_slot, n);
    const rf_vec tanh_c = v_tanh(v_get(rf_at(&s->after[1], row, unit), n)), dh = rf_dh_at(s, row, unit, n, sum[0]);
    const rf_vec dc = v_fma(v_mul(dh, o), v_fnma(tanh_c, tanh_c, one), v_get(rf_at(&s->d_after[1], row, unit), n));
    v_put(rf_at(&s->d_before[1], row, unit), v_mul(dc, f), n);
    v_put(i_slot, v_mul(v_mul(dc, g), v_fnma(i, i, i)), n);
    v_put(f_slot, v_mul(v_mul(dc, v_get(rf_at(&s->before[1], row, unit), n)), v_fnma(f, f, f)), n);
    v_put(g_slot, v_mul(v_mul(dc, i), v_fnma(g, g, one)), n);
    v_put(o_slot, v_mul(v_mul(dh, tanh_c), v_fnma(o, o, o)), n);
}

RF_KERNEL(lstm_forward_0, 4)
RF_KERNEL(lstm_backward_0, 1)
#define RF_FORWARD_lstm {RF_ROW_OF_KERNEL(lstm_forward_0)}
#define RF_BACKWARD_lstm {RF_ROW_OF_KERNEL(lstm_backward_0)}
#endif
