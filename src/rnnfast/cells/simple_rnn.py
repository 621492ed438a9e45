"""SimpleRNN (Elman): h = f(W_ih x + b_ih + W_hh h + b_hh)."""

from rnnfast.cells.base import Cell

SIMPLE_RNN = Cell(
    name="simple_rnn",
    layer="SimpleRNN",
    gates=("a",),
    states=("h",),
    options={"nonlinearity": ("tanh", "relu", "identity", "sigmoid")},
    kernels={("tanh",): "rnn_tanh", ("relu",): "rnn_relu", ("identity",): "rnn_identity", ("sigmoid",): "rnn_sigmoid"},
)
