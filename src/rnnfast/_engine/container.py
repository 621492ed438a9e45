"""A description and arrays by name in one file, whole or not there: NumPy's own .npz, nothing pickled, or .safetensors.

What the description says is for those who write and read it: `rnnfast.load`, the checkpoints of `rnnfast.nn.fit`. Whatever a
file holds, reading it takes memory in proportion to its size, and what is wrong with it is a ValueError.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np

from rnnfast._engine import checks, tensors
from rnnfast._types import Array

DESCRIPTION = "description.json"  # the name of its entry: JSON as bytes; in .safetensors files a text of __metadata__
SAFETENSORS = ".safetensors"  # how the names of such files end
ZIP = b"PK\x03\x04"  # how an archive starts
ONNX = b"\x08"  # how protobuf begins the first field of a model, its ir_version
NPY = b"\x93NUMPY\x01\x00"  # how an array in it starts; two bytes follow, the length of the header


def write(file: Any, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """file: a path, whose file is replaced when all is written, or a binary file object. The end of its name chooses the
    format."""
    text = json.dumps(description, default=np.ndarray.tolist)
    stored = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in arrays.items()}
    name = os.fspath(file) if isinstance(file, os.PathLike) else file if isinstance(file, str) else getattr(file, "name", "")
    if str(name).lower().endswith(SAFETENSORS):
        content = tensors.encoded({DESCRIPTION: text}, stored)
    else:
        content = _npz({DESCRIPTION: np.frombuffer(text.encode(), np.uint8), **stored})
    with _opened(file, "wb") as stream:
        stream.write(content)


def read(file: Any) -> Container:
    """file: a path, or a binary file object, which is read to its end. Its first bytes tell the format.

    Raises
    ------
    TypeError
        For another kind of file argument.
    ValueError
        For a file that is not whole, or of another format, or has no description.
    ModuleNotFoundError
        For a .safetensors file without the package.
    OSError
    """
    found = content(file)
    if not found.startswith(ZIP):
        metadata, entries = tensors.decoded(found)
        return Container(metadata.get(DESCRIPTION), entries, _tensor)
    files = _entries(found)
    entry = files.pop(DESCRIPTION, None)
    if entry is None:
        return Container(None, files, _array)
    size = max(0, len(entry) - _header(entry)[1])
    return Container(_array(DESCRIPTION, entry, (size,), np.dtype(np.uint8)).tobytes(), files, _array)


def content(file: Any, *, only_tensors: bool = False) -> bytes:
    """All of a file that begins as an .npz or a .safetensors file does. only_tensors: as the latter does."""
    with _opened(file, "rb") as stream:
        start = stream.read(9)
        zipped = start.startswith(ZIP) and not only_tensors
        if not zipped and start[8:] != tensors.START:
            expected = "a .safetensors file" if only_tensors else "an .npz or a .safetensors file"
            remedy = "; PyTorch reads a .pt file: torch.load(path, weights_only=True)" if start.startswith(ZIP) else ""
            if start.startswith(ONNX):
                remedy = "; of an ONNX model, rnnfast.weights.from_onnx reads the weights, and rnnfast.onnx.load the whole"
            raise ValueError(f"expected {expected}, got one that starts with {start[:4]!r}{remedy}")
        found: bytes = start + stream.read()
        return found


@contextmanager
def naming(file: Any) -> Iterator[None]:
    """A ValueError about what is in the file begins with its name."""
    try:
        yield
    except ValueError as error:
        path = getattr(file, "name", "file") if hasattr(file, "read") else os.fspath(file)
        raise ValueError(f"{path}: {error}") from None


class Container:
    """What was read: the description, and the arrays, whose names, shapes and dtypes must be known.

    text: the description as JSON; entries: of the arrays, by name; array: from the name and the entry of one, and the shape and
    dtype that it must have, to the array."""

    def __init__(self, text: str | bytes | None, entries: Mapping[str, Any], array: Callable[..., Array]) -> None:
        if text is None:
            remedy = "rnnfast.weights reads the weights of other libraries"
            raise ValueError(f"expected an entry {DESCRIPTION}, got none; {remedy}")
        try:
            self.description = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{DESCRIPTION}: expected JSON, got: {error}") from None
        if not isinstance(self.description, dict):
            raise ValueError(f"{DESCRIPTION}: expected an object, got {type(self.description).__name__}")
        self._entries, self._array = entries, array

    def arrays(self, expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, Array]:
        """Exactly those of the expected names, each of its shape and dtype; anything else is a ValueError."""
        checks.exact_names("entries", self._entries, expected)
        return {name: self._array(name, self._entries[name], shape, dtype) for name, (shape, dtype) in expected.items()}


def _tensor(name: str, entry: tensors.Tensor, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A tensor of exactly this shape and dtype."""
    if tensors.NUMPY.get(entry.dtype) != dtype.newbyteorder("<").str or entry.shape != shape:
        raise ValueError(f"{name}: expected {dtype} {shape}, got {entry.dtype} {str(entry.shape)[:100]}")
    return entry.values(name)


