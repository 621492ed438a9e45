"""`Cell`: a module with autograd of any cell of rnnfast, those that are formulas above all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnfast._engine import checks
from rnnfast._engine.stack import version_of
from rnnfast.cells.base import AnyVariant, Variant
from rnnfast.layers import Layer
from rnnfast.storage import layer_class
from rnnfast.torch._passes import NUMPY, Pass, drawn_seed, ordinary, plain, run


class Cell(torch.nn.Module):
    """A recurrent module of a layer class of rnnfast: of one that `rnnfast.cell` made, such as those of `rnnfast.zoo`, or of a
    built-in one.

    Parameters
    ----------
    cell : type
        The layer class, for example ``rnnfast.zoo.LayerNormLSTM``. `rnnfast.SimpleRNN`, `LSTM` and `GRU` run in their own
        kernels. `rnnfast.torch.RNN`, `LSTM` and `GRU` compute the same, have the interface of PyTorch's modules, second
        derivatives and a fallback to PyTorch, but no nonlinearity="sigmoid" or "identity" and no reset_after=False.
    input_size, hidden_size, num_layers : int
        I, H and the number of layers; D below is the number of directions, T that of time steps, B that of samples.
    bias, batch_first, dropout, bidirectional
        As of `torch.nn.LSTM`.
    dtype : torch.float32 or torch.float64, optional
        Of the parameters; None is PyTorch's default dtype.
    **options
        Those of the cell, such as ``reset_after=False`` of `rnnfast.GRU`.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit.

    Notes
    -----
    The parameters are `torch.nn.Parameter` under the names that they have in rnnfast (``weight_ih_l0``, ``p_i_l0``, ...), with
    the initial values that the cell declares. What is random (these values, dropout between layers and the draws of the
    formula) depends on PyTorch's generator, that is, on `torch.manual_seed`. Dropout and draws are there in training mode
    alone; in `eval` mode a draw is its mean, as in a call of the layer. A cell is computed on the CPU, in float32 and float64;
    there are no derivatives of derivatives. torch.compile breaks its graph at the module.

    Examples
    --------
    >>> import torch, rnnfast.torch
    >>> from rnnfast import zoo
    >>> net = rnnfast.torch.Cell(zoo.LayerNormLSTM, 3, 4)
    >>> y, (h, c) = net(torch.zeros(5, 2, 3))
    >>> y.sum().backward()
    """

    _layer: Layer[Any]  # without parameters: those are the module's

    def __init__(
        self,
        cell: type[Layer[Any]],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if not (isinstance(cell, type) and issubclass(cell, Layer)):
            got = cell.__name__ if isinstance(cell, type) else type(cell).__name__
            raise TypeError(f"cell: expected a layer class of rnnfast, such as rnnfast.zoo.LayerNormLSTM, got {got}")
        dtype = dtype or torch.get_default_dtype()
        if dtype not in NUMPY:
            raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        form = {"bias": bias, "batch_first": batch_first, "dropout": dropout, "bidirectional": bidirectional}
        make: Any = cell
        layer = make(input_size, hidden_size, num_layers, **form, dtype=NUMPY[dtype], rng=drawn_seed(), **options)
        for name, value in layer.params.items():
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(value)))
        layer.__dict__.update(_params={}, rng=None)
        self._layer = layer

    def forward(
        self,
        x: Tensor,
        state: Tensor | tuple[Tensor | None, ...] | None = None,
        *,
        lengths: Any = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Any]:
        """A pass over a whole sequence.

        Parameters
        ----------
        x : (T, B, I), with batch_first (B, T, I), or (T, I) Tensor
        state : Tensor or tuple of them, optional
            The initial states, (num_layers*D, B, H) each, or (num_layers*D, H) if x is (T, I); a tuple where the cell has
            several. None, also inside the tuple, is what the cell begins with.
        lengths : (B,) Tensor or array_like of int, optional
            The number of steps of each sample; y is 0 past its end.
        inputs : mapping of str to Tensor, optional
            Of a cell that declares inputs: name -> (T, B) or (T, B, H), as x is arranged. They may require gradients.

        Returns
        -------
        y : (T, B, D*H), with batch_first (B, T, D*H), or (T, D*H) Tensor
        state : Tensor or tuple of them
            The final states, in the form of `state`.

        Raises
        ------
        TypeError, ValueError, MemoryError
            For an argument that does not fit.
        RuntimeError
            Under vmap, forward-mode derivatives, tracing, or autocast, which rnnfast does not have.
        """
        if torch.compiler.is_compiling():
            return _compute_uncompiled(self, x, state, lengths, inputs)  # type: ignore[no-any-return]
        return _compute(self, x, state, lengths, inputs)

    def extra_repr(self) -> str:
        return repr(self._layer)

    def __getstate__(self) -> dict[str, Any]:
        layer = self._layer
        return {**self.__dict__, "_layer": {"cell": layer._cell_described(), **layer._description()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        described = state["_layer"]
        version_of(described)
        kind = layer_class(described["cell"])
        layer: Layer[Any] = kind.__new__(kind)
        layer._set_form(described["options"], **described["arguments"])
        layer.__dict__.update(_params={}, rng=None)
        super().__setstate__({**state, "_layer": layer})  # type: ignore[no-untyped-call]


def _compute(module: Cell, x: Any, state: Any, lengths: Any, inputs: Any) -> tuple[Tensor, Any]:
    if not ordinary():
        raise RuntimeError(
            "rnnfast.torch.Cell: expected plain operations, got a call under vmap, forward-mode derivatives, tracing, a "
            "dispatch mode, or autocast (torch.autocast('cpu', enabled=False) ends the last), none of which it has"
        )
    params = [getattr(module, name) for name in module._layer._shapes]
    layer = _layer_of(module, params[0])
    variant = layer._form.variant
    states = _states(state, variant)
    if inputs is not None and not isinstance(inputs, Mapping):
        raise checks.wrong_type("inputs", "a mapping of names to tensors", inputs)
    given = dict(inputs or {})
    if set(given) != set(variant.inputs):
        expected = f"tensors named {checks.listed(variant.inputs)}" if variant.inputs else "none, as the cell declares none"
        raise ValueError(f"inputs: expected {expected}, got {checks.listed(map(str, given)) or 'none'}")
    named = {"x": x, **{f"state ({k})": t for k, t in zip(variant.states, states, strict=True) if t is not None}}
    named.update({f"inputs[{k!r}]": t for k, t in given.items()}, **dict(zip(layer._shapes, params, strict=True)))
    for name, t in named.items():
        _check_tensor(name, t, layer.dtype.name)
    tensors = (x, *states, *(given[name] for name in variant.inputs), *params)
    what = Pass(layer, len(states), variant.inputs, lengths.numpy(force=True) if isinstance(lengths, Tensor) else lengths)
    if module.training and (variant.draws or (layer.dropout and layer.num_layers > 1)):
        what = what._replace(seed=drawn_seed())
    y, *last = run(what, tensors)
    return y, tuple(last) if len(last) > 1 else last[0]


def _compute_uncompiled(*arguments: Any) -> Any:
    """`_compute`, into which torch.compile does not look: imported with the compiler, which is at work already."""
    return torch.compiler.disable(_compute)(*arguments)  # type: ignore[no-untyped-call]


def _layer_of(module: Cell, w: Tensor) -> Layer[Any]:
    """The module's layer with the dtype that its parameters have now; in `eval` mode without anything random."""
    form = module._layer._form
    if w.dtype not in NUMPY:
        raise TypeError(f"parameters: expected torch.float32 or torch.float64, got {w.dtype}; use net.to(torch.float32)")
    own = form
    if NUMPY[w.dtype] != form.dtype:
        form = form._replace(dtype=NUMPY[w.dtype])
    if not module.training and (form.dropout or form.variant.draws):
        variant = form.variant if isinstance(form.variant, Variant) else form.variant.at_inference
        form = form._replace(dropout=0.0, variant=variant)
    if form is own:  # short calls know it
        return module._layer
    layer: Layer[Any] = module._layer.__new__(type(module._layer))
    layer.__dict__.update(module._layer.__dict__, _form=form)
    return layer


def _states(state: Any, variant: AnyVariant) -> tuple[Any, ...]:
    """One for each state of the cell, perhaps None."""
    count = len(variant.states)
    if state is None:
        return (None,) * count
    states = tuple(state) if count > 1 and isinstance(state, (tuple, list)) else (state,)
    if len(states) != count:
        raise TypeError(f"state: expected a tuple ({', '.join(variant.states)}) of tensors, got {type(state).__name__}")
    return states


def _check_tensor(name: str, t: Any, dtype: str) -> None:
    if not isinstance(t, Tensor):
        raise checks.wrong_type(name, "a torch.Tensor", t)
    if not plain(t) or t.dtype is not getattr(torch, dtype):
        got = f"{type(t).__name__} of {t.dtype} on {t.device}, {t.layout}"
        remedy = f"; use {checks.cast(name, np.dtype(dtype), t)}" if t.dtype is not getattr(torch, dtype) else ""
        raise TypeError(f"{name}: expected a plain tensor of torch.{dtype}, as the parameters, on the CPU, got {got}{remedy}")
