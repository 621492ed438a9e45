"""Weights of other libraries as layers, and back: what the functions of `rnnfast.weights` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.stack import DEFAULTS, Stack
from rnnfast._types import Array
from rnnfast.cells import CELLS, Cell
from rnnfast.cells.base import KINDS, AnyCell
from rnnfast.cells.conventions import Convention
from rnnfast.layers import LAYERS, Layer

BY_GATES = {len(cell.gates): name for name, cell in CELLS.items()}
FOUND = ("num_layers", "bias", "bidirectional")  # arguments of constructors that follow from the weights
USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid", "cell_activation": "tanh"}  # of the compiled gated cells
EACH = "convert each layer by itself"  # a remedy
MIRRORED = ("sigmoid", "hard_sigmoid")  # 1 - f(a) is f(-a)


class Place(NamedTuple):
    """Weights of one layer in one direction: (G*H, I), (G*H, H), (G*H,) twice or None; gates in the library's order."""

    w_ih: Array
    w_hh: Array
    b_ih: Array | None = None
    b_hh: Array | None = None


def floats(name: str, value: Any) -> Array:
    """An array or a tensor of any library and device as float32 or float64; those of 16 bits become float32, which holds each
    of their values exactly."""
    if hasattr(value, "detach"):  # a parameter of PyTorch
        value = value.detach()
        value = value.float() if str(value.dtype) in ("torch.float16", "torch.bfloat16") else value
        value = value if value.device.type == "meta" else value.cpu()
    array = checks.as_array(name, value)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype(np.float32)
    return checks.float_array(name, value)


