"""LSTM: i, f, o = sigmoid(...), g = tanh(...), c = f c + i g, h = o tanh(c)."""

from rnnfast.cells.base import Cell

LSTM = Cell(
    name="lstm",
    layer="LSTM",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    options={},
    kernels={(): "lstm"},
)
