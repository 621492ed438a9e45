"""SimpleRNN, LSTM, GRU: stacked, optionally bidirectional layers that own their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.elsewhere import LAYER, elsewhere
from rnnfast._engine.form import NONE
from rnnfast._engine.forward import Recorded, forward
from rnnfast._engine.stack import Stack
from rnnfast._engine.tapes import PlainTape, StackTape
from rnnfast._kernels import _fast_path
from rnnfast._kernels._fast_path import FrozenLayers
from rnnfast._types import Array, S
from rnnfast.cells import GRU as GRU_CELL
from rnnfast.cells import LSTM as LSTM_CELL
from rnnfast.cells import SIMPLE_RNN as SIMPLE_RNN_CELL
from rnnfast.frozen import Frozen

_PARAMETERS = """
    Parameters
    ----------
    input_size, hidden_size : int
        I and H in the shapes below, each at least 1. T is the number of time steps, B that of samples in the batch.
    num_layers : int
        The number of layers in the stack: each reads the y of the one below.
    bias : bool
        Whether there are biases (two in each layer and direction, as in PyTorch).
    batch_first : bool
        x and y are (B, T, ...) instead of (T, B, ...). States stay (num_layers*D, B, H).
    dropout : float
        The probability with which `record` sets each element of the input of every layer but the first to zero; the others are
        scaled by ``1 / (1 - dropout)``. It is rounded to a multiple of 1/65536. With one layer there is nothing to drop.
    bidirectional : bool
        Whether each layer has a second, reverse direction. The number of directions D is then 2, and the last axis of y has
        first the forward and then the reverse direction.
    dtype : numpy.float32 or numpy.float64
        The dtype of parameters, inputs and results.
    rng : int, numpy.random.Generator or None
        Draws the initial parameters, uniform between -1/sqrt(H) and 1/sqrt(H), as in PyTorch; nothing else is drawn from it.
        None draws other ones each time.{option}

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit; the text names it, what was expected and what came.

    Notes
    -----
    Calls keep no state in the object: any number of threads may call the same layer at once, as long as none of them changes
    its parameters meanwhile.

    Examples
    --------
    >>> net = rnnfast.{name}(8, 32, num_layers=2, bidirectional=True, rng=0)
    >>> y, state = net(np.ones((50, 4, 8), np.float32))
    >>> y.shape
    (50, 4, 64)
    """


@elsewhere(LAYER)
class Layer(Stack[S]):
    """Not public: what the three layers share."""

    def __init__(self, options: dict[str, Any], rng: Any, *arguments: Any) -> None:
        """options: of the cell; arguments: the others of the constructor, in the order of Stack._set_form."""
        self._set_form(options, *arguments)
        draw = checks.generator("rng", rng)
        bound = 1 / np.sqrt(self.hidden_size)
        params = {name: draw.uniform(-bound, bound, shape).astype(self.dtype) for name, shape in self._shapes.items()}
        self.__dict__.update(rng=rng)
        self._set_params(params)
        self._initialize(draw)

    @classmethod
    def _without_parameters(cls, options: Mapping[str, Any], arguments: Mapping[str, Any]) -> Layer[S]:
        """A layer whose parameters come from elsewhere. arguments: all of the constructor, but for the options and rng."""
        layer = cls.__new__(cls)
        layer._set_form(dict(options), **arguments)
        layer.__dict__.update(rng=None)
        return layer

    def _initialize(self, draw: np.random.Generator) -> None:
        """Changes the initial parameters where a cell wants others."""

    @property
    def flat(self) -> Array:
        """All parameters one after the other, (num_params,): the live array of which `params` are views, in their order."""
        return self._flat

    def load_params(self, mapping: Mapping[str, Any], *, gate_order: str | None = None) -> None:
        """Copy values into the parameters.

        Parameters
        ----------
        mapping : mapping of str to array_like
            Exactly the names of `params`, each with its shape and dtype, in any memory order.
        gate_order : str, optional
            The order of the gates' blocks of rows in these values, such as "z r n"; None means the layer's own. README has a
            table of the orders that other libraries use.

        Raises
        ------
        TypeError, ValueError
            For a missing or unknown name, or a wrong shape, dtype or gate order. No parameter is changed then.

        Examples
        --------
        >>> net = rnnfast.GRU(2, 3)
        >>> net.load_params({name: np.zeros_like(a) for name, a in net.params.items()})
        >>> float(abs(net.params["weight_hh_l0"]).max())
        0.0
        """
        values = self._in_own_order(mapping, gate_order)
        for name, value in self._params.items():
            if not value.flags.writeable:
                raise ValueError(f"{name}: expected a writeable parameter to load into, got a read-only one")
        for name, value in self._params.items():
            value[...] = values[name]

    def _in_own_order(self, mapping: Mapping[str, Any], gate_order: str | None) -> dict[str, Array]:
        """Copies of the values that `load_params` takes, checked, with the gates in the layer's own order."""
        variant = self._form.variant
        order = checks.gate_order(gate_order, variant.gates)
        values = checks.named_parameters(mapping, self._shapes, self.dtype)
        values = {name: value.copy() for name, value in values.items()}  # one may be a view of another's parameter
        if order is None:
            return values
        came = dict(zip(variant.gates, order, strict=True))
        for names in self._names:
            for kind, name in zip(self._form.kinds(), names, strict=True):
                if gates := variant.blocks(kind):
                    blocks = sorted(gates, key=came.__getitem__)
                    value = values[name].reshape(len(gates), -1)
                    values[name] = value[[blocks.index(gate) for gate in gates]].reshape(values[name].shape)
        return values

    def __call__(self, x: Any, state: Any = None, *, lengths: Any = None, inputs: Any = None) -> tuple[Array, S]:
        """Inference over a whole sequence.

        Parameters
        ----------
        x : (T, B, I), with batch_first (B, T, I), or (T, I) array_like, dtype of the layer
        state : array_like or pair of them, optional
            Initial state: h, or (h, c) for LSTM, each (num_layers*D, B, H), or (num_layers*D, H) if x is (T, I). The first
            axis has layer 0 forward, layer 0 reverse, layer 1 forward, and so on. None means zeros, also inside the pair.
        lengths : (B,) array_like of int, optional
            The number of steps of each sample, 0 to T, in any order; see `rnnfast.simple_rnn`.
        inputs : mapping of str to array_like, optional
            Of a cell that declares inputs (see `rnnfast.cell`): name -> (T, B) or (T, B, H), with batch_first (B, T) or
            (B, T, H), and without B if x has none. All layers and directions read the same.

        Returns
        -------
        y : (T, B, D*H), with batch_first (B, T, D*H), or (T, D*H) ndarray
            h of the last layer at every step.
        state : ndarray or pair of them
            The final state, in the form of `state`.

        Raises
        ------
        TypeError, ValueError, MemoryError

        Notes
        -----
        The parameters are read, and for more than two steps packed, at every call, since they may have changed; `freeze` packs
        them once.

        Examples
        --------
        >>> net = rnnfast.LSTM(2, 3, bidirectional=True)
        >>> y, (h, c) = net(np.ones((5, 4, 2), np.float32), lengths=[5, 2, 0, 1])
        >>> y.shape, h.shape
        ((5, 4, 6), (2, 4, 3))
        """
        form, isa, packed = self._form, settings.here.isa, None
        if lengths is None and not inputs and form.plain and not form.batch_first:
            if form.variant.kernel is not None:
                done = self._call_shortly(tuple(self._params.values()), x, state)
            else:
                packed = self._pack(isa, NONE, trainable=False)
                ready = FrozenLayers(tuple([place.weights for place in packed]), form.variant.initial)
                done = _fast_path.try_frozen(ready, False, x, state, None, settings.num_threads)
            if done is not None:
                return done
        given = form.check(x, state, lengths, inputs)
        packed = packed or self._pack(isa, given.row_inputs, trainable=False)
        y, final = forward(form, packed, given)
        return form.outer(y, given.unbatched), form.outer_state(final, given.unbatched)

    def _call_shortly(self, params: tuple[Any, ...], x: Any, state: Any) -> tuple[Array, S] | None:
        """A call of a compiled cell in one direction, time first; None if anything is unusual. params: instead of its own."""
        form, isa, each = self._form, settings.here.isa, 4 if self._form.bias else 2
        if (kernel := form.variant.kernel) is None:
            return None
        return _fast_path.try_live(kernel, isa, params, each, None, form.num_layers, x, state, settings.num_threads)

    def record(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        inputs: Any = None,
        rng: Any = None,
        draws: Any = None,
        checkpoint_every: int | None = None,
    ) -> tuple[Array, S, StackTape[S]]:
        """Forward pass of a training step: like a call, but with dropout, and with the tape for the backward pass.

        Parameters
        ----------
        x, state, lengths, inputs
            As in a call. x and inputs are kept by reference, so they must not change before backward.
        rng : int, numpy.random.Generator or None
            Draws the dropout masks, and what the formula of a cell draws; None draws unpredictably. Layer by layer: first the
            dropout of its input, then the cell's draws in declared order.
        draws : mapping of str to array_like, optional
            Values of some of the cell's draws, which are then not drawn: name -> (num_layers*D, B, H), or
            (num_layers*D, T, B, H) of those that are drawn at every step; the first axis is left out where it would be 1, and B
            if x has none. Time comes before the batch with batch_first too.
        checkpoint_every : int, optional
            Saves memory: do not keep the gates of all steps, but only y and, for LSTM, the c of every so many steps. Backward
            then computes the gates again, which costs one more forward pass. The gradients are the same to the last bit.

        Returns
        -------
        y, state
            As of a call; y is read-only.
        tape : StackTape
            ``tape.backward(dy, dstate)`` gives the gradients, once.

        Raises
        ------
        TypeError, ValueError, MemoryError

        Examples
        --------
        >>> net = rnnfast.GRU(2, 3)
        >>> y, h, tape = net.record(np.ones((5, 4, 2), np.float32))
        >>> g = tape.backward(dy=2 * y)  # of the loss sum(y**2)
        >>> g.x.shape, g.params["weight_ih_l0"].shape
        ((5, 4, 2), (9, 2))
        """
        return self._record(x, state, lengths, inputs, rng, draws, checkpoint_every, locked=True)

    def _record(
        self,
        x: Any,
        state: Any,
        lengths: Any,
        inputs: Any,
        rng: Any,
        draws: Any = None,
        checkpoint_every: int | None = None,
        *,
        locked: bool = False,
    ) -> tuple[Array, S, StackTape[S]]:
        """`record`. locked: y is read-only; who gets another one sees to it that nobody writes to it before backward."""
        form = self._form
        drops = form.dropout > 0 and form.num_layers > 1  # a generator of its own is a quarter of a short call
        draw = checks.generator("rng", rng) if drops or form.variant.draws or rng is not None else None
        usual = lengths is None and inputs is None and draws is None and checkpoint_every is None
        if usual and not drops:
            done = self._record_shortly(tuple(self._params.values()), x, state, locked=locked)
            if done is not None:
                return done
        given = form.check(x, state, lengths, inputs)
        T, B = given.size
        drawn = form.check_draws(draws, T, B, given.unbatched)
        if checkpoint_every is not None:
            checkpoint_every = checks.positive("checkpoint_every", checkpoint_every)
        packed = self._pack(settings.here.isa, given.row_inputs, trainable=True)
        recorded: list[Recorded] = []
        y, final = forward(form, packed, given, recorded=recorded, rng=draw, checkpoint_every=checkpoint_every, draws=drawn)
        y = form.outer(y, given.unbatched)
        tape: StackTape[S] = StackTape(form, recorded, given, y, self._names)
        return checks.locked(y) if locked else y, form.outer_state(final, given.unbatched), tape

    def _record_shortly(
        self, params: tuple[Any, ...], x: Any, state: Any, *, locked: bool = False
    ) -> tuple[Array, S, StackTape[S]] | None:
        """The short way of `_record` (`_kernels/_training.pyx`); None if anything is unusual. params: instead of its own."""
        plain, form = self._plain, self._form
        if plain is None or plain.form is not form:  # the tape checks by this form; another one may have other sizes
            return None
        done = plain.record(params, x, state, settings.here.isa, settings.num_threads, locked)
        if done is None:
            return None
        y, final, passed = done
        return y, final, PlainTape(form, passed, x, y)

    def freeze(self) -> Frozen[S]:
        """An immutable copy whose weights are packed once: the fastest form for inference, and the only one with `step`.

        Returns
        -------
        Frozen
            Its attributes are the constructor arguments of the layer, `params` (read-only copies) and `isa`, the name of the
            instruction set whose kernels it keeps using.

        Examples
        --------
        >>> fast = rnnfast.GRU(2, 3).freeze()
        >>> y, h = fast(np.ones((5, 4, 2), np.float32))
        >>> y.shape
        (5, 4, 3)
        """
        return Frozen(self)


