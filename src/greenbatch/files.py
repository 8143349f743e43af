"""Read and write files of a run: regular files only, within limits, never through a link.

A run directory may come from somebody else. Nothing here follows a link inside it, waits on a
named pipe, or reads more than the caller allows. What is written gets its name when it is
complete, so that a reader sees the old file or the new one and never a part.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from greenbatch.errors import FileError

MEGABYTE_BYTES = 1_000_000

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe does not wait for its other end
_BINARY = getattr(os, "O_BINARY", 0)
_CLOSED_IN_CHILDREN = getattr(os, "O_CLOEXEC", 0)
_DRAFT = re.compile(r"\..+\.[0-9a-f]{16}\.draft")
_OLD_S = 3600.0
_BUFFER_BYTES = 1 << 20  # a line of a journal is longer than half of Python's own
_MOST_ENTRIES = 1_000_000

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OF_THE_DISK = _NO_SPACE | {errno.EROFS, errno.EIO}
_STATED = re.compile(r"errno = (\d+)")  # HDF5 raises a RuntimeError with the error in its text
_LONGEST_NAME = 50  # characters of a draft's name that are the file's: 255 bytes are allowed
_CAUSES = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EFBIG: ("the file would exceed the limit on file sizes", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "remount it or choose another folder"),
    errno.EACCES: ("permission denied", "change its permissions or choose another folder"),
    errno.EPERM: ("permission denied", "change its permissions or choose another folder"),
    errno.EIO: ("the disk reported an input/output error", "check the disk"),
    errno.EPIPE: ("what reads it has ended", "let it read to the end"),
    errno.EBADF: ("it is closed", "open it or name a file"),
    errno.ELOOP: ("it is a symbolic link", "replace it by the file it points to"),
}


def explain(error: OSError) -> tuple[str, str]:
    """Return the cause of a file error and its cure, as two phrases.

    Args:
        error: As the operating system raised it.
    """
    known = _CAUSES.get(error.errno or 0)
    return known or ((error.strerror or str(error)).lower(), "check the path")


def sentence(error: FileError | OSError, path: Path | str) -> str:
    """Say why ``path`` cannot be written, unless the error says it itself."""
    if isinstance(error, FileError):
        return str(error)
    cause, cure = explain(error)
    return f"cannot write {path}: {cause}; {cure}"


def out_of_space(error: BaseException) -> bool:
    """Whether a file error means that the disk, the quota or the largest file size is used up."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def disk_error(error: BaseException) -> OSError | None:
    """Return the error of the disk that an exception came of, whatever a library made of it.

    Returns:
        ``None`` where no disk was full, read-only or faulty.
    """
    seen: BaseException | None = error
    while seen is not None:
        stated = _STATED.search(str(seen)) if isinstance(seen, RuntimeError) else None
        code = seen.errno if isinstance(seen, OSError) else int(stated[1]) if stated else 0
        if code in _OF_THE_DISK:
            return seen if isinstance(seen, OSError) else OSError(code, os.strerror(code))
        seen = seen.__cause__ or seen.__context__
    return None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        FileNotFoundError: It does not exist.
        FileError: It is a link, a folder, a named pipe or a device, or cannot be read.
    """
    flags = os.O_RDONLY | _NO_LINK | _AT_ONCE | _BINARY | _CLOSED_IN_CHILDREN
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        cause, cure = explain(error)
        raise FileError(f"cannot read {path}: {cause}; {cure}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileError(f"cannot read {path}: it is not a regular file; replace it by one")
    return os.fdopen(descriptor, "rb", _BUFFER_BYTES)


def followed(path: Path) -> Path:
    """Return what a path leads to: of a file that the user named, and that may be a link."""
    return Path(os.path.realpath(path))


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        limit_bytes: The largest size that is read.

    Raises:
        FileNotFoundError: It does not exist.
        FileError: It is not a regular file, larger than the limit, or cannot be read.
    """
    with open_regular(path) as file:
        try:
            data = file.read(limit_bytes + 1)
        except OSError as error:
            cause, cure = explain(error)
            raise FileError(f"cannot read {path}: {cause}; {cure}") from error
    if len(data) > limit_bytes:
        raise FileError(
            f"cannot read {path}: it is larger than {limit_bytes / MEGABYTE_BYTES:g} MB, the most "
            "that is read of such a file; restore the file as greenbatch wrote it"
        )
    return data


