"""A run of any kind is resumed by one command; ``--resume`` of the others is short for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import greenbatch
from greenbatch.design.study import Study
from greenbatch.errors import RunError
from greenbatch.workflows import inference, training
from tests.fakes import runs, training_runs
from tests.fakes.command import gb


def _trainings(path: Path) -> Path:
    return training_runs.plain_run(path, models=("dense", "simple-cnn"))


KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "inference": (runs.realistic_run, "inference"),
    "trainings": (_trainings, "training"),
    "search": (training_runs.search_run, "training"),
}
COMMANDS = (("resume",), ("bench", "--resume"), ("train", "--resume"), ("tune", "--resume"))


@pytest.fixture
def _named_by_the_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each workflow refuses to resume, and says which one it is and what it was given."""

    def refusing(name: str) -> Callable[..., None]:
        def resume(
            path: Path, listener: object, *, trust: bool, share_machine: bool, wait_machine_s: float
        ) -> None:
            kind = type(listener).__module__.rpartition(".")[2]
            raise RunError(f"{name} {path.name} {kind} {trust} {share_machine} {wait_machine_s:g}")

        return resume

    monkeypatch.setattr(inference, "resume", refusing("inference"))
    monkeypatch.setattr(training, "resume_training", refusing("training"))


@pytest.mark.usefixtures("_named_by_the_workflow")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_every_command_resumes_every_kind_of_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, words: tuple[str, ...]
) -> None:
    make, workflow = KINDS[kind]
    run = make(tmp_path / "run")
    code, _, errors = gb(capsys, *words, run, "--share-machine", "--wait-machine", "30m")
    assert (code, errors) == (2, f"gb: {workflow} run {workflow} False True 1800\n")


@pytest.mark.parametrize(
    ("words", "runs_study"),
    [
        (("bench", "alexnet", "--provider", "cpu", "--full"), (inference, "run_study")),
        (("study", "run", "cruz-guide"), (inference, "run_study")),
        (("train", "simple-cnn", "--data", "digits"), (training, "run_training")),
        (("tune", "simple-cnn", "--data", "digits"), (training, "run_training")),
    ],
    ids=lambda words: words[0] if isinstance(words[0], str) else None,
)
def test_every_new_run_shares_or_waits_for_the_machine_as_asked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    runs_study: tuple[object, str],
) -> None:
    def refuse(*_: object, trust: bool, share_machine: bool, wait_machine_s: float) -> None:
        raise RunError(f"{trust} {share_machine} {wait_machine_s:g}")

    monkeypatch.setattr(*runs_study, refuse)
    asked = ("--share-machine", "--wait-machine", "30m", "--out", tmp_path / "run")
    code, _, errors = gb(capsys, *words, *asked)
    assert (code, errors.splitlines()[-1]) == (2, "gb: True True 1800")


def test_a_study_may_wait_for_a_quiet_machine_or_refuse_a_busy_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(study: Study, *_: object, **__: object) -> None:
        raise RunError(f"{study.on_busy} {study.wait_quiet}")

    monkeypatch.setattr(inference, "run_study", refuse)
    asked = ("--on-busy", "refuse", "--wait-quiet", "7m", "--out", tmp_path / "run")
    code, _, errors = gb(capsys, "study", "run", "cruz-guide", *asked)
    assert (code, errors.splitlines()[-1]) == (2, "gb: refuse 420.0")


@pytest.mark.parametrize("option", ["--on-busy", "--wait-quiet", "--weights", "--artifacts"])
def test_a_study_of_trainings_has_no_options_of_inference(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    code, _, errors = gb(capsys, "study", "run", "yarally-training-layers", option, "refuse")
    assert code == 2
    assert errors == (
        f"gb: yarally-training-layers is a training study, and {option} is for studies of "
        "inference; remove it\n"
    )


@pytest.mark.usefixtures("_named_by_the_workflow")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listener", [None, inference.Listener(), training.Listener()])
def test_python_resumes_every_kind_of_run_for_every_listener(
    tmp_path: Path, kind: str, listener: inference.Listener | training.Listener | None
) -> None:
    make, workflow = KINDS[kind]
    with pytest.raises(RunError, match=f"{workflow} run {workflow} True False"):
        greenbatch.resume(make(tmp_path / "run"), listener, trust=True)


def test_what_is_no_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = gb(capsys, "resume", tmp_path)
    assert code == 2
    assert errors.count("\n") == 1
    assert "is not a run" in errors
