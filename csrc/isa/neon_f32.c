/* The kernels of neon, float32. */
#if defined(__aarch64__)
#define RF_ISA neon
#define RF_ISA_HEADER "isa/neon.h"
#define RF_F32
#include "../kernels.h"
#endif
