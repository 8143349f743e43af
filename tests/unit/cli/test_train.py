"""``gb train``: wrong use in a sentence, and what it shows of trainings."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from greenbatch.analysis.training.report.findings import Findings, TrainingFindings
from greenbatch.cli.output.training import (
    TrainingRow,
    lost_sentences,
    show_trainings,
    training_rows,
    training_table,
    trainings_as_json,
)
from greenbatch.cli.output.training_progress import line
from greenbatch.records import Epoch, Record, Status, Training, TrainingCell, encode, parse
from greenbatch.runners.training.parent.execution import Progress
from greenbatch.workflows.training import Run
from tests.fakes.command import gb
from tests.unit.runners.training.parent.test_ledger import phase


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "gb train simple-cnn"),
        (["densest"], "unknown network 'densest'"),
        (["dense", "--data", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
        (["dense", "--set", "learning_rate"], "learning_rate=0.01,0.1"),
        (["dense", "--set", "relu=0", "--set", "relu=1"], "relu is set twice"),
        (["dense", "--set", "conv_layers=1"], "dense takes no conv_layers; it takes"),
        (["dense", "--set", "learning_rate=0"], "learning_rate is 0; wanted"),
        (["dense", "--epochs", "0"], "epochs is 0: input should be greater than or equal to 1"),
        (["dense", "--precision", "fp16"], "precisions.0 is 'fp16'"),
        (["dense", "--provider", "tpu"], "backends.0 is 'torch-tpu'"),
        (["--resume", "nowhere"], "nowhere is not a run"),
        (["dense", "--resume", "nowhere"], "--resume takes the design from"),
        (["dense", "--data", "folder:nowhere", "--threads", "1"], "nowhere"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, errors = gb(capsys, "train", *arguments)
    assert (code, out) == (2, "")
    (said,) = [each for each in errors.splitlines() if each.startswith("gb: ")]
    assert sentence in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_shows_every_training_and_does_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = gb(
        capsys, "train", "dense", "--set", "relu=0,1", "--repetitions", 2, "--dry-run"
    )
    assert code == 0
    assert out.count("dense on digits with torch-cpu, batch 32, relu ") == 4
    assert not list(tmp_path.iterdir())


def test_a_run_of_trainings_is_no_run_of_inference(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("kind: training\nmodels: [dense]\n")
    code, _, errors = gb(capsys, "bench", "--study", study)
    assert code == 2
    assert "is a study of trainings" in errors


def cell(**more: Any) -> TrainingCell:
    return TrainingCell("dense", "digits", **more)


def epoch(of: TrainingCell, number: int, block: int = 0, **more: Any) -> Epoch:
    members: dict[str, Any] = {"train_loss": 1.0, "loss": 1.0, "accuracy": 0.5, "f1": 0.4} | more
    return Epoch(
        cell=of,
        block=block,
        session=0,
        epoch=number,
        train=phase(80.0, images=80),
        validation=phase(5.0, images=20),
        checkpoint=phase(1.0),
        **members,
    )


def training(of: TrainingCell, block: int = 0, joules: float = 172.0, **more: Any) -> Training:
    members: dict[str, Any] = {
        "status": Status.OK,
        "stopped": "epochs",
        "best_epoch": 1,
        "whole": phase(joules, 4.0, images=200),
    } | more
    return Training(cell=of, block=block, position=0, started_at="2026-11-21T08:00Z", **members)


def failed(of: TrainingCell, block: int = 0) -> Training:
    return training(
        of, block, status=Status.ERROR, reason="the loss is infinite", whole=None, stopped=None
    )


def rows(*records: Any) -> list[TrainingRow]:
    return training_rows(
        [record for record in records if isinstance(record, Training)],
        [record for record in records if isinstance(record, Epoch)],
    )


def shown(found: list[TrainingRow]) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(training_table(found))
    return capture.get()


def test_a_row_has_the_best_of_each_training_and_energy_by_image_seen() -> None:
    of = cell()
    (row,) = rows(epoch(of, 0), epoch(of, 1, accuracy=0.9, f1=0.8), training(of))
    assert row.accuracy is not None
    assert row.train_j is not None
    assert row.validation_j is not None
    assert row.energy_j is not None
    assert (row.accuracy.centre, row.epochs) == (0.9, (2, 2))
    assert (row.train_j.centre, row.validation_j.centre) == (1.0, 0.25)
    assert row.energy_j.centre == 172.0
    text = shown([row])
    assert "90.0%" in text
    assert "172 J" in text
    assert "counter" in text


def test_a_failed_repetition_is_counted_and_adds_to_no_figure() -> None:
    of = cell()
    (row,) = rows(epoch(of, 0), training(of), epoch(of, 0, 1), failed(of, 1))
    assert (row.planned, row.ok, row.flags) == (2, 1, {"error": 1})
    assert row.energy_j is not None
    assert row.energy_j.n == 1
    assert "error 1/2" in shown([row])


def test_energies_have_the_mean_of_the_report_and_accuracies_a_plain_one() -> None:
    of = cell()
    (row,) = rows(
        *(epoch(of, 0, block, accuracy=0.5 + 0.2 * block) for block in range(2)),
        *(training(of, block, joules=8.0 * 9**block) for block in range(2)),
    )
    assert row.energy_j is not None
    assert row.accuracy is not None
    assert row.energy_j.centre == pytest.approx(24.0)  # 40 is the mean that the report has not
    assert row.accuracy.centre == pytest.approx(0.6)
    assert "24 J (interval not known)" in shown([row])


def test_missing_energy_is_a_dash_and_says_missing() -> None:
    of = cell()
    (row,) = rows(epoch(of, 0), training(of, whole=phase(None, 4.0)))
    assert row.energy_j is None
    assert "missing" in shown([row])


def test_only_factors_that_vary_have_a_column() -> None:
    ones = [cell(batch_size=16, settings=(("relu", "1"),)), cell(settings=(("relu", "1"),))]
    text = shown(rows(*(record for of in ones for record in (epoch(of, 0), training(of)))))
    assert "batch" in text
    assert "relu" not in text


def test_what_was_lost_is_said_apart() -> None:
    lost = training(cell(), lost=phase(7.0, 2.0), sessions=2)
    (sentence,) = lost_sentences([lost, training(cell())])
    assert "7 J in 2 s at least; no other figure includes it" in sentence
    assert "2 sessions" in sentence


def test_a_line_says_how_a_training_went() -> None:
    def line_of(last: Training) -> str:
        return line(Progress(1, 12, 90.0, cell(), (0, 4), last))

    assert line_of(training(cell(), stopped="patience")) == (
        "[ 1/12] dense on digits with torch-cpu, batch 32: 4 s, 50 images/s, stopped early, "
        "about 1 min 30 s left"
    )
    assert "error: the loss is infinite" in line_of(failed(cell()))


def test_the_answer_can_be_read_by_a_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = cell()
    records: list[Record] = [epoch(of, 0), training(of, lost=phase(1.0)), failed(of, 1)]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(map(encode, records)))
    ended = tuple(record for record in records if isinstance(record, Training))
    journal = parse((tmp_path / "journal.jsonl").read_bytes())
    findings = TrainingFindings("fake", [], [], [], Findings(summary=""), journal)
    run = Run(tmp_path, ended, tmp_path / "report/index.html", findings)
    result = json.loads(trainings_as_json(run))
    assert result["trainings"][0]["energy_j"]["value"] == 172.0
    assert result["failed"] == ["the loss is infinite"]
    show_trainings(run)
    out = capsys.readouterr().out
    assert "a training failed: the loss is infinite" in out
    assert f"report: {tmp_path}/report/index.html" in out


def test_the_table_says_what_its_plus_and_minus_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = cell()
    ended = tuple(training(of, block, joules=172.0 + block) for block in range(2))
    records: list[Record] = [*(epoch(of, 0, block) for block in range(2)), *ended]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(map(encode, records)))
    journal = parse((tmp_path / "journal.jsonl").read_bytes())
    findings = TrainingFindings("fake", [], [], [], Findings(summary=""), journal)
    show_trainings(Run(tmp_path, ended, tmp_path / "report/index.html", findings))
    assert "± is the wider side of the range of two repetitions" in capsys.readouterr().out
