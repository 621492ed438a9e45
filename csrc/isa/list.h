/* isa/list.h: the list of ISAs compiled in, best last, each with the test of whether this CPU has it. A new ISA is its
 * header (contract: scalar.h), two units of a few lines (NAME_f32.c, NAME_f64.c) and its row here. */
#if defined(__x86_64__)
#define RF_ISAS(ISA)                                                                                     \
    ISA(scalar, 1)                                                                                       \
    ISA(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))                           \
    ISA(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")                  \
                    && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
#elif defined(__aarch64__)
#define RF_ISAS(ISA) ISA(scalar, 1) ISA(neon, 1)
#else
#define RF_ISAS(ISA) ISA(scalar, 1)
#endif
