/* kernels.h: everything that is compiled once per ISA and dtype. The units in isa/ (avx2_f32.c, ...) define RF_ISA and
 * RF_F32 or RF_F64, open the ISA's target region and include this; the only symbol that leaves is the kernel table. */
#if !defined(RF_ISA) || (defined(RF_F32) == defined(RF_F64))
#error "define RF_ISA and exactly one of RF_F32, RF_F64 before including kernels.h"
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rnnfast.h"

#define RF_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define RF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RF_UNROLL _Pragma("GCC unroll 32")
#endif

#include RF_ISA_HEADER

#include "vmath.h"
#include "tile.h"
#include "pack.h"
#include "gemm.h"
#include "probe.h"

/* dh_t: what the product with the gates' gradients of t+1 gives, the gradient from outside, and what no product carries. */
RF_INLINE V dh_of(const rf_step *s, ptrdiff_t row, ptrdiff_t unit, const span n, V sum)
{
    if (s->carry_in) sum = v_add(sum, get((const T *)s->carry + row * s->p.cols + unit, n));
    return s->dy ? v_add(sum, get((const T *)s->dy + row * s->ld_dy + unit, n)) : sum;
}

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
    .itemsize = sizeof(T), .lanes = LANES, .width = 2 * LANES, .mr = MR2,
    .pack_gates = pack_gates, .pack_rows = pack_rows, .column_sum = column_sum, .gemm = gemm,
    .tanh = map_tanh, .sigmoid = map_sigmoid,
    .probe_fma = probe_fma, .probe_load = probe_load,
    .forward = {RF_CELLS(RF_FORWARD_OF)},
    .backward = {RF_CELLS(RF_BACKWARD_OF)},
};

#ifdef RF_CLOSE_TARGET
#pragma clang attribute pop
#endif
