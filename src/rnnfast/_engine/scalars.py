"""Checks of arguments that are no arrays: numbers, switches, choices, dtypes, generators. `rnnfast._engine.checks` has them
all."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnnfast._engine.texts import wrong_type, wrong_value
from rnnfast._types import FloatDType

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _integer(name: str, value: Any, expected: str) -> int:
    """value as an int; bool is none."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise wrong_type(name, expected, value) from None


def positive(name: str, value: Any, most: int | None = None) -> int:
    """An integer >= 1, at most `most`."""
    number = _integer(name, value, "an integer")
    if number < 1:
        raise wrong_value(name, "an integer >= 1", number)
    if most is not None and number > most:
        raise wrong_value(name, f"an integer from 1 to {most}", number)
    return number


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(name, "True or False", value)
    return bool(value)


def path(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, 'a path such as "encoder.rnn"', value)
    return value


def one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """The member of choices that value equals and is of the same kind as."""
    kinds = (bool, np.bool_) if isinstance(choices[0], bool) else (type(choices[0]),)
    if isinstance(value, kinds):
        for choice in choices:
            if value == choice:
                return choice
    raise wrong_value(name, "one of " + ", ".join(map(repr, choices)), value)


def probability(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise wrong_type(name, "a number between 0 and 1", value)
    if not 0 <= value <= 1:
        raise wrong_value(name, "a number between 0 and 1", value)
    return float(value)


def float_dtype(value: Any) -> FloatDType:
    try:
        dtype: FloatDType = np.dtype(value)
    except TypeError:
        raise wrong_type("dtype", "np.float32 or np.float64", value) from None
    if value is None or dtype not in FLOATS:
        raise TypeError(f"dtype: expected np.float32 or np.float64, got {value!r}")
    return dtype


def generator(name: str, value: Any) -> np.random.Generator:
    """None, a seed, or a Generator."""
    if isinstance(value, np.random.Generator) or value is None:
        return np.random.default_rng(value)
    seed = _integer(name, value, "an int, a numpy.random.Generator or None")
    if seed < 0:
        raise wrong_value(name, "a seed >= 0", seed)
    return np.random.default_rng(seed)


def representable(describe: Callable[[], str], *factors: int) -> None:
    """The product of sizes must be addressable: Py_ssize_t bytes."""
    total = 1
    for factor in factors:
        total *= factor
    if total > sys.maxsize:
        raise ValueError(f"{describe()}: expected an array of at most {sys.maxsize} bytes, got {total}")
