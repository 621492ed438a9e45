"""Tools for sequences: windows, padding, vocabularies, scaling, and splits that keep the order of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array


def sliding_windows(data: Any, n: int) -> tuple[Array, Array]:
    """All windows of n steps, and the value that follows each: ``X[i] = data[i : i+n]``, ``y[i] = data[i+n]``.

    Parameters
    ----------
    data : (N,) or (N, F) array_like
        N steps, each one number or F numbers.
    n : int
        The length of a window, at least 1 and less than N.

    Returns
    -------
    X : (N-n, n) or (N-n, n, F) ndarray
        A read-only view of data. ``X.swapaxes(0, 1)`` has time as its first axis; for `fit`, make
        ``np.ascontiguousarray`` of it if it is large.
    y : (N-n,) or (N-n, F) ndarray
        A view of data.

    Raises
    ------
    TypeError, ValueError
        If the shape of `data` or the value of `n` does not fit.

    Examples
    --------
    >>> X, y = nn.sliding_windows(np.arange(5), 3)
    >>> X
    array([[0, 1, 2],
           [1, 2, 3]])
    >>> y
    array([3, 4])
    """
    data, n = np.asarray(data), checks.positive("n", n)
    if data.ndim not in (1, 2) or len(data) <= n:
        raise ValueError(f"data: expected shape (N,) or (N, F) with N > n = {n}, got {data.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(data[:-1], n, axis=0)
    return (windows if data.ndim == 1 else windows.swapaxes(1, 2)), data[n:]


def pad_sequences(
    sequences: Sequence[Any], *, value: float = 0, dtype: Any = None, batch_first: bool = False
) -> tuple[Array, Array]:
    """Put sequences of unequal lengths into one array, with `value` after the end of each sequence.

    Parameters
    ----------
    sequences : sequence of (T_i, ...) array_like
        N sequences, at least one; all have the same axes after the first.
    value : number
        The padding. For targets it can be -1, for example, together with ``cross_entropy(..., ignore_index=-1)``.
    dtype : dtype, optional
        The dtype of the result. The default is the common dtype of sequences and value, by NumPy's rules.
    batch_first : bool
        Whether the result is (N, T, ...) instead of (T, N, ...).

    Returns
    -------
    padded : (T, N, ...) ndarray, with batch_first (N, T, ...)
        T is the length of the longest sequence.
    lengths : (N,) ndarray of int

    Raises
    ------
    ValueError
        If there is no sequence, or the other axes differ.

    Examples
    --------
    >>> padded, lengths = nn.pad_sequences([[1, 2, 3], [4]], batch_first=True)
    >>> padded
    array([[1, 2, 3],
           [4, 0, 0]])
    >>> lengths
    array([3, 1])
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
    """Tokens and their numbers, in both directions.

    ``Vocabulary.of(texts)`` makes one of characters, ``Vocabulary.of(text.split() for text in texts)`` one of words.

    Parameters
    ----------
    tokens : iterable of hashable
        The tokens in the order of their numbers, each once.
    unknown : hashable, optional
        The token among these that stands for every token that is not among them. Without it, encoding such a token is a
        ValueError.

    Attributes
    ----------
    tokens : tuple
    unknown : hashable or None

    Raises
    ------
    ValueError
        If a token occurs twice, or `unknown` is not among the tokens.

    Examples
    --------
    >>> letters = nn.Vocabulary.of(["banana"])
    >>> letters.tokens
    ('a', 'n', 'b')
    >>> letters.encode("nab")
    array([1, 0, 2])
    >>> "".join(letters.decode([2, 1, 0]))
    'bna'
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
        """The vocabulary of some sequences of tokens, the most frequent token first.

        Parameters
        ----------
        sequences : iterable of iterables of hashable
        most : int, optional
            The largest number of tokens that are taken from the sequences.
        least : int
            How often a token must occur to be taken.
        special : sequence of hashable
            Tokens that come before all others, such as padding.
        unknown : hashable, optional
            As in the constructor. It follows the special tokens, unless it is one of them.

        Returns
        -------
        Vocabulary
            Of tokens that are equally frequent, the one that occurred first comes first.
        """
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
        """The number of a token; a ValueError if it has none and there is no `unknown`."""
        number = self._numbers.get(token, self._numbers.get(self.unknown) if self.unknown is not None else None)
        if number is None:
            raise ValueError(f"token: expected one of the vocabulary's {len(self)}, got {token!r}")
        return number

    def encode(self, sequence: Iterable[Hashable]) -> Array:
        """The numbers of a sequence of T tokens, as a (T,) array of int; a ValueError if one has none and there is no
        `unknown`."""
        return np.array([self[token] for token in sequence], np.intp)

    def decode(self, numbers: Any) -> list[Hashable]:
        """The tokens of numbers, as a list: ``"".join(...)`` makes a text of characters. A ValueError for other numbers."""
        numbers = np.asarray(numbers)
        if numbers.size and (numbers.dtype.kind not in "iu" or not 0 <= numbers.min() <= numbers.max() < len(self)):
            raise ValueError(f"numbers: expected integers from 0 to {len(self) - 1}, got {numbers}")
        return [self.tokens[i] for i in numbers.ravel().tolist()]


class MinMaxScaler:
    """Scales each feature linearly, so that its least and largest value in `data` become `low` and `high`.

    Give it the training part of the data alone: the test part must not decide the scale. A call scales, `inverse` scales back.

    Parameters
    ----------
    data : (N, ...) array_like, float32 or float64
        At least one row, all values finite. The axes after the first are the features.
    low, high : float
        The least and the largest scaled value.

    Raises
    ------
    TypeError, ValueError
        If `data` does not fit.

    Examples
    --------
    >>> scaler = nn.MinMaxScaler(np.array([10.0, 30.0, 20.0]))
    >>> scaler(np.array([20.0, 40.0]))
    array([0.5, 1.5])
    >>> scaler.inverse(np.array([0.5]))
    array([20.])
    """

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
        """The scaled values. The last axes of `values` must be those of the features, else it is a ValueError."""
        return np.asarray((self._fitting(values) - self.least) * self.scale + self.low)

    def inverse(self, values: Any) -> Array:
        """The values before scaling. The last axes of `values` must be those of the features, else it is a ValueError."""
        return np.asarray((self._fitting(values) - self.low) / self.scale + self.least)

    def _fitting(self, values: Any) -> Array:
        array: Array = np.asarray(values)
        if array.shape[array.ndim - self.least.ndim :] != self.least.shape:
            raise checks.wrong_shape("values", ("...", *self.least.shape), "..., features", array.shape)
        return array


def time_split(data: Any, share: float = 0.2) -> tuple[Array, Array]:
    """Split data in the order of time, so that what is validated comes after what is learnt.

    Parameters
    ----------
    data : (N, ...) array_like
    share : float
        The part of the N rows that goes to the second result, between 0 and 1.

    Returns
    -------
    first, last : ndarray
        Views of data.

    Raises
    ------
    TypeError, ValueError
        If `share` is not a number between 0 and 1.

    Examples
    --------
    >>> nn.time_split(np.arange(10), 0.3)
    (array([0, 1, 2, 3, 4, 5, 6]), array([7, 8, 9]))
    """
    data = np.asarray(data)
    cut = len(data) - round(len(data) * checks.probability("share", share))
    return data[:cut], data[cut:]
