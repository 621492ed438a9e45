/* player.c: a thread that knows nothing of Python sends sample after sample through the LSTM, as an audio callback would. */
#include "player.h"

#include <pthread.h>

static void *run(void *argument)
{
    player *p = (player *)argument;
    float y[UNITS], h[UNITS] = {0}, c[UNITS] = {0}; /* the state of this stream, which begins with zeros */
    const void *before[] = {h, c};
    void *after[] = {h, c}; /* the new state takes the place of the old one */
    p->status = p->api->reserve(p->net, 1, 1);
    for (ptrdiff_t n = 0; n < p->count && p->status == RNNFAST_OK; ++n) {
        p->status = p->api->step(p->net, &p->samples[n], before, y, after, 1);
        p->played[n] = y[0];
    }
    return NULL;
}

void play(player *p)
{
    pthread_t thread;
    p->status = RNNFAST_NO_MEMORY;
    if (pthread_create(&thread, NULL, run, p) == 0) pthread_join(thread, NULL);
}
