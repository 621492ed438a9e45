"""Layers of cells that are formulas: the decorator `cell`, and the layer classes it makes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.forward import trajectories
from rnnfast._types import Array
from rnnfast.cells.base import Variant
from rnnfast.cells.formula import FormulaCell, FormulaVariant, StoredCell
from rnnfast.formula.cell import Declaration, Formula, declare
from rnnfast.formula.plan import Plan
from rnnfast.layers import Layer

__all__ = ["FormulaLayer", "cell"]


class FormulaLayer(Layer[Any]):
    """Recurrent layers whose cell is a formula: like `rnnfast.LSTM`, with the options of the formula as further arguments of
    the constructor. Made by `rnnfast.cell`."""

    cell: FormulaCell | StoredCell
    formula: Formula  # the plain function
    declaration: Declaration

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
        **options: Any,
    ) -> None:
        if "proj_size" in options:
            raise TypeError("proj_size: expected none, since all states of a formula have hidden_size units, got one")
        super().__init__(options, rng, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)

    @property
    def _variant(self) -> FormulaVariant:
        assert not isinstance(self._form.variant, Variant)
        return self._form.variant

    @property
    def options(self) -> Mapping[str, Any]:
        """The formula's options by name."""
        return self._form.variant.options

    @classmethod
    def plan(cls, row_inputs: Sequence[str] = (), /, *, training: bool = True, **options: Any) -> Plan:
        """What the kernels do with these options, for people to read: print it.

        Parameters
        ----------
        row_inputs : sequence of str
            The inputs of the cell that a call gives as (T, B), one number for each row; the others are (T, B, H).
        training : bool
            True: a training step, forward and backward; False: inference.
        **options
            Of the formula.

        Raises
        ------
        TypeError, ValueError
        """
        variant = cls.cell.choose(options)
        names = (row_inputs,) if isinstance(row_inputs, str) else tuple(row_inputs)
        if unknown := [name for name in names if name not in variant.inputs]:
            raise checks.wrong_value("row_inputs", f"inputs of the cell, {checks.listed(variant.inputs) or 'none'}", unknown[0])
        return variant.plan(frozenset(names), training=checks.flag("training", training))

    def trajectories(self, x: Any, state: Any = None, *, lengths: Any = None, inputs: Any = None) -> tuple[Array, ...]:
        """The states of the last layer after every step, for looking into a trained layer: inference only.

        Parameters
        ----------
        x, state, lengths, inputs
            As in a call.

        Returns
        -------
        tuple of (T, B, D*H), with batch_first (B, T, D*H), or (T, D*H) ndarray
            One for each state, in declared order; zeros past the ends of samples.

        Raises
        ------
        TypeError, ValueError, MemoryError

        Examples
        --------
        >>> net = rnnfast.zoo.LSTM(2, 3)
        >>> h, c = net.trajectories(np.ones((5, 4, 2), np.float32))
        >>> c.shape
        (5, 4, 3)
        """
        form = self._form
        given = form.check(x, state, lengths, inputs)
        packed = self._pack(settings.here.isa, given.row_inputs, trainable=False)
        return tuple([form.outer(a, given.unbatched) for a in trajectories(form, packed, given)])

    def _initialize(self, draw: np.random.Generator) -> None:
        variant, H = self._variant, self.hidden_size
        for key, value in self.cell.init.items():
            kind, _, gate = key.partition(".")
            for names in self._names:
                found = dict(zip(self._form.kinds(), names, strict=True))
                if kind not in found:
                    continue
                array = self._params[found[kind]]
                if gate:
                    gates = variant.blocks(kind)
                    if gate not in gates:
                        continue
                    array = array[gates.index(gate) * H : (gates.index(gate) + 1) * H]
                array[...] = value(draw, array.shape) if callable(value) else value

    def _cell_described(self) -> Any:
        return self._variant.described()

    def __reduce__(self) -> Any:
        return _restored, (self._cell_described(), self.__getstate__())


