"""Where backends keep what they compile: in the user's cache folder, never in a run.

Compiled code runs when it is loaded, and a run may come from somebody else.
"""

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from greenbatch.design.study import Study
from greenbatch.user_folders import cache_folder

_FORGOTTEN_S = 30 * 24 * 3600.0
"""A run that was not resumed for so long compiles again."""


@contextmanager
def compiled_code(
    run: Path,
    study: Study,
    *,
    resumed: bool,
    keep: bool = False,
    on_step: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Path]:
    """Keep a folder for what the backends of a run compile, until the run is complete.

    Where the run is interrupted the folder stays, and is there when the run is resumed on this
    machine. Where the user has no cache folder, a temporary one takes its place.

    Args:
        run: The run's directory.
        study: Its design.
        resumed: Take what an earlier session compiled; else the folder is emptied.
        keep: Leave the folder for a later part of the same run.
        on_step: Receives a sentence where something is out of the ordinary.

    Yields:
        The folder.

    Raises:
        FileError: The cache folder belongs to another user, or others may write into it.
    """
    if (run / "cache").exists():
        on_step(f"{run / 'cache'} is not read: compiled code is kept outside of runs")
    try:
        kept = cache_folder("compiled")
        _forget_old(kept)
        name = _name(run, study)
        if not resumed:
            shutil.rmtree(kept / name, ignore_errors=True)
        folder = cache_folder("compiled", name)
        os.utime(folder)
    except OSError as error:
        on_step(f"the cache folder cannot be used ({error}); a temporary one takes its place")
        with TemporaryDirectory(prefix="greenbatch-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    yield folder
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def of_cell(folder: Path, slug: str) -> Path:
    """Return a cell's own folder; it is not created."""
    return folder / _digest(slug)


def _name(run: Path, study: Study) -> str:
    """Separate runs from each other, those of other machines with the same home folder too."""
    return _digest("\0".join((platform.node(), str(run.resolve()), study.to_yaml())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _forget_old(folder: Path) -> None:
    for each in folder.iterdir():
        with suppress(OSError):
            if time.time() - each.lstat().st_mtime > _FORGOTTEN_S:
                shutil.rmtree(each, ignore_errors=True)
