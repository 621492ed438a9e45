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
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or torch._C._are_functorch_transforms_active():
        return f"a {type(tensor).__name__} in a transformation of torch"
    return None if tensor.device.type == "cpu" and tensor.layout == torch.strided else f"a tensor on {tensor.device.type}"


def array_of(tensor: Any) -> Array:
    return tensor.detach().numpy()  # type: ignore[no-any-return]
