/* memory.c: aligned memory and the scratch of each OS thread. */
#include <pthread.h>
#include <stdlib.h>

#include "rnnfast.h"

void *rf_alloc(size_t bytes)
{
    void *p = NULL;
    return posix_memalign(&p, 64, bytes ? bytes : 64) == 0 ? p : NULL;
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