def _npz(entries: dict[str, Any]) -> bytes:
    content = io.BytesIO()  # in memory: archives go back to what they have written, which not every file can
    np.savez(content, **entries)
    return content.getvalue()


def _entries(content: bytes) -> dict[str, bytes]:
    """The files in an archive. They are not compressed and do not share bytes, so that all of them are not larger than it; and
    it is in memory, so that no place that it names is outside of it."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        infos = archive.infolist()
        names = [info.filename.removesuffix(".npy") for info in infos]
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise ValueError("compressed entries")
        if len(set(names)) < len(names):
            raise ValueError("two entries of one name")
        if 0 not in {info.header_offset for info in infos}:
            raise ValueError("something before the first entry")
        if sum(info.file_size for info in infos) > len(content):
            raise ValueError("entries that are larger than the file")
        return {name: archive.read(info) for name, info in zip(names, infos, strict=True)}
    except (zipfile.BadZipFile, EOFError, OverflowError, RuntimeError, ValueError, struct.error) as error:
        raise ValueError(f"expected a whole .npz file as NumPy's savez writes it, got: {error}") from None


def _array(name: str, entry: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The header must be the one that NumPy would write: nothing of the file's is evaluated, or believed about sizes."""
    little = dtype.newbyteorder("<")
    own = io.BytesIO()
    np.lib.format.write_array_header_1_0(own, {"descr": little.str, "fortran_order": False, "shape": shape})
    (header, begin), (expected, _) = _header(entry), _header(own.getvalue())
    if header != expected:
        raise ValueError(f"{name}: expected {expected}, got {header[:200]}")
    if len(entry) - begin != (size := math.prod(shape) * dtype.itemsize):
        raise ValueError(f"{name}: expected {size} bytes, got {len(entry) - begin}")
    return np.frombuffer(entry, little, offset=begin).reshape(shape).astype(dtype)


def _header(entry: bytes) -> tuple[str, int]:
    """What an array's entry says of it, and where the data begin."""
    begin = len(NPY) + 2
    if not entry.startswith(NPY):
        return f"no array ({entry[:begin]!r})", 0
    end = begin + int.from_bytes(entry[begin - 2 : begin], "little")
    return entry[begin:end].decode("latin-1").strip(), end


@contextmanager
def _opened(file: Any, mode: str) -> Iterator[IO[bytes]]:
    if isinstance(file, io.TextIOBase):
        raise TypeError(f"file: expected a path or a binary file, got a text file; open it with {mode!r}")
    if hasattr(file, "write" if mode == "wb" else "read"):
        yield file
    elif not isinstance(file, (str, os.PathLike)):
        raise checks.wrong_type("file", "a path or a binary file", file)
    elif mode == "wb" and (os.path.isfile(file) or not os.path.exists(file)):
        with _replacing(os.path.realpath(os.fsdecode(file))) as stream:
            yield stream
    else:  # to read; or to write into a pipe or a device, which stays
        with open(file, mode) as stream:
            yield stream


@contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A new file, which takes the place and the permissions of the one at `path` when all is written."""
    part = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(part, "xb") as stream:
            if os.path.exists(path):
                os.chmod(part, os.stat(path).st_mode & 0o777)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise
