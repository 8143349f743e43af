"""A run's directory: made once, locked while it is measured, resumed only as the same run."""

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from greenbatch import files
from greenbatch.design.files import load, read_study, read_training_study
from greenbatch.design.known import Known
from greenbatch.design.study import Study
from greenbatch.design.training_study import TrainingStudy
from greenbatch.documents import parse_json
from greenbatch.errors import FileError, MeasurementError, RunError
from greenbatch.privacy import masked_members
from greenbatch.records import Journal, Record, encode
from greenbatch.records import journal as journals

Design = TypeVar("Design", bound=Study | TrainingStudy)


class Directory(ABC, Generic[Design]):
    """The files of one run, held by a lock from `create` or `resume` until `close`.

    A context manager. The lock is the operating system's: it ends with the process, however that
    ends.

    Attributes:
        path: The directory.
        study: The resolved design.
        journal: What had been measured when the directory was opened.
        on_append: Called with the lines that were written to the journal, once they are on the
            disk.
        again: The command that measures a study file anew.
    """

    again: ClassVar[str]
    on_append: Callable[[bytes], None] | None = None

    def __init__(self, path: Path, study: Design, journal: Journal, lock: FileLock) -> None:
        self.path = path
        self.study = study
        self.journal = journal
        self._lock = lock
        self._file = files.open_to_append(path / _JOURNAL)
        if journal.torn:
            os.ftruncate(self._file, journal.valid_bytes)

    @staticmethod
    @abstractmethod
    def read(path: Path) -> Design:
        """Read the design of the run in ``path``."""

    @classmethod
    def create(cls, path: Path, study: Design, environment: Mapping[str, object]) -> Self:
        """Make the directory of a new run.

        Raises:
            RunError: It holds another run, or something else.
            FileError: A link is in it, or it cannot be written.
        """
        check_free(path)
        try:
            files.make_folder(path / "traces")
        except FileError as error:
            raise RunError(f"{error}, or choose another --out") from error
        lock = _locked(path)
        with _released_on_error(lock):
            _write_environment(path, environment)
            # last: with it, it is a run
            files.write_atomically(path / _STUDY, study.to_yaml(), durable=True)
            return cls(path, study, Journal((), (), 0), lock)

    @classmethod
    def resume(cls, path: Path, environment: Mapping[str, object]) -> Self:
        """Open the directory of a run that was begun.

        A torn last line of the journal is cut off, with a warning.

        Raises:
            RunError: There is no run, another process measures it, or the machine is not the one
                that it began on; the message says what differs.
            JournalError: The journal is damaged.
            FileError: A link is in the directory, or it cannot be written.
        """
        study = cls.read(path)
        lock = _locked(path)
        with _released_on_error(lock):
            cls.require_same(path, environment)
            journal = journals.read(path / _JOURNAL)
            if journal.torn:
                warnings.warn(journal.torn, stacklevel=2)
            files.remove_old_drafts(path)
            for name in _FOLDERS:  # where only the process that holds the lock writes
                files.remove_old_drafts(path / name, older_than_s=0.0)
            _write_environment(path, environment)
            return cls(path, study, journal, lock)

    @classmethod
    def require_same(cls, path: Path, environment: Mapping[str, object]) -> None:
        """Check that the environment is the one in which the run in ``path`` began.

        Args:
            path: The run's directory.
            environment: That of now; before meters are opened, it has no ``domains``.

        Raises:
            RunError: It is another one; the message says what differs.
        """
        if changes := differences(read_environment(path), environment):
            raise RunError(
                f"cannot resume {path}: {'; '.join(changes)}; measure a new run with: "
                f"gb {cls.again} {path / 'study.yaml'} --out NEW"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: list[Record]) -> None:
        """Write records as whole lines and flush them to the disk, or leave the journal as it was.

        Raises:
            FileError: They cannot be written.
        """
        if not records:
            return
        lines = b"".join(encode(record) for record in records)
        files.append(self._file, lines, self.path / _JOURNAL)
        if self.on_append:
            self.on_append(lines)

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Say how the run goes on, if it ends because its files cannot be written.

        Raises:
            MeasurementError: They cannot.
        """
        try:
            yield
        except (FileError, OSError) as error:
            if not isinstance(error, FileError) and not files.disk_error(error):
                raise
            raise MeasurementError(
                f"{files.sentence(error, self.path)}; what was measured is kept, go on with: "
                f"gb resume {self.path}"
            ) from error

    def close(self) -> None:
        """Close the journal and give the lock back."""
        os.close(self._file)
        self._lock.release()


class RunDirectory(Directory[Study]):
    """Of a run of inference."""

    again = "bench --study"

    @staticmethod
    def read(path: Path) -> Study:
        """Read the design, see `open_study`."""
        return open_study(path)


class TrainingDirectory(Directory[TrainingStudy]):
    """Of a run of trainings; it has a folder ``checkpoints`` too while they run."""

    again = "study run"

    @staticmethod
    def read(path: Path) -> TrainingStudy:
        """Read the design, see `open_training_study`."""
        return open_training_study(path)


def check_free(path: Path) -> None:
    """Check that a new run may be made in ``path``.

    Raises:
        RunError: It holds another run, or something that no run left there.
        FileError: A link is in it.
    """
    if path.is_dir():
        files.require_plain(path)
    if (path / _STUDY).exists():
        raise RunError(
            f"{path} already holds a run; go on with it by: gb resume {path}, "
            "or choose another --out"
        )
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; choose another --out")
    # What is left when a run is killed before its study.yaml was written is not in the way.
    if path.is_dir() and any(
        entry.name not in _BEGINNINGS and not files.is_draft(entry.name) for entry in path.iterdir()
    ):
        raise RunError(f"{path} is not empty and holds no run; choose another --out")


def open_study(path: Path, known: Known | None = None) -> Study:
    """Read the design of the run of inference in ``path``.

    Args:
        path: The run's directory.
        known: What its names are checked against, before anything is measured; ``None``: they
            are taken as they are.

    Raises:
        RunError: There is no run.
        FileError: A link is in it.
        StudyError: Its ``study.yaml`` cannot be read, or is of trainings.
    """
    return read_study(_study_file(path), known)


def open_training_study(path: Path, known: Known | None = None) -> TrainingStudy:
    """Read the design of the run of trainings in ``path``; see `open_study`."""
    return read_training_study(_study_file(path), known)


def holds_trainings(path: Path) -> bool:
    """Return whether the run in ``path`` is one of trainings; see `open_study`."""
    return load(_study_file(path)).is_training


def _study_file(path: Path) -> Path:
    file = path / _STUDY
    if not file.exists():
        raise RunError(
            f"{path} is not a run: it has no study.yaml; name a directory that gb bench made"
        )
    files.require_plain(path)
    return file


def read_environment(path: Path) -> dict[str, object]:
    """Read the environment that the run in ``path`` was last measured in."""
    file = path / _ENVIRONMENT
    try:
        environment = parse_json(files.read_bytes(file, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {file}: {error}; restore it, or measure a new run") from error
    if not isinstance(environment, dict) or not isinstance(environment.get("matters", {}), dict):
        raise RunError(
            f"cannot read {file}: it holds no environment; restore it, or measure a new run"
        )
    return environment


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return what differs of the environment's ``matters``, a phrase for each member.

    ``domains`` are compared where ``now`` has them: without open meters they are not known. Modes
    of power are compared where ``before`` has them: earlier versions did not record them.
    """
    old, new = (masked_members(one.get("matters", {})) for one in (before, now))
    unknown = ({"domains"} - new.keys()) | ({"power mode", "platform profile"} - old.keys())
    return [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted({*old, *new} - unknown)
        if old.get(key) != new.get(key)
    ]


_STUDY, _ENVIRONMENT, _JOURNAL = "study.yaml", "environment.json", "journal.jsonl"
_MOST_BYTES = 10 * files.MEGABYTE_BYTES
_FOLDERS = ("traces", "accuracy", "reference")
_BEGINNINGS = {".lock", "accuracy", "traces", _ENVIRONMENT}


def _locked(path: Path) -> FileLock:
    files.require_own(path / ".lock")
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"{path} is being measured by another process; wait for it, or choose another --out"
        ) from error
    return lock


@contextmanager
def _released_on_error(lock: FileLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _write_environment(path: Path, environment: Mapping[str, object]) -> None:
    text = json.dumps(environment, indent=2) + "\n"
    files.write_atomically(path / _ENVIRONMENT, text, durable=True)
