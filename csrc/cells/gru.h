/* cells/gru.h: GRU, gates r z n, with the reset gate after (gru) or before (gru_before) the recurrent product.
 *   r, z = sigmoid(W x_t + b + U h_{t-1}),   h_t = (1-z) n + z h_{t-1}
 *   gru:         n = tanh(W_n x_t + b_in + r (U_n h_{t-1} + b_hn))
 *   gru_before:  n = tanh(W_n x_t + b_in + U_n (r h_{t-1}) + b_hn)          two phases: r h must be whole first
 * Slots: n r z and a fourth, so that the x-side (n r z) and the h-side gradients are each contiguous:
 *   gru:         fourth = U_n h + b_hn, after backward its gradient: h-side is slots 1..3 = r z (n r)
 *   gru_before:  fourth = r h, kept: it is the left factor of dU_n */
#define RF_NUMBERS_gru                                                                                            \
    {                                                                                                             \
        .name = "gru", .gates = 3, .slots = 4, .saved = 4, .has_carry = 1, .reads_h_prev = 1, .split_bias = 2,    \
        .phases = 1, .forward = {{RF_SRC_H, 0, 3}}, .backward = {{0, 1, 0, 3}}, .products = 3,                    \
        .product = {{RF_TO_IH, RF_SRC_X, 0, 2, 1}, {RF_TO_IH, RF_SRC_X, 1, 0, 2}, {RF_TO_HH, RF_SRC_H, 1, 0, 3}}, \
    }
#define RF_NUMBERS_gru_before                                                                                             \
    {                                                                                                                     \
        .name = "gru_before", .gates = 3, .slots = 4, .saved = 4, .has_carry = 1, .reads_h_prev = 1, .split_bias = -1,    \
        .phases = 2, .forward = {{RF_SRC_H, 0, 2}, {3, 2, 1}}, .backward = {{0, 1, 0, 2}, {1, 0, 2, 1}}, .products = 4,   \
        .product = {{RF_TO_IH, RF_SRC_X, 0, 2, 1}, {RF_TO_IH, RF_SRC_X, 1, 0, 2},                                         \
                    {RF_TO_HH, RF_SRC_H, 1, 0, 2}, {RF_TO_HH, 3, 0, 2, 1}},                                               \
    }

#ifdef RF_KERNELS
/* h = n + z (h_prev - n) */
RF_INLINE void gru_state(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V n, V z)
{
    const V h_prev = get((const T *)s->h_prev + row * s->ld_h_prev + unit, m);
    put((T *)s->h + row * s->ld_h + unit, v_fma(z, v_sub(h_prev, n), n), m);
}

/* dh -> gradients of the pre-activations of n and z; carry = dh z. Returns the one of n. */
RF_INLINE V gru_state_gradient(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V dh)
{
    const ptrdiff_t hidden = s->p.cols;
    const V one = v_set1(1);
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V n = get(slot, m), z = get(slot + 2 * hidden, m);
    const V h_prev = get((const T *)s->h_prev + row * s->ld_h_prev + unit, m);
    const V dn = v_mul(v_mul(dh, v_sub(one, z)), v_fnma(n, n, one));
    put(slot, dn, m);
    put(slot + 2 * hidden, v_mul(v_mul(dh, v_sub(h_prev, n)), v_fnma(z, z, z)), m);
    put((T *)s->carry + row * hidden + unit, v_mul(dh, z), m);
    return dn;
}

RF_INLINE void gru_forward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *sum)
{
    const ptrdiff_t hidden = s->p.cols;
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V r = v_sigmoid(v_add(get(slot + hidden, m), sum[0])), z = v_sigmoid(v_add(get(slot + 2 * hidden, m), sum[1]));
    const V hn = v_add(get((const T *)s->bias + unit, m), sum[2]);
    const V n = v_tanh(v_fma(r, hn, get(slot, m)));
    gru_state(s, row, unit, m, n, z);
    if (s->save) {
        put(slot, n, m);
        put(slot + hidden, r, m);
        put(slot + 2 * hidden, z, m);
        put(slot + 3 * hidden, hn, m);
    }
}

RF_INLINE void gru_backward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *sum)
{
    const ptrdiff_t hidden = s->p.cols;
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V r = get(slot + hidden, m), hn = get(slot + 3 * hidden, m);
    const V dn = gru_state_gradient(s, row, unit, m, dh_of(s, row, unit, m, sum[0]));
    put(slot + hidden, v_mul(v_mul(dn, hn), v_fnma(r, r, r)), m);
    put(slot + 3 * hidden, v_mul(dn, r), m);
}

/* phase 0 of gru_before: r, z, and r h for phase 1 */
RF_INLINE void gru_before_forward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *sum)
{
    const ptrdiff_t hidden = s->p.cols;
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V r = v_sigmoid(v_add(get(slot + hidden, m), sum[0]));
    put(slot + hidden, r, m);
    put(slot + 2 * hidden, v_sigmoid(v_add(get(slot + 2 * hidden, m), sum[1])), m);
    put(slot + 3 * hidden, v_mul(r, get((const T *)s->h_prev + row * s->ld_h_prev + unit, m)), m);
}

RF_INLINE void gru_before_forward_1_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *sum)
{
    T *slot = (T *)s->slots + row * s->ld_slots + unit;
    const V n = v_tanh(v_add(get(slot, m), sum[0]));
    gru_state(s, row, unit, m, n, get(slot + 2 * s->p.cols, m));
    if (s->save) put(slot, n, m);
}

RF_INLINE void gru_before_backward_0_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *sum)
{
    (void)gru_state_gradient(s, row, unit, m, dh_of(s, row, unit, m, sum[0]));
}

/* the sum is drh = dn U_n -> gradient of r's pre-activation; carry += drh r */
RF_INLINE void gru_before_backward_1_finish_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span m, V *drh)
{
    const ptrdiff_t hidden = s->p.cols;
    T *slot = (T *)s->slots + row * s->ld_slots + unit, *carry = (T *)s->carry + row * hidden + unit;
    const V r = get(slot + hidden, m);
    const V h_prev = get((const T *)s->h_prev + row * s->ld_h_prev + unit, m);
    put(slot + hidden, v_mul(v_mul(drh[0], h_prev), v_fnma(r, r, r)), m);
    put(carry, v_fma(drh[0], r, get(carry, m)), m);
}

RF_KERNEL(gru_forward_0, 3)
RF_KERNEL(gru_backward_0, 1)
RF_KERNEL(gru_before_forward_0, 2)
RF_KERNEL(gru_before_forward_1, 1)
RF_KERNEL(gru_before_backward_0, 1)
RF_KERNEL(gru_before_backward_1, 1)
#define RF_FORWARD_gru {gru_forward_0}
#define RF_BACKWARD_gru {gru_backward_0}
#define RF_FORWARD_gru_before {gru_before_forward_0, gru_before_forward_1}
#define RF_BACKWARD_gru_before {gru_before_backward_0, gru_before_backward_1}
#endif
