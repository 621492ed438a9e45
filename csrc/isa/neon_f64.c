/* The kernels of neon, float64. */
#if defined(__aarch64__)
#define RF_ISA neon
#define RF_ISA_HEADER "isa/neon.h"
#define RF_F64
#include "../kernels.h"
#endif
