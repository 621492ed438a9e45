/* The kernels of avx512_pairs, float32. */
#if defined(__x86_64__) && defined(RF_EMULATE)
#define RF_ISA avx512_pairs
#define RF_ISA_HEADER "isa/avx512_pairs.h"
#define RF_F32
#include "../kernels.h"
#endif
