/* isa/cpuid.h: what this x86-64 CPU has and its operating system saves when threads take turns. Asked of the CPU itself:
 * __builtin_cpu_supports needs a library of the compiler, with which clang-cl does not link. */
#include <cpuid.h>

/* The bits of XCR0, if CPUID said (OSXSAVE) that it can be read: which registers the system saves. */
static inline unsigned rf_saved_registers(void)
{
    unsigned low, high;
    __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Intel 64 manual, volume 2A, CPUID: leaf 1, ECX: FMA 12, OSXSAVE 27, AVX 28; leaf 7, EBX: AVX2 5, AVX-512 F 16, DQ 17, BW 30,
 * VL 31. Volume 1, 13.3: XCR0: SSE 1, AVX 2, AVX-512 5 to 7. macOS sets the latter at a thread's first use of AVX-512 only (XNU,
 * osfmk/i386/fpu.c). */
#if defined(__APPLE__)
enum { RF_SAVED_256 = 0x06, RF_SAVED_512 = 0x06 };
#else
enum { RF_SAVED_256 = 0x06, RF_SAVED_512 = 0xe6 };
#endif

static inline int rf_cpu_has(unsigned leaf7, unsigned saved)
{
    const unsigned leaf1 = 1u << 12 | 1u << 27 | 1u << 28;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1 || (rf_saved_registers() & saved) != saved) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & leaf7) == leaf7;
}

#define RF_HAS_AVX2 rf_cpu_has(1u << 5, RF_SAVED_256)
#define RF_HAS_AVX512 rf_cpu_has(1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, RF_SAVED_512)
