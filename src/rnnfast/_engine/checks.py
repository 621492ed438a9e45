"""Every check of an argument: those of arrays stand here, those of numbers, switches and choices in scalars.py, the texts of
errors in texts.py; callers have all of them from here.

Checks return the array to use; none of them changes its argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rnnfast._engine.scalars import *  # noqa: F403
from rnnfast._engine.scalars import FLOATS, one_of
from rnnfast._engine.texts import *  # noqa: F403
from rnnfast._engine.texts import cast, listed, unreadable, wrong_shape, wrong_type, wrong_value
from rnnfast._kernels._order import first_outside
from rnnfast._types import Array, FloatDType
from rnnfast.cells import Cell
from rnnfast.cells.base import AnyCell, AnyVariant

DLPACK_CPU = 1  # kDLCPU of dlpack.h
OVERLAP_WORK = 100_000  # candidate solutions, np.shares_memory's unit: milliseconds


# ---- arrays ---------------------------------------------------------------------------------------------------------------
def float_array(name: str, value: Any, dtype: FloatDType | None = None, leader: str = "") -> Array:
    """`as_array` without a change of dtype: float32 or float64, or the one of `leader` if that is given; native byte order; no
    masked array, no np.matrix."""
    accepted = FLOATS if dtype is None else (dtype,)
    if type(value) is np.ndarray and value.dtype in accepted:
        return value
    for part in value if isinstance(value, (list, tuple)) else (value,):
        unmasked(name, part)
    if isinstance(value, np.matrix):
        raise TypeError(f"{name}: expected a plain array, got np.matrix; convert it with np.asarray({name})")
    array = as_array(name, value)
    if array.dtype.newbyteorder("=") in FLOATS and not array.dtype.isnative:
        remedy = cast(name, dtype or array.dtype, array)
        raise TypeError(f"{name}: expected native byte order, got {array.dtype.str}; use {remedy}")
    if array.dtype not in accepted:
        expected = "float32 or float64" if dtype is None else f"{dtype} like {leader}"
        if value is None:  # as an array it would be NaN
            raise TypeError(f"{name}: expected dtype {expected}, got None")
        remedy = ("cast it, e.g. " if dtype is None else "use ") + cast(name, dtype or FLOATS[0], value)
        raise TypeError(f"{name}: expected dtype {expected}, got {array.dtype}; {remedy}")
    return array


def unmasked(name: str, value: Any) -> None:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected a plain array, got a masked array; fill it first, e.g. {name}.filled(0)")


def as_array(name: str, value: Any) -> Array:
    """NumPy's view of an array of any library, in this order: an ndarray, what has __array__ or shares a buffer, what has only
    __dlpack__. A copy is made only of what has no memory that NumPy can read, such as lists."""
    if type(value) is np.ndarray:
        return value
    try:
        if not hasattr(value, "__dlpack__") or hasattr(value, "__array__"):
            return np.asarray(value)
        device = value.__dlpack_device__()
        if device[0] != DLPACK_CPU:
            raise BufferError(f"its DLPack device is {tuple(map(int, device))}, which is not the CPU")
        return np.from_dlpack(value)
    except ValueError as error:
        if isinstance(value, (list, tuple)):  # ragged
            raise ValueError(f"{name}: expected an array, got nested sequences of unequal lengths ({error})") from None
        raise unreadable(name, value, error) from None
    except (TypeError, RuntimeError, BufferError) as error:
        raise unreadable(name, value, error) from None


def one_dtype(w_ih: Array, w_hh: Array, others: Mapping[str, Array | None], values: Sequence[Any]) -> None:
    """All arrays of a call have one dtype, that of the weights; where the two weights differ, the one that most arrays have.
    values: of all these arguments, as the user gave them."""
    arrays = {"w_ih": w_ih, "w_hh": w_hh, **others}
    given = {name: a for name, a in arrays.items() if a is not None}
    dtypes = [a.dtype for a in given.values()]
    dtype: FloatDType = w_ih.dtype if w_ih.dtype == w_hh.dtype else max(dtypes, key=dtypes.count)
    leader = next(name for name, a in given.items() if a.dtype == dtype)
    for (name, array), value in zip(arrays.items(), values, strict=True):
        if array is not None and array.dtype != dtype:
            remedy = cast(name, dtype, value)
            raise TypeError(f"{name}: expected dtype {dtype} like {leader}, got {array.dtype}; use {remedy}")


def exact(
    name: str, value: Any, shape: tuple[int, ...], meaning: str, dtype: FloatDType | None = None, leader: str = ""
) -> Array:
    """A C-contiguous array of exactly this shape and dtype, if one is given (a copy only where it must be)."""
    array = float_array(name, value, dtype, leader)
    if array.shape != shape:
        raise wrong_shape(name, shape, meaning, array.shape)
    return array if array.flags.carray else np.require(array, requirements=["C", "A"])


def gradient_of_y(dy: Any, shape: tuple[int, ...], dtype: FloatDType) -> Array | None:
    """dy of a backward call, as the kernels need it; None stays None."""
    if dy is None:
        return None
    array = float_array("dy", dy, dtype, "y")
    if array.shape != shape:
        raise wrong_shape("dy", shape, "as y", array.shape)
    return rows_contiguous(array)


def rows_contiguous(array: Array) -> Array:
    """Itself if its last axis is contiguous and its strides are whole elements, as the kernels need; else a copy."""
    flags, itemsize = array.flags, array.itemsize
    if flags.c_contiguous and flags.aligned:
        return array
    dense = array.strides[-1] == itemsize or array.shape[-1] == 1
    fits = flags.aligned and dense and all(step % itemsize == 0 for step in array.strides)
    return array if fits or array.size == 0 else array.copy(order="C")


def sequence(value: Any, input_size: int, dtype: FloatDType | None = None, *, batch_first: bool = False) -> tuple[Array, bool]:
    """x as a (T, B, I) view, whose shape nobody else can change, and whether it was unbatched. dtype: of the layer."""
    x = float_array("x", value, dtype, "the layer")
    axes = "batch, time, input_size" if batch_first else "time, batch, input_size"
    if x.ndim not in (2, 3):
        raise ValueError(f"x: expected 3 dimensions ({axes}) or 2 (time, input_size), got shape {x.shape}")
    if x.shape[-1] != input_size:
        expected = ("T", input_size) if x.ndim == 2 else (*(("B", "T") if batch_first else ("T", "B")), input_size)
        meaning = "time, input_size" if x.ndim == 2 else axes
        remedy = "the last axis is the input size of the weights"
        if x.shape.count(input_size) == 1:
            last = f"x.swapaxes({x.shape.index(input_size)}, {x.ndim - 1})"
            remedy += f", so perhaps {last}" if x.ndim == 3 else ", so perhaps x.T"
        raise wrong_shape("x", expected, meaning, x.shape, remedy)
    if x.ndim == 2:
        return rows_contiguous(x)[:, None], True
    x = rows_contiguous(x)
    return (x.swapaxes(0, 1) if batch_first else x[...]), False


def weights(w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, gates: int) -> tuple[Array, Array, Array | None, Array | None]:
    """One layer's weights, of shapes that fit one another, in whatever memory order they have."""
    ih, hh = float_array("w_ih", w_ih), float_array("w_hh", w_hh)
    if hh.ndim != 2 or hh.shape[0] != gates * hh.shape[1] or hh.size == 0:
        turned = hh.ndim == 2 and hh.shape[1] == gates * hh.shape[0] and hh.size > 0
        remedy = "it is transposed: pass w_hh.T" if turned else "" if hh.size else "H at least 1"
        raise wrong_shape("w_hh", (f"{gates}*H", "H"), "gates*hidden, hidden", hh.shape, remedy)
    rows = hh.shape[0]
    if ih.ndim != 2 or ih.shape[0] != rows or ih.shape[1] == 0:
        turned = ih.ndim == 2 and ih.shape[1] == rows
        remedy = "it is transposed: pass w_ih.T" if turned else "rows as w_hh" if ih.size else "I at least 1"
        raise wrong_shape("w_ih", (rows, "I"), "gates*hidden, input", ih.shape, remedy)
    biases = [optional(name, b, (rows,), "gates*hidden") for name, b in (("b_ih", b_ih), ("b_hh", b_hh))]
    return strided(ih), strided(hh), biases[0], biases[1]


