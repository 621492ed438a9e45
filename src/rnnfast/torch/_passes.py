"""One pass of rnnfast over tensors, with PyTorch's autograd: what the modules of this package share.

Tensors and arrays share their memory. The tape of rnnfast holds arrays; every tensor whose memory it reads is also saved by
autograd, whose version counters notice a change in place before backward, and whose errors tell of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from rnnfast._engine.form import Index, Rows
from rnnfast._types import Array, FloatDType
from rnnfast.layers import Layer
from rnnfast.stack_tape import StackTape

Tensors: TypeAlias = Sequence[Tensor | None]
# the dtypes that the kernels have
NUMPY: dict[torch.dtype, FloatDType] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
KINDS = (Tensor, torch.nn.Parameter)  # of tensors whose memory is just what it seems: no subclass


def plain(t: Any) -> bool:
    """Whether it is a tensor whose memory NumPy can read: dense, on the CPU, of one of the kernels' dtypes."""
    return type(t) in KINDS and t.is_cpu and t.dtype in NUMPY and t.layout is torch.strided and not t.is_nested


def ordinary() -> bool:
    """Whether PyTorch runs plain operations, one after the other: no function transform (vmap, grad, jvp), no forward-mode
    derivative, no tracing, no mode that wants to see every operation, and no autocast on the CPU."""
    return not (
        torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
        or torch.is_autocast_enabled("cpu")
        or torch._C._is_tracing()
    )


def batched(d: Tensor | None) -> bool:
    """Whether a gradient stands for several: under vmap, or with is_grads_batched."""
    functorch = torch._C._functorch
    return d is not None and (functorch.is_functorch_wrapped_tensor(d) or functorch.is_legacy_batchedtensor(d))


def array(t: Any) -> Array:
    """A tensor's, of the same memory; force: without its graph."""
    found: Array = t.numpy(force=True)
    return found


def parameter(t: Any) -> Array:
    """A tensor's, of the same memory if that is in C order, as the kernels want parameters."""
    a = array(t)
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


def lengths_of(batch_sizes: Tensor) -> Index:
    """(B,) lengths of the samples of a PackedSequence, in its order; batch_sizes (T,): how many samples have each step."""
    sizes = batch_sizes.numpy()
    return len(sizes) - np.searchsorted(sizes[::-1], np.arange(sizes[0]), side="right")


