"""The registry of cells: everything the Python side must know of a cell, numbers and names only.

A new cell is a descriptor here, a C file with its row in csrc/cells/list.h, and its function in reference.py. Layers, the
main job, tests and benchmarks iterate CELLS (CONTRIBUTING.md has the whole list of places).
"""

from rnnfast.cells.base import Cell, Variant
from rnnfast.cells.gru import GRU
from rnnfast.cells.lstm import LSTM
from rnnfast.cells.simple_rnn import SIMPLE_RNN

__all__ = ["CELLS", "GRU", "LSTM", "SIMPLE_RNN", "Cell", "Variant"]

CELLS: dict[str, Cell] = {cell.name: cell for cell in (SIMPLE_RNN, LSTM, GRU)}
