/* import.c: rnnfast_import, as a program calls it. */
#include <Python.h>
#include <rnnfast_api.h>

const rnnfast_api *import_it(void) { return rnnfast_import(); }
