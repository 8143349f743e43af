"""Tables, ratios, answers and caveats say what the dataset holds, and no more."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.findings.answers import answers
from greenbatch.analysis.findings.caveat import Severity
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.comparisons import Ratio, best_rows, comparison_rows
from greenbatch.analysis.findings.wording import spread, times
from greenbatch.analysis.report.tables.csv_files import best_csv, cells_csv, comparison_csv
from greenbatch.analysis.report.tables.text import best_table, cells_table, comparison_table
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.records import Cell, EnergyFigure, EnergySource, Record
from tests.fakes import runs

ORT, TORCH = "onnxruntime-cpu", "torch-cpu"
ESTIMATED = EnergySource.ESTIMATED


def pair(
    path: Path,
    ort: list[EnergyFigure],
    torch: list[EnergyFigure],
    study: dict[str, object] | None = None,
) -> list[CellRow]:
    """Rows of one model at batch 1 on two backends, a figure for each block."""
    records: list[Record] = []
    for backend, figures in ((ORT, ort), (TORCH, torch)):
        cell = Cell("alexnet", backend)
        records += [
            runs.repetition(cell, block, energy=[figure]) for block, figure in enumerate(figures)
        ]
    members = runs.study(("alexnet",), (ORT, TORCH), (1,)) | (study or {})
    return cell_rows(compile_dataset(runs.write_run(path, records, members)))


def three(energy_j: float, source: EnergySource = EnergySource.COUNTER) -> list[EnergyFigure]:
    return [runs.figure(energy_j * factor, source=source) for factor in (0.99, 1.0, 1.01)]


def test_a_ratio_is_paired_by_block(tmp_path: Path) -> None:
    (row,) = comparison_rows(pair(tmp_path, three(50.0), three(100.0)))
    assert row.reference == ORT
    assert row.energy.interval is not None
    assert row.energy.interval.centre == pytest.approx(2.0)
    assert row.energy.interval.relative == pytest.approx(0.0, abs=1e-12)


def test_an_estimate_is_never_compared_with_a_measurement(tmp_path: Path) -> None:
    rows = pair(tmp_path, three(50.0), three(100.0, ESTIMATED))
    (row,) = comparison_rows(rows)
    assert row.energy.interval is None
    assert row.energy.reason == "estimated against measured"
    assert row.latency.interval is not None
    (answer,) = answers(rows)
    assert answer.criterion == "throughput"
    assert answer.why_not_energy == "energies are not alike: measured against estimated"


def test_a_ratio_without_energy_is_withheld_with_a_reason(tmp_path: Path) -> None:
    rows = pair(tmp_path, three(50.0), [runs.missing("package-0")] * 3)
    (row,) = comparison_rows(rows)
    assert (row.energy.interval, row.energy.reason) == (None, "energy is missing")


def test_the_answer_is_clear_only_when_the_blocks_agree(tmp_path: Path) -> None:
    (clear,) = answers(pair(tmp_path / "a", three(50.0), three(51.0)))
    assert clear.best == Cell("alexnet", ORT)
    assert clear.clear
    noisy = [runs.figure(value) for value in (45.0, 51.0, 57.0)]
    (tie,) = answers(pair(tmp_path / "b", three(50.0), noisy))
    assert not tie.clear
    assert tie.certainty.endswith(", no significant difference.")


def test_two_repetitions_are_never_sure(tmp_path: Path) -> None:
    rows = pair(tmp_path, three(50.0)[:2], three(100.0)[:2], {"repetitions": 2})
    (answer,) = answers(rows)
    assert not answer.clear
    assert " 2 repetitions, too few to be sure." in answer.certainty


def test_net_energy_below_zero_is_shown_not_hidden(tmp_path: Path) -> None:
    cell = Cell("alexnet", ORT)
    records: list[Record] = [
        *(runs.idle(ORT, block, 20.0) for block in range(3)),
        *(runs.repetition(cell, block, energy=[runs.figure(30.0)]) for block in range(3)),
    ]
    run = runs.write_run(tmp_path, records, runs.study(batch_sizes=(1,)))
    (row,) = cell_rows(compile_dataset(run))
    assert row.energy_per_image_net_j is not None
    assert row.energy_per_image_net_j.centre == pytest.approx(-0.1)


def test_net_energy_never_exceeds_gross_however_wide_the_spread(tmp_path: Path) -> None:
    cell = Cell("alexnet", ORT)
    records: list[Record] = [
        record
        for block, energy_j in enumerate((30.0, 80.0, 4000.0))
        for record in (
            runs.idle(ORT, block, 5.0),
            runs.repetition(cell, block, energy=[runs.figure(energy_j)]),
        )
    ]
    (row,) = cell_rows(
        compile_dataset(runs.write_run(tmp_path, records, runs.study(batch_sizes=(1,))))
    )
    assert row.energy_per_image_j is not None
    assert row.energy_per_image_net_j is not None
    assert row.energy_per_image_net_j.centre < row.energy_per_image_j.centre


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(0.0122, 0.0123, 0.01245, 3), "12.3 mJ ± 1.2 %"),
        (Interval(0.0122, 0.0123, 0.01245, 2), "12.3 mJ ± 1.2 % (range)"),
        (Interval(1.16, 2.18, 4.1, 3), "2.18 J (1.16 J … 4.1 J)"),
        (Interval(0.56, 2.18, 8.52, 3), "2.18 J (interval not known)"),
        (Interval(None, 2.18, None, 1), "2.18 J"),
        (None, "–"),
    ],
)
def test_a_figure_is_written_with_its_interval(value: Interval | None, text: str) -> None:
    assert spread(value, "J") == text


def test_a_small_ratio_keeps_its_digits() -> None:
    ratio = Ratio(Interval(0.0071, 0.0137, 0.0264, 3))
    assert times(ratio) == "0.0137× (0.0071 … 0.0264)"


def golden_rows(path: Path) -> list[CellRow]:
    records: list[Record] = [runs.failed(Cell("alexnet", TORCH), block) for block in range(3)]
    for block in range(3):
        factor = (0.98, 1.0, 1.02)[block]
        records += [
            runs.idle(ORT, block, source=ESTIMATED),
            runs.repetition(
                Cell("alexnet", ORT),
                block,
                energy=[runs.figure(40.0 * factor, source=ESTIMATED)],
                flags=("unsteady",) if block == 0 else (),
            ),
        ]
    members = runs.study(("alexnet",), (ORT, TORCH), (1,))
    return cell_rows(compile_dataset(runs.write_run(path, records, members)))


def test_the_cells_as_markdown(tmp_path: Path) -> None:
    assert cells_table(golden_rows(tmp_path)).markdown() == (
        "| model | backend | batch | energy/image (estimated) | net energy | power | latency p50 "
        "| latency p99 | images/s | ok | flags and failures |\n"
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | :-- |\n"
        "| alexnet | onnxruntime-cpu | 1 | 400 mJ ± 5.1 % | 200 mJ ± 10 % | 20 W "
        "| 10 ms ± 0.0 % | 13 ms ± 0.0 % | 50 ± 0.0 % | 3/3 | unsteady 1× |\n"
        "| alexnet | torch-cpu | 1 | – | – | – | – | – | – | 0/3 | oom 3× |\n"
    )


def test_the_ratios_as_markdown(tmp_path: Path) -> None:
    rows = comparison_rows(pair(tmp_path, three(50.0), three(62.0)))
    table = comparison_table(rows)
    assert table.title == "Ratios to onnxruntime-cpu"
    assert table.markdown() == (
        "| model | backend | batch | energy (measured) | latency p50 | throughput |\n"
        "| :-- | :-- | --: | --: | --: | --: |\n"
        "| alexnet | torch-cpu | 1 | 1.24× (1.24 … 1.24) | 1.00× (1.00 … 1.00) "
        "| 1.00× (1.00 … 1.00) |\n"
    )


def test_sources_that_differ_are_named_in_every_row(tmp_path: Path) -> None:
    rows = pair(tmp_path, three(50.0), three(100.0, ESTIMATED))
    table = cells_table(rows)
    column = table.columns.index("source")
    assert [row[column] for row in table.rows] == ["measured", "estimated"]
    assert (
        "withheld: estimated against measured" in comparison_table(comparison_rows(rows)).markdown()
    )


def test_the_csv_has_units_in_its_header_and_every_digit(tmp_path: Path) -> None:
    rows = golden_rows(tmp_path)
    lines = list(csv.DictReader(io.StringIO(cells_csv(rows))))
    assert lines[0]["energy_source"] == "estimated"
    assert rows[0].energy_per_image_j is not None
    assert float(lines[0]["energy_per_image_J"]) == rows[0].energy_per_image_j.centre
    assert float(lines[0]["energy_per_image_net_J"]) == pytest.approx(
        (0.192 * 0.2 * 0.208) ** (1 / 3)
    )
    assert lines[0]["flags"] == "unsteady:1"
    assert (lines[1]["energy_per_image_J"], lines[1]["n_ok"]) == ("", "0")
    (withheld,) = csv.DictReader(io.StringIO(comparison_csv(comparison_rows(rows))))
    assert (withheld["energy_ratio"], withheld["energy_withheld"]) == ("", "energy is missing")


def test_the_best_batch_is_that_of_least_energy(tmp_path: Path) -> None:
    rows = cell_rows(compile_dataset(runs.realistic_run(tmp_path)))
    best = best_rows(rows)
    assert len(best) == len(runs.MODELS) * len(runs.BACKENDS)
    for row in best:
        rivals = [
            r.energy_per_image_j.centre
            for r in rows
            if (r.cell.model, r.cell.backend) == (row.cell.model, row.cell.backend)
            and r.energy_per_image_j
        ]
        assert row.energy_per_image_j.centre == min(rivals)
    assert len(best_table(best).rows) == len(list(csv.reader(io.StringIO(best_csv(best))))) - 1


def codes(path: Path, records: list[Record], **study: Any) -> dict[str, str]:
    run = runs.write_run(path, records, runs.study(batch_sizes=(1,), **study))
    found = caveats(compile_dataset(run))
    order = list(Severity)
    assert [c.severity for c in found] == sorted((c.severity for c in found), key=order.index)
    for caveat in found:
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", caveat.sentence), caveat
    return {caveat.code: caveat.sentence for caveat in found}


def test_a_clean_measured_run_has_only_notes(tmp_path: Path) -> None:
    cell = Cell("alexnet", ORT)
    records: list[Record] = [
        runs.repetition(cell, block, energy=[runs.figure(40.0)]) for block in range(3)
    ]
    assert set(codes(tmp_path, records)) == {"weights-random", "no-nvml"}


def test_an_estimate_is_the_first_thing_said(tmp_path: Path) -> None:
    cell = Cell("alexnet", ORT)
    records: list[Record] = [
        runs.repetition(cell, b, energy=[runs.figure(40.0, source=ESTIMATED)]) for b in range(3)
    ]
    found = codes(tmp_path, records)
    assert next(iter(found)) == "energy-estimated"
    assert "ratio of CPU times" in found["energy-estimated"]
    assert found["energy-model"] == "The model of the estimate: 15 W per busy core."


def test_every_doubt_is_said(tmp_path: Path) -> None:
    cell = Cell("alexnet", ORT)
    records: list[Record] = [
        runs.repetition(cell, 0, energy=[runs.missing("package-0")], flags=("throttled",)),
        runs.failed(cell, 1),
    ]
    found = codes(tmp_path, records, repetitions=3, profile="quick", protocol={"window_s": 0.5})
    assert "the counter stood still" in found["energy-missing"]
    assert found["failed"] == (
        "Failed: alexnet on onnxruntime-cpu at batch 1 (oom 1×): "
        "the child was killed for memory at 3.1 GB."
    )
    assert "1 of 3 repetitions was not run" in found["incomplete"]
    assert "throttled" in found["flag-throttled"]
    assert "0.5 s (profile quick)" in found["window-short"]
    assert "few-repetitions" in found


@pytest.mark.parametrize(("fewer", "have"), [(1, "1 of 2 cells has"), (2, "2 of 2 cells have")])
def test_cells_that_lack_repetitions_are_counted(fewer: int, have: str, tmp_path: Path) -> None:
    records: list[Record] = [
        runs.repetition(Cell("alexnet", backend), block)
        for place, backend in enumerate((ORT, TORCH))
        for block in range(2 if place < fewer else 3)
    ]
    sentence = codes(tmp_path, records, backends=[ORT, TORCH])["few-repetitions"]
    assert sentence.startswith(f"{have} fewer than 3 finished repetitions")


def test_few_repetitions_are_said_as_designed(tmp_path: Path) -> None:
    records: list[Record] = [runs.repetition(Cell("alexnet", ORT))]
    assert codes(tmp_path, records, repetitions=1)["few-repetitions"].startswith(
        "One repetition was"
    )
