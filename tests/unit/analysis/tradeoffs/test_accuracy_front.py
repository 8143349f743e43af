"""Energy, latency and accuracy at once: a front that can be worked out by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.findings.cells import AccuracyFigure, cell_rows
from greenbatch.analysis.report.charts.charts import accuracy_charts
from greenbatch.analysis.report.figures.accuracy import accuracy_figure
from greenbatch.analysis.report.sections import accuracy_sections
from greenbatch.analysis.report.tables.accuracy import accuracy_table
from greenbatch.analysis.report.tables.tradeoffs import offline
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate, accuracy_front
from greenbatch.records import Cell, EnergySource, Record
from tests.fakes import runs

# Energy per image (J) and latency (s). b is as accurate as nothing else; c needs more than a in
# everything and is less accurate; d has no accuracy at all.
CELLS = {
    ("a", 1): (1.0, 0.010),
    ("a", 4): (0.5, 0.030),
    ("b", 1): (4.0, 0.050),
    ("b", 4): (2.0, 0.160),
    ("c", 1): (1.5, 0.020),
    ("c", 4): (0.6, 0.040),
    ("d", 1): (0.1, 0.001),
    ("d", 4): (0.1, 0.001),
}
TOP1 = {"a": 60.0, "b": 80.0, "c": 55.0}


def weighed(
    path: Path,
    models: Sequence[str] = ("a", "b", "c", "d"),
    *,
    blocks: int = 3,
    estimated: Sequence[str] = (),
    measured: Sequence[str] = (),
) -> tuple[list[FrontCandidate], list[str]]:
    """The front of a run with these cells; accuracies are published but of those ``measured``."""
    records: list[Record] = [runs.idle("torch-cpu", block, 1.0) for block in range(blocks)]
    for (model, batch), (energy_j, latency_s) in CELLS.items():
        if model not in models:
            continue
        source = EnergySource.ESTIMATED if model in estimated else EnergySource.COUNTER
        for block in range(blocks):
            factor = 1 + 0.001 * block
            records.append(
                runs.repetition(
                    Cell(model, "torch-cpu", batch_size=batch),
                    block,
                    energy=[runs.figure(energy_j * batch * 100 * factor, source=source)],
                    latency_s=latency_s * factor,
                )
            )
    study = runs.study(models, ("torch-cpu",), (1, 4), blocks)
    dataset = compile_dataset(runs.write_run(path, records, study))
    dataset["top1"].values[:] = [TOP1.get(model, float("nan")) for model in models]
    rows = cell_rows(dataset)
    for place, row in enumerate(rows):
        if row.cell.model in measured:
            found = AccuracyFigure(top1=59.0, source="measured", low=57.0, high=61.0, images=2000)
            rows[place] = replace(row, accuracy=found)
    return accuracy_front(offline(dataset), rows)


def test_the_front_holds_what_nothing_beats_in_all_three(tmp_path: Path) -> None:
    found, said = weighed(tmp_path)
    pareto_status = {(r.cell.model, r.cell.batch_size): r.pareto_status for r in found}
    assert pareto_status == {
        ("a", 1): "front",
        ("a", 4): "front",
        ("b", 1): "front",  # the most accurate, though a beats it in energy and latency
        ("b", 4): "front",
        ("c", 1): "dominated",
        ("c", 4): "dominated",
    }
    assert said[0].startswith("4 of 6 cells are on the Pareto front")
    assert (
        said[1]
        == "No cell of c is on it: for each there is one as good in all three and better in one."
    )
    assert (
        "random weights, and are shown at the accuracy published for trained ones: a, b, c"
        in said[2]
    )


def test_with_one_repetition_nothing_is_shown_to_be_beaten(tmp_path: Path) -> None:
    found, said = weighed(tmp_path, blocks=1)
    assert {r.pareto_status for r in found if r.cell.model == "c"} == {"unsure"}
    assert "beyond the spread of the repetitions not shown of c" in said[1]


def test_the_table_lists_the_front_by_accuracy_and_tells_published_from_measured(
    tmp_path: Path,
) -> None:
    table = accuracy_table(weighed(tmp_path, measured=["a"])[0])
    assert table.columns[:3] == ("model", "top-1 accuracy", "backend")
    assert [row[:2] for row in table.rows] == [
        ("b", "80.0 % (published)"),
        ("b", "80.0 % (published)"),
        ("a", "59.0 % (measured here)"),
        ("a", "59.0 % (measured here)"),
    ]
    assert [row[3] for row in table.rows] == ["1", "4", "1", "4"]


def test_fewer_than_two_networks_with_an_accuracy_have_no_section(tmp_path: Path) -> None:
    found, said = weighed(tmp_path, ("a", "d"))
    assert (found, said, accuracy_sections(found, said, ["torch-cpu"])) == ([], [], [])
    assert accuracy_figure(found) is None
    assert accuracy_table(found).rows == ()


def test_estimates_and_measurements_are_not_weighed_against_each_other(tmp_path: Path) -> None:
    found, said = weighed(tmp_path, estimated=["b"])
    assert found == []
    (section,) = accuracy_sections(found, said, ["torch-cpu"])
    assert not section.charts
    assert "an estimate is not compared with a measurement" in section.absent


def test_estimates_alone_are_weighed_and_named_so(tmp_path: Path) -> None:
    found, said = weighed(tmp_path, estimated=["a", "b", "c", "d"])
    (section,) = accuracy_sections(found, said, ["torch-cpu"])
    assert section.title.endswith("(energy estimated)")
    assert "energy/image (estimated)" in accuracy_table(found).columns
    assert {candidate.net_pareto_status for candidate in found} == {None}  # idle power was measured
    assert section.net == ""


def test_the_chart_has_gross_and_net_and_how_an_accuracy_was_obtained(tmp_path: Path) -> None:
    found, said = weighed(tmp_path, measured=["a"])
    (chart,) = accuracy_charts(found, ["torch-cpu"])
    points = {
        (p["model"], p["how"].split()[-1]): p for p in json.loads(json.dumps(chart.facts))["points"]
    }
    assert points["a", "1"]["measured"]
    assert points["a", "1"]["top1"] == [59.0, 57.0, 61.0]
    assert not points["b", "4"]["measured"]
    # 1 W of idle power for a window of 2 s of 100 images.
    assert points["a", "1"]["energy"][0] - points["a", "1"]["net"][0] == pytest.approx(0.02)
    assert points["c", "1"]["net_pareto_status"] == "dominated"
    (section,) = accuracy_sections(found, said, ["torch-cpu"])
    assert section.net.startswith("Net: ")
