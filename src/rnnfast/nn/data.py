"""Sequence tools: windows, padding, vocabularies, scaling, splits in the order of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array


def sliding_windows(data: Any, n: int) -> tuple[Array, Array]:
    """``X[i] = data[i : i+n]``, ``y[i] = data[i+n]``.

    Parameters
    ----------
    data : (N,) or (N, F) array_like
    n : int
        Length of a window; N must be larger.

    Returns
    -------
    X : (N-n, n) or (N-n, n, F) ndarray
        A read-only view of data. ``X.swapaxes(0, 1)`` is time-major.
    y : (N-n,) or (N-n, F) ndarray
        A view of data.
    """
    data, n = np.asarray(data), checks.positive("n", n)
    if data.ndim not in (1, 2) or len(data) <= n:
        raise ValueError(f"data: expected shape (N,) or (N, F) with N > n = {n}, got {data.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(data[:-1], n, axis=0)
    return (windows if data.ndim == 1 else windows.swapaxes(1, 2)), data[n:]


def pad_sequences(
    sequences: Sequence[Any], *, value: float = 0, dtype: Any = None, batch_first: bool = False
) -> tuple[Array, Array]:
    """Sequences of unequal lengths in one array, `value` past their ends.

    Parameters
    ----------
    sequences : sequence of (T_i, ...) array_like
        All with the same further axes.
    value
        Padding. Say, -1 for targets, with ``cross_entropy(..., ignore_index=-1)``.
    dtype
        Of the result; default: NumPy's common one.

    Returns
    -------
    padded : (T, N, ...) ndarray, with batch_first (N, T, ...)
    lengths : (N,) ndarray of int
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError("sequences: expected at least one sequence, got none")
    rest = arrays[0].shape[1:]
    for i, a in enumerate(arrays):
        if a.ndim == 0 or a.shape[1:] != rest:
            raise checks.wrong_shape(f"sequences[{i}]", ("T", *rest), "time, as the first", a.shape)
    lengths = np.array([len(a) for a in arrays], np.intp)
    filled = [a for a in arrays if len(a)] or arrays
    padded = np.full((len(arrays), lengths.max(), *rest), value, dtype or np.result_type(*filled, value))
    for row, a in zip(padded, arrays, strict=True):
        row[: len(a)] = a
    return (padded if batch_first else np.ascontiguousarray(padded.swapaxes(0, 1))), lengths


class Vocabulary:
    """Tokens and their numbers. Characters: ``Vocabulary.of(texts)``; words: ``Vocabulary.of(text.split() for text in texts)``.

    Parameters
    ----------
    tokens : sequence of hashable
        In the order of their numbers, each once.
    unknown : hashable, optional
        The token among them that stands for all others; without one, `encode` of another token is a ValueError.
    """

    def __init__(self, tokens: Iterable[Hashable], *, unknown: Hashable = None) -> None:
        self.tokens = tuple(tokens)
        self._numbers = {token: i for i, token in enumerate(self.tokens)}
        if len(self._numbers) != len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise ValueError(f"tokens: expected each once, got {twice!r} more often")
        if unknown is not None and unknown not in self._numbers:
            raise ValueError(f"unknown: expected one of the tokens, got {unknown!r}")
        self.unknown = unknown

    @classmethod
    def of(
        cls,
        sequences: Iterable[Iterable[Hashable]],
        *,
        most: int | None = None,
        least: int = 1,
        special: Sequence[Hashable] = (),
        unknown: Hashable = None,
    ) -> Vocabulary:
        """`special` first (and `unknown`, if it is not among them), then what occurs at least `least` times, the most frequent
        first and of equals the first that came, `most` of them."""
        counts: Counter[Hashable] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        head = [*special, *([unknown] if unknown is not None and unknown not in special else [])]
        found = [token for token, n in counts.most_common() if n >= least and token not in head]
        return cls([*head, *found[:most]], unknown=unknown)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: Hashable) -> bool:
        return token in self._numbers

    def __getitem__(self, token: Hashable) -> int:
        """The number of a token."""
        number = self._numbers.get(token, self._numbers.get(self.unknown) if self.unknown is not None else None)
        if number is None:
            raise ValueError(f"token: expected one of the vocabulary's {len(self)}, got {token!r}")
        return number

    def encode(self, sequence: Iterable[Hashable]) -> Array:
        """(T,) numbers of the tokens."""
        return np.array([self[token] for token in sequence], np.intp)

    def decode(self, numbers: Any) -> list[Hashable]:
        """Tokens of the numbers; ``"".join`` makes a text of characters."""
        numbers = np.asarray(numbers)
        if numbers.size and (numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() < len(self)):
            raise ValueError(f"numbers: expected integers from 0 to {len(self) - 1}, got {numbers}")
        return [self.tokens[i] for i in numbers.ravel().tolist()]


class MinMaxScaler:
    """Maps each feature's least and largest value in `data` (N, ...) to `low` and `high`: give it the training part alone."""

    def __init__(self, data: Any, low: float = 0.0, high: float = 1.0) -> None:
        data = checks.float_array("data", data)
        if not len(data):
            raise ValueError("data: expected at least one row, got none")
        if not np.isfinite(data).all():
            raise ValueError("data: expected finite numbers, got NaN or infinity among them")
        self.least, width = data.min(axis=0), data.max(axis=0) - data.min(axis=0)
        self.scale = (high - low) / np.where(width == 0, 1, width).astype(data.dtype)
        self.low = low

    def __call__(self, values: Any) -> Array:
        return np.asarray((self._fitting(values) - self.least) * self.scale + self.low)

    def inverse(self, values: Any) -> Array:
        return np.asarray((self._fitting(values) - self.low) / self.scale + self.least)

    def _fitting(self, values: Any) -> Array:
        array: Array = np.asarray(values)
        if array.shape[array.ndim - self.least.ndim :] != self.least.shape:
            raise checks.wrong_shape("values", ("...", *self.least.shape), "..., features", array.shape)
        return array


def time_split(data: Any, share: float = 0.2) -> tuple[Array, Array]:
    """(N, ...) -> the first part and the last `share` of it, views, in order: what is validated comes after what is learnt."""
    data = np.asarray(data)
    cut = len(data) - round(len(data) * checks.probability("share", share))
    return data[:cut], data[cut:]
