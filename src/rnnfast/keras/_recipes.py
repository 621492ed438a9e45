"""What a Keras cell is in rnnfast's words: the one list of cells and activations that can be fused."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import keras

from rnnfast import cells, zoo
from rnnfast._engine import checks
from rnnfast.cells.base import AnyVariant, Cell
from rnnfast.cells.conventions import CONVENTIONS
from rnnfast.declared import FormulaLayer


class Kind(NamedTuple):
    """A Keras layer and its cell, the compiled cell and the formula that compute it; draws: the formula's masks of recurrent
    dropout, in the order of Keras's."""

    layer: Any
    cell: Any
    compiled: Cell
    formula: type[FormulaLayer]
    draws: tuple[str, ...]


KINDS = (
    Kind(keras.layers.LSTM, keras.layers.LSTMCell, cells.LSTM, zoo.LSTM, ("m_i", "m_f", "m_g", "m_o")),
    Kind(keras.layers.GRU, keras.layers.GRUCell, cells.GRU, zoo.GRU, ("m_z", "m_r", "m_n")),
    Kind(keras.layers.SimpleRNN, keras.layers.SimpleRNNCell, cells.SIMPLE_RNN, zoo.SimpleRNN, ("m_a",)),
)
GATE_ORDER = next(c.gate_order for c in CONVENTIONS if c.source.startswith("Keras"))
# the same in zoo.ACTIVATIONS, parameters included; Keras has each as an activation and as an operation
_SAME = ("tanh", "sigmoid", "relu", "hard_sigmoid", "hard_tanh", "softsign", "softplus", "elu")
ACTIVATIONS: dict[Callable[..., Any], str] = {
    **{getattr(keras.activations, name): name for name in _SAME},
    **{getattr(keras.ops, name): name for name in _SAME},
    keras.activations.linear: "identity",
}


class Recipe(NamedTuple):
    """The cell with its options chosen; blocks: of each gate, which block of rows it has in Keras's weights; how: for the
    report."""

    kind: Kind
    variant: AnyVariant
    blocks: tuple[int, ...] | None
    how: str


def recipe_of(layer: Any, recurrent_dropout: bool) -> Recipe | str:
    """How to compute this layer, or why it cannot be. recurrent_dropout: whether it acts in this call."""
    kind = next((kind for kind in KINDS if isinstance(layer, kind.layer)), None)
    if kind is None:
        return "only the layers LSTM, GRU and SimpleRNN run on rnnfast; use one of them instead of RNN around a cell"
    cell = layer.cell
    if type(cell) is not kind.cell:
        name = kind.layer.__name__
        return f"rnnfast computes {name} layers with {name}Cell, and the cell is {type(cell).__name__}; use the cell of {name}"
    activation, gate = cell.activation, getattr(cell, "recurrent_activation", keras.activations.sigmoid)
    for function in (activation, gate):
        if not _known(function):
            known, got = checks.listed(sorted(_SAME)), getattr(function, "__name__", type(function).__name__)
            return f"the activation {got} is not one that rnnfast has; use one of {known}, linear"
    return _recipe(kind, ACTIVATIONS[activation], ACTIVATIONS[gate], getattr(cell, "reset_after", None), recurrent_dropout)


def _known(function: Any) -> bool:
    try:
        return function in ACTIVATIONS
    except TypeError:  # not hashable
        return False


@lru_cache(256)
def _recipe(kind: Kind, activation: str, gate: str, reset_after: bool | None, recurrent_dropout: bool) -> Recipe:
    options: dict[str, Any] = {} if reset_after is None else {"reset_after": reset_after}
    order = GATE_ORDER.get(kind.compiled.name)
    if kind.compiled is cells.SIMPLE_RNN:
        compiled = activation in kind.compiled.options["nonlinearity"]
        choices = {"nonlinearity": activation}
    else:
        compiled, choices = (activation, gate) == ("tanh", "sigmoid"), options
    if compiled and not recurrent_dropout:
        variant: AnyVariant = checks.variant(kind.compiled, choices)
        how = f"compiled {kind.compiled.name}"
    else:
        options["activation"] = activation
        if order is not None:
            options["recurrent_activation"] = gate
        how = f"formula {kind.formula.__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
        if recurrent_dropout:
            options["recurrent_dropout"] = 0.5  # any rate: the masks are Keras's
            how += " with recurrent dropout"
        variant = checks.variant(kind.formula.cell, options)
    return Recipe(kind, variant, None if order is None else checks.gate_order(order, variant.gates), how)
