"""The report of trainings: complete, and escaped."""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from greenbatch.analysis import write_report
from greenbatch.analysis.training import (
    open_training,
)
from greenbatch.analysis.training.findings.rows import labels_of, training_rows
from greenbatch.cli.application import app
from greenbatch.errors import RunError
from greenbatch.records import TrainingCell
from tests.fakes import training_runs as fakes
from tests.fakes.report_text import facts, words

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def delrey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(fakes.delrey_run(tmp_path_factory.mktemp("delrey"))).page.parent


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
