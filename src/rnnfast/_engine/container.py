"""A description and arrays by name in one .npz file: NumPy's own format, nothing pickled, whole or not there.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np

from rnnfast._engine import checks
from rnnfast._types import Array

DESCRIPTION = "description.json"  # the name of its entry: JSON as bytes
ZIP = b"PK\x03\x04"  # how an archive starts
NPY = b"\x93NUMPY\x01\x00"  # how an array in it starts; two bytes follow, the length of the header


def write(file: Any, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """file: a path, whose file is replaced when all is written, or a binary file object."""
    text = np.frombuffer(json.dumps(description, default=np.ndarray.tolist).encode(), np.uint8)
    stored = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in arrays.items()}
    entries: dict[str, Any] = {DESCRIPTION: text, **stored}
    content = io.BytesIO()  # in memory: archives go back to what they have written, which not every file can
    np.savez(content, **entries)
    with _opened(file, "wb") as stream:
        stream.write(content.getbuffer())


def read(file: Any) -> Container:
    """file: a path, or a binary file object, which is read to its end.

    Raises
    ------
    TypeError
        For another kind of file argument.
    ValueError
        For a file that is no whole .npz file, or has no description.
    OSError
    """
    with _opened(file, "rb") as stream:
        start = stream.read(len(ZIP))
        if start != ZIP:
            raise ValueError(f"expected an .npz file, got one that starts with {start!r}")
        return Container(_entries(start + stream.read()))


class Container:
    """What was read: the description, and the arrays, whose names, shapes and dtypes must be known."""

    def __init__(self, entries: dict[str, bytes]) -> None:
        if DESCRIPTION not in entries:
            raise ValueError(f"expected an entry {DESCRIPTION}, got none")
        entry = entries.pop(DESCRIPTION)
        size = max(0, len(entry) - _header(entry)[1])
        text = _array(DESCRIPTION, entry, (size,), np.dtype(np.uint8)).tobytes()
        try:
            self.description = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{DESCRIPTION}: expected JSON, got: {error}") from None
        if not isinstance(self.description, dict):
            raise ValueError(f"{DESCRIPTION}: expected an object, got {type(self.description).__name__}")
        self._entries = entries

    def arrays(self, expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, Array]:
        """Exactly those of the expected names, each of its shape and dtype; anything else is a ValueError."""
        checks.exact_names("entries", self._entries, expected)
        return {name: _array(name, self._entries[name], shape, dtype) for name, (shape, dtype) in expected.items()}


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
