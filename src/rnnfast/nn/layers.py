"""The layers of the training kit: Dense, Embedding, Dropout, recurrent layers as parts of a chain, and the chain itself."""

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
    """The record of one forward pass, from which `backward` computes gradients.

    Inputs are kept by reference, so they must not change before backward. Parameters may change: backward uses them as they
    were when recording. A tape without a recurrent layer on it can be used more than once.

    Parameters
    ----------
    y : ndarray
        The result of the pass. Its gradient has the same shape and dtype.
    backward : callable
        ``gradients = backward(dy, need_x)``, which returns a `Gradients`. A model of your own gives its function here.
    """

    def __init__(self, y: Array, backward: Callable[[Array, bool], Gradients]) -> None:
        self._shape, self._dtype, self._backward = y.shape, y.dtype, backward

    def backward(self, dy: Any, *, need_x: bool = True) -> Gradients:
        """The gradients of ``sum(dy * y)``.

        Parameters
        ----------
        dy : array_like, shape and dtype of y
            The gradient of y.
        need_x : bool
            False leaves ``g.x`` None, which saves computing it.

        Returns
        -------
        g : Gradients
            ``g.x``, of the shape of x, and ``g.params``, by the names of the parameters. ``g.x`` is None where x is integers.

        Raises
        ------
        TypeError, ValueError
            If dtype or shape of dy does not fit.
        RuntimeError
            If a recurrent layer is on the tape and backward was called before.
        """
        dy = checks.float_array("dy", dy, self._dtype, "y")
        if dy.shape != self._shape:
            raise checks.wrong_shape("dy", self._shape, "as y", dy.shape)
        return self._backward(dy, need_x)


class Module(Protocol):
    """What `Sequential` and `fit` need of a layer or model.

    A call is inference, `record` the forward pass of a training step. `lengths` (B,), the steps of each sample, and `rng`, a
    numpy.random.Generator, are passed to every layer; a layer that does not need them ignores them.
    """

    @property
    def params(self) -> Mapping[str, Array]: ...
    def __call__(self, x: Any, *, lengths: Any = None) -> Array: ...
    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]: ...


