"""The report's files: complete, self-contained, escaped, and honest where energy is missing."""

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from greenbatch.analysis import cell_rows, compile_dataset, write_report
from greenbatch.analysis.curves import log_range, log_ticks
from greenbatch.analysis.figures import write_figures
from greenbatch.errors import RunError
from greenbatch.records import EnergySource, Record
from tests.fakes import runs


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = runs.realistic_run(tmp_path_factory.mktemp("run"), EnergySource.ESTIMATED)
    return write_report(run).parent


def own(page: Path) -> str:
    """The page without plotly's own source, which names addresses it never asks for here."""
    text = page.read_text()
    start = text.index("<script>/**")
    return text[:start] + text[text.index("</script>", start) :]


def test_all_files_are_there(report: Path) -> None:
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    figures = {f"figures/{n}.{e}" for n in ("energy", "latency") for e in ("svg", "png")}
    tables = {f"tables/{name}.csv" for name in ("cells", "comparison", "best")}
    assert names == {"index.html", "report.md"} | figures | tables


def test_the_page_asks_for_nothing_outside_itself(report: Path) -> None:
    page = own(report / "index.html")
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:)", page)
    assert "default-src 'none'" in page
    assert report.joinpath("index.html").read_text().count("* plotly.js v") == 1


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


def test_names_and_reasons_are_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)></script>"
    records = runs.realistic_records(models=(evil,), batch_sizes=(1,))
    run = runs.write_run(
        tmp_path, records, runs.study((evil,), runs.BACKENDS, (1,)) | {"name": evil}
    )
    page = own(write_report(run))
    assert "<img" not in page
    assert page.count("</script>") == 3


def test_without_energy_the_page_says_why_and_draws_latency(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, EnergySource.MISSING, models=("alexnet",))
    page = own(write_report(run))
    assert page.count("There is no energy per image in this run") == 3
    assert "Highest throughput" in page
    assert 'id="latency-0"' in page
    assert not (run / "report" / "figures" / "energy.svg").exists()


def test_figures_of_an_earlier_report_do_not_outlive_it(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",))
    write_report(run)
    runs.realistic_run(tmp_path, EnergySource.MISSING, models=("alexnet",))
    write_report(run)
    assert not (run / "report" / "figures" / "energy.svg").exists()


def test_a_run_with_nothing_measured_still_has_a_report(tmp_path: Path) -> None:
    records: list[Record] = []
    page = write_report(runs.write_run(tmp_path, records)).read_text()
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
