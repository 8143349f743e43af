"""What a study printed stands beside what its preset gives here."""

import re
from pathlib import Path

import pytest
import xarray as xr

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.described import training_study_of
from greenbatch.analysis.published.studies import published_studies
from greenbatch.analysis.training import compile_training, search_rows
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.factorial import factorial
from greenbatch.analysis.training.report.published_table import published_sections
from greenbatch.design.presets import presets
from greenbatch.design.recorded import RecordedTrainingStudy
from tests.fakes import training_runs

pytestmark = pytest.mark.numeric


def named(dataset: xr.Dataset, name: str) -> RecordedTrainingStudy:
    """The study of a dataset by the name of a preset."""
    return training_study_of(dataset).model_copy(update={"name": name})


def test_every_study_is_a_preset() -> None:
    assert published_studies().keys() <= set(presets())


@pytest.mark.slow
def test_layers_stand_beside_the_published_ones(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.factorial_run(tmp_path))
    study = named(dataset, "yarally-training-layers")
    (section,) = published_sections(study, factorial(dataset), correctness(dataset))
    rows = {figure: (published, here) for figure, published, here in section.table.rows}
    published, here = rows["eta squared of conv layers, without blocks"]
    assert published == "0.976 on CIFAR-10, 0.990 on Fashion-MNIST"
    # Variances in the make: 900², 100², 20², 60² x 2 of blocks, 15² of noise.
    share = 900**2 / (900**2 + 100**2 + 20**2 + 2 * 60**2 + 15**2)
    assert float(here) == pytest.approx(share, abs=0.002)
    _, over = rows["most over least energy of a variant"]
    base = training_runs.LAYER_BASE_J + 2 * training_runs.LAYER_BLOCK_J
    assert float(over.split()[0]) == pytest.approx((base + 2040) / base, rel=0.03)


@pytest.mark.slow
def test_architectures_stand_beside_the_published_ones(tmp_path: Path) -> None:
    run = training_runs.delrey_run(tmp_path, blocks=5)
    write_report(run)
    text = (run / "report/report.md").read_text(encoding="utf-8")
    assert "## Published, and here" in text
    (found,) = correctness(compile_training(run))
    test = found.tests["energy"].kruskal
    assert test is not None
    assert test.effect is not None
    here = f"{test.effect.centre:.3f} (H = {test.statistic:.2f})"
    assert f"| 0.911 (H = 127.05, RTX 3090) | {here} |" in text
    (saving,) = re.findall(
        r"MobileNetV2 against VGG16\) \| ([\d.]+) % \(mobilenet_v2 against", text
    )
    assert float(saving) == pytest.approx(100 * (1 - 0.119 / 0.345), abs=1.0)


def test_searches_stand_beside_the_published_ones(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.search_run(tmp_path))
    found = search_rows(dataset)
    (section,) = published_sections(named(dataset, "yarally-training-search"), searches=found)
    rows = {figure: here for figure, _, here in section.table.rows}
    (gp,) = [row for row in found if row.strategy == "gp"]
    arrived = len(gp.near_all.trials)
    assert rows["gp: within the bound of the best of all strategies"] == (
        f"{arrived} of {gp.searches} searches"
    )

    (context,) = {row.curve.context for row in found}
    study = named(dataset, "yarally-training-search")
    (section,) = published_sections(study, searches=found, learned_nothing=[context])
    here = {here for figure, _, here in section.table.rows if figure.startswith(("gp", "grid"))}
    assert here == {"not better than guessing"}


@pytest.mark.slow
def test_figures_of_correctness_by_chance_are_not_set_beside_published_ones(
    tmp_path: Path,
) -> None:
    run = training_runs.delrey_run(tmp_path, blocks=3)
    dataset = compile_training(run)
    judged = correctness(dataset)
    study = training_study_of(dataset)
    (learned,) = published_sections(study, judged=judged)
    (by_chance,) = published_sections(study, judged=judged, learned_nothing=[judged[0].context])
    changed = {
        before[0]: after[2]
        for before, after in zip(learned.table.rows, by_chance.table.rows, strict=True)
        if before != after
    }
    assert [*changed.values()] == ["not better than guessing"] * 2
    assert all("f1" in name or "with correctness" in name for name in changed)


def test_another_study_has_no_such_table(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.plain_run(tmp_path, blocks=1))
    assert published_sections(training_study_of(dataset)) == []


@pytest.mark.parametrize(
    ("by_chance", "here"),
    [
        (("dense",), r"not better than guessing \(dense\); \d of 2 searches \(simple-cnn\)"),
        (("dense", "simple-cnn"), "not better than guessing"),
    ],
)
def test_each_network_that_learned_nothing_is_named_unless_all_did(
    tmp_path: Path, by_chance: tuple[str, ...], here: str
) -> None:
    run = training_runs.search_run(tmp_path, models=("dense", "simple-cnn"), blocks=2)
    dataset = compile_training(run)
    found = search_rows(dataset)
    contexts = [row.curve.context for row in found if row.curve.context.name in by_chance]
    study = named(dataset, "yarally-training-search")
    (section,) = published_sections(study, searches=found, learned_nothing=contexts)
    assert all(re.fullmatch(here, row[2]) for row in section.table.rows), section.table.rows
