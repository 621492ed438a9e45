/* kernels.h: everything that is compiled once per ISA and dtype. The units in isa/ (avx2_f32.c, ...) define RF_ISA and
 * RF_F32 or RF_F64, open the ISA's target region and include this; the only symbol that leaves is the kernel table. */
#include "rnnfast.h"

#include "isa/open.h"

#include "vmath.h"
#include "vmath_more.h"
#include "pack.h"
#include "tile.h"
#include "gemm.h"
#include "program.h"
#include "probe.h"

/* ---- what the cells' finishes are written with ----------------------------------------------------------------------------- */
RF_INLINE rf_real *rf_at(const rf_rows *a, ptrdiff_t row, ptrdiff_t unit) { return (rf_real *)a->at + row * a->ld + unit; }

/* dh_t, of state 0, which is y: what the product with the gates' gradients of t+1 gives, what no product carries, and the
 * gradient from outside. */
RF_INLINE rf_vec rf_dh_at(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec sum)
{
    if (s->d_after[0].at) sum = v_add(sum, v_get(rf_at(&s->d_after[0], row, unit), n));
    return s->dy.at ? v_add(sum, v_get(rf_at(&s->dy, row, unit), n)) : sum;
}

/* Begins a finish: what happens to the n units from `unit` on of one row, whose gates' sums are in sum[GATES]. */
#define RF_UNIT(NAME) \
    RF_INLINE void NAME##_unit(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const v_span n, rf_vec *sum)

#define RF_KERNELS
#include "cells/list.h"

#define RF_FORWARD_OF(cell) RF_FORWARD_##cell,
#define RF_BACKWARD_OF(cell) RF_BACKWARD_##cell,
#define RF_JOIN(a, b, c) a##_##b##_##c
#define RF_TABLE_NAME(isa, dtype) RF_JOIN(rf_kernels, isa, dtype)
#ifdef RF_F32
#define RF_DTYPE f32
#else
#define RF_DTYPE f64
#endif
const rf_kernels RF_TABLE_NAME(RF_ISA, RF_DTYPE) = {
    .itemsize = sizeof(rf_real), .lanes = RF_LANES, .width = 2 * RF_LANES, .mr = RF_MR2,
    .pack_gates = rf_pack_gates, .pack_rows = rf_pack_rows, .column_sum = rf_column_sum, .gemm = rf_plain_product,
    .tanh = rf_map_tanh, .sigmoid = rf_map_sigmoid,
    .probe_fma = rf_probe_fma, .probe_load = rf_probe_load,
    .forward = {RF_CELLS(RF_FORWARD_OF)},
    .backward = {RF_CELLS(RF_BACKWARD_OF)},
    .interpret = rf_interpret, .apply = rf_apply,
};

#include "isa/close.h"
