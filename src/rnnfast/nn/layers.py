"""Layers of the kit, forward and backward each: Dense, Embedding, Dropout, a recurrent layer inside a chain, and the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from rnnfast._engine import checks
from rnnfast._engine.dropout import draw_kept, drop
from rnnfast._engine.parameters import Parameters
from rnnfast._engine.tapes import ModelGradients as Gradients
from rnnfast._types import Array
from rnnfast.layers import Layer


class Tape:
    """The record of one forward pass, for one or more backward passes. Inputs are kept by reference: they must not change
    before; parameters may, backward uses them as they were.

    Parameters
    ----------
    y : ndarray
        The result of the pass; its shape and dtype are those of its gradient.
    backward : callable
        ``Gradients = backward(dy, need_x)``, for models of your own.
    """

    def __init__(self, y: Array, backward: Callable[[Array, bool], Gradients]) -> None:
        self._shape, self._dtype, self._backward = y.shape, y.dtype, backward

    def backward(self, dy: Any, *, need_x: bool = True) -> Gradients:
        """dy: gradient of y, of its shape. need_x=False leaves ``g.x`` None.

        Raises
        ------
        TypeError, ValueError
            For a dy of another dtype or shape.
        RuntimeError
            If a recurrent layer is on the tape and backward was called before.
        """
        dy = checks.float_array("dy", dy, self._dtype, "y")
        if dy.shape != self._shape:
            raise checks.wrong_shape("dy", self._shape, "as y", dy.shape)
        return self._backward(dy, need_x)


class Module(Protocol):
    """What a chain and `fit` need of a layer or model. Lengths (B,) and a generator are passed to all; most ignore them."""

    @property
    def params(self) -> Mapping[str, Array]: ...
    def __call__(self, x: Any, *, lengths: Any = None) -> Array: ...
    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]: ...


def uniform(rng: Any, fan_in: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """PyTorch's default for linear layers: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return checks.generator("rng", rng).uniform(-bound, bound, shape).astype(checks.float_dtype(dtype))


def last_axis(name: str, x: Any, size: int, dtype: Any) -> Array:
    """x as an array of the layer's dtype whose last axis is `size`."""
    array = checks.float_array(name, x, dtype, "the layer")
    if array.ndim == 0 or array.shape[-1] != size:
        raise checks.wrong_shape(name, ("...", size), "..., in_features", array.shape)
    return array


