"""`accelerate` swaps the recurrent modules of a model for rnnfast's, in place; `restore` puts PyTorch's back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.utils import parametrize

from rnnfast.torch._passes import NUMPY
from rnnfast.torch.modules import GRU, LSTM, RNN

Kind = type[torch.nn.Module]
OWN: dict[Kind, Kind] = {torch.nn.RNN: RNN, torch.nn.LSTM: LSTM, torch.nn.GRU: GRU}
TORCHS: dict[Kind, Kind] = {own: kind for kind, own in OWN.items()}


class Entry(NamedTuple):
    """A recurrent module of a model. name: as in ``model.named_modules()``; swapped: whether it is rnnfast's now; reason."""

    name: str
    swapped: bool
    reason: str


class Report:
    """What `accelerate` did: `entries`, and as text. As a context manager it undoes at its exit what the call did."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._modules: list[torch.nn.Module] = []

    @property
    def swapped(self) -> list[str]:
        """Names of the modules that are rnnfast's now."""
        return [entry.name for entry in self.entries if entry.swapped]

    @property
    def left(self) -> list[str]:
        """Names of the recurrent modules that stay as they were."""
        return [entry.name for entry in self.entries if not entry.swapped]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        if not self.entries:
            return "no nn.RNN, nn.LSTM or nn.GRU in the model"
        names = [entry.name or "(the model itself)" for entry in self.entries]
        width = max(map(len, names))
        return "\n".join(
            f"{name:<{width}}  {'swapped' if entry.swapped else 'left   '}  {entry.reason}"
            for name, entry in zip(names, self.entries, strict=True)
        )

    __repr__ = __str__

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *exception: object) -> None:
        for module in self._modules:
            _become(module, TORCHS)


def accelerate(model: torch.nn.Module, filter_fn: Callable[[torch.nn.Module, str], bool] | None = None) -> Report:
    """Make the nn.RNN, nn.LSTM and nn.GRU of a model run and train on rnnfast, in place.

    Only the classes of these modules change: they stay the same objects, with the same parameters, hooks and names, so that
    optimizers, tied modules and state_dict are not concerned. Calling it again changes nothing more.

    Parameters
    ----------
    model : torch.nn.Module
        A model, or one recurrent module.
    filter_fn : callable, optional
        ``filter_fn(module, name)`` says of each recurrent module whether it may be swapped; None swaps all.

    Returns
    -------
    Report
        Print it: it lists every recurrent module, whether it was swapped, and why if not. ``with accelerate(model):`` undoes it
        at the end of the block.

    Raises
    ------
    TypeError
        If `model` is no module, or `filter_fn` cannot be called.

    Notes
    -----
    Left as they are: subclasses, whose own code may differ; modules with ``proj_size``; those whose parameters are not on the
    CPU, or neither float32 nor float64, or no plain tensors (sharded ones, for example); TorchScript.
    """
    _check_model(model)
    if filter_fn is not None and not callable(filter_fn):
        raise TypeError(f"filter_fn: expected a callable of (module, name) or None, got {type(filter_fn).__name__}")
    report = Report()
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.RNNBase) and not _scripted(module):
            continue
        if _kind(module) in TORCHS:
            report.entries.append(Entry(name, True, f"was rnnfast.torch.{_kind(module).__name__} already"))
            continue
        reason = _reason_to_leave(module)
        if reason is None and filter_fn is not None and not filter_fn(module, name):
            reason = "filter_fn said no"
        if reason is None:
            reason = f"torch.nn.{_kind(module).__name__} -> rnnfast.torch.{_kind(module).__name__}"
            _become(module, OWN)
            report._modules.append(module)
            report.entries.append(Entry(name, True, reason))
        else:
            report.entries.append(Entry(name, False, reason))
    return report


def restore(model: torch.nn.Module) -> list[str]:
    """Make the modules that `accelerate` swapped PyTorch's own again, in place; so become those made as `rnnfast.torch.LSTM`.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of str
        Their names.

    Raises
    ------
    TypeError
        If `model` is no module.
    """
    _check_model(model)
    found = [(name, module) for name, module in model.named_modules() if _kind(module) in TORCHS]
    for _, module in found:
        _become(module, TORCHS)
    return [name for name, _ in found]


def _check_model(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")


def _kind(module: torch.nn.Module) -> Kind:
    """Its class, or, of a parametrized module, the class that PyTorch derived the one of this module alone from."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def _become(module: torch.nn.Module, classes: dict[Kind, Kind]) -> None:
    """Changes its class as the mapping says, if it says anything."""
    kind, before = type(module), _kind(module)
    if before not in classes:
        return
    after = classes[before]
    if before is not kind:  # parametrized: its properties are in the class derived for it, which gets another base
        own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__", "__doc__")}
        after = type(kind.__name__, (after,), own)
    module.__class__ = after


def _scripted(module: torch.nn.Module) -> bool:
    """Whether TorchScript runs it, and it was a recurrent module."""
    return isinstance(module, torch.jit.ScriptModule) and getattr(module, "original_name", "") in ("RNN", "LSTM", "GRU")


def _reason_to_leave(module: torch.nn.Module) -> str | None:
    if _scripted(module):
        return "TorchScript runs it"
    kind = _kind(module)
    if kind not in OWN:
        return f"{kind.__module__}.{kind.__qualname__} is a class derived from PyTorch's, whose own code may differ"
    if module.proj_size:
        return f"proj_size={module.proj_size}: rnnfast has no projections"
    for name, w in module.named_parameters():
        if type(w) is not torch.nn.Parameter:
            return f"{name} is a {type(w).__name__}, not a plain parameter"
        if w.device.type != "cpu":
            return f"{name} is on {w.device}: rnnfast computes on the CPU"
        if w.dtype not in NUMPY:
            return f"{name} is {w.dtype}: rnnfast has float32 and float64"
    return None
