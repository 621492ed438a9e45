"""The texts of errors about arguments: each names the argument, what was expected, what came, and the remedy where it is not
obvious. `rnnfast._engine.checks` has them all."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def wrong_shape(name: str, expected: Sequence[object], meaning: str, got: tuple[int, ...], remedy: str = "") -> ValueError:
    shape = f"({', '.join(map(str, expected))}{',' if len(expected) == 1 else ''})"
    remedy = remedy or arranged(name, tuple(expected), got)
    return ValueError(f"{name}: expected shape {shape} = ({meaning}), got {got}{'; ' + remedy if remedy else ''}")


def arranged(name: str, expected: tuple[object, ...], got: tuple[int, ...]) -> str:
    """How the same numbers would fit: transposed, as a row instead of a column, with an axis for the one layer; or nothing."""
    expression = name.partition(" ")[0]
    if len(got) == 2 and got == expected[::-1]:
        return f"it is transposed: pass {expression}.T"
    if len(got) == 2 and got[1] == 1 and expected in ((got[0],), (1, 1, got[0])):
        return f"it is a column: pass {expression}.reshape{expected}"
    if got == expected[1:] and expected[0] == 1:
        return f"pass {expression}[None]"
    return ""


def wrong_value(name: str, expected: str, got: object) -> ValueError:
    return ValueError(f"{name}: expected {expected}, got {got!r}")


def wrong_type(name: str, expected: str, got: object) -> TypeError:
    return TypeError(f"{name}: expected {expected}, got {type(got).__name__}")


def listed(names: Iterable[str]) -> str:
    """Not more of them than one reads."""
    first = [name[:100] for name in names]
    return ", ".join(first[:16]) + (f", ... ({len(first)} in all)" if len(first) > 16 else "")


# ---- remedies in the words of the library that an array is of ------------------------------------------------------------
TORCH_CASTS = {"float32": "float()", "float64": "double()"}


def unreadable(name: str, value: Any, error: Exception) -> TypeError:
    """What a library does not give to NumPy: parts of a graph of gradients, arrays elsewhere, dtypes that NumPy has not."""
    expression, kind = name.partition(" ")[0], type(value).__name__
    device, dtype = str(getattr(value, "device", "cpu")), str(getattr(value, "dtype", ""))
    if getattr(value, "requires_grad", False):
        return TypeError(f"{name}: expected an array, got {kind} that requires grad; pass {expression}.detach()")
    if "cpu" not in device.lower():
        return TypeError(f"{name}: expected an array on the CPU, got {kind} on {device}; copy it, e.g. {expression}.cpu()")
    if "bfloat16" in dtype:
        return TypeError(f"{name}: expected dtype float32 or float64, got {dtype}; pass {expression}.float()")
    return TypeError(f"{name}: expected an array that NumPy can read, got {kind} ({str(error).partition(chr(10))[0]})")


def cast(name: str, dtype: np.dtype[Any], value: Any) -> str:
    """The expression that casts this value of an argument, as users of its library write it; that of "state[1] (c)" is
    state[1]."""
    expression, kind = name.partition(" ")[0], f"{'np' if hasattr(np, dtype.name) else 'ml_dtypes'}.{dtype.name}"
    if of_library("torch", "Tensor", value):
        return f"{expression}.{TORCH_CASTS.get(dtype.name, f'to(torch.{dtype.name})')}"
    # JAX has float64 only where it is switched on, and its astype then gives float32 with a warning
    if isinstance(value, np.ndarray) or (of_library("jax", "Array", value) and dtype.itemsize == 4):
        return f"{expression}.astype({kind})"
    return f"np.asarray({expression}, dtype={kind})"


def of_library(library: str, kind: str, value: Any) -> bool:
    """Whether it is an object of this class of a library, which is not imported for that."""
    return isinstance(value, getattr(sys.modules.get(library), kind, ()))
