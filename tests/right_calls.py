"""Right arguments and layers, which tests of errors make wrong."""

import numpy as np
import stacks

import rnnfast
from rnnfast.cells import CELLS

T, B, I, H = 4, 3, 5, 6
CELL_NAMES = list(CELLS)


def arguments(cell, dtype=np.float32):
    rng = np.random.default_rng(0)
    rows = len(CELLS[cell].gates) * H
    shapes = {"x": (T, B, I), "w_ih": (rows, I), "w_hh": (rows, H), "b_ih": (rows,), "b_hh": (rows,)}
    shapes.update({f"{letter}0": (B, H) for letter in CELLS[cell].states})
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def call(cell, changes, **options):
    return getattr(rnnfast, cell)(**{**arguments(cell), **changes}, **options)


def layer(cell, **more):
    return stacks.make(cell, input_size=I, hidden_size=H, **more)
