"""What depends on Keras's backend, for torch; `_on_numpy` has the same names."""

from __future__ import annotations

from typing import Any

import torch

from rnnfast._types import Array
from rnnfast.keras import _report
from rnnfast.keras._autograd import recur

__all__ = ["array_of", "foreign", "is_traced", "note", "recur"]

# called by torch.compile while it traces, so that the compiled code does not count
note = torch._dynamo.assume_constant_result(_report.note)  # type: ignore[no-untyped-call]


def is_traced() -> bool:
    return torch.compiler.is_compiling() or bool(torch._C._get_tracing_state())


def foreign(tensor: Any) -> str | None:
    if torch._C._are_functorch_transforms_active():
        return "rnnfast cannot see into transformations of torch such as vmap, grad and jvp; call the model outside of them"
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"rnnfast reads plain tensors, and one is a {type(tensor).__name__}; pass x.as_subclass(torch.Tensor)"
    if tensor.device.type != "cpu":
        return f"rnnfast computes on the CPU, and a tensor is on {tensor.device.type}; use the model under keras.device('cpu')"
    if tensor.layout != torch.strided:
        return f"rnnfast reads dense tensors, and one has the layout {tensor.layout}; pass x.to_dense()"
    return None


def array_of(tensor: Any) -> Array:
    return tensor.detach().numpy()  # type: ignore[no-any-return]
