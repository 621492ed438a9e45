/* dispatch.c: which kernel tables exist and which of them this CPU can run. */
#include "isa/list.h"
#include "rnnfast.h"

#define RF_DECLARE(isa, test) extern const rf_kernels rf_kernels_##isa##_f32, rf_kernels_##isa##_f64;
RF_ISAS(RF_DECLARE)

#define RF_ROW(isa, test) {.name = #isa, .f32 = &rf_kernels_##isa##_f32, .f64 = &rf_kernels_##isa##_f64},
static const struct { const char *name; const rf_kernels *f32, *f64; } isas[] = {RF_ISAS(RF_ROW)};

int rf_isa_count(void) { return (int)(sizeof isas / sizeof isas[0]); }

const char *rf_isa_name(int isa) { return isas[isa].name; }

int rf_isa_present(int isa)
{
    int at = 0;
#define RF_TEST(name, test) if (isa == at++) return (test) ? 1 : 0;
    RF_ISAS(RF_TEST)
    return 0;
}

const rf_kernels *rf_isa_kernels(int isa, int itemsize) { return itemsize == 4 ? isas[isa].f32 : isas[isa].f64; }

ptrdiff_t rf_panels(const rf_kernels *kernels, ptrdiff_t units, int gates)
{
    const int in_one = gates == 1 ? 2 * kernels->lanes : kernels->lanes;
    return (units + in_one - 1) / in_one;
}

size_t rf_panel_bytes(const rf_kernels *kernels, ptrdiff_t units, ptrdiff_t k, int gates)
{
    const int vectors = gates == 1 ? 2 : gates;
    return (size_t)(rf_panels(kernels, units, gates) * k * vectors * kernels->lanes) * (size_t)kernels->itemsize;
}
