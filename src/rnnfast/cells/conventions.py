"""How others lay out the weights of the same cells, in rnnfast's words: the one list, from which README's table is made and by
which `rnnfast.weights` converts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})


class Convention(NamedTuple):
    """What to write to bring weights from somewhere.

    gate_order: for each cell with several gates, that argument; letters: what the gates are called there, if otherwise;
    weights, biases: how the arrays become arguments; note: what else differs; classes: what each cell is called there;
    activations: what those are called in `rnnfast.zoo` that are exactly the same.
    """

    source: str
    gate_order: Mapping[str, str]
    letters: str
    weights: str
    biases: str
    note: str
    classes: Mapping[str, str] = NOTHING
    activations: Mapping[str, str] = NOTHING


TORCH = Convention(
    "PyTorch `nn.RNN`, `nn.LSTM`, `nn.GRU`",
    {"lstm": "i f g o", "gru": "r z n"},
    "",
    "as they are",
    "as they are",
    "the same names in `state_dict()`",
    {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"},
)
KERAS = Convention(
    "Keras `SimpleRNN`, `LSTM`, `GRU`",
    {"lstm": "i f g o", "gru": "z r n"},
    "g is c, n is h",
    "`kernel.T`, `recurrent_kernel.T`",
    "one: `b_ih=bias`; GRU's two rows: `b_ih, b_hh = bias`",
    "batch first; GRU with one bias has `reset_after=False`",
    {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"},
    {  # of Keras 3; hard_sigmoid was another one in Keras 2, and leaky_relu has another slope
        **{name: name for name in ("tanh", "sigmoid", "relu", "hard_sigmoid", "hard_tanh", "softsign", "softplus", "elu")},
        "linear": "identity",
    },
)
ONNX = Convention(
    "ONNX `RNN`, `LSTM`, `GRU`",
    {"lstm": "i o f g", "gru": "z r n"},
    "g is c, n is h",
    "`W[d]`, `R[d]` of direction d",
    "`b_ih, b_hh = np.split(B[d], 2)`",
    "`linear_before_reset=0` is `reset_after=False`",
    {"simple_rnn": "RNN", "lstm": "LSTM", "gru": "GRU"},
    {  # with the parameters that they have by default; HardSigmoid has another slope
        "Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus", "Elu": "elu",
        "LeakyRelu": "leaky_relu",
    },
)  # fmt: skip
CS231N = Convention(
    "cs231n's and many other NumPy LSTMs",
    {"lstm": "i f o g", "gru": ""},
    "",
    "`Wx.T`, `Wh.T`",
    "one: `b_ih=b`",
    "batch first",
)
CONVENTIONS = (TORCH, KERAS, ONNX, CS231N)
