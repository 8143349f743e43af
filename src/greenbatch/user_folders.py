"""Folders of the user, outside any run, that nobody else can write to."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from greenbatch.errors import FileError


def cache_folder(*parts: str) -> Path:
    """Return a folder for what can be made again, ``~/.cache/greenbatch`` or below.

    Args:
        parts: Names of folders below it; each is created where it does not exist.

    Raises:
        FileError: One belongs to another user, or others may write into it.
        OSError: It cannot be created.
    """
    return private_folder(_base("XDG_CACHE_HOME", ".cache"), "greenbatch", *parts)


def state_folder(*parts: str) -> Path:
    """Return a folder for what is kept, ``~/.local/state/greenbatch``; see `cache_folder`."""
    return private_folder(_base("XDG_STATE_HOME", ".local/state"), "greenbatch", *parts)


def runtime_folder() -> Path:
    """Return a folder for what lasts no longer than a process; see `cache_folder`.

    It is ``greenbatch`` in XDG_RUNTIME_DIR or ``/run/user/UID``, whichever exists and belongs to
    the user, else ``/tmp/greenbatch-UID``.
    """
    if os.name != "posix":
        return private_folder(Path(tempfile.gettempdir()), "greenbatch")
    named = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    for base in (named, Path(f"/run/user/{os.geteuid()}")):
        with contextlib.suppress(OSError):
            if base.is_absolute() and base.stat().st_uid == os.geteuid():
                return private_folder(base, "greenbatch")
    return private_folder(Path("/tmp"), f"greenbatch-{os.geteuid()}")


def private_folder(base: Path, *parts: str) -> Path:
    """Return a folder below ``base``, created where it does not exist, that is the user's alone.

    Raises:
        FileError: It, or a folder between, is a link, belongs to another user, or may be written
            by others.
        OSError: It cannot be created.
    """
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = base
    for part in parts:
        folder = folder / part
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check_private(folder)
    return folder


def _check_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise FileError(f"{folder} is a link or a file, and wanted is a folder; remove it")
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise FileError(
            f"{folder} belongs to user {found.st_uid}, who could put files there that this program "
            "trusts; remove it, or set XDG_CACHE_HOME, XDG_STATE_HOME or XDG_RUNTIME_DIR"
        )
    if found.st_mode & 0o022:
        raise FileError(
            f"{folder} may be written by other users (mode {stat.S_IMODE(found.st_mode):o}), and "
            f"this program trusts what is in it; empty it and run: chmod 700 {folder}"
        )


def _base(variable: str, default: str) -> Path:
    """Return what an XDG variable names; a relative path does not count, as XDG asks."""
    named = Path(os.environ.get(variable, ""))
    if named.is_absolute():
        return named
    try:
        return Path.home() / default
    except RuntimeError as error:
        raise OSError(str(error)) from error
