"""A run directory, read: the study, the environment, the journal and the accuracies."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from greenbatch.design.environment import Environment
from greenbatch.design.recorded import AnyRecordedStudy, recorded_study
from greenbatch.documents import DocumentError, parse_json, parse_yaml
from greenbatch.errors import RunError
from greenbatch.files import open_regular, read_bytes, require_plain
from greenbatch.plain_text import storable
from greenbatch.records import Journal
from greenbatch.records.accuracy import FOLDER, Accuracy, parse_accuracy
from greenbatch.records.journal import MOST_BYTES, lines_of, parse_lines

STUDY = "study.yaml"
ENVIRONMENT = "environment.json"
JOURNAL = "journal.jsonl"
SCHEMA = 1
_Checked = TypeVar("_Checked")
_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 10_000_000  # of a design, an environment or an accuracy


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The contents of a run directory.

    Attributes:
        path: The directory.
        study: The resolved design, as ``study.yaml`` has it.
        environment: Machine, versions and meters; empty where the file does not exist.
        journal: All finished repetitions and idle measurements.
        digest: SHA-256 over the files, which tells whether a dataset is up to date.
        accuracies: As measured for the run's artifacts, from ``accuracy/``.
    """

    path: Path
    study: AnyRecordedStudy
    environment: Environment
    journal: Journal
    digest: str
    accuracies: tuple[Accuracy, ...] = ()


def read_run(run: Path) -> RunFiles:
    """Read a run directory; a torn last line of the journal is a warning.

    Args:
        run: The directory that ``gb bench`` wrote.

    Raises:
        RunError: It is not a run directory, or one of its files cannot be read.
        FileError: A link or anything but files and folders is in it.
        JournalError: The journal is damaged before its last line.
        ArtifactError: A record of accuracy is damaged.
    """
    sizes = _sizes(run)  # first: a journal that grows meanwhile then looks newer, not older
    study = _study(run / STUDY)
    environment = _environment(run / ENVIRONMENT)
    with ThreadPoolExecutor(1) as beside:
        stamp = beside.submit(_hash, sizes)
        journal = _journal(run / JOURNAL)
    if journal.torn:
        warnings.warn(journal.torn, stacklevel=2)
    accuracies = tuple(parse_accuracy(_bytes(path), str(path)) for path in _accuracies(run))
    return RunFiles(run, study, environment, journal, stamp.result(), accuracies)


def read_study(run: Path) -> AnyRecordedStudy:
    """Read the design of a run alone.

    Raises:
        RunError: It is not a run directory, or the design cannot be read.
    """
    _require_run(run)
    return _study(run / STUDY)


def digest(run: Path) -> str:
    """Hash the files that a dataset is made of.

    Content rather than modification times: these do not survive a copy or a checkout.
    """
    return _hash(_sizes(run))


def _sizes(run: Path) -> dict[Path, int]:
    """Return the size in bytes of each file that a dataset is made of."""
    _require_run(run)
    sizes = {}
    for path in (run / STUDY, run / ENVIRONMENT, run / JOURNAL, *_accuracies(run)):
        with _opened(path) as file:
            sizes[path] = file.seek(0, os.SEEK_END)
        if sizes[path] > (limit_bytes := MOST_BYTES if path.name == JOURNAL else _MOST_BYTES):
            raise RunError(
                f"{path} is larger than {limit_bytes / 1e6:.0f} MB, which no such file of a run "
                "is; restore the file"
            )
    return sizes


def _hash(sizes: Mapping[Path, int]) -> str:
    """Hash the files as long as they were."""
    total = hashlib.sha256()
    for path, left in sizes.items():
        total.update(f"{path.name} {left}\n".encode())
        with _opened(path) as file:
            while left and (data := file.read(min(left, _CHUNK_BYTES))):
                total.update(data)
                left -= len(data)
    return total.hexdigest()


def _accuracies(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("*.json"))


def _require_run(run: Path) -> None:
    if not run.is_dir():
        what = "a file" if run.exists() else "not there"
        raise RunError(f"{run} is {what}; give the directory that 'gb bench' wrote")
    if not (run / STUDY).is_file():
        raise RunError(
            f"{run} is not a run: it has no {STUDY}; give the directory that 'gb bench' wrote"
        )
    require_plain(run)


def _journal(path: Path) -> Journal:
    with _opened(path) as file:
        return parse_lines(lines_of(file, JOURNAL), JOURNAL)


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:  # nothing measured yet, or an environment that was not recorded
        return b""


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of the run; one that is not there is empty."""
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        yield io.BytesIO()


def _study(path: Path) -> AnyRecordedStudy:
    try:
        study = parse_yaml(_bytes(path))
    except DocumentError as error:
        line = f" in line {error.line}" if error.line else ""
        raise RunError(
            f"cannot read {path}{line}: {error.problem}; restore the file as 'gb bench' wrote it"
        ) from error
    if isinstance(study, dict) and (schema := study.get("schema")) != SCHEMA:
        raise RunError(
            f"{path} has schema {schema!r}, this program reads schema {SCHEMA}; "
            "use the version of greenbatch that wrote it"
        )
    return _checked(path, recorded_study, storable(study))


def _environment(path: Path) -> Environment:
    data = _bytes(path)
    if not data:
        return Environment()
    try:
        environment = parse_json(data)
    except ValueError as error:
        raise RunError(
            f"cannot read {path}: {error}; restore the file as 'gb bench' wrote it"
        ) from error
    return _checked(path, Environment.read, storable(environment))


def _checked(path: Path, check: Callable[[object], _Checked], members: object) -> _Checked:
    try:
        return check(members)
    except ValueError as error:
        raise RunError(
            f"cannot read {path}: {error}; restore the file as 'gb bench' wrote it"
        ) from error
