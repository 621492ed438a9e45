/* isa/fpenv.c: flush subnormals to zero and round to nearest while a call computes, then restore the caller's state.
 * A decaying h or c drifts into subnormals, which cost some 100 cycles an operation on many CPUs. */
#include "../rnnfast.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
uint64_t rf_fp_enter(void)
{
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(0x1F80u | 0x8000u | 0x0040u); /* all exceptions masked, nearest; FTZ; DAZ */
    return saved;
}
void rf_fp_leave(uint64_t saved) { _mm_setcsr((unsigned)saved); }
#elif defined(__aarch64__)
uint64_t rf_fp_enter(void)
{
    uint64_t saved;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(saved));
    __asm__ __volatile__("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* FZ; nearest; no traps */
    return saved;
}
void rf_fp_leave(uint64_t saved) { __asm__ __volatile__("msr fpcr, %0" : : "r"(saved)); }
#else
uint64_t rf_fp_enter(void) { return 0; }
void rf_fp_leave(uint64_t saved) { (void)saved; }
#endif
