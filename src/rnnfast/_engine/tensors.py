"""Files of the format safetensors, through the package of that name.

The package refuses spans that overlap, leave a hole or leave the file, sizes that do not fit shapes, and headers that are no
JSON of the right form. It takes the last of two tensors of one name, which is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rnnfast._types import Array

START = b"{"  # of the header, after the 8 bytes of its length
NUMPY = {  # the format's dtypes that NumPy has
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "|b1", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
BITS = {"BF16": "U16", "BOOL": "U8"}  # what is read as bits first


class Tensor(NamedTuple):
    """As the file has it; the package found that the size of the data fits the shape."""

    dtype: str
    shape: tuple[int, ...]
    data: bytearray

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Tensor:
        """From what the package gives."""
        return cls(found["dtype"], tuple(found["shape"]), found["data"])

    def values(self, name: str) -> Array:
        """Its values, writeable, in the machine's byte order: F16 and BF16 as float32, which holds each of them exactly."""
        code = BITS.get(self.dtype, self.dtype)
        if code not in NUMPY:
            raise ValueError(f"{name}: expected a dtype that NumPy has, or BF16, got {self.dtype}")
        try:
            array: Array = np.frombuffer(self.data, NUMPY[code]).reshape(self.shape)
        except ValueError as error:  # too many axes, or too long ones beside one of length 0
            raise ValueError(f"{name}: expected a shape that NumPy can have, got {str(self.shape)[:100]} ({error})") from None
        if self.dtype == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        if self.dtype == "BOOL":
            return np.not_equal(array, 0)
        return array.astype(np.float32 if self.dtype == "F16" else array.dtype.newbyteorder("="), copy=False)


def package() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        text = 'safetensors: expected the package for such files, got none; install it with pip install "rnnfast[safetensors]"'
        raise ModuleNotFoundError(text, name="safetensors") from None
    return safetensors


def encoded(metadata: Mapping[str, str], arrays: Mapping[str, Array]) -> bytes:
    """The content of a file."""
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    content: bytes = package().numpy.save(contiguous, metadata=dict(metadata))
    return content


def decoded(content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file, in the order of its header; anything else is a ValueError."""
    found = package()
    try:
        tensors = dict(found.deserialize(content))  # in another order each time
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size], object_pairs_hook=_names_once)
    except (found.SafetensorError, ValueError) as error:
        raise ValueError(f"expected a whole .safetensors file, got: {error}") from None
    metadata = header.pop("__metadata__", None) or {}
    return metadata, {name: Tensor.of(tensors[name]) for name in header}


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("two entries of one name")
    return found
