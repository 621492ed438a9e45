"""The tape of `net.record`: the backward pass through stacked and bidirectional layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfast import checks
from rnnfast._types import Array
from rnnfast.direction import DirectionGradients, run_backward
from rnnfast.stack import Inputs, Recorded, Stack, dropped
from rnnfast.tape import LayerGradients, Once


class StackTape:
    """The record of one `net.record`, for one backward pass."""

    def __init__(self, stack: Stack, recorded: list[Recorded], inputs: Inputs, y: Array) -> None:
        self._stack, self._once, self._inputs, self._y_shape = stack, Once(recorded), inputs, y.shape

    def backward(self, dy: Any = None, dstate: Any = None, *, need_x: bool = True) -> LayerGradients:
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
        if dy is not None:
            dy = checks.float_array("dy", dy)
            if dy.shape != self._y_shape:
                raise checks.wrong_shape("dy", self._y_shape, "as y", dy.shape)
            checks.same_dtype("dy", dy, stack.dtype, "y")
            dy = checks.rows_contiguous(dy)
            dy = dy[:, None] if unbatched else dy.swapaxes(0, 1) if stack.batch_first else dy
        B = self._inputs.x.shape[1]
        last = stack._state("dstate", dstate, B, unbatched)
        recorded = self._once.take()
        try:
            return self._backward(recorded, dy, last, need_x)
        except MemoryError:
            # run_backward changes no tape before it has its memory, but upper layers may be done: only give back an untouched one
            if recorded and recorded[-1].tapes:
                self._once.give_back(recorded)
            raise

    def _backward(
        self, recorded: list[Recorded], dy: Array | None, dstate: tuple[Array | None, ...], need_x: bool
    ) -> LayerGradients:
        """dy (T, B, D*H) or None; dstate (num_layers*D, B, H) or None each."""
        stack, inputs = self._stack, self._inputs
        directions, H = stack._directions, stack.hidden_size
        found: dict[str, DirectionGradients] = {}
        initial = tuple(
            np.empty((stack.num_layers * directions, inputs.x.shape[1], H), stack.dtype) for _ in stack.cell.states
        )
        places = list(stack._places())
        for layer in range(stack.num_layers - 1, -1, -1):
            x, tapes, mask = recorded[layer]
            dx: Array | None = None
            for direction in range(directions):
                place = layer * directions + direction
                g = run_backward(
                    tapes[direction], x, None if dy is None else dy[..., direction * H : (direction + 1) * H],
                    tuple(None if a is None else a[place] for a in dstate), ragged=inputs.order is not None,
                    has_bias=stack.bias, gates=len(stack.cell.gates), need_x=need_x or layer > 0,
                )
                for whole, part in zip(initial, g.initial, strict=True):
                    whole[place] = part
                if g.x is not None:
                    dx = g.x if dx is None else np.add(dx, g.x, out=dx)
                found[places[place][2]] = g._replace(x=None)
            if mask is not None and dx is not None:
                dx = dropped(dx, mask, stack.dropout)
            dy = dx
        params = {}
        for name in stack._shapes():
            kind, _, suffix = name.rpartition("_l")
            params[name] = getattr(found["l" + suffix], {"weight": "w", "bias": "b"}[kind[:-3]] + kind[-3:])
        if inputs.unbatched:
            dy, initial = None if dy is None else dy[:, 0], tuple(a[:, 0] for a in initial)
        elif dy is not None and stack.batch_first:
            dy = dy.swapaxes(0, 1)
        return LayerGradients(dy, (initial[0], initial[1]) if len(initial) == 2 else initial[0], params)
