"""Attributes that users of other libraries look for in vain, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

STACK = {
    "state_dict": "use dict(net.params) or rnnfast.weights.to_torch(net) for the arrays by name, net.save(path) for a file",
    "load_state_dict": "use net.load_params(mapping) or rnnfast.weights.from_torch(mapping), rnnfast.load(path) for a file",
    "parameters": "use net.params.values()",
    "named_parameters": "use net.params.items()",
    "get_weights": "use list(net.params.values()), or rnnfast.weights.to_keras(net) for Keras's arrays",
    "set_weights": "use net.load_params(mapping), with the names of net.params, or rnnfast.weights.from_keras(lists)",
    "count_params": "use net.num_params",
    "summary": "use print(net), net.num_params, and {name: a.shape for name, a in net.params.items()}",
    "forward": "use net(x) for inference, net.record(x) for training",
    "predict": "use y, state = net(x)",
    "train": "there are no modes: net.record(x) is a training step, with dropout",
    "eval": "there are no modes: net(x) is inference, without dropout",
    "backward": "use y, state, tape = net.record(x) and g = tape.backward(dy)",
    "zero_grad": "there is nothing to zero: each tape.backward returns new gradients",
    "fit": "use rnnfast.nn.fit(model, loss, optimizer, x, y), with model = rnnfast.nn.Sequential(net, ...)",
    "compile": "the kernels are compiled already; loss and optimizer are arguments of rnnfast.nn.fit",
    "to": "everything is on the CPU; another dtype is an argument of the constructor, dtype=np.float64",
}
LAYER = {"step": "steps are taken by the layer's frozen form: net.freeze().step"}
FROZEN = {
    **dict.fromkeys(
        ("record", "backward", "train", "fit", "compile", "zero_grad"),
        "a frozen layer is for inference alone: use the layer that was frozen",
    ),
    **dict.fromkeys(
        ("load_params", "load_state_dict", "set_weights"),
        "a frozen layer cannot change: use net.load_params(mapping) of the layer, and freeze it again",
    ),
    "freeze": "it is frozen already",
}
T = TypeVar("T")


class Elsewhere:
    """Reading it is an AttributeError that tells where to look; hasattr is False. (A __getattr__ would tell as well, but makes
    every attribute slower: 0.1 us of a step.)"""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__}.{self._name}: expected an attribute, got none; {self._hint}")


def elsewhere(hints: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Sets the names when the class is made, so that type checkers do not take them for attributes."""

    def add(owner: type[T]) -> type[T]:
        for name, hint in hints.items():
            setattr(owner, name, Elsewhere(name, hint))
        return owner

    return add
