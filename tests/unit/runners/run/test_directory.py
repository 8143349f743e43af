"""A run's directory is one run's alone, and goes on only as the same run."""

import json
from pathlib import Path
from typing import Any

import pytest

from greenbatch.design.study import make_study
from greenbatch.errors import JournalError, RunError
from greenbatch.records import encode, parse
from greenbatch.runners.run.directory import RunDirectory
from tests.fakes.records import IDLE, repetition

STUDY = make_study({"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]})
ENVIRONMENT: dict[str, Any] = {"matters": {"cpu": "EPYC", "version of torch": "2.15.0"}}


def begun(path: Path) -> Path:
    with RunDirectory.create(path, STUDY, ENVIRONMENT) as run:
        run.append([IDLE, repetition()])
    return path


def test_what_was_appended_is_finished_when_the_run_is_resumed(tmp_path: Path) -> None:
    with RunDirectory.resume(begun(tmp_path / "run"), ENVIRONMENT) as run:
        assert run.study == STUDY
        assert [(r.cell, r.block) for r in run.journal.repetitions] == [(repetition().cell, 0)]


def test_a_directory_that_is_another_runs_is_refused(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with pytest.raises(RunError, match="already holds a run; go on with it by: gb resume"):
        RunDirectory.create(path, STUDY, ENVIRONMENT)


def test_a_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="not empty and holds no run"):
        RunDirectory.create(tmp_path, STUDY, ENVIRONMENT)
    with pytest.raises(RunError, match="is a file"):
        RunDirectory.create(tmp_path / "thesis.tex", STUDY, ENVIRONMENT)


def test_a_directory_that_was_killed_before_it_was_a_run_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "run/traces").mkdir(parents=True)
    (tmp_path / "run/environment.json").write_text("{}")
    begun(tmp_path / "run")


def test_two_processes_cannot_measure_one_run(tmp_path: Path) -> None:
    with (
        RunDirectory.create(tmp_path / "run", STUDY, ENVIRONMENT),
        pytest.raises(RunError, match="is being measured by another process"),
    ):
        RunDirectory.resume(tmp_path / "run", ENVIRONMENT)


def test_another_machine_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    other = {"matters": {"cpu": "Xeon", "version of torch": "2.15.0"}}
    with pytest.raises(RunError, match="cpu was 'EPYC' and is 'Xeon'"):
        RunDirectory.resume(path, other)
    assert json.loads((path / "environment.json").read_text()) == ENVIRONMENT


def test_a_torn_line_is_cut_off_with_a_warning_and_measured_again(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    journal = path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + encode(repetition(block=1))[:100])
    with pytest.warns(UserWarning, match="line 3, the last, is torn"):
        resumed = RunDirectory.resume(path, ENVIRONMENT)
    with resumed as run:
        assert [(r.cell, r.block) for r in run.journal.repetitions] == [(repetition().cell, 0)]
        run.append([repetition(block=1)])
    assert [r.block for r in parse(journal.read_bytes()).repetitions] == [0, 1]


def test_a_journal_that_somebody_altered_is_refused(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0].replace(b"30.0", b"20.0") + lines[1])
    with pytest.raises(JournalError, match="line 1: it was changed or damaged"):
        RunDirectory.resume(path, ENVIRONMENT)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run: it has no study\.yaml"):
        RunDirectory.resume(tmp_path, ENVIRONMENT)
