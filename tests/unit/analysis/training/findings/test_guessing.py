"""A network that learned nothing is said to have done so, and no other is."""

import json
from pathlib import Path

import numpy as np
import pytest

from greenbatch.analysis.training.dataset.merging import merge_training_datasets
from greenbatch.analysis.training.dataset.store import compile_training
from greenbatch.analysis.training.findings.caveats import training_caveats
from greenbatch.analysis.training.findings.guessing import guessing_networks
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.analysis.training.report.plain_findings import plain_findings
from greenbatch.analysis.training.report.search_findings import search_findings
from greenbatch.records import TrainingCell
from tests.fakes import training_runs as fakes

MODELS = ("dense", "simple-cnn")
ACCURACIES = fakes.SEARCH_ACCURACIES


def run_of(path: Path, *accuracies: tuple[float, ...], classes: int | None = 10) -> Path:
    """Write trainings with the best accuracies of each network."""
    settings = {} if classes is None else {"classes": classes}
    records = [
        record
        for model, reached in zip(MODELS, accuracies, strict=False)
        for block, accuracy in enumerate(reached)
        for record in fakes.trained(
            TrainingCell(model, "digits", batch_size=32),
            block,
            accuracy=accuracy,
            epochs=2,
            settings=settings,
        )
    ]
    members = fakes.study(MODELS[: len(accuracies)], len(accuracies[0]), 2)
    return fakes.write(path, records, members)


def guessing(run: Path) -> list[str]:
    return [found.model for found in guessing_networks(training_rows(compile_training(run)))]


def test_a_network_at_the_accuracy_of_guessing_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", (0.1, 0.12, 0.13), (0.1, 0.12, 0.9))
    assert guessing(run) == ["dense"]
    dataset = compile_training(run)
    first, *_ = training_caveats(dataset, training_rows(dataset))
    assert first.code == "guessing"
    assert "dense on digits was shown to be better than guessing one of 10" in first.sentence
    assert "accuracy is 13.0 %" in first.sentence
    assert "simple-cnn" not in first.sentence


@pytest.mark.parametrize(("classes", "expected"), [(2, ["dense"]), (10, []), (None, [])])
def test_it_depends_on_the_number_of_classes(
    tmp_path: Path, classes: int | None, expected: list[str]
) -> None:
    assert guessing(run_of(tmp_path / "run", (0.5, 0.52, 0.48), classes=classes)) == expected


def test_a_file_of_an_earlier_program_does_not_know_the_classes(tmp_path: Path) -> None:
    later = compile_training(run_of(tmp_path / "later", (0.1, 0.1)))
    earlier = compile_training(run_of(tmp_path / "earlier", (0.1, 0.11))).drop_vars("classes")
    assert not guessing_networks(training_rows(earlier))
    merged = merge_training_datasets({"a": later, "b": earlier}, along="machine")
    assert int(merged["classes"].notnull().sum()) == 2


def test_random_guesses_are_taken_for_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = training_rows(compile_training(run_of(tmp_path / "run", (0.1,))))
    runs, named = 400, 0
    for _ in range(runs):
        best = float(rng.binomial(fakes.VALIDATION_IMAGES, 0.1, 2).max()) / fakes.VALIDATION_IMAGES
        rows[0].series["accuracy"][0] = best  # type: ignore[index]  # a dict
        named += bool(guessing_networks(rows))
    assert named / runs >= 0.93


@pytest.mark.parametrize("objective", ["accuracy", "energy"])
def test_searches_for_accuracy_that_found_none_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    low = {name: [0.1 * value for value in found] for name, found in ACCURACIES.items()}
    monkeypatch.setattr(fakes, "SEARCH_ACCURACIES", low)
    dataset = compile_training(fakes.search_run(tmp_path / "run", objective=objective))
    found = search_findings(dataset, training_rows(dataset), ["grid", "random", "gp"], "")
    nothing = "No trial was shown to be better than guessing, so the strategies are not compared."
    assert (found.summary == nothing) == (objective == "accuracy")
    assert not found.sentences or objective == "energy"
    study = json.loads(dataset.attrs["study"]) | {"name": "yarally-training-search"}
    dataset.attrs["study"] = json.dumps(study)
    found = search_findings(dataset, training_rows(dataset), ["grid", "random", "gp"], "")
    rows = next(each.table.rows for each in found.tables if each.table.name == "published")
    by_chance = [here for _, _, here in rows].count("not better than guessing")
    assert by_chance == (3 if objective == "accuracy" else 0)


def test_searches_of_a_network_that_learned_are_compared(tmp_path: Path) -> None:
    dataset = compile_training(fakes.search_run(tmp_path / "run"))
    found = search_findings(dataset, training_rows(dataset), ["grid", "random", "gp"], "")
    assert "guessing" not in found.summary


@pytest.mark.parametrize(("best", "stated"), [(0.13, False), (0.9, True)])
def test_no_saving_is_stated_where_no_network_learned(
    tmp_path: Path, best: float, stated: bool
) -> None:
    dataset = compile_training(run_of(tmp_path / "run", (0.1, 0.12), (0.11, best)))
    found = plain_findings(dataset, training_rows(dataset), MODELS, "")
    assert any("better than guessing" in sentence for sentence in found.sentences) != stated
    assert any("has the best accuracy" in sentence for sentence in found.sentences) == stated
    dataset.attrs["study"] = json.dumps(json.loads(dataset.attrs["study"]) | {"name": "delrey"})
    found = plain_findings(dataset, training_rows(dataset), MODELS, "")
    rows = next(each.table.rows for each in found.tables if each.table.name == "published")
    assert ("not better than guessing" in [here for _, _, here in rows]) != stated
