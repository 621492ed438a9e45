"""RNN, LSTM, GRU: PyTorch's modules, computed by rnnfast wherever it can."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnfast.layers import GRU as GRULayer
from rnnfast.layers import LSTM as LSTMLayer
from rnnfast.layers import Layer, SimpleRNN
from rnnfast.torch._passes import NUMPY, Packing, Pass, drawn_seed, ordinary, plain, run

LAYERS: dict[str, tuple[type[Layer[Any]], dict[str, Any]]] = {  # PyTorch's mode -> the layer class and its options
    "RNN_TANH": (SimpleRNN, {"nonlinearity": "tanh"}),
    "RNN_RELU": (SimpleRNN, {"nonlinearity": "relu"}),
    "LSTM": (LSTMLayer, {}),
    "GRU": (GRULayer, {"reset_after": True}),
}
OPERATIONS = {"RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu, "LSTM": torch.lstm, "GRU": torch.gru}


@lru_cache(1024)
def _layer(mode: str, *arguments: Any) -> Layer[Any]:
    """Without parameters; arguments: as of Stack._set_form."""
    kind, options = LAYERS[mode]
    layer: Layer[Any] = kind.__new__(kind)
    layer._set_form(options, *arguments)
    layer.__dict__.update(rng=None)
    return layer


@cache
def _unseen() -> Any:
    """`run` where torch.compile does not look into it. Making it imports torch.compile."""
    return torch.compiler.disable(run)


def _by_torch(
    mode: str,
    bias: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: Tensor | None,
    places: tuple[int, int, int],
    x: Tensor,
    *rest: Tensor | None,
) -> Sequence[Tensor]:
    """A pass by PyTorch's own operation, without dropout. places: shape of a state; rest: the initial states, the weights."""
    states, unbatched = (2 if mode == "LSTM" else 1), batch_sizes is None and x.dim() == 2
    hx = [x.new_zeros(places) if t is None else t.reshape(places) for t in rest[:states]]
    given = (x.unsqueeze(0 if batch_first else 1),) if unbatched else (x,) if batch_sizes is None else (x, batch_sizes)
    last = (batch_first,) if batch_sizes is None else ()
    initial = hx if states > 1 else hx[0]
    y, *ends = OPERATIONS[mode](*given, initial, rest[states:], bias, num_layers, 0.0, False, bidirectional, *last)
    return (y.squeeze(0 if batch_first else 1), *(t.squeeze(1) for t in ends)) if unbatched else (y, *ends)


class _Accelerated(torch.nn.RNNBase):
    """Not public: the forward pass that the three share. Whatever is not for rnnfast, errors included, is left to PyTorch's."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # type: ignore[override]
        if torch.compiler.is_compiling() or self.proj_size:
            return super().forward(input, hx)
        self._update_flat_weights()
        packed = isinstance(input, PackedSequence)
        x, batch_sizes, sorted_indices, unsorted_indices = input if packed else (input, None, None, None)
        is_lstm = self.mode == "LSTM"
        initial: Any = hx if is_lstm and hx is not None else (hx,) * (2 if is_lstm else 1)
        if not (ordinary() and self._computable(x, initial, batch_sizes)):
            return super().forward(input, hx)
        if sorted_indices is not None and hx is not None:
            initial = tuple([t.index_select(1, sorted_indices) for t in initial])
        drops = self.training and self.dropout > 0 and self.num_layers > 1
        flat, batch_first = self._flat_weights, self.batch_first and not packed
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bias, batch_first)
        layer = _layer(self.mode, *sizes, self.dropout if drops else 0.0, self.bidirectional, NUMPY[x.dtype])
        batch = int(batch_sizes[0]) if packed else 1 if x.dim() == 2 else x.shape[0 if batch_first else 1]
        places = (layer._form.places, batch, self.hidden_size)
        what = Pass(
            layer,
            len(initial),
            packing=Packing.of(batch_sizes) if packed else None,
            seed=drawn_seed() if drops else None,
            again=partial(_by_torch, self.mode, *sizes[3:1:-1], self.bidirectional, batch_first, batch_sizes, places),
        )
        compute = _unseen() if "torch._dynamo" in sys.modules else run
        y, *last = compute(what, (x, *initial, *flat))
        if unsorted_indices is not None:
            last = [t.index_select(1, unsorted_indices) for t in last]
        state = tuple(last) if is_lstm else last[0]
        return PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices) if packed else y, state

    def _computable(self, x: Any, initial: Any, batch_sizes: Tensor | None) -> bool:
        """Whether the tensors are for rnnfast; where they do not fit one another, PyTorch finds the error."""
        if not (plain(x) and x.numel() and x.shape[-1] == self.input_size):
            return False
        if batch_sizes is not None:
            batch: tuple[int, ...] = (int(batch_sizes[0]),)
        elif x.dim() == 3:
            batch = (x.shape[0 if self.batch_first else 1],)
        else:
            batch = ()
        if x.dim() != (2 if batch_sizes is not None else 2 + len(batch)):
            return False
        shape = (self.num_layers * (2 if self.bidirectional else 1), *batch, self.hidden_size)
        if not (isinstance(initial, (tuple, list)) and len(initial) == (2 if self.mode == "LSTM" else 1)):
            return False
        if not all([t is None or (plain(t) and t.dtype is x.dtype and t.shape == shape) for t in initial]):
            return False
        return all([plain(w) and w.dtype is x.dtype for w in self._flat_weights])

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
