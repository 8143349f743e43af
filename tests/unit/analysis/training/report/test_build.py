"""The report of trainings: complete, escaped, and true where something is missing."""

import csv
import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.findings.wording import amount
from greenbatch.analysis.training import (
    compile_training,
    merge_training,
    open_training,
    search_rows,
)
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.judge import Judge
from greenbatch.analysis.training.findings.rows import labels_of, training_rows
from greenbatch.analysis.training.findings.search_tests import search_tests
from greenbatch.analysis.training.report.machine_charts import machine_sections
from greenbatch.analysis.training.report.overview import machines_page
from greenbatch.cli.application import app
from greenbatch.errors import RunError, UnknownNameError, UsageError
from greenbatch.records import EnergySource, TrainingCell
from tests.fakes import training_runs as fakes

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures on paper and dataset.nc, which take most of a report's time."""
    for module in ("build", "overview"):
        name = f"greenbatch.analysis.training.report.{module}.write_training_figures"
        monkeypatch.setattr(name, lambda *_: [])
    monkeypatch.setattr("greenbatch.analysis.dataset.store.store", lambda _, path: path)


@pytest.fixture(scope="module")
def delrey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(fakes.delrey_run(tmp_path_factory.mktemp("delrey"))).page.parent


def words(page: Path) -> str:
    """The page's text as it is read: scripts, styles and tags taken out, spaces as one."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def facts(page: Path) -> dict[str, Any]:
    """What the page's script draws."""
    found = re.search(r'id="figures">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    printed: dict[str, Any] = json.loads(found[1])
    return printed


def test_the_answer_of_a_comparison_names_the_greenest_and_the_most_accurate(delrey: Path) -> None:
    text = words(delrey / "index.html")
    assert "Least energy per image seen: mobilenet_v2 with 119 mJ" in text
    assert "highest accuracy: vgg16 with 98.8 %" in text
    answer, caveats = text.index("Least energy per image seen"), text.index("Caveats")
    assert answer < caveats


def test_page_and_markdown_say_the_same_sentences(delrey: Path) -> None:
    text, markdown = words(delrey / "index.html"), (delrey / "report.md").read_text()
    lead = markdown.split("\n\n")[1]
    assert lead in text
    assert "## All trainings" in markdown
    assert markdown.count("figures/") >= 3


def test_every_file_of_the_report_is_there_and_drawn(delrey: Path) -> None:
    names = {str(path.relative_to(delrey)) for path in delrey.rglob("*") if path.is_file()}
    drawn = ("learning", "epochs", "front")
    assert {f"figures/{n}.{e}" for n in drawn for e in ("svg", "pdf", "png")} <= names
    assert {"index.html", "report.md", "tables/trainings.csv", "tables/trainings.tex"} <= names
    for name in drawn:
        ElementTree.fromstring((delrey / "figures" / f"{name}.svg").read_text())


def test_the_page_asks_for_nothing_outside_itself(delrey: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", (delrey / "index.html").read_text(), flags=re.DOTALL)
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|figures/|#)", text)
    assert "default-src 'none'" in text


def test_the_csv_holds_the_truths_of_the_run(delrey: Path) -> None:
    with (delrey / "tables" / "trainings.csv").open() as file:
        lines = {line["model"]: line for line in csv.DictReader(file)}
    for model, (image_j, accuracy) in fakes.DELREY.items():
        assert float(lines[model]["energy_per_image_seen_J"]) == pytest.approx(image_j, rel=0.02)
        assert float(lines[model]["best_accuracy"]) == pytest.approx(accuracy, abs=0.002)
        low, high = (float(lines[model][f"energy_per_image_seen_J_{e}"]) for e in ("low", "high"))
        assert low < float(lines[model]["energy_per_image_seen_J"]) < high


def test_the_command_writes_the_report_of_trainings_for_a_run_of_trainings(
    tmp_path: Path, no_figures: None
) -> None:
    page = write_report(fakes.plain_run(tmp_path, blocks=2)).page
    assert page == tmp_path / "report" / "index.html"
    assert "energy and correctness of training" in page.read_text()


def test_a_learning_curve_is_the_mean_over_repetitions(tmp_path: Path, no_figures: None) -> None:
    run = fakes.plain_run(tmp_path, models=("simple-cnn",), batch_sizes=(32,))
    charts = facts(write_report(run).page)["charts"]
    (curve,) = charts["learning-epochs-0"]["curves"]
    dataset = open_training(run)
    means = dataset["accuracy"].mean("repetition").values.ravel()
    assert [value[0] for value in curve["y"]] == pytest.approx(means, rel=1e-5)
    assert curve["x"] == [1, 2, 3, 4]
    spent_j = dataset["epoch_energy"].sum(["phase", "domain"]).cumsum("epoch")
    logs = xr.ufuncs.log(spent_j).mean("repetition")
    means_j = np.exp(logs.values.ravel())  # as in the tables
    (curve,) = charts["learning-energy-0"]["curves"]
    assert curve["x"] == pytest.approx(means_j, rel=1e-5)
    assert curve["x"] != pytest.approx(spent_j.mean("repetition").values.ravel(), rel=1e-9)


def test_energy_of_an_epoch_is_shown_for_training_and_validation_apart(
    tmp_path: Path, no_figures: None
) -> None:
    run = fakes.plain_run(tmp_path, models=("simple-cnn",), batch_sizes=(32,))
    curves = facts(write_report(run).page)["charts"]["epochs-0"]["curves"]
    train, validation = (curve["y"][0][0] for curve in curves)
    assert [curve["words"] for curve in curves] == ["train", "validation"]
    share = fakes.SHARES["train"] / fakes.SHARES["validation"]
    assert train / validation == pytest.approx(share, rel=1e-4)


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


def test_a_factorial_names_the_layers_that_explain_the_energy(
    tmp_path: Path, no_figures: None
) -> None:
    page = write_report(fakes.factorial_run(tmp_path)).page
    text = words(page)
    found = re.search(r"most of the energy of a training is conv layers: ([\d.]+) % of", text)
    assert found
    effects = {n: abs(e[1]) for n, e in _spread(fakes.LAYER_EFFECTS_J).items()}
    share = effects["conv_layers"] ** 2 / sum(e**2 for e in effects.values())
    assert float(found[1]) == pytest.approx(100 * share, abs=1.0)
    assert "without blocks: eta squared" in text
    charts = facts(page)["charts"]
    assert charts["effects-0"]["levels"][0]["factor"] == "conv_layers"
    by_level = {
        (one["factor"], one["level"]): one["value"][0]
        for one in charts["effects-correct-0"]["levels"]
    }
    assert by_level["conv_layers", "4"] == pytest.approx(0.90)
    lines = {curve["label"]: curve["y"] for curve in charts["interaction-0-0"]["curves"]}
    assert charts["interaction-0-0"]["levels"] == ["1", "4"]
    gaps = [
        b[0] - a[0] for a, b in zip(lines["linear layers 3"], lines["linear layers 7"], strict=True)
    ]
    assert gaps == pytest.approx([200, 200], rel=0.1)  # the factors of the make add
    assert re.search(
        r"With conv layers 4 instead of 1, a training needs 2\.\d+ \(.*?\) times", text
    )
    assert "and its best accuracy changes by +5.0 (+5.0 … +5.0) percentage points" in text
    assert re.search(r"With relu 1 .*? times the energy, with the same best accuracy\.", text)


def _spread(effects: Any) -> dict[str, tuple[float, float]]:
    return {name: tuple(levels.values()) for name, levels in effects.items()}


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


def test_a_repetition_that_lies_apart_is_seen(tmp_path: Path, no_figures: None) -> None:
    cell = TrainingCell("m", "digits")
    records = []
    for block, image_j in enumerate((0.050, 0.051, 0.049, 0.080, 0.050)):
        flags = ("disturbed",) if block == 3 else ()
        records += fakes.trained(cell, block, image_j=image_j, flags=flags)
    page = write_report(fakes.write(tmp_path, records, fakes.study(["m"], 5))).page
    (row,) = facts(page)["charts"]["repetitions-energy-0"]["rows"]
    assert [point["off"] for point in row["points"]] == pytest.approx([0, 0.02, -0.02, 0.6, 0])
    assert [point["number"] for point in row["points"] if point["flagged"]] == [4]
    assert row["middle"] == pytest.approx([0, 0.02])
    assert "Spread of the repetitions" in words(page)


def test_two_repetitions_have_no_median_to_lie_apart_from(tmp_path: Path, no_figures: None) -> None:
    page = write_report(fakes.delrey_run(tmp_path, blocks=2)).page
    assert not [name for name in facts(page)["charts"] if name.startswith("repetitions")]


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


def test_what_a_user_named_is_text(tmp_path: Path, no_figures: None) -> None:
    run = fakes.plain_run(
        tmp_path,
        data=f"folder:{EVIL}b|c",
        blocks=2,
        study_members={"name": EVIL, "about": EVIL},
    )
    page = write_report(run).page
    text = re.sub(r'<script id="plotly".*?</script>', "", page.read_text(), flags=re.DOTALL)
    assert "alert(1)" in text
    assert EVIL not in text
    markdown = (page.parent / "report.md").read_text()
    assert EVIL not in markdown
    assert "b\\|c" in markdown


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


def test_files_of_an_earlier_report_do_not_outlive_it(tmp_path: Path) -> None:
    run = fakes.plain_run(tmp_path, batch_sizes=(32,), models=("simple-cnn",), blocks=1)
    stale = [run / "report" / name for name in ("figures/front.svg", "tables/anova.csv")]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    write_report(run)
    assert [path.exists() for path in stale] == [False, False]


def test_a_report_that_cannot_be_written_says_what_to_do(tmp_path: Path, no_figures: None) -> None:
    run = fakes.plain_run(tmp_path, blocks=1)
    (run / "report").write_text("in the way")
    with pytest.raises(RunError, match="copy the run"):
        write_report(run)


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


def test_the_command_tells_the_answer_and_where_the_report_is(
    tmp_path: Path, no_figures: None
) -> None:
    run = fakes.search_run(tmp_path)
    ran = CliRunner().invoke(app, ["report", str(run)])
    assert ran.exit_code == 0, ran.output
    assert "fake-training: gp came within 1 % of the best accuracy" in ran.output
    assert f"report: {run / 'report' / 'index.html'}" in ran.output
    answer = json.loads(CliRunner().invoke(app, ["report", str(run), "--json"]).output)
    assert answer["answers"]["fake-training"][0].startswith("gp came within 1 %")


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


def test_the_study_of_del_rey_is_reckoned_with_its_own_carbon_intensity(
    delrey: Path, tmp_path: Path, no_figures: None
) -> None:
    text = words(delrey / "index.html")
    assert "Carbon footprint and cost of a training" in text
    assert "The intensity is that of the study" in text
    with (delrey / "tables" / "footprint.csv").open() as file:
        first = next(csv.DictReader(file))
    with (delrey / "tables" / "trainings.csv").open() as file:
        energy_j = float(next(csv.DictReader(file))["energy_J"])
    grams, unit = first["CO₂e"].split()[:2]
    scale = {"mg": 1e-3, "g": 1.0}[unit]
    assert float(grams) * scale == pytest.approx(energy_j / 3.6e6 * 232, rel=0.01)
    other = write_report(fakes.delrey_run(tmp_path, blocks=1), carbon_intensity=100)
    assert "The intensity is that of the study" not in words(other.page)


def test_a_search_is_charged_with_all_its_trials(tmp_path: Path) -> None:
    run = fakes.search_run(tmp_path, blocks=3)
    found = search_rows(compile_training(run))
    write_report(run, carbon_intensity=3.6e6)  # 1 g for a joule
    text = (run / "report/report.md").read_text(encoding="utf-8")
    assert "## Carbon footprint and cost of a search" in text
    for row in found:
        assert row.total_j is not None
        assert f"| {row.strategy} | {amount(row.total_j.centre, 'g')} (" in text


def test_rows_know_what_differs() -> None:
    cells = [
        TrainingCell("cnn", "digits", settings=(("relu", relu), ("momentum", "0.9")))
        for relu in ("0", "1")
    ]
    assert labels_of(cells) == ["relu 0", "relu 1"]
    assert labels_of(cells[:1]) == ["cnn"]


def test_rows_sum_passes_and_losses(tmp_path: Path) -> None:
    rows = training_rows(open_training(fakes.troubled_run(tmp_path)))
    row = next(row for row in rows if row.cell.model == "simple-cnn")
    assert row.statuses == {"ok": 1, "error": 1, "not_run": 1}
    assert row.lost_j == pytest.approx(5 + 6 + 7)
    assert row.sessions == 1
    assert row.series["train_image"][1] == pytest.approx(0.05 * 1000 * 0.9 / 800)
