"""Text files from somebody else are read within limits: YAML, JSON, recordings, numbers."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import compile_dataset
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.design.files import load
from greenbatch.design.presets import resolve
from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.documents import DEEPEST, DocumentError, parse_json, parse_yaml, write_yaml
from greenbatch.errors import ArtifactError, FileError, RunError, StudyError, UsageError
from greenbatch.models.artifacts import MANIFEST_BYTES, read_manifest
from greenbatch.queueing import recordings
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.recorded_cells import LONGEST_LINE
from greenbatch.queueing.recordings import read_recording
from greenbatch.records import Cell, parse
from greenbatch.runners.known import ThisMachine
from greenbatch.runners.run.directory import read_environment
from tests.fakes.runs import repetition, study, write_run

ALIASES = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]
)
NESTED = "[" * 3000 + "]" * 3000
DEEP_JSON = b"[" * 200_000
MEMBERS: dict[str, Any] = {
    "models": ["alexnet"],
    "backends": ["onnxruntime-cpu"],
    "batch_sizes": [1, 4],
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALIASES, "aliases"),
        ("models: &a [*a]", "aliases"),
        (NESTED, f"more than {DEEPEST} levels"),
        ("x: " + "1" * 1000, "1000 characters"),
        ("x: 2026-99-99", "cannot be read"),
        ("x: !!timestamp never", "cannot be read"),
        ("x: !!python/object/apply:os.system [ls]", "constructor"),
        ("x: " + "y" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_yaml_beyond_the_limits_is_one_problem(text: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        parse_yaml(text)


@pytest.mark.parametrize("text", [ALIASES, "models: &a [*a]", f"models: {NESTED}"])
def test_a_study_file_with_aliases_or_deep_lists_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"is not YAML in line \d+: "):
        load(tmp_path / "study.yaml")


def test_a_study_file_that_is_a_device_or_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(FileError, match="not a regular file"):
            load(path)


def test_a_study_file_that_the_user_linked_to_is_read(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("models: [alexnet]")
    (tmp_path / "here.yaml").symlink_to("there.yaml")
    assert load(tmp_path / "here.yaml").members == {"models": ["alexnet"]}


@pytest.mark.slow
def test_an_option_of_a_study_is_read_within_the_same_limits() -> None:
    with pytest.raises(StudyError, match="is not YAML"):
        resolve("yarally-batching", ThisMachine(), changes=[f"models={NESTED}"])


def test_a_run_with_aliases_in_its_study_is_one_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path, [])
    (run / "study.yaml").write_text(f"schema: 1\n{ALIASES}\nname: *a9\n")
    with pytest.raises(RunError, match=r"study.yaml in line 2: anchors"):
        read_run(run)


def test_what_is_written_as_yaml_has_no_aliases() -> None:
    shared = {"kind": "random"}
    text = write_yaml({"a": shared, "b": shared, "c": [1, 2], "d": [1, 2]})
    assert "&" not in text
    assert parse_yaml(text) == {"a": shared, "b": shared, "c": [1, 2], "d": [1, 2]}


def test_json_that_is_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=f"more than {DEEPEST} levels"):
        parse_json(DEEP_JSON)
    with pytest.raises(ValueError, match=f"more than {DEEPEST} levels"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)


def test_an_environment_that_is_nested_too_deeply_is_one_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path, [])
    (run / "environment.json").write_bytes(DEEP_JSON)
    for read in (read_run, read_environment):
        with pytest.raises(RunError, match=r"environment.json: it is nested more than"):
            read(run)


def test_a_line_of_the_journal_that_is_nested_too_deeply_is_a_damaged_one() -> None:
    journal = parse(DEEP_JSON + b"\n")
    assert journal.torn is not None
    assert "nested more than" in journal.torn


def test_a_recording_that_is_a_device_or_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError, match="not a regular file"):
            read_recording(path)


def test_a_recording_with_an_endless_line_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.csv"
    path.write_text("0\n" + "1" * (LONGEST_LINE + 1) + "\n")
    with pytest.raises(UsageError, match=f"line 2 has {LONGEST_LINE + 1} characters"):
        read_recording(path)
    path.write_text("at\n" + "1" * (LONGEST_LINE + 1) + "\n")
    with pytest.raises(UsageError, match=r"line 2: '1+' is no instant"):
        read_recording(path, "at")


def test_a_recording_that_grows_when_it_is_unpacked_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "LARGEST_BYTES", 1_000)
    path = tmp_path / "arrivals.gz"
    path.write_bytes(gzip.compress(b"0\n" * 10_000))
    assert path.stat().st_size < 1_000
    with pytest.raises(UsageError, match="is larger than"):
        read_recording(path)


def test_json_lines_that_are_nested_too_deeply_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.jsonl"
    path.write_bytes(b'{"at": 0}\n{"at": ' + DEEP_JSON + b"}\n")
    with pytest.raises(UsageError, match=r"line 2: it is nested more than"):
        read_recording(path, "at")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("repetitions", 200_000_000),
        ("batch_sizes", [10**9]),
        ("requests", 10**12),
        ("rates", [1e300]),
        ("seed", 2**64),
        ("threads", 10**6),
        ("cpu_tdp_w", float("inf")),
        ("protocol", {"window_s": float("nan")}),
        ("protocol", {"window_s": float("inf")}),
        ("protocol", {"window_iterations": 10**12}),
        ("probe_max_batch", 10**9),
    ],
)
def test_a_number_of_a_study_has_a_largest_value(member: str, value: Any) -> None:
    with pytest.raises(StudyError, match=member):
        make_study(MEMBERS | {member: value})


def test_factors_that_make_too_many_cells_are_refused_before_they_are_listed() -> None:
    values = [str(number) for number in range(1000)]
    settings = {f"onnxruntime-cpu.session.x{name}": values for name in range(10)}
    with pytest.raises(StudyError, match="cells; wanted at most"):
        make_training_study({"models": ["dense"], "settings": {"learning_rate": values} | settings})


def test_a_policy_has_a_largest_batch() -> None:
    with pytest.raises(UsageError, match="from 1 to 65536"):
        parse_policy(f"greedy:{10**9}")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"repetitions": 200_000_000}, "200,000,000 repetitions"),
        ({"repetitions": 2_900_000, "batch_sizes": [*range(1, 100)]}, "places"),
        (
            {
                "scenarios": ["server"],
                "arrivals": [f"a{n}" for n in range(3000)],
                "policies": ["greedy:4"],
                "rates": [*range(1, 3000)],
            },
            "combinations of arrivals",
        ),
    ],
)
def test_a_grid_that_is_too_large_is_refused_before_it_is_allocated(
    tmp_path: Path, members: dict[str, Any], says: str
) -> None:
    run = write_run(tmp_path, [], study() | members)
    with pytest.raises(RunError, match=says):
        compile_dataset(run)


def test_a_block_that_no_run_has_is_refused_before_the_grid_is_allocated(tmp_path: Path) -> None:
    run = write_run(tmp_path, [repetition(Cell("alexnet", "onnxruntime-cpu"), 10**12)])
    with pytest.raises(RunError, match="1,000,000,000,001 repetitions"):
        compile_dataset(run)


def test_a_manifest_that_is_huge_or_a_named_pipe_is_one_sentence(tmp_path: Path) -> None:
    with (tmp_path / "net-fp32.json").open("wb") as file:
        file.truncate(MANIFEST_BYTES + 1)
    os.mkfifo(tmp_path / "pipe-fp32.json")
    for model, problem in (("net", "larger than 10 MB"), ("pipe", "not a regular file")):
        with pytest.raises(ArtifactError, match=rf"{model}-fp32\.json: it is {problem}"):
            read_manifest(tmp_path, model)
