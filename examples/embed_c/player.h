/* player.h: one stream of samples through one LSTM. */
#include <rnnfast_api.h>

enum { UNITS = 16 };

typedef struct player {
    const rnnfast_api *api;
    const rnnfast_frozen *net; /* LSTM with 1 input and UNITS units, float */
    const float *samples;
    float *played;
    ptrdiff_t count;
    int status;
} player;

void play(player *); /* returns when all samples are played */
