"""The report of trainings on several machines."""

import re
from pathlib import Path

import pytest

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.training import (
    compile_training,
    merge_training,
)
from greenbatch.analysis.training.findings.judge import Judge
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.analysis.training.report.machine_charts import machine_sections
from greenbatch.analysis.training.report.overview import machines_page
from greenbatch.records import EnergySource
from tests.fakes import training_runs as fakes
from tests.fakes.report_text import facts, words

pytestmark = pytest.mark.slow


def test_of_the_bars_of_machines_those_of_estimated_energies_are_hollow(tmp_path: Path) -> None:
    rows = {
        source.value: training_rows(
            compile_training(
                fakes.delrey_run(
                    tmp_path / source, blocks=2, truths={"a": (0.1, 0.9)}, source=source
                )
            )
        )
        for source in (EnergySource.COUNTER, EnergySource.ESTIMATED)
    }
    hollow = {
        section.name: [one["estimated"] for one in section.charts[0].facts["series"]]
        for section in machine_sections(rows)
        if section.charts[0].facts["kind"] == "bars"
    }
    assert hollow == {"machines": [False, True], "machine-correctness": [False, False]}


def test_tests_of_means_between_machines_are_explained(tmp_path: Path) -> None:
    runs = [
        fakes.delrey_run(
            tmp_path / host, blocks=3, host=host, power=power, truths={"a": (0.1, 0.9)}
        )
        for host, power in (("bench", 1.0), ("cloud", 2.0))
    ]
    page = machines_page(merge_training(runs), {}, {}, {}, Judge(welch=True))
    pairs = next(section for section in page.tables if section.table.name == "machine-pairs")
    assert {row[2] for row in pairs.table.rows} == {"Dunn", "Welch ANOVA", "Games-Howell"}
    assert "Welch's analysis of variance, and Games and Howell's test" in pairs.note


def test_merged_machines_stand_side_by_side(tmp_path: Path, no_figures: None) -> None:
    runs = [
        fakes.delrey_run(tmp_path / host, blocks=3, host=host, power=power)
        for host, power in (("bench", 1.0), ("cloud", 2.0))
    ]
    merged = store(merge_training(runs), tmp_path / "both.nc")
    page = write_report(merged).page
    assert page == tmp_path / "both-report" / "index.html"
    text = words(page)
    assert "mobilenet_v2 119 mJ" in text
    assert "Games and Howell" not in text
    assert re.search(r"mobilenet_v2 119 mJ ± [\d.]+ % 2\d\d mJ", text)
    bars = facts(page)["charts"]["machines-image-0"]
    assert bars["groups"] == [*fakes.DELREY]
    for one, power in zip(bars["series"], (1.0, 2.0), strict=True):
        truths = [power * image_j for image_j, _ in fakes.DELREY.values()]
        assert [value[0] for value in one["y"]] == pytest.approx(truths, rel=0.02)
    assert (page.parent / "tables" / "machines.csv").exists()
    parts = [words(page.parent / f"machine-{n}" / "index.html") for n in (1, 2)]
    assert all("Least energy per image seen: mobilenet_v2" in part for part in parts)
