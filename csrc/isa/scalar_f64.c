/* The kernels of scalar, float64. */
#define RF_ISA scalar
#define RF_ISA_HEADER "isa/scalar.h"
#define RF_F64
#include "../kernels.h"