def strided(array: Array) -> Array:
    """Itself if its elements are aligned, whole elements apart; else a copy."""
    whole = array.flags.aligned and all(step % array.itemsize == 0 for step in array.strides)
    return array if whole else array.copy(order="C")


def gate_order(value: Any, gates: tuple[str, ...]) -> tuple[int, ...] | None:
    """Which block of rows each gate has in weights of this order; None if it is the cell's own."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type("gate_order", "a string of the gates' letters", value)
    return _gate_order(value, gates)


@lru_cache(256)  # a step with weights as arguments takes some microseconds in all
def _gate_order(value: str, gates: tuple[str, ...]) -> tuple[int, ...] | None:
    letters = value.replace(",", " ").split()
    letters = letters if len(letters) > 1 else list(value)
    if sorted(letters) != sorted(gates):
        raise wrong_value("gate_order", f"the letters {' '.join(gates)} in any order, each once", value)
    blocks = tuple([letters.index(gate) for gate in gates])
    return None if blocks == tuple(range(len(gates))) else blocks


def optional(
    name: str, value: Any, shape: tuple[int, ...], meaning: str, dtype: FloatDType | None = None, leader: str = "x"
) -> Array | None:
    return None if value is None else exact(name, value, shape, meaning, dtype, leader)


def state(
    name: str, value: Any, letters: tuple[str, ...], shape: tuple[int, ...], meaning: str, dtype: FloatDType
) -> tuple[Array | None, ...]:
    """A state argument: an array for one letter, a pair for two; None anywhere is zeros and stays None."""
    if value is None:
        return (None,) * len(letters)
    if len(letters) == 1:
        if isinstance(value, tuple) or (isinstance(value, list) and value and isinstance(value[0], np.ndarray)):
            raise TypeError(f"{name}: expected one array {letters[0]}, got a {type(value).__name__} of {len(value)}")
        return (exact(name, value, shape, meaning, dtype, "x"),)
    if not isinstance(value, (tuple, list)) or len(value) != len(letters):
        got = f"a {type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"{name}: expected a pair ({', '.join(letters)}) of arrays or None, got {got}")
    return tuple(
        optional(f"{name}[{i}] ({letter})", part, shape, meaning, dtype)
        for i, (letter, part) in enumerate(zip(letters, value, strict=True))
    )


def lengths(
    value: Any, T: int, B: int, *, unbatched: bool, batch_first: bool | None = None, name: str = "lengths"
) -> np.ndarray[tuple[int], np.dtype[np.intp]] | None:
    """lengths as (B,) intp, each 0 <= length <= T, or None. name: of the argument."""
    if value is None:
        return None
    if unbatched:
        raise ValueError(f"{name}: expected None with unbatched x (time, input_size), got {name}; cut x instead")
    unmasked(name, value)
    array = as_array(name, value)
    if isinstance(value, (list, tuple)) and any(isinstance(length, (bool, np.bool_)) for length in value):
        raise TypeError(f"{name}: expected integers, got a bool among them")  # asarray would hide it
    empty_list = array.size == 0 and array.dtype.kind == "f"  # np.asarray([]) is float
    if array.dtype.kind not in "iu" and not empty_list:
        raise TypeError(f"{name}: expected integers, got dtype {array.dtype}")
    if array.shape != (B,):
        swapped = batch_first is not None and array.shape == (T,)
        remedy = f"with batch_first={not batch_first} the batch of x is {T}" if swapped else ""
        raise wrong_shape(name, (B,), "batch", array.shape, remedy)
    steps = np.array(array, np.intp)  # a copy: nobody changes it after the check
    if (bad := first_outside(steps, T)) >= 0:
        raise ValueError(f"{name}: expected 0 <= length <= {T} (time), got {array[bad]} at index {bad}")
    return steps


def output(name: str, value: Any, shape: tuple[int, ...], meaning: str, dtype: FloatDType) -> Array:
    """An array of the caller's to write into."""
    if not isinstance(value, np.ndarray) or isinstance(value, (np.ma.MaskedArray, np.matrix)):
        raise wrong_type(name, "a plain array to write into", value)
    if value.shape != shape:
        raise wrong_shape(name, shape, meaning, value.shape, f"allocate it as np.empty({shape}, np.{dtype.name})")
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {value.dtype}; allocate it as np.empty({shape}, np.{dtype.name})")
    if not value.flags.carray:
        got = "another layout" if value.flags.writeable else "a read-only one"
        raise ValueError(f"{name}: expected a writeable C-contiguous array, got {got}; use np.empty({shape})")
    return value


