"""SimpleRNN (Elman): h = f(W_ih x + b_ih + W_hh h + b_hh)."""

from rnnfast.cells.base import Cell

SIMPLE_RNN = Cell(
    name="simple_rnn",
    layer="SimpleRNN",
    gates=("a",),
    states=("h",),
    option="nonlinearity",
    choices=("tanh", "relu", "identity", "sigmoid"),
    kernels=("rnn_tanh", "rnn_relu", "rnn_identity", "rnn_sigmoid"),
)