def cell(
    *,
    gates: str | Sequence[str] | Callable[..., Any],
    states: str | Sequence[str] | Mapping[str, float] | Callable[..., Any],
    vectors: str | Sequence[str] = (),
    inputs: str | Sequence[str] = (),
    draws: Mapping[str, Sequence[str]] | None = None,
    init: Mapping[str, Any] | None = None,
    output: str | None = None,
) -> Callable[[Formula], type[FormulaLayer]]:
    """Make a layer class of a formula in NumPy; docs/own_cell.md is the guide.

    The decorated function takes x and U, then the declared names in any order, and keyword-only options. It returns the new
    states. It runs on symbols, once for each combination of options; what it computes runs in compiled kernels from then on.

    Parameters
    ----------
    gates : str, sequence of str or callable
        Names of the blocks of W_ih and W_hh: ``x.i`` is block i of ``W_ih x + b_ih``, (B, H), and ``U.i @ v`` block i of
        ``W_hh v + b_hh``. A callable gets the options that its parameters name.
    states : str, sequence of str, mapping or callable
        Names of the states, (B, H) each; a mapping gives their initial values, which are 0 otherwise. y is the first of them.
    vectors : str or sequence of str
        Names of parameters of shape (H,).
    inputs : str or sequence of str
        Names of arrays that each call gets beside x, as ``inputs={"dt": dt}``: (T, B) or (T, B, H).
    draws : mapping of str to tuple of str
        Random numbers of `record`: name -> ("dropout" or "bernoulli", "sequence" or "step", option that is the probability), or
        ("normal", "sequence" or "step").
    init : mapping of str to float or callable
        Initial values of parameters ("p_i", "weight_hh") or of one gate's block ("bias_ih.f"): a number, or a callable of
        (rng, shape). Others are uniform between -1/sqrt(H) and 1/sqrt(H).
    output : str, optional
        Name of y, if it is not the first state: the function then returns it before the states.

    Returns
    -------
    callable
        What turns the function into a subclass of `FormulaLayer`; the function itself is its ``formula``.

    Raises
    ------
    TypeError, ValueError
        With file and line of the formula; some of them when the first layer is made.

    Examples
    --------
    >>> @rnnfast.cell(gates="f g", states="h", init={"bias_ih.f": 1.0})
    ... def Minimal(x, U, h):
    ...     f = ops.sigmoid(x.f + U.f @ h)
    ...     return f * h + (1 - f) * np.tanh(x.g)
    >>> net = Minimal(2, 3, num_layers=2)
    >>> y, h = net(np.ones((5, 4, 2), np.float32))
    >>> y.shape, h.shape
    ((5, 4, 3), (2, 4, 3))
    """

    def make(function: Formula) -> type[FormulaLayer]:
        declaration = declare(
            function, gates=gates, states=states, vectors=vectors, inputs=inputs, draws=draws, init=init, output=output
        )
        made = _layer_class(FormulaCell(declaration), function.__doc__)
        made.__module__, made.__qualname__ = function.__module__, function.__qualname__
        made.formula, made.declaration = staticmethod(function), declaration
        return made

    return make


def _layer_class(cell: FormulaCell | StoredCell, doc: str | None) -> type[FormulaLayer]:
    made = type(cell.name, (FormulaLayer,), {"__doc__": doc, "cell": cell})
    before: list[inspect.Parameter] = []
    after: list[inspect.Parameter] = []
    for parameter in inspect.signature(FormulaLayer).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            (after if parameter.kind is parameter.KEYWORD_ONLY else before).append(parameter)
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in cell.options.items()]
    made.__signature__ = inspect.Signature([*before, *own, *after])  # type: ignore[attr-defined]
    return made


def class_of(described: Any) -> type[FormulaLayer]:
    """The layer class of a stored cell: the one that was imported, if its formula is still the same, else one of that name."""
    stored = StoredCell(described)
    module, qualified = stored.home
    try:
        found: Any = importlib.import_module(module) if module in _importable() else None
        for part in qualified.split("."):
            found = getattr(found, part)
        if issubclass(found, FormulaLayer) and found.cell.choose(stored.options).described() == stored.description.as_json():
            return found  # type: ignore[no-any-return]
    except (ImportError, AttributeError, TypeError, ValueError):
        pass  # another program, or another version of this one
    return _layer_class(stored, None)


def _importable() -> Any:
    """Modules that are imported already: a file decides of none what code runs. The zoo is rnnfast's own."""
    import sys

    return {*sys.modules, *(f"rnnfast.zoo.{name}" for name in ("lstm", "gru", "plain", "continuous", "spiking"))}


def _restored(described: Any, state: dict[str, Any]) -> FormulaLayer:
    kind = class_of(described)
    layer = kind.__new__(kind)
    layer.__setstate__(state)
    return layer
