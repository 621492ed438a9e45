/* isa/list.h: the list of ISAs compiled in, best last, each with the test of whether this CPU has it. A new ISA is its
 * header (contract: scalar.h), two units of a few lines (NAME_f32.c, NAME_f64.c) and its row here.
 * Stand-ins that only tests want (RF_EMULATE) come before what they are made of: never the best, present like the rest. */
#if defined(__x86_64__)
#include "cpuid.h"
#endif
#ifdef RF_EMULATE
#define RF_STAND_INS(ISA) ISA(avx512_pairs, RF_HAS_AVX2)
#else
#define RF_STAND_INS(ISA)
#endif

#if defined(__x86_64__)
#define RF_ISAS(ISA) ISA(scalar, 1) RF_STAND_INS(ISA) ISA(avx2, RF_HAS_AVX2) ISA(avx512, RF_HAS_AVX512)
#elif defined(__aarch64__)
#define RF_ISAS(ISA) ISA(scalar, 1) ISA(neon, 1)
#else
#define RF_ISAS(ISA) ISA(scalar, 1)
#endif
