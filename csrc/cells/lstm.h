/* cells/lstm.h: LSTM, gates i f g o.
 *   i, f, o = sigmoid(W x_t + b + U h_{t-1}),  g = tanh(...),  c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
 * Slots: i f g o (before the step: their x-projections; after backward: gradients of their pre-activations). c is saved apart. */
#define RF_NUMBERS_lstm                                                                        \
    {                                                                                          \
        .name = "lstm", .gates = 4, .slots = 4, .saved = 4, .has_c = 1, .split_bias = -1,      \
        .phases = 1, .forward = {{RF_SRC_H, 0, 4}}, .backward = {{0, 0, 0, 4}},                \
        .products = 2, .product = {{RF_TO_IH, RF_SRC_X, 0, 0, 4}, {RF_TO_HH, RF_SRC_H, 0, 0, 4}}, \
    }

#ifdef RF_KERNELS
RF_INLINE void lstm_forward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span n, V *sum)
{
    const ptrdiff_t hidden = s->p.cols, at = row * hidden + unit;
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V i = v_sigmoid(v_add(get(slot, n), sum[0])), f = v_sigmoid(v_add(get(slot + hidden, n), sum[1]));
    const V g = v_tanh(v_add(get(slot + 2 * hidden, n), sum[2])), o = v_sigmoid(v_add(get(slot + 3 * hidden, n), sum[3]));
    const V c = v_fma(f, get((const T *)s->c_prev + at, n), v_mul(i, g));
    put((T *)s->c + at, c, n);
    put((T *)s->h + row * s->ld_h + unit, v_mul(o, v_tanh(c)), n);
    if (s->save) {
        put(slot, i, n);
        put(slot + hidden, f, n);
        put(slot + 2 * hidden, g, n);
        put(slot + 3 * hidden, o, n);
    }
}

RF_INLINE void lstm_backward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span n, V *sum)
{
    const ptrdiff_t hidden = s->p.cols, at = row * hidden + unit;
    const V one = v_set1(1);
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V i = get(slot, n), f = get(slot + hidden, n), g = get(slot + 2 * hidden, n), o = get(slot + 3 * hidden, n);
    const V tanh_c = v_tanh(get((const T *)s->c + at, n));
    const V dho = v_mul(dh_of(s, row, unit, n, sum[0]), o);
    const V dc = v_add(get((const T *)s->dc + at, n), v_mul(dho, v_fnma(tanh_c, tanh_c, one)));
    put((T *)s->dc + at, v_mul(dc, f), n);
    put(slot, v_mul(v_mul(dc, g), v_fnma(i, i, i)), n);
    put(slot + hidden, v_mul(v_mul(dc, get((const T *)s->c_prev + at, n)), v_fnma(f, f, f)), n);
    put(slot + 2 * hidden, v_mul(v_mul(dc, i), v_fnma(g, g, one)), n);
    put(slot + 3 * hidden, v_mul(v_mul(dho, tanh_c), v_sub(one, o)), n);
}

RF_KERNEL(lstm_forward_0, 4)
RF_KERNEL(lstm_backward_0, 1)
#define RF_FORWARD_lstm {lstm_forward_0}
#define RF_BACKWARD_lstm {lstm_backward_0}
#endif
