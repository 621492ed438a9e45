/* The kernels of avx2, float64. */
#if defined(__x86_64__)
#define RF_ISA avx2
#define RF_ISA_HEADER "isa/avx2.h"
#define RF_F64
#include "../kernels.h"
#endif
