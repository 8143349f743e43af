"""Where artifacts are made and how they get their names: nothing half-written is left behind.

Whoever makes an artifact holds the model's lock, works in a folder of its own beside the
artifacts, and publishes all files of an artifact together.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from greenbatch.errors import ArtifactError, ExportError, FileError
from greenbatch.files import (
    disk_error,
    explain,
    followed,
    read_bytes,
    require_own,
    write_atomically,
)
from greenbatch.models.artifacts import DATA_SUFFIX, MANIFEST_BYTES, manifest_at, stem
from greenbatch.records import PRECISIONS, Manifest

Report = Callable[[str], None]

_FOLDER_LOCK = ".artifacts.lock"


@contextlib.contextmanager
def locked(folder: Path, name: str, report: Report) -> Iterator[None]:
    """Hold the only right to write a model's files in ``folder``; translate what disks say.

    Raises:
        ExportError: The folder cannot be written, or is full.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_own(folder / f".{name}.lock")
        lock = FileLock(folder / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(f"waiting for another export of {name}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except Exception as error:
        found = error if isinstance(error, OSError) else disk_error(error)
        if found is None or isinstance(error, FileError):
            raise
        cause, cure = explain(found)
        raise ExportError(
            f"cannot write artifacts into {folder}: {cause}; {cure} or choose another folder"
        ) from error


@contextlib.contextmanager
def staging_folder(folder: Path, name: str) -> Iterator[Path]:
    """Make a folder beside the artifacts that vanishes with all that did not become one.

    Under the lock nobody else works on this model: what a killed export left is removed.
    """
    _clean_up(folder, name)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_prefix(name)) as path:
        yield Path(path)


def clear(folder: Path, name: str) -> None:
    """Remove what a killed export of a model left, unless another works on the model already."""
    from filelock import FileLock, Timeout

    path = folder / f".{name}.lock"
    with contextlib.suppress(Timeout, OSError, FileError):
        require_own(path)
        with FileLock(path, timeout=0):
            _clean_up(folder, name)


def _clean_up(folder: Path, name: str) -> None:
    for left in folder.glob(f"{_prefix(name)}*"):
        shutil.rmtree(left, ignore_errors=True)


def publish(folder: Path, manifest: Manifest, files: Iterable[Path]) -> None:
    """Give the files of a proved artifact their names, and write its manifest.

    The manifest goes first and comes last: while it is there, all that it names is right. The
    folder is locked meanwhile: between the two, no manifest names the files.

    Args:
        folder: Of the artifacts.
        manifest: Names all of ``files``.
        files: In a staging folder in ``folder``.

    Raises:
        ExportError: The names are those of another artifact's files.
    """
    from filelock import FileLock

    files = list(files)
    name = f"{stem(manifest.model, manifest.precision)}.json"
    _require_free(folder / name, manifest)
    draft = files[0].parent / name
    write_atomically(draft, manifest.to_json())
    require_own(folder / _FOLDER_LOCK)
    with FileLock(folder / _FOLDER_LOCK):
        (folder / name).unlink(missing_ok=True)
        for path in (*files, draft):
            path.replace(folder / path.name)
        _clean_up_unnamed(folder, manifest.model)


def _require_free(path: Path, manifest: Manifest) -> None:
    """Refuse to replace another artifact: a file was renamed, or names differ in case alone."""
    try:
        found = manifest_at(path)
    except (OSError, ArtifactError):  # none, or a damaged one
        return
    if (found.model, found.precision) != (manifest.model, manifest.precision):
        raise ExportError(
            f"{path} is of {found.model} in {found.precision}, and would be replaced by "
            f"{manifest.model} in {manifest.precision}; export it by another name, or elsewhere"
        )


def _prefix(name: str) -> str:
    return f".{name}.export-"


def _clean_up_unnamed(folder: Path, model: str) -> None:
    """Remove files named by their content that no manifest names any more, of this model alone.

    ``net-int8-0123456789ab.onnx.data`` may be of ``net`` in int8 or of a model ``net-int8``: it
    stays while the manifest of either names it.
    """
    try:
        used = b"".join(
            read_bytes(followed(path), MANIFEST_BYTES) for path in folder.glob("*.json")
        )
    except (OSError, FileError):  # what it names is not known: nothing is removed
        return
    stems = "|".join(re.escape(stem(model, precision)) for precision in PRECISIONS)
    digits = "-[0-9a-f]{12}"
    weights = rf"{re.escape(model)}{digits}\.safetensors"
    ours = re.compile(rf"{weights}|({stems}){digits}{re.escape(DATA_SUFFIX)}")
    for path in folder.iterdir():
        if ours.fullmatch(path.name) and path.name.encode() not in used:
            path.unlink(missing_ok=True)
