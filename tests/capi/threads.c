/* threads.c: threads without Python step frozen layers, for tests/test_capi.py. With -DCOUNT, and preloaded, this library
 * counts what each thread allocates (glibc). */
#define _GNU_SOURCE
#include <errno.h>
#include <float.h>
#include <pthread.h>
#include <string.h>

#include <rnnfast_api.h>

static _Thread_local long allocated;

#ifdef COUNT
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { ++allocated; return __libc_malloc(n); }
void *calloc(size_t n, size_t each) { ++allocated; return __libc_calloc(n, each); }
void *realloc(void *p, size_t n) { ++allocated; return __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { ++allocated; return __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { ++allocated; return __libc_memalign(align, n); }
int posix_memalign(void **p, size_t align, size_t n) { ++allocated; return (*p = __libc_memalign(align, n)) ? 0 : ENOMEM; }
#endif

typedef struct stream {
    const rnnfast_api *api;
    const rnnfast_frozen *net;
    const char *x;          /* (steps, rows, I) */
    char *y;                /* (steps, rows, H) */
    char *state[8];         /* (layers, rows, H) each, in and out */
    ptrdiff_t steps, rows;
    int reserves, passes;   /* whether the thread reserves first; how often it goes through the steps, from the same state */
    int status;
    long allocated;         /* by the steps of all passes */
    int subnormals;         /* are still numbers after the steps */
} stream;

static volatile double smallest = DBL_MIN, half = 0.5;

static void *run(void *argument)
{
    stream *s = (stream *)argument;
    const rnnfast_api *api = s->api;
    const size_t item = (size_t)api->itemsize(s->net), row = (size_t)s->rows * item;
    const size_t in = row * (size_t)api->input_size(s->net), out = row * (size_t)api->hidden_size(s->net);
    const int states = api->num_states(s->net);
    char *first[8];
    for (int i = 0; i < states; ++i) { /* beside the states, where the caller has room for a copy */
        first[i] = s->state[i] + out * (size_t)api->num_layers(s->net);
        memcpy(first[i], s->state[i], out * (size_t)api->num_layers(s->net));
    }
    s->status = s->reserves ? api->reserve(s->net, 1, s->rows) : RNNFAST_OK;
    allocated = 0;
    for (int pass = 0; pass < s->passes; ++pass)
        for (ptrdiff_t n = 0; n < s->steps && s->status == RNNFAST_OK; ++n)
            s->status = api->step(s->net, s->x + (size_t)n * in, (const void **)(n ? s->state : first), s->y + (size_t)n * out,
                                  (void **)s->state, s->rows);
    s->allocated = allocated;
    s->subnormals = smallest * half != 0;
    return NULL;
}

/* All streams at once, each in a thread of its own; 0, or an error number. */
int run_all(stream *s, int count)
{
    pthread_t thread[64];
    int error = 0, started = 0;
    while (started < count && started < 64 && !(error = pthread_create(&thread[started], NULL, run, &s[started]))) ++started;
    for (int i = 0; i < started; ++i) pthread_join(thread[i], NULL);
    return error;
}
