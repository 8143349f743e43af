"""What the report of a search of hyperparameters says."""

import csv
from pathlib import Path

import pytest

from greenbatch.analysis import write_report
from greenbatch.analysis.findings.wording import amount
from greenbatch.analysis.training import (
    compile_training,
    search_rows,
)
from tests.fakes import training_runs as fakes
from tests.fakes.report_text import facts, words

pytestmark = pytest.mark.slow


def test_a_search_names_the_strategy_that_was_there_with_the_least_energy(
    tmp_path: Path, no_figures: None
) -> None:
    page = write_report(fakes.search_run(tmp_path)).page
    text = words(page)
    assert "gp came within 1 % of the best accuracy of all strategies with the least energy" in text
    assert "searches by grid in 4 of 4 and random in 4 of 4." in text
    charts = facts(page)["charts"]
    assert {curve["label"] for curve in charts["search-0"]["curves"]} == {"grid", "random", "gp"}
    assert "Hyperparameters of the best trials" in text
    with (page.parent / "tables" / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 8 * 4
    assert {line["batch_size"] for line in lines} == {"32", "128"}


def test_strategies_that_all_arrive_are_ranked_by_energy_with_the_ratio(
    tmp_path: Path, no_figures: None
) -> None:
    text = words(write_report(fakes.search_run(tmp_path, within=0.06)).page)
    assert "gp came within 6 % of the best accuracy of all strategies with the least" in text
    # random is there after 5 trials of 50 J and a joule more for each, gp after 3
    assert f"random needed {260 / 153:.2f} times" in text


def test_one_search_of_each_strategy_is_called_too_few(tmp_path: Path, no_figures: None) -> None:
    text = words(write_report(fakes.search_run(tmp_path, blocks=1)).page)
    assert "One search of each strategy: too few to be sure of any order." in text
    assert "95 %:" not in text


def test_a_failed_trial_is_told_with_its_reason(tmp_path: Path, no_figures: None) -> None:
    text = words(write_report(fakes.search_run(tmp_path, failures=True)).page)
    assert "random, trial 1 on digits (error 4×): the loss is nan in step 17 of epoch 2" in text


def test_a_search_is_charged_with_all_its_trials(tmp_path: Path) -> None:
    run = fakes.search_run(tmp_path, blocks=3)
    found = search_rows(compile_training(run))
    write_report(run, carbon_intensity=3.6e6)  # 1 g for a joule
    text = (run / "report/report.md").read_text(encoding="utf-8")
    assert "## Carbon footprint and cost of a search" in text
    for row in found:
        assert row.total_j is not None
        assert f"| {row.strategy} | {amount(row.total_j.centre, 'g')} (" in text
