"""How others lay out the weights of the same cells, in rnnfast's words: the one list from which README's table is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Convention(NamedTuple):
    """What to write to bring weights from somewhere.

    gate_order: for each cell with several gates, that argument; letters: what the gates are called there, if otherwise;
    weights, biases: how the arrays become arguments; note: what else differs.
    """

    source: str
    gate_order: Mapping[str, str]
    letters: str
    weights: str
    biases: str
    note: str


CONVENTIONS = (
    Convention(
        "PyTorch `nn.RNN`, `nn.LSTM`, `nn.GRU`",
        {"lstm": "i f g o", "gru": "r z n"},
        "",
        "as they are",
        "as they are",
        "the same names in `state_dict()`",
    ),
    Convention(
        "Keras `SimpleRNN`, `LSTM`, `GRU`",
        {"lstm": "i f g o", "gru": "z r n"},
        "g is c, n is h",
        "`kernel.T`, `recurrent_kernel.T`",
        "one: `b_ih=bias`; GRU's two rows: `b_ih, b_hh = bias`",
        "batch first; GRU with one bias has `reset_after=False`",
    ),
    Convention(
        "ONNX `RNN`, `LSTM`, `GRU`",
        {"lstm": "i o f g", "gru": "z r n"},
        "g is c, n is h",
        "`W[d]`, `R[d]` of direction d",
        "`b_ih, b_hh = np.split(B[d], 2)`",
        "`linear_before_reset=0` is `reset_after=False`",
    ),
    Convention(
        "cs231n's and many other NumPy LSTMs",
        {"lstm": "i f o g", "gru": ""},
        "",
        "`Wx.T`, `Wh.T`",
        "one: `b_ih=b`",
        "batch first",
    ),
)
