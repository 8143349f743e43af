"""Strategies: what they propose, what results they are given, and that they are really wired."""

import itertools
import math
import sys
from typing import Any

import pytest

from benchmarks.search_strategies import SURFACES, trials_until
from greenbatch.analysis.statistics.intervals import ratio_of_runs
from greenbatch.design.training_study import STRATEGIES, Search
from greenbatch.errors import StudyError
from greenbatch.records import (
    EnergyFigure,
    EnergySource,
    Epoch,
    Phase,
    Status,
    Training,
    TrainingCell,
)
from greenbatch.runners.training.parent.search import (
    TrialResult,
    cell_of,
    grid_size,
    propose,
    require_optuna,
    result_of,
    values_of,
)
from tests.thorough import needs_thorough

SPACE: dict[str, Any] = {
    "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "linear_layers": {"low": 2, "high": 6, "whole": True},
    "relu": [0, 1],
    "batch_size": [16, 32],
    "optimizer": ["adam"],
}
CELL = TrainingCell("simple-cnn", "digits", settings=(("momentum", "0.9"),))


def search(objective: Any = "accuracy", **members: Any) -> Search:
    """A search of `SPACE`, or with other members."""
    return Search(**({"space": SPACE, "objective": objective, "trials": 16} | members))


def goodness(proposal: dict[str, str]) -> float:
    """A made-up accuracy with its best at a learning rate of 0.01 with a ReLU."""
    decades = math.log10(float(proposal["learning_rate"])) + 2
    return 0.9 - 0.1 * decades**2 - (0.05 if proposal["relu"] == "0" else 0.0)


def go_on(design: Search, strategy: str, trials: int, seed: int = 1) -> list[TrialResult]:
    """Do the first trials of a search; every fifth one fails."""
    results: list[TrialResult] = []
    for number in range(trials):
        proposal = propose(design, strategy, results, seed)
        assert proposal is not None
        figures = (goodness(proposal), float(proposal["linear_layers"]))
        values = figures if design.objective == "both" else figures[:1]
        results.append(TrialResult(proposal, None if number % 5 == 4 else values))
    return results


def ended(energy_j: float | None = 12.5, **members: Any) -> Training:
    """A training of a trial that ended well, with a known energy or none."""
    figure = (
        EnergyFigure(domain="package-0", source=EnergySource.MISSING, reason="no meter")
        if energy_j is None
        else EnergyFigure(
            domain="package-0",
            source=EnergySource.COUNTER,
            energy_j=energy_j,
            uncertainty_j=0.0,
        )
    )
    cell = cell_of(CELL, {"learning_rate": "0.01", "relu": "1", "batch_size": "16"})
    given: dict[str, Any] = {
        "cell": cell,
        "block": 0,
        "position": 0,
        "status": Status.OK,
        "started_at": "2026-01-01T00:00:00+00:00",
        "stopped": "epochs",
        "best_epoch": 1,
        "whole": Phase(duration_s=2.0, images=100, energy=(figure,)),
    }
    return Training(**(given | members))


def epoch(number: int, accuracy: float, training: Training, block: int = 0) -> Epoch:
    """An epoch of a training, or of the same cell in another block."""
    stretch = Phase(duration_s=1.0)
    return Epoch(
        cell=training.cell,
        block=block,
        session=0,
        epoch=number,
        train=stretch,
        validation=stretch,
        checkpoint=stretch,
        train_loss=1.0,
        loss=1.0,
        accuracy=accuracy,
        f1=accuracy,
    )


def test_a_grid_visits_each_point_once_in_an_order_of_its_seed_and_ends() -> None:
    design = search(space={"relu": [0, 1], "learning_rate": {"low": 0.1, "high": 0.4, "steps": 4}})
    assert grid_size(design) == 8
    visits = {}
    for seed in (1, 2):
        results: list[TrialResult] = []
        while (proposal := propose(design, "grid", results, seed)) is not None:
            results.append(TrialResult(proposal, (0.5,)))
        visits[seed] = [tuple(trial.settings[name] for name in design.space) for trial in results]
        assert sorted(visits[seed]) == list(
            itertools.product(["0", "1"], ["0.1", "0.2", "0.3", "0.4"])
        )
    assert visits[1] != visits[2]
    assert visits[1] != sorted(visits[1])


