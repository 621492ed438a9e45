/* cells/lstm.h: LSTM, gates i f g o.
 *   i, f, o = sigmoid(W x_t + b + U h_{t-1}),  g = tanh(...),  c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
 * Slots: i f g o (before the step: their x-projections; after backward: gradients of their pre-activations). c is saved
 * apart. */
#define RF_NUMBERS_lstm                                                              \
    {                                                                                \
        .name = "lstm", .gates = 4, .slots = 4, .saves_slots = 1, .has_c = 1,        \
        .split_bias = -1,                                                            \
        .phases = 1,                                                                 \
        .forward = {{.source = RF_SRC_H, .gate = 0, .gates = 4}},                    \
        .backward = {{.same_step = 0, .slot = 0, .gate = 0, .gates = 4}},            \
        .products = 2,                                                               \
        .product = {                                                                 \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 0, .gate = 0, .gates = 4},  \
            {.to = RF_TO_HH, .source = RF_SRC_H, .slot = 0, .gate = 0, .gates = 4}}, \
    }

#ifdef RF_KERNELS
RF_UNIT(lstm_forward_0_finish)
{
    const ptrdiff_t H = s->p.cols;
    rf_real *i_slot = rf_slots_at(s, row, unit), *f_slot = i_slot + H, *g_slot = i_slot + 2 * H, *o_slot = i_slot + 3 * H;
    const rf_vec i = v_sigmoid(v_add(v_get(i_slot, n), sum[0])), f = v_sigmoid(v_add(v_get(f_slot, n), sum[1]));
    const rf_vec g = v_tanh(v_add(v_get(g_slot, n), sum[2])), o = v_sigmoid(v_add(v_get(o_slot, n), sum[3]));
    const rf_vec c = v_fma(f, v_get(rf_state_at(s, s->c_prev, row, unit), n), v_mul(i, g));
    v_put(rf_state_at(s, s->c, row, unit), c, n);
    v_put(rf_h_at(s, row, unit), v_mul(o, v_tanh(c)), n);
    if (s->save) {
        v_put(i_slot, i, n);
        v_put(f_slot, f, n);
        v_put(g_slot, g, n);
        v_put(o_slot, o, n);
    }
}

RF_UNIT(lstm_backward_0_finish)
{
    const ptrdiff_t H = s->p.cols;
    const rf_vec one = v_set1(1);
    rf_real *i_slot = rf_slots_at(s, row, unit), *f_slot = i_slot + H, *g_slot = i_slot + 2 * H, *o_slot = i_slot + 3 * H;
    rf_real *carried = rf_state_at(s, s->dc, row, unit);
    const rf_vec i = v_get(i_slot, n), f = v_get(f_slot, n), g = v_get(g_slot, n), o = v_get(o_slot, n);
    const rf_vec tanh_c = v_tanh(v_get(rf_state_at(s, s->c, row, unit), n));
    const rf_vec dho = v_mul(rf_dh_at(s, row, unit, n, sum[0]), o);
    const rf_vec dc = v_add(v_get(carried, n), v_mul(dho, v_fnma(tanh_c, tanh_c, one)));
    v_put(carried, v_mul(dc, f), n);
    v_put(i_slot, v_mul(v_mul(dc, g), v_fnma(i, i, i)), n);
    v_put(f_slot, v_mul(v_mul(dc, v_get(rf_state_at(s, s->c_prev, row, unit), n)), v_fnma(f, f, f)), n);
    v_put(g_slot, v_mul(v_mul(dc, i), v_fnma(g, g, one)), n);
    v_put(o_slot, v_mul(v_mul(dho, tanh_c), v_sub(one, o)), n);
}

RF_KERNEL(lstm_forward_0, 4)
RF_KERNEL(lstm_backward_0, 1)
#define RF_FORWARD_lstm {RF_ROW_OF_KERNEL(lstm_forward_0)}
#define RF_BACKWARD_lstm {RF_ROW_OF_KERNEL(lstm_backward_0)}
#endif