def locked(y: Array) -> Array:
    """A view of y that cannot be made writeable again: the memory's owner is read-only."""
    owner = y
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    owner.flags.writeable = False
    view = y[...]
    view.flags.writeable = False
    return view


def unchanged(name: str, array: Array, shape: tuple[int, ...], dtype: FloatDType) -> None:
    """A parameter whose values are live, but whose form must stay."""
    if array.shape != shape or array.dtype != dtype or not (array.flags.c_contiguous and array.flags.aligned):
        expected = f"as made, {dtype}, C-contiguous, aligned"
        raise wrong_shape(name, shape, expected, array.shape, "assign values, not its shape or memory")


def exact_names(name: str, mapping: Any, names: Iterable[str]) -> None:
    """A mapping of exactly these names."""
    if not isinstance(mapping, Mapping):
        raise wrong_type(name, f"a mapping with the names {listed(names)}", mapping)
    expected = dict.fromkeys(names)
    for problem, wrong in (("missing", expected.keys() - mapping.keys()), ("unknown", mapping.keys() - expected.keys())):
        if wrong:
            raise ValueError(f"{name}: expected the names {listed(expected)}, got {problem} {listed(sorted(map(str, wrong)))}")


def named_parameters(mapping: Any, shapes: Mapping[str, tuple[int, ...]], dtype: FloatDType) -> dict[str, Array]:
    """Exactly the parameters of a layer, each with its shape and dtype, C-contiguous."""
    exact_names("mapping", mapping, shapes)
    return {
        name: exact(name, mapping[name], shape, "gates*hidden" + (", input" if len(shape) == 2 else ""), dtype, "the layer")
        for name, shape in shapes.items()
    }


