"""One pass of a Keras layer on arrays in Keras's layout, and its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rnnfast._engine.direct import run
from rnnfast._engine.tapes import Tape
from rnnfast._types import Array
from rnnfast.keras._recipes import Recipe


class Pass(NamedTuple):
    """lengths: (B,) steps of each sample, or None; reverse: from the last of them to the first; draws: the formula's masks, (B,
    H) each."""

    recipe: Recipe
    lengths: Array | None
    reverse: bool
    draws: Mapping[str, Array]

    def run(
        self, x: Array, kernel: Array, recurrent_kernel: Array, bias: Array | None, states: tuple[Array, ...], *, record: bool
    ) -> tuple[Array, tuple[Array, ...], Tape | None]:
        """x (B, T, I), kernel (I, G*H), recurrent_kernel (H, G*H), bias (G*H,), (2, G*H) or None, states (B, H) each; returns
        y (B, T, H), which is 0 past the end of a sample, and the final states. Formulas with draws are always recorded."""
        weights = (kernel.T, recurrent_kernel.T, *_two(bias))
        y, final, tape = run(
            self.recipe.variant,
            x,
            weights,
            states,
            lengths=self.lengths,
            reverse=self.reverse,
            record=record or bool(self.draws),
            batch_first=True,
            blocks=self.recipe.blocks,
            draws=self.draws or None,
        )
        return y, final if isinstance(final, tuple) else (final,), tape

    def gradients(
        self, tape: Tape, dy: Array | None, dstates: tuple[Array | None, ...], *, need_x: bool, two_biases: bool
    ) -> tuple[Array | None, ...]:
        """Of x, kernel, recurrent_kernel, bias and each state, given those of the results."""
        g = tape.backward(dy, dstates if len(dstates) > 1 else dstates[0], need_x=need_x)
        of_bias = np.stack((g.b_ih, g.b_hh)) if two_biases else g.b_ih  # type: ignore[arg-type]
        return (g.x, g.w_ih.T, g.w_hh.T, of_bias, *(g.h0, g.c0)[: len(dstates)])


def _two(bias: Array | None) -> tuple[Array | None, Array | None]:
    """That of x and that of h: Keras has both only in a GRU with reset_after."""
    return (bias, None) if bias is None or bias.ndim == 1 else (bias[0], bias[1])
