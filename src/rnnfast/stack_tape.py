"""The tape of `net.record`: the backward pass through stacked and bidirectional layers."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

import numpy as np

from rnnfast import checks
from rnnfast._core import empty
from rnnfast._types import Array, S
from rnnfast.direction import DirectionGradients, prepare_backward, run_backward
from rnnfast.stack import Inputs, Recorded, Stack, drop
from rnnfast.states import outward
from rnnfast.tape import LayerGradients, Once


class Prepared(NamedTuple):
    """Arrays that a backward pass will fill: by layer and direction; the gradients of the initial state."""

    gradients: list[list[DirectionGradients]]
    initial: tuple[Array, ...]


class StackTape(Generic[S]):
    """The record of one `net.record`, for one backward pass."""

    def __init__(self, stack: Stack[S], recorded: list[Recorded], inputs: Inputs, y: Array) -> None:
        self._stack, self._once, self._inputs, self._y_shape = stack, Once(recorded), inputs, y.shape

    def backward(self, dy: Any = None, dstate: Any = None, *, need_x: bool = True) -> LayerGradients[S]:
        """Back-propagation through time.

        Parameters
        ----------
        dy : array_like, shape and dtype of y, optional
            Gradient of y; None is zeros. Past a sample's end it is not read.
        dstate : array_like of the form of state, optional
            Gradient of the final state; None is zeros, also inside the pair.
        need_x : bool
            False leaves ``g.x`` None and skips that product.

        Returns
        -------
        g : LayerGradients
            ``g.x``, ``g.state``, ``g.params[name]``: gradients of ``sum(dy * y) + sum(dstate * state)``, with the weights
            as they were when recording.

        Raises
        ------
        TypeError, ValueError
            For a dy or dstate that does not fit; the tape stays usable.
        RuntimeError
            If backward was called before.
        MemoryError
            The tape stays usable.
        """
        stack, unbatched = self._stack, self._inputs.unbatched
        need_x = checks.flag("need_x", need_x)
        dy = checks.gradient_of_y(dy, self._y_shape, stack.dtype)
        if dy is not None:
            dy = dy[:, None] if unbatched else dy.swapaxes(0, 1) if stack.batch_first else dy
        B = self._inputs.x.shape[1]
        last = stack._state("dstate", dstate, B, unbatched)
        recorded = self._once.take()
        try:
            prepared = self._prepare(recorded, need_x)
        except BaseException:
            self._once.give_back(recorded)
            raise
        return self._backward(recorded, prepared, dy, last)

    def _prepare(self, recorded: list[Recorded], need_x: bool) -> Prepared:
        """All memory of the backward pass, before anything is used up. dx of the layers above the first share two sets."""
        stack, D = self._stack, self._stack._directions
        T, B, _ = self._inputs.x.shape

        def dx_of(width: int) -> list[Array | None]:
            return [empty((T, B, width), stack.dtype) for _ in range(D)]

        inner = [dx_of(D * stack.hidden_size) for _ in range(min(2, stack.num_layers - 1))]
        first: list[Array | None] = dx_of(stack.input_size) if need_x else [None] * D
        shape = (stack.num_layers * D, B, stack.hidden_size)
        initial = tuple(np.empty(shape, stack.dtype) for _ in stack.cell.states)
        found = [
            [
                prepare_backward(
                    tape,
                    layer.x,
                    tuple(a[i * D + d] for a in initial),
                    (inner[i % len(inner)] if i else first)[d],
                    has_bias=stack.bias,
                    gates=len(stack.cell.gates),
                )
                for d, tape in enumerate(layer.tapes)
            ]
            for i, layer in enumerate(recorded)
        ]
        return Prepared(found, initial)

    def _backward(
        self, recorded: list[Recorded], prepared: Prepared, dy: Array | None, dstate: tuple[Array | None, ...]
    ) -> LayerGradients[S]:
        """dy (T, B, D*H) or None; dstate (num_layers*D, B, H) or None each."""
        stack, H, initial = self._stack, self._stack.hidden_size, prepared.initial
        for layer in range(stack.num_layers - 1, -1, -1):
            total: Array | None = None
            x, tapes, kept, dropped = recorded.pop()  # what a layer kept is freed as soon as it is used up
            if kept is not None and dropped is not None and layer < stack.num_layers - 1:
                drop(x, kept, stack.dropout, dropped)
            for direction, (tape, g) in enumerate(zip(tapes, prepared.gradients[layer], strict=True)):
                place = layer * stack._directions + direction
                run_backward(
                    tape,
                    g,
                    None if dy is None else dy[..., direction * H : (direction + 1) * H],
                    tuple(None if a is None else a[place] for a in dstate),
                )
                if g.x is not None:
                    total = g.x if total is None else np.add(total, g.x, out=total)
            if total is not None and kept is not None:
                drop(total, kept, stack.dropout, total)
            dy = total
            del tapes, tape

        params: dict[str, Any] = {}
        flat = [g for layer in prepared.gradients for g in layer]
        for names, g in zip(stack._names, flat, strict=True):
            params.update(zip(names, (g.w_ih, g.w_hh, g.b_ih, g.b_hh), strict=False))
        if self._inputs.unbatched:
            dy, initial = None if dy is None else dy[:, 0], tuple(a[:, 0] for a in initial)
        elif dy is not None and stack.batch_first:
            dy = dy.swapaxes(0, 1)
        return LayerGradients(dy, outward(initial), params)
