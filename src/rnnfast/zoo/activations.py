"""What the cells of the zoo share: functions that options choose by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnfast._engine import checks
from rnnfast.formula import ops


class Activation(NamedTuple):
    """function(v, *parameters), and the parameters' values where none are given."""

    function: Callable[..., Any]
    defaults: tuple[float, ...] = ()


ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation(np.tanh),
    "sigmoid": Activation(ops.sigmoid),
    "relu": Activation(ops.relu),
    "identity": Activation(lambda v: v),
    "linear": Activation(lambda v: v),  # Keras's name of the same
    "hard_sigmoid": Activation(ops.hard_sigmoid, (1 / 6, 0.5)),  # PyTorch, Keras 3; ONNX and Keras 2 have 0.2 and 0.5
    "hard_tanh": Activation(ops.hard_tanh, (-1.0, 1.0)),
    "softsign": Activation(ops.softsign),
    "softplus": Activation(ops.softplus),
    "elu": Activation(ops.elu, (1.0,)),  # the same in PyTorch, Keras and ONNX
    "leaky_relu": Activation(ops.leaky_relu, (0.01,)),  # PyTorch, ONNX; Keras 3 has 0.2
}

# u -> the derivative of step(u) that stands for its true one, which is zero
SURROGATES: Mapping[str, Callable[[Any], Any]] = {
    "atan": lambda u: 1 / (1 + (np.pi * u) ** 2),  # snnTorch's default, with alpha 2
    "fast_sigmoid": lambda u: 1 / (1 + 25 * abs(u)) ** 2,  # snnTorch's, with slope 25
    "sigmoid": lambda u: 25 * ops.sigmoid(25 * u) * ops.sigmoid(-25 * u),  # of sigmoid(25 u); snnTorch's slope
    "triangular": lambda u: 0.3 * ops.relu(1 - abs(u)),  # Bellec 2018, with dampening 0.3
}


def activate(v: Any, name: str, alpha: float | None = None, beta: float | None = None) -> Any:
    """The activation of this name. alpha, beta: its parameters, if they are not the defaults."""
    activation = ACTIVATIONS[checks.one_of("activation", name, tuple(ACTIVATIONS))]
    given = (alpha, beta)[: len(activation.defaults)]
    if any(p is not None for p in (alpha, beta)[len(given) :]):
        raise ValueError(f"alpha, beta: expected at most {len(given)} parameters for activation {name!r}, got more")
    return activation.function(v, *[d if p is None else p for d, p in zip(activation.defaults, given, strict=True)])


def limited(v: Any, bound: float | None) -> Any:
    """v, not beyond -bound and bound; None is no bound."""
    return v if bound is None else ops.clip(v, -bound, bound)


def kept(old: Any, new: Any, share: Any) -> Any:
    """Exactly old where share is 1, exactly new where it is 0."""
    return share * old + (1 - share) * new


def normalized(sums: list[Any], gains: list[Any], eps: float) -> list[Any]:
    """Layer normalisation of the blocks of a row together, each with its own gain. Blocks are added before their mean is taken:
    an addition is one instruction for a vector, while a mean adds up its lanes."""
    centre = ops.mean(sum(sums[1:], sums[0])) / len(sums)
    centred = [a - centre for a in sums]
    squares = [a * a for a in centred]
    deviation = np.sqrt(ops.mean(sum(squares[1:], squares[0])) / len(sums) + eps)
    return [gain * (a / deviation) for gain, a in zip(gains, centred, strict=True)]
