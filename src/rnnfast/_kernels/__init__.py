"""The compiled kernels' room: the timestep loops and what surrounds one call of them. Nothing here is seen by users.

`_core` is csrc for the others (ISAs, memory, thread team, signals); `_weights` packs weights; `_order` sorts ragged batches;
`_job.pxd` is the data the loops work on; `_forward` and `_backward` are the loops; `_call` makes a call of one layer in one
direction, `_fast_path` one of a frozen layer with as little as possible around it, `_training` passes of training; `_capi`
hands the second to other compiled code; `_testing` has the hooks of tests and benchmarks.
"""
