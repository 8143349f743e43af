"""A run's directory: made once, locked while it is measured, resumed only as the same run."""

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from greenbatch.documents import parse_json
from greenbatch.errors import RunError
from greenbatch.records import Journal, Record, encode, parse
from greenbatch.runners.study import Study
from greenbatch.runners.study_files import load, read_study, read_training_study
from greenbatch.runners.training.study import TrainingStudy

Design = TypeVar("Design", bound=Study | TrainingStudy)


class Directory(ABC, Generic[Design]):
    """The files of one run, held by a lock from `create` or `resume` until `close`.

    A context manager. The lock is the operating system's: it ends with the process, however that
    ends.

    Attributes:
        path: The directory.
        study: The resolved design.
        journal: What had been measured when the directory was opened.
        again: The command that measures a study file anew.
    """

    again: ClassVar[str]

    def __init__(self, path: Path, study: Design, journal: Journal, lock: FileLock) -> None:
        self.path = path
        self.study = study
        self.journal = journal
        self._lock = lock
        self._file = os.open(
            path / "journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | _O_BINARY, 0o644
        )

    @staticmethod
    @abstractmethod
    def read(path: Path) -> Design:
        """Read the design of the run in ``path``."""

    @classmethod
    def create(cls, path: Path, study: Design, environment: Mapping[str, Any]) -> Self:
        """Make the directory of a new run.

        Raises:
            RunError: It holds another run, or something else.
        """
        check_free(path)
        try:
            (path / "traces").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the run directory {path}: {error.strerror}; choose another --out"
            ) from error
        lock = _locked(path)
        _write_whole(path / "environment.json", json.dumps(environment, indent=2) + "\n")
        _write_whole(path / "study.yaml", study.to_yaml())  # last: with it, it is a run
        return cls(path, study, Journal((), (), 0), lock)

    @classmethod
    def resume(cls, path: Path, environment: Mapping[str, Any]) -> Self:
        """Open the directory of a run that was begun.

        A torn last line of the journal is cut off, with a warning.

        Raises:
            RunError: There is no run, another process measures it, or the machine is not the one
                that it began on; the message says what differs.
            JournalError: The journal is damaged.
        """
        study = cls.read(path)
        lock = _locked(path)
        try:
            before = read_environment(path)
            if changes := differences(before, environment):
                raise RunError(
                    f"cannot resume {path}: {'; '.join(changes)}; measure a new run with: "
                    f"gb {cls.again} {path / 'study.yaml'} --out NEW"
                )
            file = path / "journal.jsonl"
            journal = parse(file.read_bytes() if file.exists() else b"", str(file))
            if journal.torn:
                warnings.warn(journal.torn, stacklevel=2)
                os.truncate(file, journal.valid_bytes)
            _write_whole(path / "environment.json", json.dumps(environment, indent=2) + "\n")
            return cls(path, study, journal, lock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: list[Record]) -> None:
        """Write records as whole lines and flush them to the disk."""
        data = b"".join(encode(record) for record in records)
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

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
    """
    if (path / "study.yaml").exists():
        raise RunError(
            f"{path} already holds a run; go on with it by: gb bench --resume {path}, "
            "or choose another --out"
        )
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file; choose another --out")
    # What is left when a run is killed before its study.yaml was written is not in the way.
    if path.is_dir() and {entry.name for entry in path.iterdir()} - _BEGINNINGS:
        raise RunError(f"{path} is not empty and holds no run; choose another --out")


def open_study(path: Path) -> Study:
    """Read the design of the run of inference in ``path``.

    Raises:
        RunError: There is no run.
        StudyError: Its ``study.yaml`` cannot be read, or is of trainings.
    """
    return read_study(_study_file(path))


def open_training_study(path: Path) -> TrainingStudy:
    """Read the design of the run of trainings in ``path``; see `open_study`."""
    return read_training_study(_study_file(path))


def holds_trainings(path: Path) -> bool:
    """Tell whether the run in ``path`` is one of trainings; see `open_study`."""
    return load(_study_file(path)).is_training


def _study_file(path: Path) -> Path:
    file = path / "study.yaml"
    if not file.exists():
        raise RunError(
            f"{path} is not a run: it has no study.yaml; name a directory that gb bench made"
        )
    return file


def read_environment(path: Path) -> dict[str, Any]:
    """Read the environment that the run in ``path`` was last measured in."""
    file = path / "environment.json"
    try:
        environment = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {file}: {error}; restore it, or measure a new run") from error
    if not isinstance(environment, dict) or not isinstance(environment.get("matters", {}), dict):
        raise RunError(
            f"cannot read {file}: it holds no environment; restore it, or measure a new run"
        )
    return environment


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs of the environment's ``matters``, a phrase for each member."""
    old, new = before.get("matters", {}), now.get("matters", {})
    return [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


_O_BINARY = getattr(os, "O_BINARY", 0)
_BEGINNINGS = {
    ".lock",
    "accuracy",
    "traces",
    "environment.json",
    ".environment.json",
    ".study.yaml",
}


def _locked(path: Path) -> FileLock:
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"{path} is being measured by another process; wait for it, or choose another --out"
        ) from error
    return lock


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut."""
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
