# cython: language_level=3
"""From a frozen layer and samples in Python to the thread in C."""
from rnnfast.capi cimport RNNFAST_OK, rnnfast_api, rnnfast_frozen, rnnfast_import

cdef extern from "player.h" nogil:
    enum: UNITS
    ctypedef struct player:
        const rnnfast_api *api
        const rnnfast_frozen *net
        const float *samples
        float *played
        Py_ssize_t count
        int status
    void play(player *)

cdef const rnnfast_api *api = rnnfast_import()


def through(layer, const float[::1] samples, float[::1] played):
    """Writes the first unit's output at each sample. `layer` lives as long as this call, and so does what C has of it."""
    cdef player p
    p.api, p.net, p.count = api, api.frozen(layer), len(samples)
    if (api.input_size(p.net), api.hidden_size(p.net), api.num_layers(p.net), api.num_states(p.net), api.itemsize(p.net)) != (
            1, UNITS, 1, 2, sizeof(float)) or len(played) != len(samples) or not len(samples):
        raise ValueError(f"expected an LSTM with 1 input and {UNITS} units in float32, and as many samples out as in")
    p.samples, p.played = &samples[0], &played[0]
    with nogil:
        play(&p)
    if p.status != RNNFAST_OK:
        raise MemoryError
