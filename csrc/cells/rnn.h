/* cells/rnn.h: SimpleRNN, one cell per nonlinearity f.
 *   h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
 * Slots: the x-projection (scratch, not saved); backward: the gradient of the pre-activation. f' is computed from h_t. */
#define RF_RNN_NUMBERS(NAME)                                                             \
    {                                                                                    \
        .name = NAME, .x_gates = 1, .h_gates = 1, .slots = 1,                            \
        .states = 1, .y_is_state = 1, .state = {{.product = 0, .reads_after = 1}},       \
        .ih_of_slot = {0}, .merged = {0}, .hh_of_slot = {0},                             \
        .forward_products = 1, .backward_products = 1,                                   \
        .forward_product = {{.source = RF_SRC_STATE, .gates = 1, .gate = {0}}},          \
        .backward_product = {{.slot = 0, .gates = 1, .state = 0}},                       \
        .forward_phases = 1, .backward_phases = 1,                                       \
        .forward = {{.products = 1, .gates = {1}}},                                      \
        .backward = {{.products = 1, .gates = {1}}},                                     \
        .products = 2,                                                                   \
        .product = {                                                                     \
            {.to = RF_TO_IH, .source = RF_SRC_X, .slot = 0, .gate = 0, .gates = 1},      \
            {.to = RF_TO_HH, .source = RF_SRC_STATE, .slot = 0, .gate = 0, .gates = 1}}, \
    }
#define RF_NUMBERS_rnn_tanh RF_RNN_NUMBERS("rnn_tanh")
#define RF_NUMBERS_rnn_relu RF_RNN_NUMBERS("rnn_relu")
#define RF_NUMBERS_rnn_identity RF_RNN_NUMBERS("rnn_identity")
#define RF_NUMBERS_rnn_sigmoid RF_RNN_NUMBERS("rnn_sigmoid")

#ifdef RF_KERNELS
RF_INLINE rf_vec rnn_tanh_value(rf_vec a) { return v_tanh(a); }
RF_INLINE rf_vec rnn_tanh_slope(rf_vec dh, rf_vec h) { return v_mul(dh, v_fnma(h, h, v_set1(1))); }
RF_INLINE rf_vec rnn_relu_value(rf_vec a) { return v_max(v_set1(0), a); }
RF_INLINE rf_vec rnn_relu_slope(rf_vec dh, rf_vec h) { return v_where_pos(h, dh); }
RF_INLINE rf_vec rnn_identity_value(rf_vec a) { return a; }
RF_INLINE rf_vec rnn_identity_slope(rf_vec dh, rf_vec h) { (void)h; return dh; }
RF_INLINE rf_vec rnn_sigmoid_value(rf_vec a) { return v_sigmoid(a); }
RF_INLINE rf_vec rnn_sigmoid_slope(rf_vec dh, rf_vec h) { return v_mul(dh, v_fnma(h, h, h)); }

#define RF_RNN(NAME)                                                                                       \
    RF_UNIT(NAME##_forward_0_finish)                                                                       \
    {                                                                                                      \
        v_put(rf_at(&s->after[0], row, unit), NAME##_value(v_add(v_get(rf_at(&s->slots, row, unit), n), sum[0])), n); \
    }                                                                                                      \
    RF_UNIT(NAME##_backward_0_finish)                                                                      \
    {                                                                                                      \
        const rf_vec h = v_get(rf_at(&s->after[0], row, unit), n), dh = rf_dh_at(s, row, unit, n, sum[0]);          \
        v_put(rf_at(&s->slots, row, unit), NAME##_slope(dh, h), n);                                          \
    }                                                                                                      \
    RF_KERNEL(NAME##_forward_0, 1)                                                                         \
    RF_KERNEL(NAME##_backward_0, 1)
RF_RNN(rnn_tanh)
RF_RNN(rnn_relu)
RF_RNN(rnn_identity)
RF_RNN(rnn_sigmoid)
#define RF_FORWARD_rnn_tanh {RF_ROW_OF_KERNEL(rnn_tanh_forward_0)}
#define RF_BACKWARD_rnn_tanh {RF_ROW_OF_KERNEL(rnn_tanh_backward_0)}
#define RF_FORWARD_rnn_relu {RF_ROW_OF_KERNEL(rnn_relu_forward_0)}
#define RF_BACKWARD_rnn_relu {RF_ROW_OF_KERNEL(rnn_relu_backward_0)}
#define RF_FORWARD_rnn_identity {RF_ROW_OF_KERNEL(rnn_identity_forward_0)}
#define RF_BACKWARD_rnn_identity {RF_ROW_OF_KERNEL(rnn_identity_backward_0)}
#define RF_FORWARD_rnn_sigmoid {RF_ROW_OF_KERNEL(rnn_sigmoid_forward_0)}
#define RF_BACKWARD_rnn_sigmoid {RF_ROW_OF_KERNEL(rnn_sigmoid_backward_0)}
#endif
