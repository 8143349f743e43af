"""What the report of trainings says, and what it says where something is missing."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from greenbatch.analysis.training import (
    compile_training,
    search_rows,
)
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.search_tests import search_tests
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.records import EnergySource, TrainingCell
from tests.fakes import training_runs as fakes
from tests.fakes.report_text import facts, words

pytestmark = pytest.mark.slow


def test_estimates_are_said_first_and_drawn_hollow(tmp_path: Path, no_figures: None) -> None:
    page = write_report(fakes.plain_run(tmp_path, source=EnergySource.ESTIMATED)).page
    text = words(page)
    assert text.index("Energy is estimated from CPU time") < text.index("Least energy per image")
    assert "Least energy per image seen (estimated)" in text
    curves = facts(page)["charts"]["learning-energy-0"]["curves"]
    assert all(curve["estimated"] for curve in curves)


@pytest.mark.parametrize("make", [fakes.plain_run, fakes.factorial_run, fakes.search_run])
def test_without_energy_it_says_why_and_shows_correctness(
    tmp_path: Path, no_figures: None, make: Any
) -> None:
    page = write_report(make(tmp_path, source=EnergySource.MISSING)).page
    text = words(page)
    assert "There is no energy in this run (the counter stood still)" in text
    assert "nan" not in text.lower()
    charts = facts(page)["charts"]
    assert {"learning-epochs-0", "trials-0"} & charts.keys()
    assert not {"learning-energy-0", "search-0", "front-0", "effects-0"} & charts.keys()


def test_failures_interruptions_and_holes_are_told(tmp_path: Path, no_figures: None) -> None:
    text = words(write_report(fakes.troubled_run(tmp_path)).page)
    assert "Failed: simple-cnn on digits (error 1×): the loss is nan in step 17" in text
    assert "The run is incomplete: 1 of 6 trainings did not end." in text
    assert "1 training is without energy (the counter stood still)" in text
    assert "lost 18 J and" in text
    assert "Not drawn against energy, because that of an epoch is missing: dense-linear." in text
    assert "at the least" in text
    assert "nan" not in text.lower().replace("the loss is nan", "")


def test_one_repetition_has_no_interval(tmp_path: Path, no_figures: None) -> None:
    text = words(write_report(fakes.delrey_run(tmp_path, blocks=1)).page)
    assert "One repetition was" in text
    assert "one repetition, too few to be sure" in text
    assert "95 %:" not in text


def test_a_single_choice_is_not_compared(tmp_path: Path, no_figures: None) -> None:
    run = fakes.plain_run(tmp_path, models=("simple-cnn",), batch_sizes=(32,))
    page = write_report(run).page
    assert "One choice was trained, so nothing is compared." in words(page)
    assert "front-0" not in facts(page)["charts"]


def test_nothing_trained_is_said(tmp_path: Path, no_figures: None) -> None:
    text = words(write_report(fakes.write(tmp_path, [])).page)
    assert "No training completed." in text
    assert "0 of 3 trainings measured" in text


def test_a_tie_is_called_one(tmp_path: Path, no_figures: None) -> None:
    truths = {"a": (0.1, 0.9), "b": (0.1005, 0.9005)}
    run = fakes.delrey_run(tmp_path, blocks=4, truths=truths, noise=0.03, accuracy_noise=0.01)
    text = words(write_report(run).page)
    assert "more: no significant difference" in text
    assert re.search("No significant difference in accuracy from [ab]: [ab]", text)


def test_correctness_is_judged_by_what_is_asked_for(tmp_path: Path, no_figures: None) -> None:
    run = fakes.delrey_run(tmp_path, blocks=3, truths={"a": (0.1, 0.9), "b": (0.2, 0.6)})
    text = words(write_report(run, metric="auc", within=0.4).page)
    assert "highest area under the ROC curve: b with" in text
    assert "b has the best area under the ROC curve" in text
    assert "a is the greenest within 40 % of it" in text
    assert "Pareto front: area under the ROC curve against energy" in text
    assert "highest accuracy: a with" in words(write_report(run).page)
    assert "highest F1 score: a with" in words(write_report(run, metric="f1").page)


def test_means_are_tested_where_that_is_asked_for(tmp_path: Path, no_figures: None) -> None:
    run = fakes.delrey_run(tmp_path, blocks=4, truths={"a": (0.1, 0.9), "b": (0.2, 0.8)})
    (plain,) = correctness(compile_training(run))
    assert (plain.tests["energy"].welch, plain.tests["energy"].games_howell) == (None, ())
    page = write_report(run, welch=True).page
    with (page.parent / "tables" / "tests.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["figure"] == "energy per image seen"]
    pair = next(line for line in lines if line["test"] == "Games-Howell")
    assert re.match(r"difference of means −(9\d|10\d)(\.\d+)? mJ", pair["effect (95 %)"])
    assert any(line["test"] == "Welch ANOVA" for line in lines)
    assert "Dunn" in {line["test"] for line in lines}
    rows = search_rows(compile_training(fakes.search_run(tmp_path / "search")))
    (found, _) = search_tests(rows, welch=True)[0].tests
    assert [test.name for test in found.games_howell] == ["Games-Howell"] * 3


def test_what_cannot_be_judged_is_refused(tmp_path: Path, no_figures: None) -> None:
    run = fakes.delrey_run(tmp_path / "plain", blocks=1)
    with pytest.raises(UnknownNameError, match="unknown measure of correctness 'f2'"):
        write_report(run, metric="f2")
    with pytest.raises(UsageError, match="within is 1; give a share"):
        write_report(run, within=1)
    with pytest.raises(UsageError, match="the run is a search"):
        write_report(fakes.search_run(tmp_path / "search"), metric="f1")


def test_a_shortened_run_and_its_substitutions_are_said(tmp_path: Path, no_figures: None) -> None:
    members = {"scale": 0.01, "substitutions": {"NASNetMobile": "nasnet-mobile, by timm's parts"}}
    text = words(write_report(fakes.plain_run(tmp_path, study_members=members)).page)
    assert "This is a shortened run, 0.01 of the study's" in text
    assert "are replaced: NASNetMobile by nasnet-mobile" in text


def test_trainings_that_stopped_early_are_told_and_drawn_to_where_all_went(
    tmp_path: Path, no_figures: None
) -> None:
    cell = TrainingCell("simple-cnn", "digits")
    records = [
        record
        for block, (epochs, stopped) in enumerate(((3, "patience"), (9, "epochs"), (4, "patience")))
        for record in fakes.trained(cell, block, epochs=epochs, stopped=stopped)
    ]
    page = write_report(fakes.write(tmp_path, records, fakes.study(epochs=9, patience=1))).page
    text = words(page)
    assert "Patience ended 2 trainings early; trainings took 3 to 9 epochs" in text
    assert "3 to 9, 2 early" in text
    (curve,) = facts(page)["charts"]["learning-epochs-0"]["curves"]
    assert curve["x"] == [1, 2, 3]


def test_settings_that_differ_are_marked(tmp_path: Path, no_figures: None) -> None:
    cell = TrainingCell("simple-cnn", "digits")
    records = [
        record
        for block in range(2)
        for record in fakes.trained(cell, block, settings={"threads": 2 + block, "amp": False})
    ]
    page = write_report(fakes.write(tmp_path, records, fakes.study(repetitions=2))).page
    text = words(page)
    assert "threads ≠ 2 (1×); 3 (1×)" in text
    assert "amp no" in text


def test_a_training_emits_and_costs_what_its_energy_says(tmp_path: Path, no_figures: None) -> None:
    records = [
        record
        for block in range(3)
        for record in fakes.trained(TrainingCell("m", "digits"), block, image_j=90.0)
    ]  # 4 epochs of 1,000 images: 0.1 kWh
    run = fakes.write(tmp_path, records, fakes.study(["m"]))
    write_report(run, carbon_intensity=232.0, price=0.30, currency="EUR")
    text = (run / "report/report.md").read_text(encoding="utf-8")
    assert "## Carbon footprint and cost of a training" in text
    assert "| m | 23.2 g (23.2 g … 23.2 g) | 0.03 (0.03 … 0.03) | measured |" in text
    assert "At 232 g CO₂e per kWh and 0.3 EUR per kWh" in text
    with pytest.raises(UsageError, match="the carbon intensity is -1; give a finite number"):
        write_report(run, carbon_intensity=-1.0)
