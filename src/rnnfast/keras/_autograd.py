"""The bridge between torch's autograd and a pass on arrays.

It promises less than that of `rnnfast.torch` (rnnfast/torch/_passes.py), which has second derivatives and a second backward:
Keras asks for neither, and a layer of Keras is one pass in one direction, with the weights in Keras's layout.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from rnnfast._engine.tapes import Tape
from rnnfast.keras._pass import Pass


def recur(job: Pass, x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
    """`Pass.run` on tensors, (y, *final states), recorded for backward where a gradient is asked for."""
    tensors = (x, kernel, recurrent_kernel, bias, *states)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        return _Recurrence.apply(job, *tensors)  # type: ignore[no-any-return, no-untyped-call]
    return _on_arrays(job, tensors, record=False)[0]


def _on_arrays(job: Pass, tensors: tuple[Any, ...], *, record: bool) -> tuple[tuple[Any, ...], Tape | None]:
    """The results as tensors, and the tape."""
    arrays: list[Any] = [None if t is None else t.detach().numpy() for t in tensors]
    x, kernel, recurrent_kernel, bias, *states = arrays
    y, final, tape = job.run(x, kernel, recurrent_kernel, bias, tuple(states), record=record)
    return tuple([torch.from_numpy(a) for a in (y, *final)]), tape


class _Recurrence(torch.autograd.Function):
    """Without setup_context, which would bind all arguments by inspect.signature at each call (torch/autograd/function.py)."""

    @staticmethod
    def forward(ctx: Any, job: Pass, *tensors: Any) -> Any:
        results, tape = _on_arrays(job, tensors, record=True)
        # the tape keeps x and y by reference: saved, a change in place is torch's own error. Weights and states are copied, and
        # not saved, unlike in rnnfast/torch/_passes.py: a stateful layer of Keras overwrites its states after each call
        ctx.save_for_backward(tensors[0], results[0])
        bias = tensors[3]
        ctx.job, ctx.tape, ctx.two_biases = job, tape, bias is not None and bias.ndim == 2
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Any, *dstates: Any) -> Any:
        ctx.saved_tensors  # noqa: B018 - looks whether they were changed
        need_x = ctx.needs_input_grad[1]
        given = [None if d is None else d.numpy() for d in (dy, *dstates)]
        found = ctx.job.gradients(ctx.tape, given[0], tuple(given[1:]), need_x=need_x, two_biases=ctx.two_biases)
        return (None, *[None if g is None else torch.from_numpy(g) for g in found])
