"""Names for types that several modules annotate with."""

from typing import Any, TypeAlias, TypeVar

import numpy as np

FloatDType: TypeAlias = np.dtype[Any]  # float32 or float64
Array: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[Any]]
State: TypeAlias = Array | tuple[Array, Array]  # h, or (h, c) for LSTM
S = TypeVar("S")  # which of the two a layer has
