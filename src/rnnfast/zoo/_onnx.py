"""The cells of ONNX's operators RNN, GRU and LSTM with all their attributes, as formulas for `rnnfast.onnx_ops`, and their
activations.

The gates stand in ONNX's order, so that an operator's weights fit as they are. Equations and activations are those of the
operators' documentation (opset 22). `clip` limits the sums of the gates and not c on its way into h, as in ONNX Runtime 1.32.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast.cells.conventions import ONNX
from rnnfast.declared import cell
from rnnfast.formula import ops
from rnnfast.zoo.activations import limited


class Chosen(NamedTuple):
    """An activation of a node: its name in lower case, and its parameters, None where it has none."""

    name: str
    alpha: float | None
    beta: float | None


class Activation(NamedTuple):
    """function(v, *parameters), and the values of alpha and beta, as far as it has them, where a node gives none: those of the
    ONNX operator of this name; None where there is no such operator any more, so that a value must be given."""

    function: Callable[..., Any]
    defaults: tuple[float | None, ...] = ()


ACTIVATIONS: Mapping[str, Activation] = {
    "affine": Activation(lambda v, alpha, beta: alpha * v + beta, (None, None)),
    "relu": Activation(ops.relu),
    "leakyrelu": Activation(ops.leaky_relu, (0.01,)),
    "thresholdedrelu": Activation(lambda v, alpha: np.where(v >= alpha, v, 0.0), (1.0,)),
    "tanh": Activation(np.tanh),
    "scaledtanh": Activation(lambda v, alpha, beta: alpha * np.tanh(beta * v), (None, None)),
    "sigmoid": Activation(ops.sigmoid),
    "hardsigmoid": Activation(ops.hard_sigmoid, (0.2, 0.5)),
    "elu": Activation(ops.elu, (1.0,)),
    "softsign": Activation(ops.softsign),
    "softplus": Activation(ops.softplus),
}
GATE_ORDER = ONNX.gate_order


def chosen(defaults: Sequence[str], each: int, names: Any, alphas: Any, betas: Any) -> list[Chosen]:
    """The attributes activations, activation_alpha and activation_beta, checked. each: activations of one direction."""
    names = _listed("activations", names, str, "names") or list(defaults)
    if len(names) != len(defaults):
        raise checks.wrong_value("activations", f"{len(defaults)} names, {each} for each direction", names)
    lower = [checks.one_of("activations", name.lower(), tuple(ACTIVATIONS)) for name in names]
    parameters = [_parameters("activation_alpha", 0, alphas, lower), _parameters("activation_beta", 1, betas, lower)]
    return [Chosen(*values) for values in zip(lower, *parameters, strict=True)]


def _parameters(argument: str, number: int, given: Any, names: list[str]) -> list[float | None]:
    """Parameter `number` of each of the activations, None of those that have none."""
    values = _listed(argument, given, (int, float, np.integer, np.floating), "numbers")
    takers = [i for i, name in enumerate(names) if len(ACTIVATIONS[name].defaults) > number]
    if len(values) > len(takers) > 0 and (len(values) != len(names) or [values[i] for i in takers] != values[: len(takers)]):
        which = ", ".join(names[i] for i in takers)
        raise checks.wrong_value(argument, f"values for the activations that have one ({which}) alone, in their order", values)
    found: list[float | None] = [None] * len(names)
    for place, i in enumerate(takers):
        found[i] = as_float(argument, values[place]) if place < len(values) else ACTIVATIONS[names[i]].defaults[number]
        if found[i] is None:
            raise checks.wrong_value(argument, f"a value for {names[i]}, which has no default", given)
    return found


def as_float(argument: str, value: Any) -> float:
    """As a float; an integer may be too large for one."""
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{argument}: expected a number that a float64 holds, got a larger integer") from None


def _listed(name: str, value: Any, kind: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise checks.wrong_type(name, f"a list of {what}", value)
    for part in value:
        if not isinstance(part, kind) or isinstance(part, bool):
            raise TypeError(f"{name}: expected a list of {what}, got a {type(part).__name__} in it")
    return list(value)


def activate(v, name, alpha, beta):
    function, defaults = ACTIVATIONS[name]
    return function(v, *(alpha, beta)[: len(defaults)])


@cell(gates="a", states="h")
def RNN(x, U, h, *, f="tanh", f_alpha=None, f_beta=None, clip=None):
    """``h' = f(x_a + U_a h)``"""
    return activate(limited(x.a + U.a @ h, clip), f, f_alpha, f_beta)


@cell(gates=GATE_ORDER["gru"], states="h")
def GRU(
    x, U, h, *,
    f="sigmoid", f_alpha=None, f_beta=None, g="tanh", g_alpha=None, g_beta=None, clip=None, reset_after=False,
):  # fmt: skip
    """``r, z = f(x_k + U_k h)``, ``n = g(x_n + U_n (r h))`` or ``g(x_n + r (U_n h))``, ``h' = (1 - z) n + z h``"""
    z = activate(limited(x.z + U.z @ h, clip), f, f_alpha, f_beta)
    r = activate(limited(x.r + U.r @ h, clip), f, f_alpha, f_beta)
    recurrent = r * (U.n @ h) if reset_after else U.n @ (r * h)
    n = activate(limited(x.n + recurrent, clip), g, g_alpha, g_beta)
    return (1 - z) * n + z * h


@cell(gates=GATE_ORDER["lstm"], states="h c", vectors="p_i p_o p_f")
def LSTM(
    x, U, h, c, p_i, p_o, p_f, *,
    f="sigmoid", f_alpha=None, f_beta=None, g="tanh", g_alpha=None, g_beta=None, out="tanh", out_alpha=None, out_beta=None,
    clip=None, peephole=False, input_forget=False,
):  # fmt: skip
    """``i, f = f(x_k + U_k h + p_k c)``, ``c' = f c + i g(x_g + U_g h)``, ``o = f(x_o + U_o h + p_o c')``, ``h' = o out(c')``;
    with input_forget ``f = 1 - i``, as in ONNX Runtime (the operator's documentation only says that the gates are coupled)."""

    def gate(total, p, seen):
        return activate(limited(total + p * seen if peephole else total, clip), f, f_alpha, f_beta)

    i = gate(x.i + U.i @ h, p_i, c)
    forget = 1 - i if input_forget else gate(x.f + U.f @ h, p_f, c)
    c = forget * c + i * activate(limited(x.g + U.g @ h, clip), g, g_alpha, g_beta)
    return gate(x.o + U.o @ h, p_o, c) * activate(c, out, out_alpha, out_beta), c
