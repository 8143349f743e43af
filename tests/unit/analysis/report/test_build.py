"""The report's files: complete, self-contained, escaped, and honest where energy is missing."""

import csv
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest

from greenbatch.analysis import cell_rows, compile_dataset, write_report
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.cells import AccuracyFigure
from greenbatch.analysis.report.charts.curves import log_range, log_ticks
from greenbatch.analysis.report.charts.palette import colours
from greenbatch.analysis.report.figures.figures import write_figures
from greenbatch.analysis.report.tables.details import outputs_table
from greenbatch.cli.application import app
from greenbatch.errors import RunError, UsageError
from greenbatch.records import Cell, EnergySource, Record, Repetition
from tests.fakes import runs
from tests.fakes.report_text import lines_of, own

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = runs.realistic_run(tmp_path_factory.mktemp("run"), EnergySource.ESTIMATED)
    return write_report(run).page.parent


def test_all_files_are_there(report: Path) -> None:
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    drawn = ("energy", "latency", "tradeoff", "accuracy", "timeline")
    figures = {f"figures/{n}.{e}" for n in drawn for e in ("svg", "pdf", "png")}
    tables = {
        f"tables/{name}.csv" for name in ("cells", "comparison", "best", "batching", "paired")
    }
    shown = ("artifacts", "best", "cells", "comparison", "fairness", "front", "outputs", "turning")
    tables |= {f"tables/{name}.tex" for name in (*shown, "accuracy", "batching")}
    names -= {"tables/repetitions.parquet"}
    assert names == {"index.html", "report.md"} | figures | tables


def test_the_page_asks_for_nothing_outside_itself(report: Path) -> None:
    page = own(report / "index.html")
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|figures/|#)", page)
    outside = re.sub(r"<noscript>.*?</noscript>", "", page, flags=re.DOTALL)
    assert "figures/energy.svg" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", outside)
    assert "default-src 'none'" in page
    assert report.joinpath("index.html").read_text().count("* plotly.js (basic - minified) v") == 1


def test_an_estimate_is_said_before_any_figure_in_page_and_markdown(report: Path) -> None:
    said = "Energy is estimated from CPU time"
    page, text = own(report / "index.html"), (report / "report.md").read_text()
    assert 0 < page.index(said) < page.index("Least energy per image")
    assert 0 < text.index(said) < text.index("Least energy per image")


def test_drawn_estimates_are_named(report: Path) -> None:
    svg = (report / "figures" / "energy.svg").read_text()
    ElementTree.fromstring(svg)
    assert "torch-cpu (estimated)" in svg
    assert "(estimated)" not in (report / "figures" / "latency.svg").read_text()


