"""GRU: r, z = sigmoid(...), h = (1 - z) n + z h; the reset gate acts after the recurrent product (PyTorch, Keras) or before."""

from rnnfast.cells.base import Cell

GRU = Cell(
    name="gru",
    layer="GRU",
    gates=("r", "z", "n"),
    states=("h",),
    options={"reset_after": (True, False)},
    kernels={(True,): "gru", (False,): "gru_before"},
)