def cell_of(name: str, w_hh: Array, *, turned: bool = False) -> str:
    """The cell that has as many gates as w_hh (G*H, H). turned: the library has it as (H, G*H)."""
    shape = w_hh.shape
    if len(shape) == 2 and w_hh.size and shape[0] % shape[1] == 0 and shape[0] // shape[1] in BY_GATES:
        return BY_GATES[shape[0] // shape[1]]
    remedy = "G, the number of gates, is " + ", ".join(f"{gates} ({cell})" for gates, cell in BY_GATES.items())
    if turned:
        raise checks.wrong_shape(name, ("H", "G*H"), "hidden, gates*hidden", shape[::-1], remedy)
    raise checks.wrong_shape(name, ("G*H", "H"), "gates*hidden, hidden", shape, remedy)


def one_of_them(name: str, values: Iterable[Any], remedy: str) -> Any:
    """What all layers have in common."""
    first, *others = values
    for other in others:
        if other != first:
            raise ValueError(f"{name}: expected the same of all layers and directions, got {first} and {other}; {remedy}")
    return first


# ---- there -----------------------------------------------------------------------------------------------------------------
def layer(
    convention: Convention, places: Sequence[Sequence[Place]], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Layer[Any]:
    """A layer with these weights.

    places: of each layer its one or two directions; settings: what the library says of the cell, in the words of `rnnfast.zoo`;
    options: of the user, for the constructor, and `update` of a GRU.
    """
    first, options = places[0][0], dict(options)
    cell = cell_of("weight_hh_l0", first.w_hh)
    update = checks.one_of("update", options.pop("update"), ("old", "new")) if cell == "gru" and "update" in options else "old"
    if first.w_ih.ndim != 2:
        raise checks.wrong_shape("weight_ih_l0", (first.w_hh.shape[0], "I"), "gates*hidden, input", first.w_ih.shape)
    kind, chosen = kind_of(cell, settings)
    own = kind.cell.options
    if unknown := [name for name in options if name in FOUND or name not in (*DEFAULTS, *own)]:
        known = checks.listed([name for name in (*DEFAULTS, *own) if name not in FOUND])
        raise TypeError(f"options: expected some of {known}, which weights do not tell, got {checks.listed(unknown)}")
    for name in set(own) & set(options):
        if chosen.setdefault(name, options[name]) != options[name]:
            raise checks.wrong_value(name, f"{chosen[name]!r}, as the source of the weights says", options[name])
        del options[name]
    dtype = checks.float_dtype(options.pop("dtype", first.w_ih.dtype))
    found = {
        "input_size": first.w_ih.shape[-1],
        "hidden_size": first.w_hh.shape[1],
        "num_layers": len(places),
        "bias": one_of_them("biases", [p.b_ih is not None for layer in places for p in layer], EACH),
        "bidirectional": one_of_them("directions", map(len, places), EACH) == 2,
    }
    net = kind._without_parameters({**kind.cell.defaults, **chosen}, {**DEFAULTS, **options, **found, "dtype": dtype})
    values: dict[str, Array] = {}
    for names, place in zip(net._names, [place for layer in places for place in layer], strict=True):
        values.update((name, a.astype(dtype, copy=False)) for name, a in zip(names, place, strict=False) if a is not None)
    net._set_params(net._in_own_order(values, convention.gate_order.get(cell)))
    if mirrored(update, chosen.get("recurrent_activation")):
        for array in net._params.values():
            negate(array, net._form.variant.gates.index("z"), net.hidden_size)
    return net


def kind_of(cell: str, settings: Mapping[str, Any]) -> tuple[type[Layer[Any]], dict[str, Any]]:
    """The layer class, compiled or of the zoo, and its options."""
    chosen = dict(settings)
    if cell == "simple_rnn" and chosen.get("activation") in CELLS[cell].options["nonlinearity"]:
        return LAYERS[cell], {"nonlinearity": chosen["activation"]}
    if cell != "simple_rnn" and all(chosen.get(name, usual) == usual for name, usual in USUAL.items()):
        return LAYERS[cell], {name: value for name, value in chosen.items() if name not in USUAL}
    if "activation" not in chosen:
        return LAYERS[cell], chosen
    from rnnfast import zoo  # formulas are imported by those who use them

    return zoo.CELLS[LAYERS[cell].__name__], chosen


def mirrored(update: str | None, gate: str | None) -> bool:
    """Whether the parameters of z are to be negated, as `update` of a GRU is not the one of other libraries. gate: the
    activation of z, None for the usual one."""
    if update == "new" and (gate or USUAL["recurrent_activation"]) not in MIRRORED:
        why = f"only {' and '.join(MIRRORED)} are functions f with 1 - f(a) = f(-a), for which negated weights do the same"
        raise ValueError(f"update: expected 'old' with recurrent_activation={gate!r}, got 'new'; {why}")
    return update == "new"


def negate(array: Array, block: int, hidden: int) -> None:
    """The rows of one gate, in place: as 1 - s(a) = s(-a), h = (1 - z) n + z h becomes h = (1 - z) h + z n, and back."""
    rows = array[block * hidden : (block + 1) * hidden]
    np.negative(rows, out=rows)


def cell_like(cell: AnyCell) -> str | None:
    """The name of a compiled cell, or of the one that a formula of the zoo is a version of."""
    if isinstance(cell, Cell):
        return cell.name
    from rnnfast import zoo

    return next((name for name, layer in LAYERS.items() if zoo.CELLS[layer.__name__].cell is cell), None)


# ---- and back --------------------------------------------------------------------------------------------------------------
def places_of(net: Any, convention: Convention) -> tuple[str, list[list[Place]]]:
    """The cell of a layer, compiled or of the zoo, and copies of its weights: of each layer its directions."""
    if not isinstance(net, Stack):
        raise checks.wrong_type("net", "a layer of rnnfast, frozen or not", net)
    form, gates, cell = net._form, net._form.variant.gates, cell_like(net.cell)
    if cell is None or gates != CELLS[cell].gates or not set(form.kinds()) <= set(KINDS):
        raise ValueError(f"net: expected a layer with the weights of SimpleRNN, LSTM or GRU and no others, got {net!r}")
    form.check_params(net._shapes, net._params)
    order, options = convention.gate_order.get(cell, gates[0]).split(), form.variant.options
    turned = mirrored(options.get("update"), options.get("recurrent_activation"))
    rows = [gates.index(letter) for letter in order]
    places = []
    for names in net._names:
        arrays = [net._params[name].reshape(len(gates), -1)[rows].reshape(net._shapes[name]) for name in names]
        if turned:
            for array in arrays:
                negate(array, order.index("z"), form.hidden_size)
        places.append(Place(*arrays))
    D = form.directions
    return cell, [places[i : i + D] for i in range(0, len(places), D)]
