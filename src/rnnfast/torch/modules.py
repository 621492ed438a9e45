"""RNN, LSTM, GRU: PyTorch's modules, computed by rnnfast wherever it can."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnfast._engine.form import Form
from rnnfast.layers import GRU as GRULayer
from rnnfast.layers import LSTM as LSTMLayer
from rnnfast.layers import Layer, SimpleRNN
from rnnfast.torch._passes import KINDS, NUMPY, Pass, drawn_seed, lengths_of, ordinary, plain, run

LAYERS: dict[str, tuple[type[Layer[Any]], dict[str, Any]]] = {  # PyTorch's mode -> the layer class and its options
    "RNN_TANH": (SimpleRNN, {"nonlinearity": "tanh"}),
    "RNN_RELU": (SimpleRNN, {"nonlinearity": "relu"}),
    "LSTM": (LSTMLayer, {}),
    "GRU": (GRULayer, {"reset_after": True}),
}
OPERATIONS: dict[str, Any] = {"RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu, "LSTM": torch.lstm, "GRU": torch.gru}


@lru_cache(1024)
def _pass(mode: str, dtype: torch.dtype, dropout: float, *arguments: Any) -> Pass:
    """Of a module in this mode; arguments: its sizes up to batch_first, and bidirectional."""
    kind, options = LAYERS[mode]
    layer: Layer[Any] = kind.__new__(kind)
    *sizes, bidirectional = arguments
    form: Any = (*sizes, dropout, bidirectional, NUMPY[dtype])
    layer._set_form(options, *form)
    layer.__dict__.update(rng=None)
    return Pass(layer, 2 if mode == "LSTM" else 1, again=partial(_by_torch, mode, layer._form))


_compiler = torch._C._dynamo.eval_frame.get_eval_frame_callback  # None where torch.compile does not look at what is called


@cache
def _unseen() -> Any:
    """`run`, into which torch.compile does not look."""
    return torch.compiler.disable(run)  # type: ignore[no-untyped-call]


def _by_torch(mode: str, form: Form, x: Tensor, *rest: Tensor | None, batch_sizes: Tensor | None = None) -> Sequence[Tensor]:
    """A pass by PyTorch's own operation, without dropout; rest: the initial states, the weights."""
    states, unbatched = (2 if mode == "LSTM" else 1), batch_sizes is None and x.dim() == 2
    axis = 0 if form.batch_first else 1
    if unbatched:
        x = x.unsqueeze(axis)
    places = (form.places, x.shape[axis] if batch_sizes is None else int(batch_sizes[0]), form.hidden_size)
    hx = [x.new_zeros(places) if t is None else t.reshape(places) for t in rest[:states]]
    given = (x, hx if states > 1 else hx[0]) if batch_sizes is None else (x, batch_sizes, hx if states > 1 else hx[0])
    last = (form.batch_first,) if batch_sizes is None else ()
    y, *ends = OPERATIONS[mode](*given, rest[states:], form.bias, form.num_layers, 0.0, False, form.directions == 2, *last)
    return (y.squeeze(axis), *[t.squeeze(1) for t in ends]) if unbatched else (y, *ends)


class _Accelerated(torch.nn.RNNBase):
    """Not public: the forward pass that the three share. Whatever is not for rnnfast, errors included, is left to PyTorch's."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if torch.compiler.is_compiling() or self.proj_size or not ordinary():
            return super().forward(input, hx)
        own, flat = self._parameters, self._flat_weights
        for name, w in zip(self._flat_weights_names, flat, strict=True):
            if own.get(name) is not w:  # computed, or replaced
                self._update_flat_weights()
                flat = self._flat_weights
                break
        packed = isinstance(input, PackedSequence)
        parts: tuple[Any, ...] = input if packed else (input, None, None, None)
        x, batch_sizes, sorted_indices, unsorted_indices = parts
        if not self._computable(x, hx, flat, batch_sizes):
            return super().forward(input, hx)
        is_lstm = self.mode == "LSTM"
        initial: Any = ((None, None) if is_lstm else (None,)) if hx is None else hx if is_lstm else (hx,)
        if sorted_indices is not None and hx is not None:
            initial = [t.index_select(1, sorted_indices) for t in initial]
        drops = self.training and self.dropout > 0 and self.num_layers > 1
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bias, self.batch_first and not packed)
        what = _pass(self.mode, x.dtype, self.dropout if drops else 0.0, *sizes, self.bidirectional)
        if drops:
            what = what._replace(seed=drawn_seed())
        if packed:
            again = partial(_by_torch, self.mode, what.layer._form, batch_sizes=batch_sizes)
            what = what._replace(lengths=lengths_of(batch_sizes), packed=True, again=again)
        compute = run if _compiler() is None else _unseen()
        y, *last = compute(what, (x, *initial, *flat))
        if unsorted_indices is not None:
            last = [t.index_select(1, unsorted_indices) for t in last]
        state = tuple(last) if is_lstm else last[0]
        return PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices) if packed else y, state

    def _computable(self, x: Any, hx: Any, flat: Any, batch_sizes: Tensor | None) -> bool:
        """Whether the tensors are for rnnfast; where they do not fit one another, PyTorch finds the error."""
        if not (plain(x) and x.dim() in ((2, 3) if batch_sizes is None else (2,))):
            return False
        dtype, shape = x.dtype, x.shape
        if shape[-1] != self.input_size or 0 in shape:
            return False
        if len(flat) != (4 if self.bias else 2) * self.num_layers * (2 if self.bidirectional else 1):
            return False  # an attribute was changed
        for w in flat:
            if not (type(w) in KINDS and w.dtype is dtype and w.is_cpu):
                return False
        batch: Sequence[int] = () if x.dim() == 2 else (shape[0 if self.batch_first else 1],)
        if batch_sizes is not None:
            steps = batch_sizes.numpy()
            if steps.sum() != shape[0] or (steps[1:] > steps[:-1]).any():
                return False
            batch = (int(steps[0]),)
        if hx is None:
            return True
        states = hx if self.mode == "LSTM" else (hx,)
        if not isinstance(states, (tuple, list)) or len(states) != (2 if self.mode == "LSTM" else 1):
            return False
        expected = (self.num_layers * (2 if self.bidirectional else 1), *batch, self.hidden_size)
        return all(plain(t) and t.dtype is dtype and t.shape == expected for t in states)

    def _get_name(self) -> str:
        return f"rnnfast.{super()._get_name()}"  # type: ignore[no-untyped-call]


_DOC = """torch.nn.{name}, computed by rnnfast on the CPU in float32 and float64.

    The constructor, parameters, results and errors are those of `torch.nn.{name}`; the guide, docs/from_pytorch.md, says what
    rnnfast computes, and what is left to PyTorch's own forward pass.

    Examples
    --------
    >>> import torch, rnnfast.torch
    >>> y, state = rnnfast.torch.{name}(3, 4)(torch.zeros(5, 2, 3))
    >>> y.shape
    torch.Size([5, 2, 4])
    """


class RNN(_Accelerated, torch.nn.RNN):
    __doc__ = _DOC.format(name="RNN")


class LSTM(_Accelerated, torch.nn.LSTM):
    __doc__ = _DOC.format(name="LSTM")


class GRU(_Accelerated, torch.nn.GRU):
    __doc__ = _DOC.format(name="GRU")
