/* isa/intrinsics.h: x86's vector intrinsics, all of them, whatever the compiler's flags say that the CPU has. */
#include <immintrin.h>
#if defined(_MSC_VER) && defined(__clang__)
/* clang-cl (LLVM 14 does so) leaves out those that its flags, /arch, do not allow. Their own headers have them; each wants what
 * is in those above it. */
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <avx512fintrin.h>
#include <avx512vlintrin.h>
#include <avx512bwintrin.h>
#include <avx512dqintrin.h>
#include <avx512vlbwintrin.h>
#include <avx512vldqintrin.h>
#endif
