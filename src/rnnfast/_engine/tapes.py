"""Tapes: what record=True and `net.record` return, and the gradients their backward gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.dropout import drop
from rnnfast._engine.form import Form, Inputs, Layout, layouts
from rnnfast._engine.forward import Recorded
from rnnfast._engine.parameters import joined
from rnnfast._kernels import _call
from rnnfast._kernels._core import empty
from rnnfast._kernels._training import Passed
from rnnfast._types import Array, S
from rnnfast.cells.base import KINDS


# ---- gradients -------------------------------------------------------------------------------------------------------------
def shapes(gradients: Any) -> str:
    """A short repr: what is there, by shape."""
    parts = {**vars(gradients), **vars(gradients).get("params", {})}
    shown = (f"{k} {a.shape}" for k, a in parts.items() if isinstance(a, np.ndarray))
    return f"{type(gradients).__name__}({', '.join(shown)})"


class Gradients:
    """The gradients of a call of a function, named like its arguments. c0 is None for cells without c; b_ih and b_hh are None
    where these biases were not given."""

    def __init__(
        self,
        x: Array | None,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        h0: Array,
        c0: Array | None = None,
    ) -> None:  # by hand, as below: dataclasses would take a tenth of the time of importing rnnfast
        self.x, self.w_ih, self.w_hh, self.b_ih, self.b_hh, self.h0, self.c0 = x, w_ih, w_hh, b_ih, b_hh, h0, c0

    __repr__ = shapes


class ModelGradients:
    """The gradients of sum(dy * y): of x (None if it was not asked for, or if x is integers), and of the parameters by name."""

    def __init__(self, x: Array | None, params: Mapping[str, Array]) -> None:
        self.x, self.params = x, params

    __repr__ = shapes


class LayerGradients(ModelGradients, Generic[S]):
    """The gradients of a pass through recurrent layers; state: the gradient of the initial state, in its form; inputs: those of
    the cell's inputs by name, sums over layers (the last first) and directions (the forward one first); flat (num_params,): the
    array of which those of the parameters are views, in the order of ``net.params`` and ``net.flat``."""

    def __init__(
        self, x: Array | None, params: Mapping[str, Array], state: S, inputs: Mapping[str, Array], flat: Array
    ) -> None:
        super().__init__(x, params)
        self.state, self.inputs, self.flat = state, inputs, flat

    __repr__ = shapes

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "flat"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy or a pickle has views of one array again."""
        flat, params = joined(state["params"])
        vars(self).update(state, flat=flat, params=params)


class Place(NamedTuple):
    """Arrays that backward fills for one layer in one direction: dx, arranged as x, or None, the gradients of its weights and
    biases by kind, and of the vectors that the kernels read."""

    x: Array | None
    params: dict[str, Array]
    vectors: Array | None


class Prepared(NamedTuple):
    """All arrays that backward fills: layer by layer those of each direction; the gradients of the initial states,
    (num_layers*D, B, H) each; those of inputs by name, (T, B) or (T, B, H); and the array of which those of all parameters are
    views, place by place."""

    places: list[list[Place]]
    initial: tuple[Array, ...]
    inputs: dict[str, Array]
    flat: Array


# ---- tapes -----------------------------------------------------------------------------------------------------------------
class Once:
    """Holds what a backward pass uses up: taken once, given back if the pass fails before it began."""

    def __init__(self, value: Any) -> None:
        self._values, self._finished = [value], False

    def take(self) -> Any:
        try:
            return self._values.pop()  # atomic: of two threads one gets it
        except IndexError:
            problem = "got a second one" if self._finished else "another one is at work or was interrupted, which uses it up"
            raise RuntimeError(f"tape: expected its first backward, {problem}; record again") from None

    def give_back(self, value: Any) -> None:
        self._values.append(value)

    def finish(self) -> None:
        self._finished = True


G = TypeVar("G")