def uniform(rng: Any, fan_in: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """PyTorch's default for linear layers: uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return checks.generator("rng", rng).uniform(-bound, bound, shape).astype(checks.float_dtype(dtype))


def last_axis(name: str, x: Any, size: int, dtype: Any) -> Array:
    """x as an array of the layer's dtype whose last axis is `size`."""
    array = checks.float_array(name, x, dtype, "the layer")
    if array.ndim == 0 or array.shape[-1] != size:
        raise checks.wrong_shape(name, ("...", size), "..., in_features", array.shape)
    return array


class Dense(Parameters):
    """A linear layer over the last axis: x (..., in_features) gives ``y = x W^T + b`` (..., out_features).

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool
        Whether there is a bias.
    dtype : numpy.float32 or numpy.float64
        Of parameters, inputs and results.
    rng : int, numpy.random.Generator or None
        Draws the initial parameters, uniform between -1 / sqrt(in_features) and 1 / sqrt(in_features), as in PyTorch. None
        draws other ones each time.

    Attributes
    ----------
    params : mapping of str to ndarray
        ``weight`` (out_features, in_features) and ``bias`` (out_features,).

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> layer = nn.Dense(3, 2)
    >>> y, tape = layer.record(np.ones((5, 4, 3), np.float32))
    >>> g = tape.backward(np.ones_like(y))  # of the loss sum(y)
    >>> y.shape, g.params["weight"].shape
    ((5, 4, 2), (2, 3))
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
    """A table of vectors: integers x of any shape (...) give the rows with these numbers, (..., size).

    Parameters
    ----------
    count : int
        The number of rows. An x that is not 0 <= x < count is a ValueError.
    size : int
        The length of a row.
    dtype, rng
        As in `Dense`, but rows are drawn from the standard normal distribution, as in PyTorch.

    Attributes
    ----------
    params : mapping of str to ndarray
        ``weight`` (count, size).

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> layer = nn.Embedding(count=10, size=4)
    >>> layer([[3, 1, 4], [1, 5, 9]]).shape
    (2, 3, 4)
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
    """out[k] = the sum of all values[i] with x[i] == k. Sorting x first is ten times as fast as np.add.at."""
    out = np.zeros((count, values.shape[1]), values.dtype)
    if x.size:
        order = np.argsort(x, kind="stable")
        rows = x[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        out[rows[starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


class Dropout(Parameters):
    """Dropout: `record` sets each element of x to 0 with a given probability, and scales the others by 1 / (1 - probability).

    A call, which is inference, returns a copy of x.

    Parameters
    ----------
    probability : float
        From 0 to 1, else it is a TypeError or ValueError. It is rounded to a multiple of 1/65536.

    Examples
    --------
    >>> layer = nn.Dropout(0.5)
    >>> y, tape = layer.record(np.ones(1000), rng=0)
    >>> np.unique(y)
    array([0., 2.])
    """

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
    """A recurrent layer as a part of a chain. It takes x (T, B, I), starts from zero states, and returns one array.

    Parameters
    ----------
    rnn : rnnfast.SimpleRNN, LSTM, GRU, or a layer of a cell of your own
        With batch_first, x and y are (B, T, ...). If the cell has inputs, such as dt, the last columns of x are these, in their
        order: one number for each sample and step.
    output : {"sequence", "last"}
        "sequence" returns y of all steps, (T, B, D*H), where D is the number of directions. "last" returns the final h of the
        last layer, (B, D*H): after the last step of each sample and, for a reverse direction, after its first step, where this
        direction ends.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Examples
    --------
    >>> layer = nn.Recurrent(rnnfast.LSTM(2, 3, bidirectional=True), "last")
    >>> layer(np.ones((5, 4, 2), np.float32)).shape
    (4, 6)
    """

    def __init__(self, rnn: Layer[Any], output: str = "sequence") -> None:
        if not isinstance(rnn, Layer):
            raise checks.wrong_type("rnn", "an rnnfast.SimpleRNN, LSTM or GRU", rnn)
        self.rnn, self.output = rnn, checks.one_of("output", output, ("sequence", "last"))

    @property
    def params(self) -> Mapping[str, Array]:
        return self.rnn.params

    def _batch(self, x: Any) -> Any:
        """x, which must have an axis of samples."""
        if np.ndim(x) != 3:
            raise ValueError(f"x: expected 3 dimensions (time, batch, input_size), got shape {np.shape(x)}; use x[:, None]")
        return x

    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        x, inputs = self._inputs(self._batch(x))
        y, state = self.rnn(x, lengths=lengths, inputs=inputs)
        return y if self.output == "sequence" else self._last(state)

    def record(self, x: Any, *, lengths: Any = None, rng: Any = None) -> tuple[Array, Tape]:
        x, inputs = self._inputs(self._batch(x))
        y, state, tape = self.rnn.record(x, lengths=lengths, inputs=inputs, rng=rng)
        h = state[0] if isinstance(state, tuple) else state

        def backward(dy: Array, need_x: bool) -> Gradients:
            if self.output == "sequence":
                g = tape.backward(dy, need_x=need_x, need_inputs=need_x)
            else:
                dh = np.zeros_like(h)
                self._last_layer(dh)[...] = dy.reshape(len(dy), -1, self.rnn.hidden_size).swapaxes(0, 1)
                dstate = (dh, *[None] * (len(state) - 1)) if isinstance(state, tuple) else dh
                g = tape.backward(None, dstate, need_x=need_x, need_inputs=need_x)
            if inputs and g.x is not None:
                return Gradients(np.concatenate([g.x, *(a[..., None] for a in g.inputs.values())], axis=-1), g.params)
            return g

        y = y if self.output == "sequence" else self._last(state)
        return y, Tape(y, backward)

    def _inputs(self, x: Any) -> tuple[Any, dict[str, Array] | None]:
        """What the layer reads as x, and as inputs of its cell."""
        names = self.rnn._form.variant.inputs
        if not names:
            return x, None
        columns = np.moveaxis(np.asarray(x), -1, 0)
        return np.asarray(x)[..., : -len(names)], dict(zip(names, columns[-len(names) :], strict=True))

    def _last_layer(self, h: Array) -> Array:
        """(num_layers*D, B, H) -> (D, B, H), a view."""
        return h[-(2 if self.rnn.bidirectional else 1) :]

    def _last(self, state: Any) -> Array:
        """The final state -> (B, D*H)."""
        h = self._last_layer(state[0] if isinstance(state, tuple) else state)
        return np.ascontiguousarray(h.swapaxes(0, 1)).reshape(h.shape[1], -1)


class Sequential(Parameters):
    """A chain of layers: each reads what the one before returns. `lengths` and `rng` are passed to all of them.

    Parameters
    ----------
    *layers : Module
        Layers of the kit, models of your own, or recurrent layers of rnnfast, which are wrapped as ``Recurrent(layer)``. There
        must be at least one, and none may occur twice.

    Attributes
    ----------
    layers : list of Module
    params : mapping of str to ndarray
        The layers' own arrays. The number of the layer stands before each name: ``0.weight``, ``1.weight_ih_l0``.

    Raises
    ------
    ValueError
        If there is no layer, or one occurs twice.

    Examples
    --------
    >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Recurrent(rnnfast.GRU(4, 3), "last"), nn.Dense(3, 2))
    >>> model(np.zeros((5, 8), int)).shape  # 5 steps of 8 samples
    (8, 2)
    >>> list(model.params)[:2]
    ['0.weight', '1.weight_ih_l0']
    """

    def __init__(self, *layers: Module | Layer[Any]) -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        self.layers: list[Module] = [Recurrent(layer) if isinstance(layer, Layer) else layer for layer in layers]
        self._params = self._of_layers()
        if len({id(a) for a in self._params.values()}) < len(self._params):
            raise ValueError("layers: expected each once, got one twice; its gradients would not be summed")

    def _of_layers(self) -> dict[str, Array]:
        return {f"{i}.{name}": a for i, layer in enumerate(self.layers) for name, a in layer.params.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The layers of a copy or a pickle have arrays of their own, and these are its parameters."""
        vars(self).update(state, _params={})
        self._params = self._of_layers()

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