def apart(
    y: Array,
    states: Sequence[Array],
    x: Any,
    initial: Sequence[Any],
    letters: Sequence[str],
    others: Mapping[str, Array],
) -> None:
    """out's y and states overlap no input and not one another; each state may be exactly the array that comes in.

    x and initial as the user gave them: what overlaps must not hide behind a copy."""
    outputs = [("out[0] (y)", y), *((f"out's state ({k})", a) for k, a in zip(letters, states, strict=True))]
    given = [("x", x), *((f"state ({k})", a) for k, a in zip(letters, initial, strict=True))]
    inputs = [(name, None if a is None else as_array(name, a)) for name, a in given]
    inputs += [(f"inputs[{name!r}]", a) for name, a in others.items()]
    for i, (name, a) in enumerate(outputs):
        for j, (other, b) in enumerate(inputs):
            if b is not None and not (i == j and i and same_memory(a, b)) and overlap(a, b):
                raise ValueError(f"{name}: expected memory of its own, got an array that overlaps {other}")
        for other, b in outputs[:i]:
            if overlap(a, b):
                raise ValueError(f"{name}: expected memory of its own, got an array that overlaps {other}")


def overlap(a: Array, b: Array) -> bool:
    """Whether the arrays have an element in common. For arrays with many odd strides an exact answer can take exponential time:
    where it would take long, whether their bounds overlap."""
    try:
        return np.may_share_memory(a, b) and np.shares_memory(a, b, max_work=OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def same_memory(a: Array, b: Array) -> bool:
    """Exactly the same elements."""
    return a is b or (a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides)


# ---- what formulas read beside x -------------------------------------------------------------------------------------------
def inputs(
    value: Any, names: Sequence[str], steps: tuple[int, ...], axes: str, hidden: int, dtype: FloatDType
) -> dict[str, Array]:
    """Exactly the inputs of these names, each of shape `steps`, whose axes are `axes`, or (*steps, hidden)."""
    given = {} if value is None else value
    if not isinstance(given, Mapping):
        raise wrong_type("inputs", "a mapping of names to arrays", value)
    if set(given) != set(names):
        expected = f"{{{', '.join(f'{name!r}: array' for name in names)}}}" if names else "none, as the cell declares none"
        raise ValueError(f"inputs: expected {expected}, got {listed(sorted(map(str, given))) or 'none'}")
    return {name: for_each_step(f"inputs[{name!r}]", given[name], steps, axes, hidden, dtype) for name in names}


def for_each_step(name: str, value: Any, steps: tuple[int, ...], axes: str, hidden: int, dtype: FloatDType) -> Array:
    """A view, whose shape nobody else can change, or a copy."""
    array = float_array(name, value, dtype, "the layer")
    if array.shape not in (steps, (*steps, hidden)):
        expected = f"{steps} = ({axes}) or {(*steps, hidden)} = ({', '.join(filter(None, (axes, 'hidden')))})"
        raise ValueError(f"{name}: expected shape {expected}, got {array.shape}")
    if array.shape == steps:
        return array[...] if array.flags.aligned and all(s % array.itemsize == 0 for s in array.strides) else array.copy()
    return rows_contiguous(array)[...]


def draws(value: Any, shapes: Mapping[str, tuple[int, ...]], dtype: FloatDType) -> dict[str, Array]:
    """Some of the cell's draws, each of its shape."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong_type("draws", "a mapping of names to arrays", value)
    for name in value:
        if name not in shapes:
            known = ", ".join(shapes) or "none"
            raise ValueError(f"draws: expected names of the cell's draws with its options ({known}), got {name!r}")
    meaning = "num_layers*num_directions, which is dropped where it is 1, [time,] batch, hidden"
    return {name: exact(f"draws[{name!r}]", a, shapes[name], meaning, dtype, "the layer") for name, a in value.items()}


def variant(cell: AnyCell, options: Mapping[str, Any]) -> AnyVariant:
    """The cell with these options, exactly its own."""
    if not isinstance(cell, Cell):
        return cell.choose(options)
    return cell.by_choice[tuple([one_of(name, options[name], choices) for name, choices in cell.options.items()])]