class BaseTape(Generic[G]):
    """Not public: what the tapes of functions and of layers share."""

    def __init__(self, form: Form, recorded: Any, inputs: Inputs, y: Array) -> None:
        self._form, self._once, self._inputs, self._y_shape = form, Once(recorded), inputs, y.shape

    def __reduce__(self) -> Any:
        raise TypeError("tape: expected to be used where it was recorded; a tape cannot be pickled or copied")

    def backward(self, dy: Any = None, dstate: Any = None, *, need_x: bool = True, need_inputs: bool = True) -> G:
        """Back-propagation through time.

        Parameters
        ----------
        dy : array_like, shape and dtype of y, optional
            Gradient of y; None means zeros. Past the end of a sample it is not read.
        dstate : array_like of the form of the final state, optional
            Gradient of the final state; None means zeros, also inside the pair of an LSTM.
        need_x : bool
            False leaves ``g.x`` None, which saves computing it.
        need_inputs : bool
            False leaves ``g.inputs``, the gradients of the inputs of a formula cell, empty.

        Returns
        -------
        g : Gradients or LayerGradients
            Gradients of ``sum(dy * y) + sum(dstate * state)``, with the weights as they were when recording. Of a function:
            ``g.x, g.w_ih, g.w_hh, g.b_ih, g.b_hh, g.h0`` and for LSTM ``g.c0``; of a layer: ``g.x, g.state,
            g.params[name]``, and ``g.flat``, one array of which the gradients of all parameters are views.

        Raises
        ------
        TypeError, ValueError
            For a dy or dstate that does not fit; the tape stays usable.
        RuntimeError
            If backward was called before, or was interrupted (by Ctrl-C, for example): each uses up what was recorded.
        MemoryError
            If there is not enough memory; the tape stays usable.
        """
        form, unbatched = self._form, self._inputs.unbatched
        need_x, need_inputs = checks.flag("need_x", need_x), checks.flag("need_inputs", need_inputs)
        dy = checks.gradient_of_y(dy, self._y_shape, form.dtype)
        if dy is not None:
            dy = form.inner(dy, unbatched)
        last = form.check_state("dstate", dstate, self._inputs.size[1], unbatched)
        recorded = self._once.take()
        try:
            prepared = self._prepare(recorded, need_x, need_inputs)
        except BaseException:
            self._once.give_back(recorded)
            raise
        dx = self._run(recorded, prepared, dy, last)
        self._once.finish()
        state = form.outer_state(prepared.initial, unbatched)
        return self._named(None if dx is None else form.outer(dx, unbatched), state, prepared)

    def _named(self, dx: Array | None, state: Any, prepared: Prepared) -> G:
        """The result, by the names the user knows."""
        raise NotImplementedError

    def _prepare(self, recorded: list[Recorded], need_x: bool, need_inputs: bool) -> Prepared:
        """All memory of the backward pass, before anything is used up. dx of the layers above the first share two sets."""
        form, D, H, dtype = self._form, self._form.directions, self._form.hidden_size, self._form.dtype
        inputs, (_, B) = self._inputs, self._inputs.size
        given: dict[str, Array] = {}
        d_extras: tuple[Array | None, ...] = ()
        if need_inputs and self._inputs.given:
            given = {name: np.zeros(value.shape, dtype) for name, value in self._inputs.given.items()}
            extras = form.variant.extras(self._inputs.row_inputs, trainable=True)
            d_extras = tuple([given.get(name) for name in extras.full + extras.rows])

        def dx_of(*shape: int) -> list[Array | None]:
            return [empty(shape, dtype) for _ in range(D)]

        def params_of(layout: Layout) -> dict[str, Array]:
            """Weights are written, biases are added to; gradients of vectors come from those of what the kernels read."""
            flat[layout.vectors] = 0
            return {k: flat[at] if shape is None else flat[at].reshape(shape) for k, at, shape in layout.kinds}

        size, parts = layouts(form)
        flat = empty((size,), dtype)
        inner = [dx_of(*inputs.within, D * H) for _ in range(min(2, form.num_layers - 1))]
        first: list[Array | None] = dx_of(*inputs.x.shape) if need_x else [None] * D
        places: list[list[Place]] = []
        for i, layer in enumerate(recorded):
            places.append([])
            for dx, record in zip(inner[i % len(inner)] if i else first, layer.records, strict=True):
                _call.prepare(record, dx, settings.num_threads, d_extras)
                vectors = np.zeros((record.vectors, H), dtype) if record.vectors else None
                places[-1].append(Place(dx, params_of(parts[i * D + len(places[-1])]), vectors))
        return Prepared(places, tuple([np.empty((form.places, B, H), dtype) for _ in form.variant.states]), given, flat)

    def _run(
        self, recorded: list[Recorded], prepared: Prepared, dy: Array | None, dstate: tuple[Array | None, ...]
    ) -> Array | None:
        """dy, arranged as y, or None; dstate (num_layers*D, B, H) or None each. Returns dx, arranged as x, or None."""
        form, H, D = self._form, self._form.hidden_size, self._form.directions
        for layer in range(form.num_layers - 1, -1, -1):
            total: Array | None = None
            x, records, packed, kept, dropped = recorded.pop()  # what a layer kept is freed as soon as it is used up
            if kept is not None and dropped is not None and layer < form.num_layers - 1:
                drop(x, kept, form.dropout, dropped)
            for direction, (record, g) in enumerate(zip(records, prepared.places[layer], strict=True)):
                place = layer * D + direction
                d_last = tuple([None if a is None else a[place] for a in dstate])
                d_first = tuple([a[place] for a in prepared.initial])
                part = dy if dy is None or D == 1 else dy[..., direction * H : (direction + 1) * H]
                _call.backward(record, part, d_last, g.x, d_first, g.params, g.vectors)
                if g.vectors is not None:
                    for kind, value in form.variant.vector_gradients(packed[direction], g.vectors).items():
                        g.params[kind][...] = value
                if g.x is not None:
                    total = g.x if total is None else np.add(total, g.x, out=total)
            if total is not None and kept is not None:
                drop(total, kept, form.dropout, total)
            dy = total
            del records, record
        return dy