def test_others_go_on_where_the_grid_is_exhausted() -> None:
    design = search(space={"relu": [0, 1]})
    results = [TrialResult({"relu": text}, (0.5,)) for text in ("0", "1")]
    assert propose(design, "grid", results, 0) is None
    for strategy in ("random", "gp", "tpe"):
        assert propose(design, strategy, results, 0) in ({"relu": "0"}, {"relu": "1"})


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["accuracy", "both"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_proposes_within_the_space_and_the_same_when_told_the_same(
    strategy: str, objective: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if (strategy, objective) == ("gp-pi", "both"):
        with pytest.raises(ValueError, match="gp-pi improves one figure"):
            search(objective, strategies=(strategy,))
        return
    design = search(objective)
    results = go_on(design, strategy, 8)
    for trial in results:
        proposal = trial.settings
        assert list(proposal) == list(SPACE)
        assert 0.001 <= float(proposal["learning_rate"]) <= 0.1
        assert proposal["linear_layers"] in map(str, range(2, 7))
        assert proposal["relu"] in ("0", "1")
        assert proposal["batch_size"] in ("16", "32")
        assert proposal["optimizer"] == "adam"
    for count in (0, 5, 7):  # as a resumed run would ask
        assert propose(design, strategy, results[:count], 1) == results[count].settings
    assert [trial.settings for trial in go_on(design, strategy, 3, seed=2)] != [
        trial.settings for trial in results[:3]
    ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "middle"),
    [
        ({"low": 1e-4, "high": 1e-1, "log": True}, 10**-2.5),
        ({"low": 1, "high": 1023, "log": True, "whole": True}, 32),
        ({"low": 0.0, "high": 0.5}, 0.25),
    ],
)
def test_random_trials_are_spread_evenly_over_a_range_or_over_its_decades(
    ends: dict[str, Any], middle: float
) -> None:
    design = search(space={"width": ends}, trials=100)
    results: list[TrialResult] = []
    for _ in range(100):
        proposal = propose(design, "random", results, 0)
        assert proposal is not None
        results.append(TrialResult(proposal, (0.5,)))
    below = sum(float(trial.settings["width"]) < middle for trial in results)
    assert 35 <= below <= 65  # a half, within three standard deviations


@pytest.mark.parametrize("strategy", ["gp", "tpe"])
def test_what_failed_is_not_proposed_for_ever(strategy: str) -> None:
    design = search(space={"relu": [0, 1]}, trials=40)
    results = [TrialResult({"relu": "1"}, (0.5 + number / 1e4,)) for number in range(10)]
    results += [TrialResult({"relu": "0"}, None)]
    proposals = []
    for _ in range(8):  # what was never seen well looks worth a try each time
        proposal = propose(design, strategy, results, 3)
        assert proposal is not None
        proposals.append(proposal["relu"])
        results.append(TrialResult(proposal, None if proposal["relu"] == "0" else (0.5,)))
    assert "1" in proposals


def test_a_range_whose_text_is_rounded_beyond_its_end_can_still_be_told() -> None:
    design = search(space={"learning_rate": {"low": 0.0012345678, "high": 0.0098765432}})
    for text in ("0.00123456", "0.00987655"):
        proposal = propose(design, "gp", [TrialResult({"learning_rate": text}, (0.5,))], 0)
        assert proposal is not None


def test_logging_of_optuna_stays_as_the_user_has_set_it() -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        propose(search(), "random", [], 0)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_without_optuna_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    cure = r"pip install 'greenbatch\[train\]'"
    with pytest.raises(StudyError, match=cure):
        require_optuna()
    with pytest.raises(StudyError, match=cure):
        propose(search(), "grid", [], 0)


def test_a_proposal_becomes_a_cell_and_what_is_told_of_it_is_the_proposal() -> None:
    design = search()
    proposal = propose(design, "random", [], 0)
    assert proposal is not None
    cell = cell_of(CELL, proposal)
    assert cell.batch_size == int(proposal["batch_size"])
    assert dict(cell.settings) | {"batch_size": str(cell.batch_size)} == {
        "momentum": "0.9",
        **proposal,
    }
    assert "batch_size" not in dict(cell.settings)
    training = ended(cell=cell)
    assert result_of(design, training, [epoch(0, 0.7, training)]) == TrialResult(proposal, (0.7,))


def test_figures_are_the_best_accuracy_of_this_training_and_its_whole_energy() -> None:
    training = ended()
    epochs = [
        epoch(0, 0.6, training),
        epoch(1, 0.8, training),
        epoch(2, 0.7, training),
        epoch(1, 0.95, training, block=1),
    ]
    assert values_of(search("accuracy"), training, epochs) == (0.8,)
    assert values_of(search("energy"), training, epochs) == (12.5,)
    assert values_of(search("both"), training, epochs) == (0.8, 12.5)


def test_a_failed_training_has_no_figures() -> None:
    failed = ended(status=Status.ERROR, reason="loss is nan", whole=None)
    assert values_of(search("both"), failed, []) is None


def test_an_energy_that_is_not_known_ends_a_search_for_it_and_no_other() -> None:
    training = ended(energy_j=None)
    epochs = [epoch(0, 0.6, training)]
    assert values_of(search("accuracy"), training, epochs) == (0.6,)
    for objective in ("energy", "both"):
        with pytest.raises(StudyError, match="is not known: no meter; give a meter that counts"):
            values_of(search(objective), training, epochs)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [pytest.param("gp", marks=needs_thorough), "tpe"])
def test_bayesian_strategies_need_fewer_trials_than_random_for_the_same_bound(
    strategy: str,
) -> None:
    surface = next(each for each in SURFACES if each.name == "accuracy")
    budget, seeds = 60, range(10)
    needed = {
        name: {seed: float(trials_until(surface, name, budget, seed) or budget) for seed in seeds}
        for name in ("random", strategy)
    }
    fewer = ratio_of_runs(needed[strategy].values(), needed["random"].values())
    assert fewer is not None
    assert fewer.high is not None
    assert fewer.high < 1, fewer
