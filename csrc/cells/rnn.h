/* cells/rnn.h: SimpleRNN, one cell per nonlinearity f.
 *   h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
 * Slots: the x-projection (scratch, not saved); backward: the gradient of the pre-activation. f' is computed from h_t. */
#define RF_RNN_NUMBERS(NAME)                                                                   \
    {                                                                                          \
        .name = NAME, .gates = 1, .slots = 1, .saved = 0, .reads_h = 1, .split_bias = -1,      \
        .phases = 1, .forward = {{RF_SRC_H, 0, 1}}, .backward = {{0, 0, 0, 1}},                \
        .products = 2, .product = {{RF_TO_IH, RF_SRC_X, 0, 0, 1}, {RF_TO_HH, RF_SRC_H, 0, 0, 1}}, \
    }
#define RF_NUMBERS_rnn_tanh RF_RNN_NUMBERS("rnn_tanh")
#define RF_NUMBERS_rnn_relu RF_RNN_NUMBERS("rnn_relu")
#define RF_NUMBERS_rnn_identity RF_RNN_NUMBERS("rnn_identity")
#define RF_NUMBERS_rnn_sigmoid RF_RNN_NUMBERS("rnn_sigmoid")

#ifdef RF_KERNELS
RF_INLINE V rnn_tanh_value(V a) { return v_tanh(a); }
RF_INLINE V rnn_tanh_slope(V dh, V h) { return v_mul(dh, v_fnma(h, h, v_set1(1))); }
RF_INLINE V rnn_relu_value(V a) { return v_max(v_set1(0), a); }
RF_INLINE V rnn_relu_slope(V dh, V h) { return v_where_pos(h, dh); }
RF_INLINE V rnn_identity_value(V a) { return a; }
RF_INLINE V rnn_identity_slope(V dh, V h) { (void)h; return dh; }
RF_INLINE V rnn_sigmoid_value(V a) { return v_sigmoid(a); }
RF_INLINE V rnn_sigmoid_slope(V dh, V h) { return v_mul(dh, v_fnma(h, h, h)); }

#define RF_RNN(NAME)                                                                                                 \
    RF_INLINE void NAME##_forward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span n, V *sum) \
    {                                                                                                                \
        const V x = get((const T *)s->slots + row * s->ld_slots + unit, n);                                          \
        put((T *)s->h + row * s->ld_h + unit, NAME##_value(v_add(x, sum[0])), n);                                    \
    }                                                                                                                \
    RF_INLINE void NAME##_backward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span n, V *sum) \
    {                                                                                                                \
        const V h = get((const T *)s->h + row * s->ld_h + unit, n);                                                  \
        put((T *)s->slots + row * s->ld_slots + unit, NAME##_slope(dh_of(s, row, unit, n, sum[0]), h), n);           \
    }                                                                                                                \
    RF_KERNEL(NAME##_forward_0, 1)                                                                                   \
    RF_KERNEL(NAME##_backward_0, 1)
RF_RNN(rnn_tanh)
RF_RNN(rnn_relu)
RF_RNN(rnn_identity)
RF_RNN(rnn_sigmoid)
#define RF_FORWARD_rnn_tanh {rnn_tanh_forward_0}
#define RF_BACKWARD_rnn_tanh {rnn_tanh_backward_0}
#define RF_FORWARD_rnn_relu {rnn_relu_forward_0}
#define RF_BACKWARD_rnn_relu {rnn_relu_backward_0}
#define RF_FORWARD_rnn_identity {rnn_identity_forward_0}
#define RF_BACKWARD_rnn_identity {rnn_identity_backward_0}
#define RF_FORWARD_rnn_sigmoid {rnn_sigmoid_forward_0}
#define RF_BACKWARD_rnn_sigmoid {rnn_sigmoid_backward_0}
#endif
