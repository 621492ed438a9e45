/* rnnfast_api.h: frozen layers called from C, C++ and Cython, without Python, its GIL or memory allocation in the call.
 *
 *     #include <Python.h>
 *     #include <rnnfast_api.h>                                 // its folder: rnnfast.get_include()
 *
 *     const rnnfast_api *api = rnnfast_import();               // with the GIL; NULL: a Python error is set
 *     const rnnfast_frozen *net = api->frozen(layer);          // with the GIL; layer: what net.freeze() returned
 *     api->reserve(net, 1, rows);                              // once in each thread that will step
 *     api->step(net, x, state_in, y, state_out, rows);         // from here on in any thread, without the GIL
 *
 * The guide is docs/embedding.md. C11 or C++. A file that does not include Python.h first has all of this but rnnfast_import:
 * it is given the two pointers by one that does. */
#ifndef RNNFAST_API_H
#define RNNFAST_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number of this interface. Within one number, functions are only added at the end of rnnfast_api. */
#define RNNFAST_ABI 1
#define RNNFAST_CAPSULE_MODULE "rnnfast._kernels._capi"
#define RNNFAST_CAPSULE RNNFAST_CAPSULE_MODULE "._C_API"

/* What functions that return a status return. */
enum {
    RNNFAST_OK = 0,
    RNNFAST_NO_MEMORY = -1,    /* for the scratch of the call */
    RNNFAST_BAD_ARGUMENT = -2  /* a missing array, a negative size, or arrays that overlap */
};

/* A frozen layer, with all layers that are stacked in it. It belongs to the Python object, which must outlive it. */
typedef struct rnnfast_frozen rnnfast_frozen;
struct _object; /* PyObject */

typedef struct rnnfast_api {
    uint32_t abi;  /* RNNFAST_ABI */
    uint32_t size; /* bytes of this struct in the rnnfast that is installed */

    /* The frozen layer of a Python object, of which no reference is taken; NULL with a TypeError or ValueError set. Needs the
     * GIL. Nothing below does. */
    const rnnfast_frozen *(*frozen)(struct _object *layer);

    ptrdiff_t (*input_size)(const rnnfast_frozen *);  /* I */
    ptrdiff_t (*hidden_size)(const rnnfast_frozen *); /* H */
    ptrdiff_t (*num_layers)(const rnnfast_frozen *);
    int (*num_states)(const rnnfast_frozen *);        /* arrays of a state: 2 for LSTM (h, c), 1 for GRU and SimpleRNN (h) */
    int (*itemsize)(const rnnfast_frozen *);          /* of an element of every array: 4 for float, 8 for double */

    /* Takes the scratch of the calling thread, so that in this thread a step, or a forward call of so many steps, of so many
     * rows neither allocates nor returns RNNFAST_NO_MEMORY. The thread keeps it until it ends. */
    int (*reserve)(const rnnfast_frozen *, ptrdiff_t steps, ptrdiff_t rows);

    /* One time step of all layers: x (rows, I) -> y (rows, H), the bits that the Python object's `step` gives.
     *
     * state_in, state_out: num_states pointers to arrays (num_layers, rows, H). state_in, or a pointer in it, may be NULL: the
     * state that the cell begins with, zeros for most. A state_out may be the state_in of the same number; otherwise what is
     * written overlaps nothing. All arrays are contiguous, and aligned as float or double must be. */
    int (*step)(const rnnfast_frozen *, const void *x, const void **state_in, void *y, void **state_out, ptrdiff_t rows);

    /* So many steps at once: x (steps, rows, I) -> y (steps, rows, H), the bits of as many calls of step. */
    int (*forward)(const rnnfast_frozen *, const void *x, const void **state_in, void *y, void **state_out, ptrdiff_t steps,
                   ptrdiff_t rows);
} rnnfast_api;

#ifdef Py_PYTHON_H
/* The functions, for as long as the interpreter lives, or NULL with a Python error set: an ImportError if rnnfast is missing,
 * or does not have what this header says. Needs the GIL. */
static inline const rnnfast_api *rnnfast_import(void)
{
    PyObject *module = PyImport_ImportModule(RNNFAST_CAPSULE_MODULE); /* stays in sys.modules */
    PyObject *capsule = module ? PyObject_GetAttrString(module, "_C_API") : NULL;
    const rnnfast_api *api = capsule ? (const rnnfast_api *)PyCapsule_GetPointer(capsule, RNNFAST_CAPSULE) : NULL;
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    if (api && (api->abi != RNNFAST_ABI || api->size < sizeof(rnnfast_api))) {
        PyErr_Format(PyExc_ImportError,
                     "rnnfast_api.h: expected C interface %d with %d bytes or more, as this program was compiled with, got "
                     "interface %d with %d bytes from the rnnfast that is installed; compile the program again",
                     RNNFAST_ABI, (int)sizeof(rnnfast_api), (int)api->abi, (int)api->size);
        return NULL;
    }
    return api;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
