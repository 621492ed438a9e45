"""Additive attention (Bahdanau, Cho and Bengio 2015), for one query per sample or for all steps of a decoder at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.parameters import Parameters
from rnnfast._types import Array
from rnnfast.nn.layers import last_axis, uniform


@dataclass(frozen=True)
class AttentionGradients:
    """Gradients of ``sum(dcontext * context)``.

    Attributes
    ----------
    query, keys : ndarray
        Of the shapes of query and keys.
    params : dict of str to ndarray
        By the names of `AdditiveAttention.params`.
    """

    query: Array
    keys: Array
    params: dict[str, Array]


class AdditiveAttention(Parameters):
    """Attention by a small network that scores each key for a query.

    The score of a key k for a query q is ``v . tanh(W_query q + W_keys k)``. The softmax of the scores over all keys of a
    sample gives the weights, and the weighted sum of the keys is the context.

    Parameters
    ----------
    query_size, key_size, hidden_size : int
        Q, K and A below, each at least 1.
    dtype, rng
        As in `Dense`.

    Attributes
    ----------
    params : mapping of str to ndarray
        ``query`` (A, Q), ``keys`` (A, K) and ``score`` (A,), which are W_query, W_keys and v.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> attention = nn.AdditiveAttention(query_size=4, key_size=3, hidden_size=8)
    >>> keys = np.ones((5, 2, 3), np.float32)  # 5 steps of 2 samples
    >>> context, weights = attention(np.ones((2, 4), np.float32), keys, lengths=[5, 3])
    >>> context.shape, weights.shape
    ((2, 3), (5, 2))
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int, *, dtype: Any = np.float32, rng: Any = None) -> None:
        self.query_size = checks.positive("query_size", query_size)
        self.key_size = checks.positive("key_size", key_size)
        self.hidden_size = checks.positive("hidden_size", hidden_size)
        rng = checks.generator("rng", rng)
        self._params = {
            "query": uniform(rng, query_size, (hidden_size, query_size), dtype),
            "keys": uniform(rng, key_size, (hidden_size, key_size), dtype),
            "score": uniform(rng, hidden_size, (hidden_size,), dtype),
        }

    def __call__(self, query: Any, keys: Any, *, lengths: Any = None) -> tuple[Array, Array]:
        """Contexts and weights, for inference.

        Parameters
        ----------
        query : (S, B, Q) or (B, Q) array_like, dtype of the layer
            The queries of S steps of a decoder, or of one step.
        keys : (T, B, K) array_like, dtype of the layer
            For example, the y of an encoder. The context is a weighted sum of these keys.
        lengths : (B,) array_like of int, optional
            The number of keys of each sample, 1 to T. Later keys get the weight 0.

        Returns
        -------
        context : (S, B, K) or (B, K) ndarray
        weights : (S, T, B) or (T, B) ndarray

        Raises
        ------
        TypeError, ValueError
            If a dtype or shape does not fit, or a sample has no key.
        """
        context, weights, _ = self.record(query, keys, lengths=lengths)
        return context, weights

    def record(self, query: Any, keys: Any, *, lengths: Any = None) -> tuple[Array, Array, AttentionTape]:
        """Like a call, with the tape as a third result: ``tape.backward(dcontext)`` gives `AttentionGradients`."""
        dtype = self.params["query"].dtype
        q, k = last_axis("query", query, self.query_size, dtype), last_axis("keys", keys, self.key_size, dtype)
        if k.ndim != 3 or q.ndim not in (2, 3) or q.shape[-2] != k.shape[1]:
            raise ValueError(
                f"query, keys: expected shapes (S, B, {self.query_size}) or (B, {self.query_size}), and "
                f"(T, B, {self.key_size}), got {q.shape} and {k.shape}"
            )
        one, q = q.ndim == 2, q[None] if q.ndim == 2 else q
        T, B, _ = k.shape
        steps = checks.lengths(lengths, T, B, unbatched=False)
        if T == 0 or (steps is not None and B and steps.min() == 0):
            raise ValueError("keys: expected at least one for each sample, got none")
        w_query, w_keys, score = (self.params[name].copy() for name in ("query", "keys", "score"))
        hidden = np.tanh((q @ w_query.T)[:, None] + k @ w_keys.T)  # (S, T, B, A)
        scores = hidden @ score
        if steps is not None:
            scores[:, np.arange(T)[:, None] >= steps] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        context = np.einsum("stb,tbk->sbk", weights, k, optimize=True)
        tape = AttentionTape(one, q, k, w_query, w_keys, score, hidden, weights)
        return (context[0], weights[0], tape) if one else (context, weights, tape)


@dataclass(frozen=True)
class AttentionTape:
    """What `AdditiveAttention.record` returns: the arrays that backward reads. It can be used more than once."""

    one: bool
    query: Array
    keys: Array
    w_query: Array
    w_keys: Array
    score: Array
    hidden: Array
    weights: Array

    def backward(self, dcontext: Any) -> AttentionGradients:
        """Gradients of query, keys and parameters.

        Parameters
        ----------
        dcontext : array_like, shape of the context
            The gradient of the context.

        Raises
        ------
        TypeError, ValueError
            If dtype or shape of `dcontext` does not fit.
        """
        shape = (*self.query.shape[:2], self.keys.shape[2])
        d = checks.float_array("dcontext", dcontext)
        if d.shape != (shape[1:] if self.one else shape):
            raise checks.wrong_shape("dcontext", shape[1:] if self.one else shape, "as context", d.shape)
        d = d.reshape(shape)
        d_weights = np.einsum("sbk,tbk->stb", d, self.keys, optimize=True)
        d_scores = self.weights * (d_weights - (self.weights * d_weights).sum(axis=1, keepdims=True))
        d_score = np.einsum("stb,stba->a", d_scores, self.hidden, optimize=True)
        d_hidden = d_scores[..., None] * ((1 - self.hidden**2) * self.score)
        d_query, d_keys = d_hidden.sum(axis=1), d_hidden.sum(axis=0)  # (S, B, A), (T, B, A)
        params = {
            "query": np.tensordot(d_query, self.query, ((0, 1), (0, 1))),
            "keys": np.tensordot(d_keys, self.keys, ((0, 1), (0, 1))),
            "score": d_score,
        }
        keys = np.einsum("stb,sbk->tbk", self.weights, d, optimize=True) + d_keys @ self.w_keys
        query = d_query @ self.w_query
        return AttentionGradients(query[0] if self.one else query, keys, params)
