"""Numbers in ``.npy`` and ``.npz`` files of a run, whose sizes are checked before they are read.

A file may come from somebody else: it is a regular file, what it unpacks to is known from its
headers and limited, and arrays hold numbers alone, so that nothing is unpickled.
"""

import contextlib
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from greenbatch.errors import FileError, first_line
from greenbatch.files import open_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[Any]  # of integers or of floating point

MOST_BYTES = 1_000_000_000
"""Of a file, and of all its arrays unpacked."""
_MOST_DIRECTORY_BYTES = 1_000_000
_END_BYTES, _LOCATOR_BYTES = 22, 20  # of a zip file: APPNOTE.TXT, sections 4.3.16 and 4.3.15
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array of numbers in an ``.npz`` file, and nothing of it read yet."""

    path: Path
    name: str
    length: int
    dtype: "np.dtype[Any]"

    def read(self) -> "Numbers":
        """Read the array.

        Raises:
            FileNotFoundError: The file does not exist.
            FileError: It is damaged.
        """
        return read_arrays(self.path, lambda name: name == self.name)[self.name]


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """List the arrays of an ``.npz`` file, by their headers.

    Raises:
        FileNotFoundError: It does not exist.
        FileError: It is damaged, larger than `MOST_BYTES`, or holds an array that is not of
            numbers along one axis.
    """
    found = {}
    with _opened(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with archive.open(entry) as file:
                shape, dtype = _header(file, entry.file_size, axes=1)
            found[name] = StoredArray(path, name, shape[0], dtype)
    return found


def read_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True, axes: int | None = 1
) -> "dict[str, Numbers]":
    """Read arrays of an ``.npz`` file.

    Args:
        path: The file.
        wanted: Which arrays, by their names.
        axes: How many axes each is to have; ``None``: any number.

    Raises:
        FileNotFoundError, FileError: As `stored_arrays`; or there is no array that is wanted.
    """
    found = {}
    with _opened(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if wanted(name):
                with archive.open(entry) as file:
                    found[name] = _read(file, entry.file_size, axes=axes)
    return found


def write_arrays(file: IO[bytes], arrays: "Mapping[str, Numbers]", *, packed: bool) -> None:
    """Write an ``.npz`` file, compressed where it is ``packed``."""
    import numpy as np

    save = np.savez_compressed if packed else np.savez
    save(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the names for its own


def read_array(path: Path) -> "Numbers":
    """Read an ``.npy`` file of numbers, of any shape.

    Raises:
        FileNotFoundError: It does not exist.
        FileError: It is damaged or larger than `MOST_BYTES`.
    """
    with _damage_named(path), open_regular(path) as file:
        return _read(file, _size_bytes(file))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with _damage_named(path), open_regular(path) as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ValueError("its arrays are larger than 1 GB")
            if any(entry.compress_type not in _PACKED for entry in entries):
                raise ValueError("its arrays are packed as numpy does not pack them")
            yield archive


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileError, FileNotFoundError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise ten kinds for damaged files
        raise FileError(
            f"cannot read {path}: it is damaged ({first_line(error)}); restore it from a copy of "
            "the run"
        ) from error


def _size_bytes(file: BinaryIO) -> int:
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes > MOST_BYTES:
        raise ValueError("it is larger than 1 GB")
    return size_bytes


def _check_directory(file: BinaryIO) -> None:
    """Check the size of a zip file's directory, which `zipfile` reads whole.

    Raises:
        ValueError: It does not end as numpy ends it, or is too large.
    """
    size_bytes = _size_bytes(file)
    file.seek(max(0, size_bytes - _END_BYTES - _LOCATOR_BYTES))
    tail = file.read()
    locator, end = tail[:-_END_BYTES], tail[-_END_BYTES:]
    if not end.startswith(b"PK\5\6") or not end.endswith(b"\0\0"):
        raise ValueError("it has no end")
    (directory_bytes,) = struct.unpack("<L", end[12:16])
    if directory_bytes > _MOST_DIRECTORY_BYTES or locator.startswith(b"PK\6\7"):
        raise ValueError("it has too many arrays")
    file.seek(0)


def _header(
    file: IO[bytes], size_bytes: int, axes: int | None = None
) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    """Read the shape and type of an array, and check them against the bytes that are there."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise ValueError(f"an array is of {dtype}, not of numbers")
    if axes not in (None, len(shape)) or (by_columns and len(shape) > 1):
        raise ValueError(f"an array has the shape {shape}")
    there_bytes = size_bytes - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != there_bytes:
        raise ValueError(f"an array of the shape {shape} has {there_bytes} bytes")
    return shape, dtype


def _read(file: IO[bytes], size_bytes: int, axes: int | None = None) -> "Numbers":
    import numpy as np

    shape, dtype = _header(file, size_bytes, axes)
    data = file.read(size_bytes - file.tell())
    if len(data) != math.prod(shape) * dtype.itemsize or file.read(1):  # at the end, the checksum
        raise ValueError("an array is cut off")
    numbers: Numbers = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    return numbers
