/* The kernels of avx512, float32. */
#if defined(__x86_64__)
#define RF_ISA avx512
#define RF_ISA_HEADER "isa/avx512.h"
#define RF_F32
#include "../kernels.h"
#endif