class SimpleRNN(Layer[Array]):
    __doc__ = """Simple (Elman) recurrent layers: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``, see `rnnfast.simple_rnn`.
    """ + _PARAMETERS.format(
        name="SimpleRNN",
        option="""
    nonlinearity : {"tanh", "relu", "identity", "sigmoid"}
        The function f in the formula.""",
    )

    cell = SIMPLE_RNN_CELL
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
        rng: Any = None,
    ) -> None:
        options = {"nonlinearity": nonlinearity}
        super().__init__(options, rng, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)


class LSTM(Layer[tuple[Array, Array]]):
    __doc__ = """Long short-term memory layers, gates i f g o, state (h, c); the formulas are in `rnnfast.lstm`.
    """ + _PARAMETERS.format(name="LSTM", option="")

    cell = LSTM_CELL

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
        rng: Any = None,
    ) -> None:
        super().__init__({}, rng, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)


class GRU(Layer[Array]):
    __doc__ = """Gated recurrent unit layers, gates r z n; the formulas are in `rnnfast.gru`.
    """ + _PARAMETERS.format(
        name="GRU",
        option="""
    reset_after : bool
        Whether the reset gate acts after the recurrent product of n (PyTorch, Keras) or before it (ONNX's default).""",
    )

    cell = GRU_CELL
    reset_after: bool

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset_after: bool = True,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
        rng: Any = None,
    ) -> None:
        options = {"reset_after": reset_after}
        super().__init__(options, rng, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)


LAYERS: dict[str, type[Layer[Any]]] = {layer.cell.name: layer for layer in (SimpleRNN, LSTM, GRU)}
