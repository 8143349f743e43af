"""``gb tune``: what its options make, and what it tells of searches whose figures are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis.training import open_training_with_files
from greenbatch.analysis.training.report.build import find
from greenbatch.cli import main
from greenbatch.cli.output import searches
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.searches import best_trials, searches_as_json, show_searches
from greenbatch.cli.tune import default_space, read_space
from greenbatch.design.training_study import Search
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.records import EnergySource, parse
from greenbatch.workflows.training import Run
from tests.fakes import training_runs


def gb(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, output and errors."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def test_a_space_reads_as_choices_or_as_a_range() -> None:
    assert read_space(
        [
            "conv_layers=1, 4",
            "learning_rate=0.001..0.1:log",
            "linear_layers=1..6:3",
            "x=0..1.0:5:log",
        ]
    ) == {
        "conv_layers": ["1", "4"],
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "linear_layers": {"low": 1.0, "high": 6.0, "whole": True, "steps": 3},
        "x": {"low": 0.0, "high": 1.0, "log": True, "steps": 5},
    }


@pytest.mark.parametrize(
    "text",
    ["relu", "relu=", "=1,2", "relu=0,,1", "x=1..", "x=..2", "x=1..2:often", "x=1..2:3:4", ""],
)
def test_a_space_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--space .*conv_layers=1,4"):
        read_space([text])


def test_a_hyperparameter_is_searched_once() -> None:
    with pytest.raises(UsageError, match="relu is set twice"):
        read_space(["relu=0", "relu=1"])


def test_what_a_network_takes_is_searched_where_nothing_else_is_said() -> None:
    assert list(default_space("simple-cnn", {"dropout"})) == [
        "learning_rate",
        "batch_size",
        "linear_layers",
        "conv_layers",
        "relu",
    ]
    assert "conv_layers" not in default_space("dense", set())
    with pytest.raises(UnknownNameError, match="did you mean 'dense'"):
        default_space("dens", set())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "no network is named"),
        (("simple-cnn", "--strategy", "bayes"), "search.strategies.0 is 'bayes'"),
        (("simple-cnn", "--trials", 0), "search.trials is 0"),
        (("simple-cnn", "--space", ""), "--space '' cannot be read"),
        (("dense", "--space", "conv_layers=1,4"), "dense takes no conv_layers; it takes"),
        (("simple-cnn", "--space", "relu=0,1", "--set", "relu=1"), "is a setting and is searched"),
        (("simple-cnn", "--space", "batch_size=8,16", "--batch-size", 8), "remove --batch-size"),
        (("simple-cnn", "--within", "one"), "search.within is 'one'"),
        (("simple-cnn", "--set", "relu"), "--set 'relu' cannot be read"),
        (("simple-cnn", "--resume", "runs/x"), "--resume takes the design"),
        (("simple-cnn", "--data", "digit"), "unknown data"),
    ],
)
def test_a_tuning_that_cannot_be_done_is_one_sentence(
    arguments: tuple[object, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = gb(capsys, "tune", *arguments)
    assert code == 2
    assert sentence in errors
    assert errors.count("\n") == 1


def test_options_of_gb_tune_make_the_study(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = gb(
        capsys,
        *("tune", "dense", "--data", "digits", "--strategy", "grid", "--strategy", "tpe"),
        *("--trials", 5, "--space", "learning_rate=0.001..0.1:log", "--set", "optimizer=sgd"),
        *("--repetitions", 2, "--epochs", 3, "--batch-size", 64, "--dry-run"),
    )
    assert code == 0
    *blocks, last = out.splitlines()
    assert len(blocks) == 2
    assert "dense on digits with torch-cpu, batch 64, optimizer sgd" in blocks[0]
    assert blocks[0].endswith("search of learning_rate; trials, in turns: grid 4, tpe 5")
    assert last.startswith("18 trainings of up to 3 epochs")


def test_without_options_learning_rate_batch_and_the_networks_layers_are_searched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = gb(capsys, "tune", "simple-cnn", "--dry-run")
    assert code == 0
    assert out.splitlines()[0] == (
        "block 0: simple-cnn on digits with torch-cpu; search of learning_rate, batch_size, "
        "linear_layers, conv_layers, relu, dropout; trials, in turns: grid 16, random 16, gp 16"
    )
    code, out, _ = gb(capsys, "tune", "simple-cnn", "--batch-size", 8, "--dry-run")
    assert code == 0
    assert "torch-cpu, batch 8; search of learning_rate, linear_layers" in out


def searched(path: Path, **more: Any) -> tuple[Run, Search]:
    """A run of searches with its findings, and what is searched for."""
    dataset, files = open_training_with_files(training_runs.search_run(path, **more))
    search = Search.model_validate(json.loads(dataset.attrs["study"])["search"])
    return Run(path, (), path / "report" / "index.html", find(dataset, files.journal)), search


@pytest.mark.slow
def test_each_strategy_has_a_row_with_what_it_found_and_what_that_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_searches(*searched(tmp_path / "run"))
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.split()}
    # The fake's gp has 0.90 as its best from the third trial on, within 1 %.
    assert "90.3 %" in rows["gp"]
    assert "85.3 %" in rows["grid"]
    for strategy in ("grid", "random", "gp"):
        assert "428 J" in rows[strategy]  # 50 J + 51 J + ... + 57 J
    assert "best: accuracy 90.6 %: simple-cnn on digits" in printed
    assert "trial 3 of gp (repetition 3)" in printed
    assert "train it again" in printed
    assert "index.html" in printed


@pytest.mark.slow
def test_of_a_network_that_learned_nothing_no_trial_is_to_be_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = training_runs.SEARCH_ACCURACIES
    low = {name: [0.1 * value for value in reached] for name, reached in found.items()}
    monkeypatch.setattr(training_runs, "SEARCH_ACCURACIES", low)
    run, search = searched(tmp_path / "run")
    show_searches(run, search)
    printed = capsys.readouterr().out
    assert "best: accuracy 9.6 %, not better than guessing: simple-cnn on digits" in printed
    assert "train it again" not in printed
    (best,) = json.loads(searches_as_json(run, search))["best"]
    assert best["better_than_guessing"] is False


@pytest.mark.slow
def test_a_narrow_terminal_has_no_broken_entries_and_says_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "open_console", lambda: TextConsole(width=100))
    run, search = searched(tmp_path / "run")
    show_searches(run, search)
    printed = capsys.readouterr().out
    assert "Left out for the width of the terminal: intervals" in printed
    lines = [line for line in printed.splitlines() if line.startswith(("grid", "random", "gp"))]
    assert len(lines) == 3
    assert not any("±" in line for line in lines)
    assert all(line.rstrip().endswith(" of 32") for line in lines), lines


def test_the_same_is_there_for_a_script(tmp_path: Path) -> None:
    result = json.loads(searches_as_json(*searched(tmp_path / "run", failures=True)))
    gp, random = (
        next(row for row in result["strategies"] if row["strategy"] == name)
        for name in ("gp", "random")
    )
    assert gp["trials_until_near_own_best"]["value"] == 3
    assert gp["energy_j_until_near_own_best"]["value"] == pytest.approx(50 + 51 + 52)
    assert gp["energy_j"]["value"] == pytest.approx(428)
    assert random["trials_failed"] == 4
    assert random["never_near_best_of_all"] == 4
    assert random["trials_until_near_best_of_all"] is None
    (best,) = result["best"]
    assert (best["strategy"], best["trial"], best["repetition"]) == ("gp", 3, 3)
    assert best["accuracy"] == pytest.approx(0.906)
    assert best["better_than_guessing"] is True
    assert set(best["settings"]) == {"learning_rate", "optimizer"}


@pytest.mark.parametrize(("objective", "count"), [("accuracy", 1), ("energy", 1), ("both", 4)])
def test_of_two_objectives_every_trial_that_no_other_beats_is_told(
    objective: Any, count: int, tmp_path: Path
) -> None:
    run = training_runs.search_run(tmp_path / "run", objective=objective)
    search = Search(space={"learning_rate": {"low": 0.001, "high": 0.1}}, objective=objective)
    trials = best_trials(search, parse((run / "journal.jsonl").read_bytes()))
    assert len(trials) == count
    figures = [trial.figures for trial in trials]
    assert figures == sorted(figures, key=lambda each: each.get("accuracy", 0), reverse=True)
    if objective == "both":  # less accurate ones cost less, each of them
        energies = [each["energy"] for each in figures]
        assert energies == sorted(energies, reverse=True)
        assert min(energies) == pytest.approx(50)


def test_networks_are_told_apart(tmp_path: Path) -> None:
    run = searched(tmp_path / "run", models=("dense", "simple-cnn"), blocks=2)
    result = json.loads(searches_as_json(*run))
    assert [row["model"] for row in result["strategies"]] == ["dense"] * 3 + ["simple-cnn"] * 3
    assert [best["model"] for best in result["best"]] == ["dense", "simple-cnn"]


@pytest.mark.slow
def test_an_estimate_is_named_and_a_missing_energy_is_no_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_searches(*searched(tmp_path / "a", source=EnergySource.ESTIMATED))
    assert "est." in capsys.readouterr().out
    show_searches(*searched(tmp_path / "b", source=EnergySource.MISSING))
    printed = capsys.readouterr().out
    assert "est." not in printed
    assert "0 J" not in printed
