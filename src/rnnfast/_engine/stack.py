"""What a layer and its frozen form share: the constructor's arguments, their protection, parameters, repr and pickling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic

import numpy as np

from rnnfast._engine import checks, settings
from rnnfast._engine.elsewhere import STACK, elsewhere
from rnnfast._engine.form import Form, pack
from rnnfast._engine.parameters import Parameters, joined
from rnnfast._kernels._training import Plain
from rnnfast._types import Array, S
from rnnfast.cells.base import AnyCell, Packed

MAX_LAYERS = 10_000  # more is a mistake, and its parameters alone would take minutes to name
STATE_VERSION = 1  # of what pickling and `save` write
FILE_KIND = "rnnfast layer"  # as `save` tells it from other files
DEFAULTS: dict[str, Any] = {
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "dtype": np.dtype(np.float32),
}
ARGUMENTS = ("input_size", "hidden_size", *DEFAULTS)  # of all constructors, but for rng


def _of_form(name: str, doc: str) -> Any:
    return property(lambda self: getattr(self._form, name), doc=doc)


@elsewhere(STACK)
class Stack(Parameters, Generic[S]):
    """Not public. Attributes as the constructors of `rnnfast.LSTM` and its kin document them; they never change, since a layer
    whose sizes did not fit its arrays would write past them."""

    cell: AnyCell
    rng: Any
    _form: Form
    _flat: Array  # (num_params,): the parameters are views of it
    _names: list[tuple[str, ...]]  # of the parameters, by place
    _shapes: dict[str, tuple[int, ...]]
    _plain: Plain | None  # the short way of training; None: a cell with inputs or draws
    _frozen = False

    input_size = _of_form("input_size", "I")
    hidden_size = _of_form("hidden_size", "H")
    num_layers = _of_form("num_layers", "Layers stacked.")
    bias = _of_form("bias", "Whether there are biases.")
    batch_first = _of_form("batch_first", "Whether x and y are (B, T, ...).")
    dropout = _of_form("dropout", "Between layers, in `record`.")
    dtype = _of_form("dtype", "Of parameters, inputs and results.")

    @property
    def bidirectional(self) -> bool:
        """Whether each layer has a reverse direction."""
        return self._form.directions == 2

    def _set_form(
        self,
        options: dict[str, Any],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
    ) -> None:
        """Checks the constructor's arguments; what they determine is known from here on."""
        form = Form(
            variant=checks.variant(self.cell, options),
            input_size=checks.positive("input_size", input_size),
            hidden_size=checks.positive("hidden_size", hidden_size),
            num_layers=checks.positive("num_layers", num_layers, MAX_LAYERS),
            bias=checks.flag("bias", bias),
            batch_first=checks.flag("batch_first", batch_first),
            dropout=checks.probability("dropout", dropout),
            directions=2 if checks.flag("bidirectional", bidirectional) else 1,
            dtype=checks.float_dtype(dtype),
        )
        widest = max(form.input_size, form.hidden_size * form.directions)
        checks.representable(
            lambda: "hidden_size * input_size",
            form.variant.slots + 1,
            form.hidden_size,
            widest,
            form.dtype.itemsize,
            form.places,
        )
        names, shapes = form.parameter_names(), form.parameter_shapes()
        plain = None if form.variant.inputs or form.variant.draws else Plain(form, tuple(names))
        self.__dict__.update(form.variant.options, _form=form, _names=names, _shapes=shapes, _plain=plain)

    def _set_params(self, values: Mapping[str, Array]) -> None:
        """Takes copies: arrays from out-of-band buffers may be read-only, lie at odd addresses, and belong to somebody."""
        flat, params = joined({name: values[name] for name in self._shapes})
        self.__dict__.update(_flat=flat, _params=params)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._arguments() or name in ("rng", "cell", "_form"):
            raise AttributeError(f"{name}: expected the value of the constructor, {getattr(self, name)!r}; make a new layer")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._arguments() or name in ("rng", "cell", "_form"):
            raise AttributeError(f"{name}: expected to stay as the constructor made it; make a new layer")
        super().__delattr__(name)

    def _pack(self, isa: int, row_inputs: frozenset[str] = frozenset(), *, trainable: bool) -> list[Packed]:
        """One a layer and direction. row_inputs: of the call, see `Inputs`."""
        threads = settings.num_threads
        return pack(self._form, self._names, self._shapes, self._params, isa, threads, row_inputs, trainable=trainable)

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments, but for rng."""
        return {**{name: getattr(self, name) for name in ARGUMENTS}, **self._form.variant.options}

    def __repr__(self) -> str:
        arguments = self._arguments()
        shown = [str(arguments.pop("input_size")), str(arguments.pop("hidden_size"))]
        defaults = {**DEFAULTS, **self.cell.defaults}
        for name, value in arguments.items():
            if value != defaults[name]:
                shown.append(f"{name}={(value.name if name == 'dtype' else value)!r}")
        return f"{self.cell.shown}({', '.join(shown)})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if hasattr(self, name)]  # without what is elsewhere

    # ---- files, pickling, copying ----------------------------------------------------------------------------------------
    def save(self, file: Any) -> None:
        """Write the layer into a file, which `rnnfast.load` reads: its parameters by name, and a description as JSON.

        The file has the format safetensors if its name ends in ``.safetensors``; otherwise it is an .npz file. Other readers of
        the format, such as `numpy.load`, read the arrays as well. The file does not contain the `rng` of the constructor, nor a
        subclass or attributes of your own; pickle keeps all of these.

        Parameters
        ----------
        file : str, os.PathLike or binary file
            A path is used as it is, without an ``.npz`` added. An existing file is replaced only when everything is written: if
            writing fails, or is interrupted, it stays as it was.

        Raises
        ------
        TypeError
            If `file` is neither a path nor a binary file.
        ModuleNotFoundError
            For the format safetensors, if the package of that name is not installed.
        OSError

        Examples
        --------
        >>> net = rnnfast.LSTM(2, 3)
        >>> net.save("net.npz")
        >>> rnnfast.load("net.npz")
        rnnfast.LSTM(2, 3)
        """
        from rnnfast._engine import container  # with what it needs, not everybody's: importing rnnfast stays quick

        self._form.check_params(self._shapes, self._params)
        described = {"format": FILE_KIND, "cell": self._cell_described(), "frozen": self._frozen, **self._description()}
        container.write(file, described, self._params)

    def _cell_described(self) -> Any:
        """The cell by its name, or all of it where that is a formula."""
        return self.cell.name

    def _description(self) -> dict[str, Any]:
        """What tells this layer from others of its cell, parameters apart."""
        arguments = self._arguments()
        options = {name: arguments.pop(name) for name in self.cell.options}
        return {"version": STATE_VERSION, "arguments": {**arguments, "dtype": self.dtype.name}, "options": options}

    def __getstate__(self) -> dict[str, Any]:
        own = ("rng", "_form", "_names", "_shapes", "_plain", "_flat", "_params", *self.cell.options)
        return {
            **self._description(),
            "rng": self.rng,
            "params": {name: value.copy() for name, value in self._params.items()},
            "more": {name: value for name, value in self.__dict__.items() if name not in own},  # what the user added
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        version_of(state)
        self._set_form(state["options"], **state["arguments"])
        params = checks.named_parameters(state["params"], self._shapes, self.dtype)
        self.__dict__.update(state["more"], rng=state["rng"])
        self._set_params(params)


def version_of(state: Mapping[str, Any], name: str = "pickle") -> int:
    """The version of what pickling or `save` wrote; another than this one's is an error."""
    if (came := state.get("version")) != STATE_VERSION:
        raise ValueError(f"{name}: expected version {STATE_VERSION}, got {came}; load it with the rnnfast that wrote it")
    return STATE_VERSION