class Dense(Parameters):
    """``y = x W^T + b`` over the last axis.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : np.float32 or np.float64
    rng : int, numpy.random.Generator or None
        Draws the initial weights.

    Attributes
    ----------
    params : mapping
        ``weight`` (out_features, in_features), ``bias`` (out_features,).
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, dtype: Any = np.float32, rng: Any = None
    ) -> None:
        self.in_features = checks.positive("in_features", in_features)
        self.out_features = checks.positive("out_features", out_features)
        rng = checks.generator("rng", rng)
        self._params = {"weight": uniform(rng, in_features, (out_features, in_features), dtype)}
        if checks.flag("bias", bias):
            self._params["bias"] = uniform(rng, in_features, (out_features,), dtype)

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        weight = self.params["weight"]
        y: Array = last_axis("x", x, self.in_features, weight.dtype) @ weight.T
        if "bias" in self.params:
            y += self.params["bias"]
        return y

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        y, weight = self(x), self.params["weight"].copy()
        x = np.asarray(x)

        def backward(dy: Array, need_x: bool) -> Gradients:
            rows, columns = dy.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
            grads = {"weight": rows.T @ columns}
            if "bias" in self.params:
                grads["bias"] = rows.sum(axis=0, dtype=np.float64).astype(rows.dtype)  # NumPy adds rows one by one
            return Gradients((rows @ weight).reshape(x.shape) if need_x else None, grads)

        return y, Tape(y, backward)


class Embedding(Parameters):
    """Rows of a table: integers of any shape (...) -> (..., size).

    Parameters
    ----------
    count : int
        Rows; x must be 0 <= x < count.
    size : int
        Elements of a row.
    dtype, rng
        As of `Dense`; rows are drawn from a normal distribution, as in PyTorch.
    """

    def __init__(self, count: int, size: int, *, dtype: Any = np.float32, rng: Any = None) -> None:
        self.count, self.size = checks.positive("count", count), checks.positive("size", size)
        draw = checks.generator("rng", rng)
        self._params = {"weight": draw.standard_normal((count, size)).astype(checks.float_dtype(dtype))}

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        x = np.asarray(x)
        if x.dtype.kind not in "iu":
            raise TypeError(f"x: expected integers, got dtype {x.dtype}")
        if x.size and not 0 <= x.min() <= x.max() < self.count:
            raise ValueError(f"x: expected 0 <= x < {self.count} (rows of the embedding), got {x.min()} to {x.max()}")
        rows: Array = self.params["weight"].take(x, axis=0)
        return rows

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        y, x = self(x), np.asarray(x)

        def backward(dy: Array, need_x: bool) -> Gradients:
            return Gradients(None, {"weight": sum_by_row(x.ravel(), dy.reshape(-1, self.size), self.count)})

        return y, Tape(y, backward)


def sum_by_row(x: Array, values: Array, count: int) -> Array:
    """out[k] = sum of values[i] with x[i] == k; ten times as fast as np.add.at: equal rows stand together and are summed."""
    out = np.zeros((count, values.shape[1]), values.dtype)
    if x.size:
        order = np.argsort(x, kind="stable")
        rows = x[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        out[rows[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


class Dropout(Parameters):
    """In `record`, each element is 0 with this probability, else scaled by 1 / (1 - probability). In a call, nothing."""

    def __init__(self, probability: float) -> None:
        self.probability = checks.probability("probability", probability)
        self._params = {}

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        return checks.float_array("x", x).copy()

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        x = checks.float_array("x", x)
        kept = draw_kept(checks.generator("rng", rng), x.shape, self.probability)

        def backward(dy: Array, need_x: bool) -> Gradients:
            return Gradients(drop(dy, kept, self.probability, np.empty_like(dy, order="C")) if need_x else None, {})

        return drop(x, kept, self.probability, np.empty_like(x, order="C")), Tape(x, backward)


class Recurrent(Parameters):
    """A recurrent layer as a link of a chain: x (T, B, I) -> y.

    Parameters
    ----------
    rnn : rnnfast.SimpleRNN, LSTM or GRU
    output : {"sequence", "last"}
        "sequence": y of all steps, (T, B, D*H). "last": (B, D*H), h of the last layer after each sample's own last step, of a
        reverse direction after the sample's first.
    """

    def __init__(self, rnn: Layer[Any], output: str = "sequence") -> None:
        if not isinstance(rnn, Layer):
            raise checks.wrong_type("rnn", "an rnnfast.SimpleRNN, LSTM or GRU", rnn)
        self.rnn, self.output = rnn, checks.one_of("output", output, ("sequence", "last"))

    @property
    def params(self) -> Mapping[str, Array]:
        return self.rnn.params

    def _batch(self, x: Any) -> Any:
        """x must have an axis of samples."""
        if np.ndim(x) != 3:
            raise ValueError(f"x: expected 3 dimensions (time, batch, input_size), got shape {np.shape(x)}; use x[:, None]")
        return x

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        y, state = self.rnn(self._batch(x), lengths=lengths)
        return y if self.output == "sequence" else self._last(state)

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        y, state, tape = self.rnn.record(self._batch(x), lengths=lengths, rng=rng)
        h = state[0] if isinstance(state, tuple) else state

        def backward(dy: Array, need_x: bool) -> Gradients:
            if self.output == "sequence":
                g = tape.backward(dy, need_x=need_x)
            else:
                dh = np.zeros_like(h)
                self._last_layer(dh)[...] = dy.reshape(len(dy), -1, self.rnn.hidden_size).swapaxes(0, 1)
                g = tape.backward(None, (dh, None) if isinstance(state, tuple) else dh, need_x=need_x)
            return g

        y = y if self.output == "sequence" else self._last(state)
        return y, Tape(y, backward)

    def _last_layer(self, h: Array) -> Array:
        """(num_layers*D, B, H) -> (D, B, H), a view."""
        return h[-(2 if self.rnn.bidirectional else 1) :]

    def _last(self, state: Any) -> Array:
        """The final state -> (B, D*H)."""
        h = self._last_layer(state[0] if isinstance(state, tuple) else state)
        return np.ascontiguousarray(h.swapaxes(0, 1)).reshape(h.shape[1], -1)


class Sequential(Parameters):
    """Layers one after the other; `lengths` goes to the recurrent ones, `rng` to all that draw.

    Parameters
    ----------
    *layers : Module
        Layers of the kit, models of your own, or recurrent layers, which stand for ``Recurrent(layer)``.

    Attributes
    ----------
    params : mapping
        All parameters, the live arrays, with the layer's number before each name: ``0.weight``, ``1.weight_ih_l0``.
    """

    def __init__(self, *layers: Module | Layer[Any]) -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        self.layers: list[Module] = [Recurrent(layer) if isinstance(layer, Layer) else layer for layer in layers]
        self._params = {f"{i}.{name}": a for i, layer in enumerate(self.layers) for name, a in layer.params.items()}
        if len({id(a) for a in self._params.values()}) < len(self._params):
            raise ValueError("layers: expected each once, got one twice; its gradients would not be summed")

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        for layer in self.layers:
            x = layer(x, lengths=lengths)
        return np.asarray(x)

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        draw, tapes = checks.generator("rng", rng), []
        for layer in self.layers:
            x, tape = layer.record(x, lengths=lengths, rng=draw)
            tapes.append(tape)

        def backward(dy: Array, need_x: bool) -> Gradients:
            params: dict[str, Array] = {}
            for i in range(len(tapes) - 1, -1, -1):
                g = tapes[i].backward(dy, need_x=need_x or i > 0)
                params.update((f"{i}.{name}", a) for name, a in g.params.items())
                if g.x is not None:
                    dy = g.x
            return Gradients(g.x, {name: params[name] for name in self.params})

        return x, Tape(x, backward)
