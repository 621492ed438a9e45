"""Which node of ONNX computes a cell, for `rnnfast.onnx.export`: the operator with its attributes, and its weights.

A cell of the zoo fits an operator if the sum of each of the operator's gates is that of one of the cell's gates, its negative
(1 - s(a) is s(-a)), or a constant: a sigmoid of `OPEN` is 1, which leaves a gate out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnfast import cells, zoo
from rnnfast._engine import checks
from rnnfast._engine.exchange import USUAL, mirrored
from rnnfast._engine.stack import Stack
from rnnfast._types import Array
from rnnfast.cells.base import AnyCell
from rnnfast.cells.conventions import NOTHING, ONNX
from rnnfast.zoo.activations import ACTIVATIONS

OPEN = 100.0  # its sigmoid is 1 in float64 too
# what ONNX calls the activations of the zoo
NAMES = {own: name for name, own in ONNX.activations.items()} | {
    "hard_sigmoid": "HardSigmoid",
    "identity": "Affine",
    "linear": "Affine",
}


class Sum(NamedTuple):
    """The sum of a gate of an operator: `sign` times that of the cell's gate `letter`, if there is one, plus `constant`."""

    letter: str = ""
    sign: int = 1
    constant: float = 0.0


class Activation(NamedTuple):
    """An activation of a node by the name that ONNX has for it, with its alpha and beta, as far as it has them."""

    name: str
    parameters: tuple[float, ...]


class Node(NamedTuple):
    """What computes a cell with its options.

    operator: its name; sums: of its gates, in the order of ONNX; activations: of one direction; states: for each of its
    states, that of the cell which it is; attributes: those beside activations; peepholes: the cell's vectors that P consists
    of, in the order i o f; diagonal: the cell's vector that is the diagonal of R, where the cell has no recurrent matrix.
    """

    operator: str
    sums: tuple[Sum, ...]
    activations: tuple[Activation, ...]
    states: tuple[str, ...]
    attributes: Mapping[str, Any] = NOTHING
    peepholes: tuple[str, ...] = ()
    diagonal: str = ""


# ---- cells -----------------------------------------------------------------------------------------------------------------
def _activation(name: str, alpha: float | None = None, beta: float | None = None) -> Activation:
    if name not in NAMES:
        raise _not_in_onnx(f"the activation {name!r}")
    if NAMES[name] == "Affine":
        return Activation("Affine", (1.0, 0.0))
    defaults = ACTIVATIONS[name].defaults
    return Activation(NAMES[name], tuple(float(d if p is None else p) for d, p in zip(defaults, (alpha, beta), strict=False)))


def _not_in_onnx(what: str) -> ValueError:
    known = checks.listed(sorted(set(NAMES)))
    remedy = f"; they have {known}" if what.startswith("the activation") else ""
    return ValueError(f"net: expected options that ONNX's operators have as well, got {what}{remedy}")


def _clip(clip: float | None) -> dict[str, float]:
    if clip is not None and np.float32(clip) == 0:
        raise _not_in_onnx(f"clip={clip}, which is 0 in float32")
    return {} if clip is None else {"clip": float(clip)}


def _simple_rnn(nonlinearity: str) -> Node:
    return Node("RNN", (Sum("a"),), (_activation(nonlinearity),), ("h",))


def _zoo_simple_rnn(activation: str, alpha: float | None, beta: float | None, recurrent_dropout: float) -> Node:
    return Node("RNN", (Sum("a"),), (_activation(activation, alpha, beta),), ("h",))


def _ind_rnn(activation: str) -> Node:
    return Node("RNN", (Sum("a"),), (_activation(activation),), ("h",), diagonal="u")


def _gru(
    reset_after: bool,
    update: str = "old",
    activation: str = USUAL["activation"],
    recurrent_activation: str = USUAL["recurrent_activation"],
    clip: float | None = None,
    recurrent_dropout: float = 0.0,
    zoneout: float = 0.0,
) -> Node:
    if zoneout:
        raise _not_in_onnx(f"zoneout={zoneout}, which mixes the states of two steps at inference, too")
    z = Sum("z", -1 if mirrored(update, recurrent_activation) else 1)
    attributes = {"linear_before_reset": int(reset_after), **_clip(clip)}
    return Node(
        "GRU", (z, Sum("r"), Sum("n")), (_activation(recurrent_activation), _activation(activation)), ("h",), attributes
    )


