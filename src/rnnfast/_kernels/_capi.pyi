"""Types of the compiled module _capi."""

_C_API: object  # the PyCapsule that include/rnnfast_api.h reads
