"""A run is opened, compiled and analysed once, for its report and the terminal together."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from greenbatch.analysis.dataset import store
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.findings import caveats
from greenbatch.analysis.report import build, findings
from greenbatch.analysis.training.dataset import store as training_store
from greenbatch.analysis.training.findings import searches
from greenbatch.analysis.training.report import build as training_build
from greenbatch.analysis.training.report import search_findings
from greenbatch.workflows import inference, training
from tests.fakes import runs, training_runs
from tests.fakes.command import gb
from tests.fakes.report_text import without_figures
from tests.fakes.served_run import served_run

KINDS: dict[str, Callable[[Path], Path]] = {
    "inference": lambda path: runs.realistic_run(path, models=("alexnet",), batch_sizes=(1, 4)),
    "servers": lambda path: served_run(path, rates_hz=(40.0,)),
    "trainings": lambda path: training_runs.plain_run(path, models=("simple-cnn",)),
    "search": lambda path: training_runs.search_run(path, blocks=2),
}
COUNTED: dict[str, tuple[tuple[ModuleType, str], ...]] = {
    "opened": ((store, "read_run"), (training_store, "read_run")),
    "loaded": ((store, "read_dataset_file"),),
    "compiled": ((store, "from_files"), (training_store, "training_from_files")),
    "analysed": (
        (findings, "cell_rows"),
        (caveats, "cell_rows"),
        (training_build, "training_rows"),
    ),
    "searches": ((search_findings, "search_rows"), (searches, "search_rows")),
}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step was taken; figures on paper, which take long, are left out."""
    found: Counter[str] = Counter()

    def counting(step: str, original: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            found[step] += 1
            return original(*arguments, **named)

        return counted

    for step, places in COUNTED.items():
        for module, name in places:
            monkeypatch.setattr(module, name, counting(step, getattr(module, name)))
    without_figures(monkeypatch)
    return found


@pytest.fixture
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to measure in a run that is resumed: its report is written."""

    def resume(path: Path, *_: object, **__: object) -> inference.Run:
        records = tuple(read_run(path).journal.repetitions)
        return inference.Run(path, records, *build.report_of_run(path))

    def resume_training(path: Path, *_: object, **__: object) -> training.Run:
        records = tuple(read_run(path).journal.trainings)
        return training.Run(path, records, *training_build.report_of_run(path))

    monkeypatch.setattr(inference, "resume", resume)
    monkeypatch.setattr(training, "resume_training", resume_training)


def once(kind: str) -> dict[str, int]:
    return {"opened": 1, "compiled": 1, "analysed": 1} | (
        {"searches": 1} if kind == "search" else {}
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_measured")
@pytest.mark.parametrize("command", ["report", "resume"])
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["terminal", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_opened_and_analysed_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    counts: Counter[str],
    kind: str,
    options: tuple[str, ...],
    command: str,
) -> None:
    run = KINDS[kind](tmp_path / "run")
    code, shown, errors = gb(capsys, command, run, *options)
    assert code == 0
    assert bool(errors) is not bool(options)
    assert all(": gb " in line for line in errors.splitlines())  # what may follow
    page = json.loads(shown)["report"] if options else shown.partition("report: ")[2].split()[0]
    assert page == str(run / "report" / "index.html")
    assert counts == once(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inference", "search"])
def test_a_dataset_file_is_loaded_and_analysed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], counts: Counter[str], kind: str
) -> None:
    gb(capsys, "report", KINDS[kind](tmp_path / "run"))
    file = (tmp_path / "run" / "dataset.nc").rename(tmp_path / "alone.nc")
    counts.clear()
    code, shown, _ = gb(capsys, "report", file)
    assert (code, f"report: {tmp_path / 'alone-report' / 'index.html'}" in shown) == (0, True)
    steps = once(kind)
    del steps["opened"], steps["compiled"]
    assert counts == steps | {"loaded": 1}
