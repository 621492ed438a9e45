"""Frozen layers: immutable, weights prepacked; whole sequences and single steps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.elsewhere import FROZEN, elsewhere
from rnnfast._engine.form import Inputs
from rnnfast._engine.forward import forward
from rnnfast._engine.settings import COMPILED, PRESENT
from rnnfast._engine.stack import Stack, version_of
from rnnfast._engine.states import outward
from rnnfast._kernels import _fast_path
from rnnfast._kernels._core import empty
from rnnfast._kernels._fast_path import FrozenLayers
from rnnfast._types import Array, S
from rnnfast.cells import CELLS
from rnnfast.cells.base import AnyCell, Packed


def locked(value: Array) -> Array:
    """A copy that is read-only and stays so."""
    copy = empty(value.shape, value.dtype, lockable=True)
    copy[...] = value
    copy.flags.writeable = False
    return copy


def _cell_of(value: Any) -> AnyCell:
    """From its name, from what a pickle has of a formula, or itself."""
    if isinstance(value, dict):
        from rnnfast.declared import class_of  # formulas are imported by those who use them

        return class_of(value).cell
    return CELLS[value] if isinstance(value, str) else value


@elsewhere(FROZEN)
class Frozen(Stack[S]):
    """The weights of a layer at the moment of ``net.freeze()``, packed for one instruction set (ISA). It has the constructor
    arguments of the layer as attributes. It can be pickled, and any number of threads may call it at once."""

    isa: str
    _frozen = True
    _packed: dict[frozenset[str], list[Packed]]  # by the inputs that are one number a row
    _one_way: bool  # one direction: it can step
    # for steps by the fast path, and for C (_kernels/_capi.pyx): None if there are two directions, or if the cell has inputs
    _layers: FrozenLayers | None
    _time_first: FrozenLayers | None  # the same for whole sequences: None with batch_first too
    # for cells with inputs: by the names of those that are one number a row, the layers, and the order of the inputs there
    _with_inputs: dict[frozenset[str], tuple[FrozenLayers, tuple[str, ...]]]

    def __init__(self, layer: Stack[S]) -> None:
        state = layer.__getstate__()
        self.__setstate__({**state, "more": {}, "cell": layer.cell, "isa": COMPILED[settings.here.isa]})

    @property
    def params(self) -> Mapping[str, Array]:
        """Read-only mapping of PyTorch's parameter names to read-only arrays."""
        return MappingProxyType(self._params)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "more": {}, "cell": self._cell_described(), "isa": self.isa}

    def __setstate__(self, state: dict[str, Any]) -> None:
        version_of(state)
        isa = state["isa"] if state["isa"] in PRESENT else PRESENT[-1]  # pickled on another machine
        self.__dict__.update(cell=_cell_of(state["cell"]), isa=isa)
        super().__setstate__(state)
        for name, value in self._params.items():
            self._params[name] = locked(value)
        self.__dict__.update(_packed={}, _one_way=self._form.directions == 1)
        if not self._form.variant.inputs:  # with any, what is packed depends on the call
            weights = tuple([packed.weights for packed in self._packed_for(frozenset())])
        layers = FrozenLayers(weights, self._form.variant.initial) if self._form.plain else None
        self.__dict__.update(_layers=layers, _time_first=None if self.batch_first else layers, _with_inputs={})

    def _packed_for(self, row_inputs: frozenset[str]) -> list[Packed]:
        """For calls whose inputs of these names are one number a row; packed when they are first needed."""
        if row_inputs not in self._packed:
            self._packed[row_inputs] = self._pack(COMPILED.index(self.isa), row_inputs, trainable=False)
        return self._packed[row_inputs]

    def _try_inputs(self, one_step: bool, x: Any, state: Any, inputs: Any, out: Any) -> tuple[Array, S] | None:
        """A call with inputs by the fast path, or None if anything is unusual; then nothing is done."""
        form, names = self._form, self._form.variant.inputs
        if not (self._one_way and type(x) is np.ndarray and type(inputs) is dict and len(inputs) == len(names)):
            return None
        if not all(type(inputs.get(name)) is np.ndarray for name in names):
            return None
        rows = frozenset([name for name in names if inputs[name].ndim < x.ndim])
        if rows not in self._with_inputs:
            weights = tuple([packed.weights for packed in self._packed_for(rows)])
            extras = form.variant.extras(rows, trainable=False)
            self._with_inputs[rows] = FrozenLayers(weights, form.variant.initial), extras.full + extras.rows
        layers, order = self._with_inputs[rows]
        if len(order) < len(names):  # the formula does not use all of them, and nobody would look at the others
            return None
        arrays = tuple([inputs[name] for name in order])
        return _fast_path.try_frozen(layers, one_step, x, state, out, settings.num_threads, arrays)

    def _cell_described(self) -> Any:
        variant = self._form.variant
        return self.cell.name if variant.kernel is not None else variant.described()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name}: a frozen layer cannot change; change the layer and freeze it again")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a frozen layer cannot change; change the layer and freeze it again")

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen[S]:
        return self  # immutable

    def __copy__(self) -> Frozen[S]:
        return self

    def __repr__(self) -> str:
        return f"{super().__repr__()}.freeze()"

    def __call__(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: Any = None,
        inputs: Any = None,
        out: tuple[Array, S] | None = None,
    ) -> tuple[Array, S]:
        """Inference over a whole sequence; see the layer's own call.

        Parameters
        ----------
        x, state, lengths, inputs
            As in the layer's call.
        out : (y, state), optional
            Arrays to write into and to return, C-contiguous, of the shapes and dtype of the results; state is (h, c) for
            LSTM. The state in `out` may be the very array that is given as the initial state; otherwise the arrays must not
            overlap. If the call is interrupted (by Ctrl-C, for example), or fails with a MemoryError, the contents of these
            arrays are undefined: the states of some layers may already be new.

        Returns
        -------
        y, state
            As of the layer's call.

        Raises
        ------
        TypeError, ValueError, MemoryError
        """
        form = self._form
        done = None
        if lengths is None and not inputs and self._time_first is not None:
            done = _fast_path.try_frozen(self._time_first, False, x, state, out, settings.num_threads)
        elif lengths is None and inputs and not form.batch_first:
            done = self._try_inputs(False, x, state, inputs, out)
        if done is not None:
            return done
        given = form.check(x, state, lengths, inputs)
        packed = self._packed_for(given.row_inputs)
        if out is None:
            y, final = forward(form, packed, given)
            return form.outer(y, given.unbatched), form.outer_state(final, given.unbatched)
        T, B, _ = given.x.shape
        width = form.hidden_size * form.directions
        shape: tuple[int, ...]
        if given.unbatched:
            shape, meaning = (T, width), "time, num_directions*hidden"
        elif form.batch_first:
            shape, meaning = (B, T, width), "batch, time, num_directions*hidden"
        else:
            shape, meaning = (T, B, width), "time, batch, num_directions*hidden"
        y_out, states_out = self._out(out, shape, meaning, B, given.unbatched)
        self._apart(y_out, states_out, x, state, given)
        full = (form.places, B, form.hidden_size)
        final = tuple([a.reshape(full) for a in states_out])
        forward(form, packed, given, y=form.inner(y_out, given.unbatched), final=final)
        return y_out, outward(states_out)

    def step(self, x_t: Any, state: Any = None, *, inputs: Any = None, out: tuple[Array, S] | None = None) -> tuple[Array, S]:
        """One time step of all layers, for streams.

        Parameters
        ----------
        x_t : (B, I) or (I,) array_like, dtype of the layer
        state : array_like or pair of them, optional
            h, or (h, c) for LSTM, each (num_layers, B, H), or (num_layers, H) if x_t is (I,); None means zeros.
        inputs : mapping of str to array_like, optional
            Of a cell that declares inputs: name -> (B,) or (B, H), or () or (H,) if x_t is (I,).
        out : (y_t, state), optional
            Arrays to write into and to return, C-contiguous. If x_t and state are C-contiguous too, nothing is allocated. The
            state in `out` may be the very array that is given as `state`, so that a stream keeps one state array; otherwise the
            arrays must not overlap. If the step fails with a MemoryError, the contents of these arrays are undefined.

        Returns
        -------
        y_t : (B, H) or (H,) ndarray
        state : ndarray or pair of them
            The state after the step.

        Raises
        ------
        TypeError, ValueError, MemoryError
            ValueError also for a bidirectional layer: its reverse direction needs the whole sequence.

        Examples
        --------
        >>> fast = rnnfast.GRU(2, 3).freeze()
        >>> y_t, h = fast.step(np.ones(2, np.float32))
        >>> y_t, h = fast.step(np.ones(2, np.float32), h, out=(y_t, h))  # in place: allocates nothing
        >>> y_t.shape, h.shape
        ((3,), (1, 3))
        """
        if not self._one_way:
            raise ValueError("step: expected one direction, got a bidirectional layer, which needs the whole sequence")
        done = None
        if not inputs and self._layers is not None:
            done = _fast_path.try_frozen(self._layers, True, x_t, state, out, settings.num_threads)
        elif inputs:
            done = self._try_inputs(True, x_t, state, inputs, out)
        if done is not None:
            return done
        form = self._form
        x, I, H = checks.float_array("x_t", x_t, form.dtype, "the layer"), form.input_size, form.hidden_size
        if x.ndim not in (1, 2) or x.shape[-1] != I:
            expected = (I,) if x.ndim == 1 else ("B", I)
            raise checks.wrong_shape("x_t", expected, "input_size" if x.ndim == 1 else "batch, input_size", x.shape)
        unbatched = x.ndim == 1
        x = np.require(x, requirements=["C", "A"]).reshape(-1, I)
        B = x.shape[0]
        initial = form.check_state("state", state, B, unbatched)
        if out is None:
            y = np.empty((H,) if unbatched else (B, H), form.dtype)
            shape, _ = form.state_shape(B, unbatched)
            states = tuple(np.empty(shape, form.dtype) for _ in form.variant.states)
        else:
            y, states = self._out(out, (H,) if unbatched else (B, H), "hidden" if unbatched else "batch, hidden", B, unbatched)
            self._apart(y, states, x_t, state)
        final = tuple(a.reshape(form.num_layers, B, H) for a in states)
        if self._layers is not None and not inputs:
            _fast_path.step(self._layers, x, initial, y.reshape(B, H), final, settings.num_threads)
            return y, outward(states)
        steps = () if unbatched else (B,)
        found = checks.inputs(inputs, form.variant.inputs, steps, "" if unbatched else "batch", H, form.dtype)
        whole = {name: a.reshape(1, B, *([H] if a.ndim > len(steps) else [])) for name, a in found.items()}
        rows = frozenset([name for name, a in whole.items() if a.ndim == 2])
        given = Inputs(x[None], initial, None, unbatched, whole, rows)
        if out is not None:
            self._apart(y, states, x_t, state, given)
        forward(form, self._packed_for(given.row_inputs), given, y=y.reshape(1, B, H), final=final)
        return y, outward(states)

    def _out(
        self, out: Any, y_shape: tuple[int, ...], y_meaning: str, B: int, unbatched: bool
    ) -> tuple[Array, tuple[Array, ...]]:
        """out's arrays, checked one by one."""
        letters = self._form.variant.states
        several = f"({', '.join(letters)})"
        form = "(y, state)" if len(letters) == 1 else f"(y, {several})"
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise checks.wrong_type("out", f"a pair {form}", out)
        y, state = out
        if len(letters) == 1:
            state = (state,)
        elif not isinstance(state, (tuple, list)) or len(state) != len(letters):
            raise checks.wrong_type("out[1]", f"a {'pair' if len(letters) == 2 else 'tuple'} {several}", state)
        shape, meaning = self._form.state_shape(B, unbatched)
        names = ["out[1]"] if len(letters) == 1 else [f"out[1][{i}] ({letter})" for i, letter in enumerate(letters)]
        states = tuple(checks.output(name, a, shape, meaning, self.dtype) for name, a in zip(names, state, strict=True))
        return checks.output("out[0] (y)", y, y_shape, y_meaning, self.dtype), states

    def _apart(self, y: Array, states: tuple[Array, ...], x: Any, state: Any, inputs: Inputs | None = None) -> None:
        """out overlaps nothing of x, state and inputs as the user gave them, but for a state that is the one that comes in."""
        letters = self._form.variant.states
        given = (None,) * len(letters) if state is None else (state,) if len(letters) == 1 else tuple(state)
        checks.apart(y, states, x, given, letters, {} if inputs is None else inputs.given)
