/* The kernels of scalar, float32. */
#define RF_ISA scalar
#define RF_ISA_HEADER "isa/scalar.h"
#define RF_F32
#include "../kernels.h"