def read_text(path: Path, limit_bytes: int) -> str:
    """Read a regular file of UTF-8 text whole; see `read_bytes`."""
    try:
        return read_bytes(path, limit_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(
            f"cannot read {path}: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from error


@contextlib.contextmanager
def draft(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Create an empty file beside ``path``; on success it replaces ``path``, else it is removed.

    The draft's name cannot be guessed, and a link of that name is not followed. A link at
    ``path`` itself is replaced, not followed.

    Args:
        path: The file to write.
        durable: Flush the contents to the disk before the file gets its name.

    Yields:
        The draft's path, to be opened for writing.

    Raises:
        FileError: The file cannot be written: the disk is full, read-only, ...
    """
    unfinished = _draft_of(path)
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666))
        yield unfinished
        if durable:
            _flush(unfinished)
        unfinished.replace(path)
        if durable:
            _flush(path.parent)
    except Exception as error:
        raise _not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Create an empty folder beside ``path``; on success it gets that name, else it is removed.

    Args:
        path: The folder to write; it does not exist.

    Raises:
        FileError: It cannot be written.
    """
    unfinished = _draft_of(path)
    try:
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(path)
    except Exception as error:
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name[:_LONGEST_NAME]}.{secrets.token_hex(8)}.draft")


def _not_written(path: Path, error: Exception) -> Exception:
    """Return the error to raise for a draft that failed: the same, unless a file was its cause."""
    found = error if isinstance(error, OSError) else disk_error(error)
    if found is None or isinstance(error, FileError):
        return error
    return FileError(sentence(found, path))


def write_atomically(path: Path, data: bytes | memoryview | str, *, durable: bool = False) -> None:
    """Write a file so that it is there complete or not at all; see `draft`.

    Args:
        path: The file.
        data: Its contents; text is written as UTF-8.
        durable: Flush it to the disk, so that it outlives a power cut.

    Raises:
        FileError: It cannot be written.
    """
    with draft(path, durable=durable) as unfinished:
        unfinished.write_bytes(data.encode() if isinstance(data, str) else data)


def write_output(path: Path, data: bytes | str) -> None:
    """Write a file that the user named: whole, or into the device or named pipe that it is.

    Raises:
        FileError: It cannot be written.
    """
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
        if special:
            path.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise _not_written(path, error) from error
    if not special:
        write_atomically(path, data)


def open_to_append(path: Path) -> int:
    """Open a regular file for appending, created where it does not exist.

    Returns:
        The file's descriptor.

    Raises:
        FileError: It is a link or has a second name elsewhere (a hard link), is not a regular
            file, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINK | _AT_ONCE | _BINARY
    try:
        descriptor = os.open(path, flags | _CLOSED_IN_CHILDREN, 0o644)
    except OSError as error:
        cause, cure = explain(error)
        raise FileError(f"cannot write {path}: {cause}; {cure}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        kind = "has a second name elsewhere" if found.st_nlink > 1 else "is not a regular file"
        raise FileError(f"cannot write {path}: it {kind}; replace it by a copy")
    return descriptor


def append(descriptor: int, data: bytes, path: Path) -> None:
    """Append to a file and flush it to the disk, or leave it as it was.

    Args:
        descriptor: See `open_to_append`.
        data: All of it is written.
        path: The file's name, for the message.

    Raises:
        FileError: It cannot be written.
    """
    size_bytes = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size_bytes)
        raise FileError(sentence(error, path)) from error


def append_to(path: Path, data: bytes) -> None:
    """Open a file, or begin it, and append to it; see `append`."""
    descriptor = open_to_append(path)
    try:
        append(descriptor, data, path)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder of a run, and what is missing above it; one that exists stays.

    Raises:
        FileError: It is a link or a file, or cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause, cure = explain(error)
        raise FileError(f"cannot create {path}: {cause}; {cure}") from error
    if path.is_symlink():
        raise FileError(f"cannot write into {path}: it is a symbolic link; replace it by a folder")


def require_own(path: Path) -> None:
    """Check a file that another library opens by its name: no link, and no other name elsewhere.

    Raises:
        FileError: It is anything but a regular file with one name, or nothing.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        cause, cure = explain(error)
        raise FileError(f"cannot read {path}: {cause}; {cure}") from error
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise FileError(f"cannot use {path}: it is a link or no regular file; remove it")


def require_plain(folder: Path) -> None:
    """Check that a run holds nothing but folders and regular files, at any depth.

    ``folder`` itself may be a link: the user named it.

    Raises:
        FileError: Something in it is a link, a named pipe, a socket or a device; or it holds more
            than a million entries.
    """
    entries = 0
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False):
                        raise _not_plain(folder, entry)
        except OSError as error:
            if here != folder and isinstance(error, FileNotFoundError):
                continue  # removed meanwhile, by the process that measures the run
            cause, cure = explain(error)
            raise FileError(f"cannot read {here}: {cause}; {cure}") from error
        if entries > _MOST_ENTRIES:
            raise FileError(
                f"{folder} holds more than {_MOST_ENTRIES} files; a run has fewer: give the "
                "directory that greenbatch wrote"
            )


def _not_plain(folder: Path, entry: "os.DirEntry[str]") -> FileError:
    name = Path(entry.path).relative_to(folder).as_posix()
    if not entry.is_symlink():
        return FileError(f"{folder} has {name!r}, which is no file or folder; remove it")
    return FileError(
        f"{folder} has a symbolic link, {name!r}, and a run holds files and folders alone; "
        "remove it, unless you made it yourself and put the files in its place"
    )


def is_draft(name: str) -> bool:
    """Whether `draft` gives such names to unfinished files."""
    return _DRAFT.fullmatch(name) is not None


def remove_old_drafts(folder: Path, older_than_s: float = _OLD_S) -> None:
    """Remove drafts in ``folder`` that a process left behind when it was killed.

    Only names that `draft` gives are removed, and only regular files.

    Args:
        folder: Where they may be.
        older_than_s: A younger one may be that of another process; 0 where none may write there.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if (
                is_draft(entry.name)
                and entry.is_file(follow_symlinks=False)
                and time.time() - entry.stat(follow_symlinks=False).st_mtime >= older_than_s
            ):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | _NO_LINK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
