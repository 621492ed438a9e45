/* memory.c: aligned memory and the scratch of each OS thread. */
#ifdef __linux__
#define _DEFAULT_SOURCE /* MADV_HUGEPAGE */
#endif
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "rnnfast.h"

enum { RF_HUGE_PAGE = 2 << 20, RF_HUGE_FROM = 4 << 20 };

/* Large blocks go on huge pages where the system has them: weights are read from end to end at every step, and a block of
 * 16 MB is 4,096 page faults and as many TLB entries otherwise. */
void *rf_alloc(size_t bytes)
{
    void *p = NULL;
    const int large = bytes >= RF_HUGE_FROM;
    if (posix_memalign(&p, large ? RF_HUGE_PAGE : 64, bytes ? bytes : 64) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) (void)madvise(p, bytes, MADV_HUGEPAGE); /* advice: failure costs nothing but speed */
#endif
    return p;
}

void rf_free(void *p) { free(p); }

/* One growing block a thread. The size is kept in the block's first 64 bytes; the key's destructor frees it. */
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static int scratch_ready;

static void make_key(void) { scratch_ready = pthread_key_create(&scratch_key, free) == 0; }

void *rf_scratch(size_t bytes)
{
    pthread_once(&scratch_once, make_key);
    if (!scratch_ready || bytes > SIZE_MAX - 64) return NULL;
    char *block = pthread_getspecific(scratch_key);
    if (!block || *(size_t *)block < bytes) {
        pthread_setspecific(scratch_key, NULL);
        free(block);
        block = rf_alloc(bytes + 64);
        if (!block) return NULL;
        *(size_t *)block = bytes;
        if (pthread_setspecific(scratch_key, block) != 0) {
            free(block);
            return NULL;
        }
    }
    return block + 64;
}
