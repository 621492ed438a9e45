"""rnnfast for models in PyTorch, on the CPU.

`accelerate` makes the nn.RNN, nn.LSTM and nn.GRU of a model run and train on rnnfast's kernels, in place and with one line;
`RNN`, `LSTM` and `GRU` are what they become, and can also be used instead of PyTorch's. `Cell` makes a module with autograd of
a cell that is a formula. docs/from_pytorch.md is the guide.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "torch":
        raise
    remedy = 'pip install "rnnfast[torch]"'
    raise ModuleNotFoundError(f"rnnfast.torch: expected PyTorch to be installed, got none; {remedy}", name="torch") from None

from rnnfast.torch.cell import Cell
from rnnfast.torch.modules import GRU, LSTM, RNN
from rnnfast.torch.swap import Entry, Report, accelerate, restore

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Entry", "Report", "accelerate", "restore"]
