"""ONNX models that are run: `load`, for the nodes RNN, GRU and LSTM in rnnfast and all others in onnx's own evaluator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import NoneType
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from rnnfast import _onnx_nodes
from rnnfast._engine import checks
from rnnfast.cells.base import Packed

# as Any, since mypy knows its types only where it is installed
onnx: Any = import_module("onnx")
reference: Any = import_module("onnx.reference")
op_run: Any = import_module("onnx.reference.op_run")

_CONSTANTS: WeakValueDictionary[int, Any] = WeakValueDictionary()  # by id: arrays of models, which never change


class _Recurrent(op_run.OpRun):  # type: ignore[misc]
    """A node of one of the three operators, as the evaluator calls it."""

    op_domain = ""
    operator: _onnx_nodes.Operator

    def __init__(self, onnx_node: Any, run_params: Any) -> None:
        super().__init__(onnx_node, run_params)
        self._kept: dict[Any, dict[Any, Packed]] = {}  # what is packed of constant weights, by their ids

    def _run(self, *inputs: Any, **attributes: Any) -> Any:
        weights = [a for a in (*inputs[1:4], *inputs[7:]) if a is not None]  # W, R, B and P
        constant = all(_CONSTANTS.get(id(a)) is a for a in weights)
        kept = self._kept.setdefault(tuple(map(id, weights)), {}) if constant else None
        given = dict.fromkeys(_onnx_nodes.INPUTS[:3]) | dict(zip(_onnx_nodes.INPUTS, inputs, strict=False))
        return _onnx_nodes.compute(self.operator, given | attributes, kept)

    def run(self, *inputs: Any, **more: Any) -> tuple[Any, ...]:
        """Errors name the node. An output without a name is None: the evaluator keeps results by name, and what it kept for
        the empty name would be taken for every input that is left out."""
        try:
            outputs = super().run(*inputs, **more)
        except (TypeError, ValueError) as problem:
            cause = problem.__cause__ or problem  # the evaluator hides TypeErrors behind its own
            kind = TypeError if isinstance(problem, TypeError) else ValueError
            raise kind(f"node {self.onnx_node.name or self.output[0]!r} ({self.op_type}): {cause}") from problem
        return tuple([value if name else None for name, value in zip(self.output, outputs, strict=False)])


# the evaluator finds a class by its name, which is that of the operator
_OPERATORS = [
    type(name, (_Recurrent,), {"operator": operator})
    for name, operator in (("RNN", _onnx_nodes.RNN), ("GRU", _onnx_nodes.GRU), ("LSTM", _onnx_nodes.LSTM))
]


class _Evaluator(reference.ReferenceEvaluator):  # type: ignore[misc]
    """It makes evaluators of its own class for subgraphs and for the functions of a model, without telling those of functions
    about new operators."""

    def __init__(self, proto: Any, **arguments: Any) -> None:
        super().__init__(proto, **{**arguments, "new_ops": _OPERATORS})
        for constant in self.rt_inits_.values():
            if isinstance(constant, np.ndarray):
                constant.flags.writeable = False
                _CONSTANTS[id(constant)] = constant


class Argument(NamedTuple):
    """An input or output of a model, as ONNX Runtime describes it: shape has numbers, names, and None for what is unknown."""

    name: str
    type: str
    shape: list[int | str | None]


class Model:
    """An ONNX model that `load` made ready to run. It has the methods of ONNX Runtime's `InferenceSession` that programs use
    most. Any number of threads may call it at once."""

    def __init__(self, proto: Any) -> None:
        with _told_of_onnx():
            self._evaluator = _Evaluator(proto)
            for value in (*proto.graph.input, *proto.graph.output):
                _argument(value)
        constants = {initializer.name for initializer in proto.graph.initializer}
        self._inputs = {value.name: value for value in proto.graph.input if value.name not in constants}
        self._outputs = {value.name: value for value in proto.graph.output}

    def __repr__(self) -> str:
        return f"rnnfast.onnx.Model({', '.join(self._inputs)} -> {', '.join(self._outputs)})"

    def get_inputs(self) -> list[Argument]:
        """What `run` must be given, in the model's order; values that are constant unless they are given are not among them."""
        return [_argument(value) for value in self._inputs.values()]

    def get_outputs(self) -> list[Argument]:
        """What `run` returns."""
        return [_argument(value) for value in self._outputs.values()]

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names : sequence of str or None
            Which outputs, in this order; None means all of them.
        feeds : mapping of str to array_like
            The inputs by name, each with the dtype that the model declares.

        Returns
        -------
        list of ndarray

        Raises
        ------
        TypeError, ValueError
            For names, dtypes and shapes that do not fit; what a recurrent node cannot compute names the node.
        """
        if isinstance(output_names, str) or not isinstance(output_names, (Iterable, NoneType)):
            raise checks.wrong_type("output_names", "a sequence of names or None", output_names)
        names = list(self._outputs if output_names is None else output_names)
        for name in names:
            checks.one_of("output_names", name, tuple(self._outputs))
        known = {*self._inputs, *self._evaluator.input_names}
        if not isinstance(feeds, Mapping):
            raise checks.wrong_type("feeds", f"a mapping with the names {checks.listed(self._inputs)}", feeds)
        for problem, wrong in (("missing", self._inputs.keys() - feeds.keys()), ("unknown", feeds.keys() - known)):
            if wrong:
                expected = checks.listed(self._inputs)
                raise ValueError(
                    f"feeds: expected the names {expected}, got {problem} {checks.listed(sorted(map(str, wrong)))}"
                )
        given = {name: self._checked(name, value) for name, value in feeds.items()}
        with _told_of_onnx(" with these inputs"):
            found: list[Any] = self._evaluator.run(names, given)
        return found

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """All outputs for inputs by position, in the order of `get_inputs`, or by name: an array, or a list of several."""
        if len(inputs) > len(self._inputs):
            raise TypeError(f"inputs: expected {len(self._inputs)} ({checks.listed(self._inputs)}), got {len(inputs)}")
        given = dict(zip(self._inputs, inputs, strict=False))
        if twice := given.keys() & named.keys():
            raise TypeError(f"inputs: expected each once, got {checks.listed(sorted(twice))} by position and by name")
        outputs = self.run(None, {**given, **named})
        return outputs[0] if len(outputs) == 1 else outputs

    def _checked(self, name: str, value: Any) -> Any:
        """An input of the dtype and, as far as they are told, of the sizes that the model declares; see `get_inputs`."""
        if name not in self._inputs or not self._inputs[name].type.HasField("tensor_type"):
            return value
        checks.unmasked(name, value)
        array = checks.as_array(name, value)
        tensor = self._inputs[name].type.tensor_type
        undefined = tensor.elem_type == onnx.TensorProto.UNDEFINED
        dtype = array.dtype if undefined else onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if array.dtype != dtype and dtype != np.dtype(object):  # object: of texts
            got = "None" if value is None else array.dtype
            remedy = "" if value is None else f"; use {checks.cast(name, dtype, value)}"
            raise TypeError(f"{name}: expected dtype {dtype}, as the model declares, got {got}{remedy}")
        if tensor.HasField("shape"):
            shape = _argument(self._inputs[name]).shape
            fits = [size == got for size, got in zip(shape, array.shape, strict=False) if isinstance(size, int)]
            if len(shape) != array.ndim or not all(fits):
                axes = ", ".join("?" if size is None else str(size) for size in shape)
                text = f"({axes},)" if len(shape) == 1 else f"({axes})"
                raise ValueError(f"{name}: expected shape {text}, as the model declares, got {array.shape}")
        return array


@contextmanager
def _told_of_onnx(when: str = "") -> Iterator[None]:
    """Errors of the package onnx, which are of many kinds, say what they are about; those of recurrent nodes do already."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as problem:
        if str(problem).startswith("node "):
            raise
        kind = TypeError if isinstance(problem, TypeError) else ValueError
        text = f"{type(problem).__name__}: {str(problem)[:300].partition(', proto is')[0]}"
        raise kind(f"model: expected one that the package onnx can run{when}, got {text}") from problem