_RESET_BEFORE = {"linear_before_reset": 0}


def _mgu() -> Node:
    return Node("GRU", (Sum("f", -1), Sum("f"), Sum("n")), _SIGMOID_TANH, ("h",), _RESET_BEFORE)


def _li_gru(activation: str) -> Node:
    open_reset = Sum(constant=OPEN)
    return Node("GRU", (Sum("z"), open_reset, Sum("n")), (_SIGMOID, _activation(activation)), ("h",), _RESET_BEFORE)


def _min_gru(positive: bool) -> Node:
    if positive:
        raise _not_in_onnx("positive=True, whose activation they do not have; they have MinGRU(positive=False)")
    return Node("GRU", (Sum("z", -1), Sum(), Sum("n")), (_SIGMOID, _IDENTITY), ("h",), _RESET_BEFORE)


def _lstm(
    peephole: bool = False,
    coupled: bool = False,
    activation: str = USUAL["activation"],
    recurrent_activation: str = USUAL["recurrent_activation"],
    cell_activation: str | None = None,
    clip: float | None = None,
    cell_clip: float | None = None,
    recurrent_dropout: float = 0.0,
    zoneout_h: float = 0.0,
    zoneout_c: float = 0.0,
) -> Node:
    if cell_clip is not None:
        raise _not_in_onnx(f"cell_clip={cell_clip}; their clip limits the sums of the gates, and not c")
    for name, value in (("zoneout_h", zoneout_h), ("zoneout_c", zoneout_c)):
        if value:
            raise _not_in_onnx(f"{name}={value}, which mixes the states of two steps at inference, too")
    out = activation if cell_activation is None else cell_activation
    activations = tuple(map(_activation, (recurrent_activation, activation, out)))
    attributes = {"input_forget": 1, **_clip(clip)} if coupled else _clip(clip)
    sums = (Sum("i"), Sum("o"), Sum() if coupled else Sum("f"), Sum("g"))
    return Node("LSTM", sums, activations, ("h", "c"), attributes, ("p_i", "p_o", "p_f") if peephole else ())


def _janet(beta: float) -> Node:
    """c is h, as the output gate is open."""
    sums = (Sum("f", -1, beta), Sum(constant=OPEN), Sum("f"), Sum("g"))
    return Node("LSTM", sums, (*_SIGMOID_TANH, _IDENTITY), ("h", "h"))


def _leaky_rnn(form: str, alpha: float, noise: float, activation: str) -> Node:
    """c is v, with an input gate of alpha and a forget gate of 1 - alpha."""
    if form == "voltage":
        raise _not_in_onnx("form='voltage', whose y is not its state; they have LeakyRNN(form='rate')")
    if not 0 < alpha <= 1:
        raise _not_in_onnx(f"alpha={alpha}, which is no value of a gate, between 0 and 1")
    sums = (Sum(constant=OPEN if alpha == 1 else np.log(alpha / (1 - alpha))), Sum(constant=OPEN), Sum(), Sum("a"))
    return Node("LSTM", sums, (_SIGMOID, _activation(activation), _IDENTITY), ("v", "v"), {"input_forget": 1})


_SIGMOID, _TANH, _IDENTITY = map(_activation, ("sigmoid", "tanh", "identity"))
_SIGMOID_TANH = (_SIGMOID, _TANH)
NODES: Mapping[AnyCell, Callable[..., Node]] = {  # by keyword they take the cell's options
    cells.SIMPLE_RNN: _simple_rnn,
    cells.GRU: _gru,
    cells.LSTM: _lstm,
    zoo.SimpleRNN.cell: _zoo_simple_rnn,
    zoo.IndRNN.cell: _ind_rnn,
    zoo.GRU.cell: _gru,
    zoo.MGU.cell: _mgu,
    zoo.LiGRU.cell: _li_gru,
    zoo.MinGRU.cell: _min_gru,
    zoo.LSTM.cell: _lstm,
    zoo.JANET.cell: _janet,
    zoo.LeakyRNN.cell: _leaky_rnn,
}
WHY_NOT: Mapping[AnyCell, str] = {  # what the three operators do not have
    zoo.LayerNormLSTM.cell: "it normalizes the sums of its gates",
    zoo.LayerNormGRU.cell: "it normalizes the sums of its gates",
    zoo.MultiplicativeLSTM.cell: "it multiplies two products, x_m and U_m h",
    zoo.SLSTM.cell: "its gates are exponential, and it has four states",
    zoo.TLSTM.cell: "it reads an input beside x",
    zoo.MinLSTM.cell: "its gates are divided by their sum",
    zoo.SRU.cell: "its y mixes the state with a projection of x",
    zoo.CoRNN.cell: "both of its states go through recurrent matrices",
    zoo.LEM.cell: "both of its states go through recurrent matrices",
    zoo.CfC.cell: "it reads an input beside x",
    zoo.LIF.cell: "its outputs are spikes",
    zoo.ALIF.cell: "its outputs are spikes",
}