def test_the_csv_of_cells_has_a_line_for_each_cell(report: Path) -> None:
    with (report / "tables" / "cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5 * 2 * 3


def test_the_same_run_gives_the_same_figures(tmp_path: Path) -> None:
    rows = cell_rows(compile_dataset(runs.realistic_run(tmp_path, models=("alexnet",))))
    for folder in ("a", "b"):
        write_figures(rows, tmp_path / folder)
    for name in ("energy.svg", "latency.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_names_and_reasons_are_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)></script>"
    page = own(write_report(runs.hostile_run(tmp_path, evil)).page)
    assert "<img" not in page
    assert page.count("</script>") == 3


@pytest.mark.usefixtures("no_figures")
def test_without_energy_the_page_says_why_and_draws_latency(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, EnergySource.MISSING, models=("alexnet",))
    page = own(write_report(run).page)
    assert page.count("There is no energy per image in this run") == 3
    assert "Highest throughput" in page
    assert 'id="latency-0"' in page


def test_figures_of_an_earlier_report_do_not_outlive_it(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",))
    write_report(run)
    runs.realistic_run(tmp_path, EnergySource.MISSING, models=("alexnet",))
    write_report(run)
    assert not (run / "report" / "figures" / "energy.svg").exists()


@pytest.mark.usefixtures("no_figures")
def test_every_table_for_papers_is_escaped_and_none_outlives_its_run(tmp_path: Path) -> None:
    write_report(runs.realistic_run(tmp_path, models=("alexnet",)), price=0.3)
    tables = tmp_path / "report" / "tables"
    assert (tables / "footprint.tex").exists()
    assert (tables / "front.tex").exists()
    runs.realistic_run(tmp_path, EnergySource.MISSING, models=("alexnet",))
    write_report(tmp_path)
    assert not (tables / "footprint.tex").exists()
    assert not (tables / "front.tex").exists()


def test_a_hostile_name_stays_text_in_markdown_latex_and_figures(tmp_path: Path) -> None:
    evil = r"<b>\input{x} $\frac_$ % & #"
    run = runs.hostile_run(tmp_path, evil)
    write_report(run)
    assert "<b>" not in (run / "report" / "report.md").read_text()
    assert r"\input{" not in (run / "report" / "tables" / "best.tex").read_text()
    drawn = ElementTree.parse(run / "report" / "figures" / "energy.svg").getroot()
    texts = [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert any(evil in text for text in texts)


@pytest.mark.usefixtures("no_figures")
def test_parquet_is_written_where_pyarrow_is_and_else_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1,))
    parquet = run / "report" / "tables" / "repetitions.parquet"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "written where pyarrow is installed" in own(write_report(run).page)
    assert not parquet.exists()
    monkeypatch.undo()
    pytest.importorskip("pyarrow")
    import pandas as pd

    assert "every repetition as parquet" in own(write_report(run).page)
    frame = pd.read_parquet(parquet)
    assert len(frame) == 2 * 3
    assert set(frame["status"]) == {"ok"}
    assert (frame["energy_per_image"] > 0).all()


def _failing(record: Repetition) -> Repetition:
    return runs.failed(record.cell, record.block) if record.cell.batch_size > 1 else record


def _without_energy(record: Repetition) -> Repetition:
    lost = runs.missing("package-0")
    return replace(record, energy=(lost,)) if record.cell.backend == "torch-cpu" else record


def _estimated(record: Repetition) -> Repetition:
    energy = (runs.figure(50.0, source=EnergySource.ESTIMATED),)
    return replace(record, energy=energy) if record.cell.batch_size > 1 else record


SURE = ("overtakes", "no significant difference", "95 %", "includes 1")
"""Words that only an interval allows."""


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("more", "said", "unsaid"),
    [
        (
            {"spoil": _failing},
            [
                "Failed: alexnet on onnxruntime-cpu at batch 4 (oom 3×): the child was killed",
                "6 of 12 repetitions measured",
                "Least energy per image: onnxruntime-cpu at batch 1 for alexnet.",
                "withheld: no block has both",
            ],
            ["saturates", "overtakes", "than at batch 1"],
        ),
        (
            {"spoil": _without_energy},
            [
                "6 repetitions are without energy per image, because the figure of a domain",
                "withheld: energy is missing",
            ],
            ["overtakes"],
        ),
        (
            {"spoil": _estimated},
            [
                "Energy is measured in part and estimated in part",
                "No Pareto front of alexnet: its energies are estimated in part",
                "Highest throughput",
            ],
            ["Least energy per image", "overtakes"],
        ),
        (
            {"blocks": 1},
            [
                "One repetition was requested",
                "one repetition: no interval",
                "1 repetition, too few to be sure",
                "One repetition has no interval",
                "Of one repetition: there is no interval.",
            ],
            SURE,
        ),
        (
            {"blocks": 2},
            [
                "Two repetitions were requested",
                "2 repetitions, too few to be sure",
                "with the range of the two repetitions",
            ],
            ["no significant difference"],
        ),
        (
            {"batch_sizes": (4,)},
            ["Least energy per image: onnxruntime-cpu at batch 4"],
            ["saturates", "overtakes", "than at batch 1", "The knee"],
        ),
        (
            {"source": EnergySource.ESTIMATED},
            [
                "Energy is estimated from CPU time by a stated model, not measured",
                "Least energy per image (estimated)",
            ],
            ["(measured)", "measured energy"],
        ),
        (
            {"source": EnergySource.MISSING},
            [
                "There is no energy per image in this run (--meter none was asked for)",
                "Highest throughput",
            ],
            ["CO₂e", "Least energy per image", "saturates", "J per image"],
        ),
    ],
    ids=[
        "failures",
        "energy missing in part",
        "estimates beside measurements",
        "one repetition",
        "two repetitions",
        "one batch size",
        "estimates only",
        "no energy",
    ],
)
def test_a_run_that_lacks_something_is_told_of_truly(
    tmp_path: Path, more: dict[str, Any], said: list[str], unsaid: Sequence[str]
) -> None:
    design: dict[str, Any] = {"models": ("alexnet",), "batch_sizes": (1, 4)}
    run = runs.realistic_run(tmp_path, **(design | more))
    page = own(write_report(run, price=0.3).page).partition('"use strict"')[0]
    text = (run / "report" / "report.md").read_text()
    tables = "".join(path.read_text() for path in run.glob("report/tables/*.tex"))
    words = " ".join(unescape(re.sub(r"<[^>]+>", "", page)).split())
    before_method = words.partition("Measurement method")[0]
    for sentence in said:
        assert sentence in words
    for sentence in unsaid:
        assert sentence not in before_method
        assert sentence not in text.partition("## Measurement method")[0]
    for shown in (page, text, tables):
        assert not re.search(r"\b(nan|NaN|inf|Infinity|None)\b", shown)


@pytest.mark.usefixtures("no_figures")
def test_a_million_images_are_priced_from_the_command(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1,))
    priced = ["--carbon-intensity", "250", "--price", "0.30", "--currency", "EUR"]
    app(["report", str(run), *priced], standalone_mode=False)
    text = (run / "report" / "report.md").read_text()
    assert "At 250 g CO₂e per kWh and 0.3 EUR per kWh" in text
    header, _, _, line = lines_of(run / "report", "Carbon footprint and cost of a million images")
    assert header == ["model", "backend", "batch", "CO₂e", "electricity, EUR"]
    assert line[:3] == ["alexnet", "torch-cpu", "1"]
    # One image takes about 27 W x 20.6 ms = 0.56 J: 0.154 kWh a million.
    grams, money = (float(entry.split()[0]) for entry in line[3:])
    assert grams == pytest.approx(38.6, rel=0.05)
    assert money == pytest.approx(0.0463, rel=0.05)
    with pytest.raises(UsageError, match="price"):
        app(["report", str(run), "--price", "-1"], standalone_mode=False)