class Tape(BaseTape[Gradients]):
    """The record of one call of `simple_rnn`, `lstm` or `gru`, for one backward pass."""

    def __init__(
        self,
        form: Form,
        recorded: list[Recorded],
        inputs: Inputs,
        y: Array,
        blocks: tuple[int, ...] | None,
        given: tuple[bool, bool],
    ) -> None:
        """blocks: of each gate, which block of rows it has in the user's weights. given: whether b_ih and b_hh were."""
        super().__init__(form, recorded, inputs, y)
        self._blocks, self._given = blocks, given

    def _named(self, dx: Array | None, state: Any, prepared: Prepared) -> Gradients:
        w_ih, w_hh, *biases = [prepared.places[0][0].params.get(kind) for kind in KINDS]
        b_ih, b_hh = [self._in_order(b if given else None) for b, given in zip(biases, self._given, strict=True)]
        assert w_ih is not None and w_hh is not None
        return Gradients(dx, w_ih, w_hh, b_ih, b_hh, *(state if isinstance(state, tuple) else (state,)))

    def _in_order(self, b: Array | None) -> Array | None:
        """A bias's gradient, from the cell's order of gates to the user's, as the kernels write those of weights."""
        if self._blocks is None or b is None:
            return b
        gates = b.reshape(len(self._blocks), -1)
        return gates[np.argsort(self._blocks)].ravel()


class StackTape(BaseTape[LayerGradients[S]]):
    """The record of one `net.record`, for one backward pass."""

    def __init__(self, form: Form, recorded: list[Recorded], inputs: Inputs, y: Array, names: list[tuple[str, ...]]) -> None:
        super().__init__(form, recorded, inputs, y)
        self._names = names

    def _named(self, dx: Array | None, state: Any, prepared: Prepared) -> LayerGradients[S]:
        params: dict[str, Array] = {}
        for names, place in zip(self._names, [place for layer in prepared.places for place in layer], strict=True):
            params.update(zip(names, place.params.values(), strict=True))  # both in the order of their kinds
        inputs = {k: self._form.outer(v, self._inputs.unbatched) for k, v in prepared.inputs.items()}
        return LayerGradients(dx, params, state, inputs, prepared.flat)


class PlainTape(StackTape[S]):
    """That of a short pass (`_kernels/_training.pyx`), whose backward is as short. recorded: a Passed; prepared: a Filled."""

    def __init__(self, form: Form, passed: Passed, x: Array, y: Array) -> None:
        inputs = Inputs(x.swapaxes(0, 1) if form.batch_first else x[...], (), None, False)  # a view, as of `checks.sequence`
        BaseTape.__init__(self, form, passed, inputs, y)

    def _prepare(self, recorded: Any, need_x: bool, need_inputs: bool) -> Any:
        return recorded.prepare(need_x, settings.num_threads)

    def _run(self, recorded: Any, prepared: Any, dy: Array | None, dstate: tuple[Array | None, ...]) -> Any:
        return recorded.run(prepared, dy, dstate)

    def _named(self, dx: Array | None, state: Any, prepared: Any) -> LayerGradients[S]:
        return LayerGradients(dx, prepared.params, state, {}, prepared.flat)
