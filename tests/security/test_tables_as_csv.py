"""No text of a run becomes a formula in a spreadsheet, whichever table it stands in."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

import greenbatch
from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.compilation import from_files
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.findings.comparisons import best_rows, comparison_rows
from greenbatch.analysis.report.tables.csv_files import best_csv, cells_csv, comparison_csv
from greenbatch.csv_text import csv_text
from greenbatch.records import TrainingCell
from tests.fakes import runs, training_runs

FORMULA = '=cmd|" /C calc"!A0'


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", [FORMULA, "+1+1", "-2+3", "@SUM(A1)", "\t=1", "-", "=1"])
def test_text_that_would_be_computed_begins_with_an_apostrophe(text: str) -> None:
    assert read(csv_text([["a", text]])) == [["a", f"'{text}"]]


def test_a_carriage_return_begins_no_line() -> None:
    assert read(csv_text([["a", "\r=1"], ["b", "c\r\n=1"]])) == [["a", "'\n=1"], ["b", "c\n=1"]]


@pytest.mark.parametrize("text", ["alexnet", "a=b", "1e-3", "-1.5", "+2", "-inf", "'quoted", ""])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert read(csv_text([["a", text]])) == [["a", text]]


def test_numbers_stay_as_they_are() -> None:
    line = [-1.5, -3, math.inf, -math.inf, None]
    assert read(csv_text([line])) == [["-1.5", "-3", "inf", "-inf", ""]]


def test_tables_of_a_report_hold_no_formula(tmp_path: Path) -> None:
    rows = cell_rows(from_files(read_run(runs.hostile_run(tmp_path / "run", FORMULA))))
    for text in (
        cells_csv(rows),
        comparison_csv(comparison_rows(rows)),
        best_csv(best_rows(rows)),
    ):
        cells = [cell for line in read(text) for cell in line]
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell.startswith("=")]


def test_tables_of_a_report_of_trainings_hold_no_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenbatch.analysis.training.report.figures.save_figures", lambda *_: [])
    study: dict[str, Any] = training_runs.study(substitutions={FORMULA: "@simple-cnn"})
    cell = TrainingCell("simple-cnn", "digits")
    records = [r for block in range(3) for r in training_runs.trained(cell, block)]
    write_report(training_runs.write(tmp_path / "run", records, study))
    table = tmp_path / "run/report/tables/substitutions.csv"
    assert read(table.read_text())[1] == [f"'{FORMULA}", "'@simple-cnn"]


def test_every_csv_is_written_in_one_place() -> None:
    """What writes CSV by itself does not know of formulas."""
    root = Path(greenbatch.__file__).parent
    found = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*.py"))
        if any(word in path.read_text() for word in ("csv.writer", "DictWriter", "to_csv("))
    ]
    assert found == ["csv_text.py"]