@pytest.mark.usefixtures("no_figures")
def test_a_run_with_nothing_measured_still_has_a_report(tmp_path: Path) -> None:
    records: list[Record] = []
    page = write_report(runs.write_run(tmp_path, records)).page.read_text()
    assert "Nothing was measured." in page
    assert "plotly" not in page


def test_a_report_needs_a_run_and_leaves_nothing_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.3), (1.0, 1.01), (0.001, 50.0), (1e-9, 1e9)])
def test_a_log_axis_has_ticks_enough_to_be_read(low: float, high: float) -> None:
    ends = log_range([low, high])
    assert ends[0] < low <= high < ends[1]
    ticks, texts = log_ticks(*ends, "J")
    assert len(ticks) == len(set(texts)) >= 2
    assert len(log_ticks(*ends, "J", most=4)[0]) >= 1


def test_a_run_from_before_says_what_was_not_recorded_and_shows_nothing_empty(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "Not recorded: inter op threads, affinity, spinning" in text
    assert "settings: torch-cpu" not in text
    assert {line[-1] for line in lines_of(report, "Ratios to onnxruntime-cpu")[2:]} == {
        "?\u00a0not recorded"
    }
    assert "Start-up cost and break-even" not in text


def test_batch_sizes_that_failed_alike_share_a_caveat() -> None:
    cells = [Cell("alexnet", "torch-cpu", batch_size=size) for size in (1, 4)]
    records: list[Record] = [runs.failed(cell, block) for cell in cells for block in range(3)]
    with TemporaryDirectory() as folder:
        run = runs.write_run(Path(folder), records, runs.study(("alexnet",), ("torch-cpu",)))
        found = [caveat.sentence for caveat in caveats(compile_dataset(run))]
    assert (
        "Failed: alexnet on torch-cpu at batch 1, 4 (oom 3×, each): "
        "the child was killed for memory at 3.1 GB." in found
    )


def test_a_variant_never_has_the_colour_of_another() -> None:
    names = ["onnxruntime-cpu (allow_spinning=0)", "onnxruntime-cpu", "torch-cpu", "mine", "yours"]
    found = colours([*names, "openvino-cpu", "onnxruntime-cuda"])
    assert len(set(found.values())) == len(found) == 7
    assert found["torch-cpu"] == colours(["torch-cpu"])["torch-cpu"]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (AccuracyFigure(top1=60.55, source="published"), "60.5 % (published)"),
        (
            AccuracyFigure(top1=59.2, source="measured", low=57.0, high=61.0, images=2000),
            "59.2 % (measured here, 2,000 images)",
        ),
    ],
)
def test_accuracy_says_whether_it_was_measured_here(
    tmp_path: Path, accuracy: AccuracyFigure, said: str
) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1,), blocks=1)
    rows = [replace(row, accuracy=accuracy) for row in cell_rows(compile_dataset(run))]
    table = outputs_table(rows)
    assert table.columns[-1] == "top-1 accuracy"
    assert {line[-1] for line in table.rows} == {said}


@pytest.mark.usefixtures("no_figures")
def test_a_long_table_is_folded_and_a_short_one_is_not(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, batch_sizes=(1, 2, 4, 8, 16), blocks=1)
    page = own(write_report(run).page)
    table = page.partition('id="table-cells"')[2].partition("</section>")[0]
    assert "<summary>50 rows</summary>" in table
    assert "<details>" not in page.partition('id="table-best"')[2].partition("</section>")[0]
