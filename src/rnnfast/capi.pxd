"""rnnfast_api.h for Cython: ``from rnnfast.capi cimport rnnfast_api, rnnfast_frozen, rnnfast_import``. The header says what
each function does; its folder, rnnfast.get_include(), must be among the include_dirs of the extension."""

cdef extern from "Python.h":
    pass  # first: the header then has rnnfast_import

cdef extern from "rnnfast_api.h":
    enum:
        RNNFAST_ABI, RNNFAST_OK, RNNFAST_NO_MEMORY, RNNFAST_BAD_ARGUMENT

    ctypedef struct rnnfast_frozen:
        pass

    ctypedef struct rnnfast_api:
        unsigned int abi, size
        const rnnfast_frozen *(*frozen)(object layer) except NULL
        Py_ssize_t (*input_size)(const rnnfast_frozen *) noexcept nogil
        Py_ssize_t (*hidden_size)(const rnnfast_frozen *) noexcept nogil
        Py_ssize_t (*num_layers)(const rnnfast_frozen *) noexcept nogil
        int (*num_states)(const rnnfast_frozen *) noexcept nogil
        int (*itemsize)(const rnnfast_frozen *) noexcept nogil
        int (*reserve)(const rnnfast_frozen *, Py_ssize_t steps, Py_ssize_t rows) noexcept nogil
        int (*step)(const rnnfast_frozen *, const void *x, const void **state_in, void *y, void **state_out,
                    Py_ssize_t rows) noexcept nogil
        int (*forward)(const rnnfast_frozen *, const void *x, const void **state_in, void *y, void **state_out,
                       Py_ssize_t steps, Py_ssize_t rows) noexcept nogil

    const rnnfast_api *rnnfast_import() except NULL
