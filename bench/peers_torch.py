"""PyTorch's other paths: compiled, single steps by a cell, ragged batches padded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rnnfast.proof.contenders import Result, Task, Work, arguments, modes, torch_task

UNROLLED = 1  # torch.compile unrolls the time loop of all but LSTM: a GRU of 100 steps took two minutes to compile


def padded_task(task: Task, threads: int) -> Work | None:
    """A ragged batch computed padded, y masked."""
    return torch_task(task, threads, padded=True) if task.lengths and task.maskable else None


def compiled_task(task: Task, threads: int) -> Work | None:
    """Inference in float32 through torch.compile with frozen weights: an LSTM becomes oneDNN's, its weights packed once.
    Everything else is unrolled over time, which is left out beyond so many steps."""
    if task.training or task.dtype != "float32" or not task.maskable or (task.cell != "lstm" and task.shape.T > UNROLLED):
        return None
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()
    torch._dynamo.config.allow_rnn = True
    torch._inductor.config.freezing = True
    torch._inductor.config.compile_threads = 1  # else processes that outlive the compilation
    return torch_task(task, threads, padded=True, prepare=torch.compile)


def cell_task(task: Task, threads: int) -> Work | None:
    """A single step by RNNCell, LSTMCell or GRUCell: they do less around the products than the modules for sequences."""
    import torch

    shape, x_np, weights = arguments(task)
    kinds: dict[str, Any] = {"simple_rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
    if shape.T > 1 or len(weights) > 4 or task.training or task.lengths or task.cell not in kinds:
        return None
    modes.close()
    torch.set_num_threads(threads)
    dtype = getattr(torch, task.dtype)
    cell = kinds[task.cell](shape.I, shape.H, dtype=dtype)
    cell.load_state_dict({name.removesuffix("_l0"): torch.from_numpy(w) for name, w in weights.items()})
    x = torch.from_numpy(x_np[0])
    zeros = torch.zeros(shape.B, shape.H, dtype=dtype)
    initial = state = after = (zeros, zeros) if task.cell == "lstm" else zeros
    modes.enter_context(torch.inference_mode())

    def arrange() -> Result:
        states = after if isinstance(after, tuple) else (after,)
        return [a.numpy()[None] for a in (states[0], *(states if task.stateful else ()))]

    def step() -> Callable[[], Result]:
        nonlocal state, after
        after = cell(x, state)
        state = after if task.stateful else initial
        return arrange

    return step
