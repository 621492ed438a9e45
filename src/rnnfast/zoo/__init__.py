"""Recurrent cells that people look for, each a formula of a few lines with its paper: layer classes like `rnnfast.LSTM`.

The letters of all formulas: x_a is W_ih x + b_ih and U_a v is W_hh v + b_hh, each in the block of gate a; products of vectors
are elementwise; s is the sigmoid. Where sources disagree, the docstring of the cell says which of them it follows.

Examples
--------
>>> net = rnnfast.zoo.LSTM(8, 32, num_layers=2, peephole=True)
>>> y, (h, c), tape = net.record(np.ones((50, 4, 8), np.float32))
>>> y.shape
(50, 4, 32)
"""

from rnnfast.zoo.activations import ACTIVATIONS, SURROGATES
from rnnfast.zoo.continuous import LEM, CfC, CoRNN, LeakyRNN
from rnnfast.zoo.gru import GRU, MGU, LayerNormGRU, LiGRU, MinGRU
from rnnfast.zoo.lstm import JANET, LSTM, SLSTM, TLSTM, LayerNormLSTM, MinLSTM, MultiplicativeLSTM
from rnnfast.zoo.plain import SRU, IndRNN, SimpleRNN
from rnnfast.zoo.spiking import ALIF, LIF

_LSTMS = (LSTM, LayerNormLSTM, JANET, MultiplicativeLSTM, SLSTM, TLSTM, MinLSTM)
_GRUS = (GRU, LayerNormGRU, MGU, LiGRU, MinGRU)
_OTHERS = (SimpleRNN, SRU, IndRNN, LeakyRNN, CoRNN, LEM, CfC, LIF, ALIF)
CELLS = {cell.__name__: cell for cell in (*_LSTMS, *_GRUS, *_OTHERS)}

__all__ = [
    "ACTIVATIONS",
    "ALIF",
    "CELLS",
    "GRU",
    "JANET",
    "LEM",
    "LIF",
    "LSTM",
    "MGU",
    "SLSTM",
    "SRU",
    "SURROGATES",
    "TLSTM",
    "CfC",
    "CoRNN",
    "IndRNN",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LeakyRNN",
    "LiGRU",
    "MinGRU",
    "MinLSTM",
    "MultiplicativeLSTM",
    "SimpleRNN",
]
