/* isa/open.h: begins a unit that is compiled for one ISA and dtype: its operations, in its target region. The unit defines
 * RF_ISA, RF_ISA_HEADER and RF_F32 or RF_F64, and ends with isa/close.h. */
#if !defined(RF_ISA) || (defined(RF_F32) == defined(RF_F64))
#error "define RF_ISA and exactly one of RF_F32, RF_F64 before including isa/open.h"
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RF_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define RF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RF_UNROLL _Pragma("GCC unroll 32")
#endif

#include RF_ISA_HEADER