def node_of(net: Any) -> Node:
    """For the layers `net`, or an error that says why there is none."""
    if not isinstance(net, Stack):
        raise checks.wrong_type("net", "layers of rnnfast, frozen or not", net)
    if net.cell not in NODES:
        able = checks.listed([f"zoo.{layer.__name__}" for layer in zoo.CELLS.values() if layer.cell in NODES])
        why = WHY_NOT.get(net.cell, "it is a formula of your own")
        raise TypeError(
            f"net: expected a cell that is a case of ONNX's operators RNN, GRU and LSTM (SimpleRNN, GRU, LSTM, {able}), got "
            f"{net.cell.shown}, which is none: {why}"
        )
    return NODES[net.cell](**net._form.variant.options)


# ---- weights and attributes ------------------------------------------------------------------------------------------------
def weights_of(net: Stack[Any], node: Node) -> list[dict[str, Array]]:
    """For each layer of the stack W (D, G*H, I), R (D, G*H, H), B (D, 2*G*H) and P (D, 3*H), the last two where there are
    some. They are new arrays."""
    net._form.check_params(net._shapes, net._params)
    D = net._form.directions
    kinds = list(net._form.kinds())
    places = [_of_place(net, node, dict(zip(kinds, names, strict=True))) for names in net._names]
    return [
        {letter: np.stack([place[letter] for place in places[i : i + D]]) for letter in places[i]}
        for i in range(0, len(places), D)
    ]


def _of_place(net: Stack[Any], node: Node, names: Mapping[str, str]) -> dict[str, Array]:
    """Of one layer in one direction. names: kind -> name of its parameters."""
    variant, H, dtype = net._form.variant, net.hidden_size, net.dtype

    def blocks(kind: str) -> dict[str, Array]:
        letters = variant.blocks(kind)
        if kind not in names:
            return {}
        array = net._params[names[kind]]
        return dict(zip(letters, array.reshape(len(letters), H, *array.shape[1:]), strict=True))

    def stacked(found: Mapping[str, Array], *columns: int) -> Array:
        zeros = np.zeros((H, *columns), dtype)
        return np.concatenate([s.sign * found.get(s.letter, zeros) for s in node.sums])

    inputs = net._shapes[names["weight_ih"]][1]
    recurrent = {"a": np.diag(net._params[names[node.diagonal]])} if node.diagonal else blocks("weight_hh")
    found = {"W": stacked(blocks("weight_ih"), inputs), "R": stacked(recurrent, H)}
    constants = np.repeat(np.array([s.constant for s in node.sums], dtype), H)
    if net.bias or constants.any():
        found["B"] = np.concatenate([stacked(blocks("bias_ih")) + constants, stacked(blocks("bias_hh"))])
    if node.peepholes:
        zeros = np.zeros(H, dtype)
        found["P"] = np.concatenate([net._params[names[p]] if p in names else zeros for p in node.peepholes])
    return found


def attributes_of(net: Stack[Any], node: Node) -> dict[str, Any]:
    """Of the nodes of all layers."""
    D, activations = net._form.directions, node.activations
    found = {**node.attributes, "hidden_size": net.hidden_size, "direction": "bidirectional" if D == 2 else "forward"}
    if node.operator == "RNN" or activations[:2] != _SIGMOID_TANH or activations[2:] not in ((), (_TANH,)):
        found["activations"] = [activation.name for activation in activations] * D
        for i, name in enumerate(("activation_alpha", "activation_beta")):
            if values := [activation.parameters[i] for activation in activations if len(activation.parameters) > i]:
                found[name] = values * D
    return found
