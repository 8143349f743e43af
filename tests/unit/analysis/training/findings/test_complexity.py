"""Energy and utilisation against multiplications, and what a point of accuracy takes."""

import math
from pathlib import Path

import pytest
from scipy.stats import kruskal, spearmanr

from greenbatch.analysis.statistics.hypothesis_tests import spearman
from greenbatch.analysis.training.dataset.store import compile_training
from greenbatch.analysis.training.findings.complexity import Complexity, complexity
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.rows import TrainingRow, training_rows
from greenbatch.analysis.training.report.size_tables import size_sections, size_sentences
from greenbatch.records import EnergySource
from tests.fakes import training_runs

pytestmark = pytest.mark.numeric

TRUTHS = {"a": (0.001, 0.5), "b": (0.002, 0.6), "c": (0.004, 0.7), "d": (0.008, 0.72)}
MACS = {"a": 10**6, "b": 4 * 10**6, "c": 16 * 10**6, "d": 64 * 10**6}
BUSY = {"a": 0.3, "b": 0.5, "c": 0.45, "d": 0.9}


def rows(path: Path, **more: object) -> list[TrainingRow]:
    run = training_runs.delrey_run(
        path,
        blocks=3,
        truths=TRUTHS,
        noise=0.0,
        accuracy_noise=0.0,
        **more,  # type: ignore[arg-type]
    )
    return training_rows(compile_training(run))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingRow]:
    return rows(tmp_path_factory.mktemp("sizes"), macs=MACS, busy=BUSY)


@pytest.fixture(scope="module")
def found(cells: list[TrainingRow]) -> Complexity:
    sized = complexity(cells, cells)
    assert sized is not None
    return sized


def test_the_exponent_is_the_one_that_was_built_in(found: Complexity) -> None:
    energy, busy = found.rises
    assert energy.exponent == pytest.approx(0.5)
    assert energy.r_squared == pytest.approx(1)
    assert energy.spearman.statistic == pytest.approx(1)
    assert energy.choices == 4
    assert busy.figure == "utilization"
    assert 0 < busy.exponent < 0.5
    assert busy.r_squared < 0.95


def test_p_is_one_sided() -> None:
    pairs = {"a": (1.0, 2.0), "b": (2.0, 1.0), "c": (3.0, 3.0), "d": (4.0, 4.0)}
    assert spearman(pairs, rises=True).p == pytest.approx(4 / 24)  # of all orders of four
    falls = {name: (x, -y) for name, (x, y) in pairs.items()}
    assert spearman(falls, rises=True).p > 0.8
    many = {str(n): (float(n), math.sin(n) + 0.1 * n) for n in range(20)}
    published = spearmanr(*zip(*many.values(), strict=True), alternative="greater")
    assert spearman(many, rises=True).p == pytest.approx(published.pvalue)
    turned = {name: (x, -y) for name, (x, y) in many.items()}
    published = spearmanr(*zip(*turned.values(), strict=True), alternative="greater")
    assert spearman(turned, rises=True).p == pytest.approx(published.pvalue)


def test_the_simplest_is_set_against_the_most_complex(found: Complexity) -> None:
    assert found.share is not None
    assert found.share.centre == pytest.approx(1 / 8)
    (first, *_) = size_sentences("digits", found, several=False)
    assert first.startswith("The choice with the fewest multiplications, a, needs 12.5 %")
    assert "1 MMACs" not in first
    assert "1 M MACs" in first
    assert "64 M MACs an image" in first


def test_an_extra_point_takes_the_energy_between_two_of_the_front(found: Complexity) -> None:
    assert [(s.cheaper.label, s.better.label) for s in found.steps] == [
        *(("a", "b"), ("b", "c"), ("c", "d"))
    ]
    prices = [step.extra_j / step.points for step in found.steps]
    assert prices == pytest.approx([0.001 / 10, 0.002 / 10, 0.004 / 2])
    assert (
        "an extra point of accuracy takes 2 mJ more"
        in size_sentences("x", found, several=False)[-1]
    )


def test_the_phases_add_to_the_whole(cells: list[TrainingRow]) -> None:
    for row in cells:
        for block, whole_j in row.series["energy"].items():
            names = ("train", "validation", "checkpoint")
            parts_j = sum(row.series[f"{name}_energy"][block] for name in names)
            assert parts_j == pytest.approx(whole_j)
            share = row.series["train_energy"][block] / parts_j
            assert share == pytest.approx(training_runs.SHARES["train"])


def test_utilisation_is_tested_as_energy_is(tmp_path: Path) -> None:
    run = training_runs.delrey_run(tmp_path, blocks=4, truths=TRUTHS, busy=BUSY)
    (judged,) = correctness(compile_training(run))
    expected = kruskal(*([share - 0.01 * block for block in range(4)] for share in BUSY.values()))
    tested = judged.tests["utilization"]
    assert tested.kruskal is not None
    assert tested.kruskal.statistic == pytest.approx(expected.statistic)
    assert len(tested.dunn) == 6


def test_what_was_not_recorded_is_missing_and_not_zero(tmp_path: Path) -> None:
    bare = rows(tmp_path)
    assert not any(row.series["utilization"] or row.series["temperature"] for row in bare)
    sized = complexity(bare, bare)
    assert sized is not None
    assert (sized.rises, sized.share) == ((), None)
    names = {section.table.name: section.table.rows for section in size_sections(bare, [])}
    assert not names["device"]
    assert not names["sizes"]
    assert len(names["phases"]) == 4


def test_the_table_of_the_device_has_the_hottest_sensor(cells: list[TrainingRow]) -> None:
    tables = {section.table.name: section.table for section in size_sections(cells, [])}
    model, busy, _, _, temperature = tables["device"].rows[0]
    assert (model, temperature) == ("a", "71.0 °C (68.5 … 73.5)")
    assert busy.startswith("29.0 %")


def test_without_energy_nothing_is_related(tmp_path: Path) -> None:
    missing = rows(tmp_path, source=EnergySource.MISSING, macs=MACS)
    assert complexity(missing, missing) is None
