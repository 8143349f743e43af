"""A run with a budget: cells that it left keep their figures, and are not ranked as equals."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import open_run
from greenbatch.analysis.dataset.raced import decisions_of
from greenbatch.analysis.findings.answers import answers
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.cells import SLOW, CellRow, cell_rows
from greenbatch.analysis.findings.decided import decided_sentences
from greenbatch.analysis.findings.wording import notes
from greenbatch.analysis.recommendation.basis import basis
from greenbatch.analysis.recommendation.service_curves import read_service_curves
from greenbatch.analysis.report.tables.csv_files import cells_csv
from tests.fakes import raced_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of six batch sizes on three backends, of which the first is the best."""
    study = raced_run.design(models=["alexnet"])
    measured = raced_run.machine(torch=1.3, openvino=1.6)
    return raced_run.write(tmp_path_factory.mktemp("raced") / "run", study, measured)


@pytest.fixture(scope="module")
def rows(run: Path) -> list[CellRow]:
    return cell_rows(open_run(run))


def test_every_cell_says_why_it_was_left(rows: list[CellRow]) -> None:
    left = [row for row in rows if row.left]
    assert len(left) == len(rows) - 1
    measured = {row.left for row in left if row.ok}
    assert measured <= {f"left: no better at block {number}" for number in range(2, 31)}
    assert {row.left for row in left if not row.ok} == {"not measured: skipped"}
    assert all(row.left_reason and row.left in notes(row) for row in left)
    assert all(row.planned == row.ok for row in rows)
    assert "left: no better at block 2" in cells_csv(rows)


def test_the_answer_is_the_decision_of_the_run(run: Path, rows: list[CellRow]) -> None:
    (decision,) = decisions_of(open_run(run))
    (answer,) = answers(rows, [decision])
    assert answer.best == decision.best[0]
    assert answer.best
    assert answer.best.backend == "onnxruntime-cpu"
    assert answer.alike == decision.alike
    assert answer.clear == (decision.outcome == "answered")
    assert answer.certainty.startswith(f"Decided after {decision.blocks} blocks")
    assert answer.figure


def test_without_the_decision_cells_that_left_would_stand_beside_the_best(
    rows: list[CellRow],
) -> None:
    (answer,) = answers(rows)
    assert len(answer.alike) > 1  # they share too few blocks with it


def test_the_caveats_say_that_evidence_is_unequal(run: Path, rows: list[CellRow]) -> None:
    found = {caveat.code: caveat.sentence for caveat in caveats(open_run(run))}
    early = sum(row.ok > 0 for row in rows) - 1
    absent = sum(not row.ok for row in rows)
    assert f"of {len(rows)} cells, it left {early} before the end" in found["budget"]
    assert f"did not measure {absent};" in found["budget"]
    assert not found.keys() & {"incomplete", "few-repetitions", "budget-spent"}


def test_a_recommendation_says_that_batch_sizes_were_skipped(run: Path) -> None:
    _, _, notes = basis(read_service_curves(open_run(run)))
    assert any("The run had a budget" in note and "--full" in note for note in notes)


@pytest.mark.parametrize(
    ("decide", "members", "said"),
    [
        ("front", {}, "alexnet: the Pareto front of energy and latency is decided after"),
        ("ratio", {}, "alexnet: the ratio of the backends, by batch size is decided after"),
        ("knee", {"budget": "12s"}, "the knee was not decided when the budget or the repetitions"),
    ],
)
def test_what_else_was_decided_is_said(
    tmp_path: Path, decide: str, members: dict[str, str], said: str
) -> None:
    backends = {"backends": ["onnxruntime-cpu", "torch-cpu"], "batch_sizes": [1, 2, 4, 8]}
    study = raced_run.design(models=["alexnet"], **backends, decide=decide, **members)
    run = raced_run.write(tmp_path / "run", study, raced_run.machine(spread=0.003, torch=1.5))
    sentences = decided_sentences(decisions_of(open_run(run)))
    assert sum(said in sentence for sentence in sentences) == (2 if decide == "knee" else 1)
    if decide == "front":
        assert sentences[0].endswith(": onnxruntime-cpu at batch 1, 2, 4, 8.")


def test_the_best_of_each_model_is_said_by_its_answer(run: Path) -> None:
    assert decided_sentences(decisions_of(open_run(run))) == []


def test_a_budget_that_was_spent_is_an_answer_that_is_not_clear(tmp_path: Path) -> None:
    study = raced_run.design(models=["alexnet"], budget="2m")
    dataset = open_run(raced_run.write(tmp_path / "run", study, raced_run.machine(spread=0.2)))
    (answer,) = answers(cell_rows(dataset), decisions_of(dataset))
    assert answer.outcome == "time"
    assert not answer.clear
    assert re.match(
        r"Not decided when the budget or the repetitions were spent \(by the spread of the "
        r"repetitions, about \d+ (min|h) more would decide it\)",
        answer.certainty,
    )


def test_cells_for_which_no_time_was_left_are_counted(tmp_path: Path) -> None:
    study = raced_run.design(models=["alexnet"], budget="30s")
    dataset = open_run(raced_run.write(tmp_path / "run", study, raced_run.machine()))
    late = sum(row.left == "not measured: time" for row in cell_rows(dataset))
    assert late > 10
    sentences = {caveat.code: caveat.sentence for caveat in caveats(dataset)}
    assert f"The budget of 30 s had no time for {late} cells" in sentences["budget-spent"]


def test_an_answer_names_the_cells_that_were_too_slow_to_be_looked_at(tmp_path: Path) -> None:
    study = raced_run.design(models=["alexnet"], budget="5m", batch_sizes=[1, 8, 64, 128])
    measured = raced_run.machine(spread=0.001, image_s=0.05, torch=1.3, openvino=1.6)
    dataset = open_run(raced_run.write(tmp_path / "run", study, measured))
    rows = cell_rows(dataset)
    assert {row.cell.batch_size for row in rows if row.left == SLOW} == {64, 128}
    (answer,) = answers(rows, decisions_of(dataset))
    assert "; 6 not looked at, as too slow for the budget" in answer.certainty
    assert "6 not measured" not in answer.certainty
    sentences = {caveat.code: caveat.sentence for caveat in caveats(dataset)}
    assert sentences["budget-slow"].startswith(
        "In 6 cells a batch takes too long for the budget of 5 min 00 s: the answers hold for the"
    )


@pytest.mark.parametrize("rivals", [0, 1, 2])
def test_a_decision_says_how_many_other_cells_were_measured(
    rows: list[CellRow], run: Path, rivals: int
) -> None:
    (decision,) = decisions_of(open_run(run))
    best = next(row for row in rows if row.cell == decision.best[0])
    others = [row for row in rows if row.ok and row is not best][:rivals]
    absent = next(row for row in rows if not row.ok)
    certainties = {}
    for outcome in ("answered", "tie"):
        (answer,) = answers([best, *others, absent], [replace(decision, outcome=outcome)])
        certainties[outcome] = answer.certainty
    if not rivals:
        assert "no other cell was measured; 1 not measured" in certainties["tie"]
        return
    assert f"each other cell that was measured ({rivals}) is" in certainties["answered"]
    assert f"no other cell that was measured ({rivals}) is better by more" in certainties["tie"]
    assert all("1 not measured" in text for text in certainties.values())