def _argument(value: Any) -> Argument:
    if not value.type.HasField("tensor_type"):
        return Argument(value.name, value.type.WhichOneof("value") or "", [])
    tensor = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else size.dim_param or None for size in tensor.shape.dim]
    return Argument(value.name, f"tensor({onnx.TensorProto.DataType.Name(tensor.elem_type).lower()})", shape)


def load(model: Any) -> Model:
    """Read an ONNX model whose recurrent nodes, wherever they stand in it, run in rnnfast.

    All other nodes run in the reference implementation of the package onnx, which is NumPy: it has all operators, and it is
    slow where a model has more than dense layers, element by element functions and rearrangements beside its recurrent ones.

    Parameters
    ----------
    model : str, os.PathLike, bytes or onnx.ModelProto
        A path, the content of a file, or a model that is loaded already.

    Returns
    -------
    Model
        ``model.run(None, {"x": x})``, as in ONNX Runtime.

    Raises
    ------
    TypeError, ValueError, OSError
        If `model` is none of these, or no ONNX model.

    Notes
    -----
    The nodes are computed as `rnnfast.onnx_ops` documents: in float32 and float64, with all their attributes. float16 and
    bfloat16 are an error, and so are operators of other domains, such as ONNX Runtime's quantised LSTM.

    Examples
    --------
    >>> import rnnfast.onnx
    >>> model = rnnfast.onnx.load(rnnfast.onnx.export(rnnfast.GRU(2, 3)))
    >>> y, h_n = model.run(None, {"x": np.ones((5, 1, 2), np.float32)})
    >>> y.shape, h_n.shape
    ((5, 1, 3), (1, 1, 3))
    """
    if isinstance(model, (str, os.PathLike)):
        proto = _parsed(os.fspath(model), lambda: onnx.load(os.fspath(model)))
    elif isinstance(model, (bytes, bytearray, memoryview)):
        proto = _parsed(f"{len(model)} bytes", lambda: onnx.load_from_string(bytes(model)))
    elif isinstance(model, onnx.ModelProto):
        proto = _with_nodes("an onnx.ModelProto", model)
    else:
        raise checks.wrong_type("model", "a path, bytes or an onnx.ModelProto", model)
    return Model(proto)


def _parsed(what: str, read: Callable[[], Any]) -> Any:
    try:
        proto = read()
    except OSError:
        raise
    except Exception as problem:  # protobuf's DecodeError, which is no public name of onnx
        raise ValueError(f"model: expected an ONNX model, got {what}, which cannot be parsed: {problem}") from None
    return _with_nodes(what, proto)


def _with_nodes(what: str, proto: Any) -> Any:
    if not proto.graph.node:
        raise ValueError(f"model: expected an ONNX model, got {what}, which has no nodes")
    return proto