class Pass(NamedTuple):
    """What a pass needs beside tensors, which are, in this order: x; the initial states, each perhaps None; the cell's inputs;
    the parameters.

    layer: of the form of the pass, without parameters. states: how many there are. inputs: names of the cell's inputs. lengths:
    of the samples. packed: whether x has the rows of a PackedSequence. seed: of random numbers, if there are any. again: the
    same pass by PyTorch's own operations, (y, *states) of tensors, for derivatives of derivatives; None where there is none.
    """

    layer: Layer[Any]
    states: int
    inputs: tuple[str, ...] = ()
    lengths: Any = None
    packed: bool = False
    seed: int | None = None
    again: Callable[..., Sequence[Tensor]] | None = None

    def given(self, tensors: Tensors) -> tuple[Layer[Any], Array | Rows, Any, Any, Any]:
        """The layer with parameters, and its arguments x, state, lengths and inputs."""
        blank, last = self.layer, 1 + self.states + len(self.inputs)
        layer: Layer[Any] = blank.__new__(type(blank))  # of this call alone: any number of threads may call a module
        layer.__dict__.update(blank.__dict__, _params=dict(zip(blank._shapes, map(parameter, tensors[last:]), strict=True)))
        x, *states = [None if t is None else array(t) for t in tensors[: 1 + self.states]]
        assert x is not None
        inputs = None
        if self.inputs:
            inputs = dict(zip(self.inputs, map(array, tensors[1 + self.states : last]), strict=True))
        rows = Rows(x, self.lengths) if self.packed else x
        return layer, rows, tuple(states) if self.states > 1 else states[0], None if self.packed else self.lengths, inputs

    def record(self, tensors: Tensors) -> tuple[Array, tuple[Array, ...], StackTape[Any]]:
        """y, the final states and the tape."""
        layer, x, state, lengths, inputs = self.given(tensors)
        y, last, tape = layer._record(x, state, lengths, inputs, self.seed)
        return y, last if self.states > 1 else (last,), tape

    def results(self, y: Array, last: tuple[Array, ...]) -> tuple[Tensor, ...]:
        """As tensors."""
        return (torch.from_numpy(y), *map(torch.from_numpy, last))

    def infer(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """y and the final states, no tape."""
        if self.seed is not None:
            return self.results(*self.record(tensors)[:2])
        layer, x, state, lengths, inputs = self.given(tensors)
        y, last = layer(x, state, lengths=lengths, inputs=inputs)
        return self.results(y, last if self.states > 1 else (last,))

    def gradients(self, tape: StackTape[Any], needs: Sequence[bool], dy: Tensor | None, *dlast: Tensor | None) -> Tensors:
        """Of the tensors, None where they are not needed."""
        d = None if dy is None else array(dy)
        ends = tuple([None if t is None else array(t) for t in dlast])
        need_inputs = any(needs[1 + self.states : 1 + self.states + len(self.inputs)])
        g = tape.backward(d, ends if self.states > 1 else ends[0], need_x=needs[0], need_inputs=need_inputs)
        found = [g.x, *(g.state if self.states > 1 else (g.state,)), *(g.inputs.get(k) for k in self.inputs)]
        found += g.params.values()
        return [None if a is None or not need else torch.from_numpy(a) for a, need in zip(found, needs, strict=True)]

    def gradients_with_graph(self, tensors: Tensors, needs: Sequence[bool], grads: Tensors) -> Tensors:
        """The same, computed by PyTorch, so that they have derivatives themselves."""
        if self.again is None or self.seed is not None:
            what = "a pass with dropout" if self.again is not None else "this cell"
            raise RuntimeError(f"rnnfast.torch: expected a backward pass with create_graph=False, since {what} has no second "
                               "derivatives, got create_graph=True; use PyTorch's own modules for those")  # fmt: skip
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            # views: one tensor may stand in two places, each of which has a gradient of its own
            own = [t.view_as(t) if t is not None and need else t for t, need in zip(tensors, needs, strict=True)]
            pairs = [(y, d) for y, d in zip(self.again(*own), grads, strict=True) if d is not None]
            wanted = [t for t, need in zip(own, needs, strict=True) if need and t is not None]
            ys, ds = zip(*pairs, strict=True)
            found = iter(torch.autograd.grad(ys, wanted, ds, create_graph=create_graph, allow_unused=True))
        return [next(found) if need else None for need in needs]


class Recurrence(torch.autograd.Function):
    """apply(what, *tensors) -> y and the final states. Without setup_context, which would cost each call some microseconds; the
    modules take PyTorch's own path under function transforms, which need it."""

    @staticmethod
    def forward(ctx: Any, what: Pass, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        y, last, ctx.tape = what.record(tensors)
        results = what.results(y, last)
        ctx.what = what
        ctx.save_for_backward(*tensors, results[0])
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        what: Pass = ctx.what
        *tensors, _ = ctx.saved_tensors  # raises where one was changed in place, or where the graph was freed
        needs = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or any(batched(d) for d in grads):
            return None, *what.gradients_with_graph(tensors, needs, grads)
        tape, ctx.tape = ctx.tape, None
        if tape is None:  # a second backward with retain_graph: a tape is used once, and recorded again with the same draws
            tape = what.record(tensors)[2]
        return None, *what.gradients(tape, needs, *grads)


def run(what: Pass, tensors: Tensors) -> tuple[Tensor, ...]:
    """y and the final states, with a graph where autograd wants one."""
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                found: tuple[Tensor, ...] = Recurrence.apply(what, *tensors)  # type: ignore[no-untyped-call]
                return found
    return what.infer(tensors)


def drawn_seed() -> int:
    """From PyTorch's generator on the CPU: torch.manual_seed makes dropout reproducible."""
    return int(torch.randint(2**63 - 1, (), device="cpu"))
