/* ops.h: the operations of programs, in one list: OP(name, arguments, what it is on vectors a, b, c), and SPECIAL(name,
 * arguments) for those that are not made of vectors alone (program.h). The interpreter, its tests and the functions that name
 * operations read it; an operation's number is its place here.
 *
 * Fused operations give the bits of what they stand for. Masks are 1 and 0. NaN: lt, le and where_... are false, maximum and
 * minimum pass it from either side, clip from a. add_if is add to whom b may be absent; then it is a.
 * splat: the number of a row in every lane. total: the sum of a vector, those that are padding left out, for the partial. */
#define RF_OPERATIONS(OP, SPECIAL)                                                       \
    OP(move, 1, a)                                                                       \
    SPECIAL(splat, 1)                                                                    \
    SPECIAL(total, 1)                                                                    \
    OP(add, 2, v_add(a, b))                                                              \
    OP(sub, 2, v_sub(a, b))                                                              \
    OP(mul, 2, v_mul(a, b))                                                              \
    OP(div, 2, v_div(a, b))                                                              \
    OP(fma, 3, v_fma(a, b, c))                                                           \
    OP(fnma, 3, v_fnma(a, b, c))                                                         \
    OP(add_if, 2, v_add(a, b))                                                           \
    OP(neg, 1, v_neg(a))                                                                 \
    OP(abs, 1, v_abs(a))                                                                 \
    OP(sign, 1, v_where_lt(a, v_set1(0), v_set1(-1), v_where_lt(v_set1(0), a, v_set1(1), a))) \
    OP(floor, 1, v_floor(a))                                                             \
    OP(sqrt, 1, v_sqrt(a))                                                               \
    OP(exp, 1, v_exp(a))                                                                 \
    OP(expm1, 1, v_expm1(a))                                                             \
    OP(log, 1, v_log(a))                                                                 \
    OP(log1p, 1, v_log1p(a))                                                             \
    OP(sin, 1, v_sin(a))                                                                 \
    OP(cos, 1, v_cos(a))                                                                 \
    OP(tanh, 1, v_tanh(a))                                                               \
    OP(sigmoid, 1, v_sigmoid(a))                                                         \
    OP(softplus, 1, v_softplus(a))                                                       \
    OP(relu, 1, v_max(v_set1(0), a))                                                     \
    OP(maximum, 2, v_where_eq(a, a, v_max(a, b), a))                                     \
    OP(minimum, 2, v_where_eq(a, a, v_min(a, b), a))                                     \
    OP(clip, 3, v_min(c, v_max(b, a)))                                                   \
    OP(lt, 2, v_where_lt(a, b, v_set1(1), v_set1(0)))                                    \
    OP(le, 2, v_where_le(a, b, v_set1(1), v_set1(0)))                                    \
    OP(both, 2, v_mul(a, b))                                                             \
    OP(either, 2, v_max(a, b))                                                           \
    OP(not_, 1, v_sub(v_set1(1), a))                                                     \
    OP(where, 3, v_where_eq(a, v_set1(0), c, b))                                         \
    OP(add_tanh, 2, v_tanh(v_add(a, b)))                                                 \
    OP(add_sigmoid, 2, v_sigmoid(v_add(a, b)))                                           \
    OP(slope_tanh, 2, v_mul(a, v_fnma(b, b, v_set1(1))))                                 \
    OP(slope_sigmoid, 2, v_mul(a, v_fnma(b, b, b)))

#define RF_OP_NUMBER(name, ...) RF_OP_##name,
enum { RF_OPERATIONS(RF_OP_NUMBER, RF_OP_NUMBER) RF_OPS };
