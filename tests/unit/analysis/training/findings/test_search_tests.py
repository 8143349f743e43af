"""Strategies against each other: what they found, and the best so far over the whole budget."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kruskal

from greenbatch.analysis.statistics.intervals import interval
from greenbatch.analysis.training.dataset.contexts import Context
from greenbatch.analysis.training.dataset.store import compile_training
from greenbatch.analysis.training.findings.search_tests import (
    Dominance,
    SearchTests,
    search_tests,
)
from greenbatch.analysis.training.findings.searches import (
    Arrival,
    SearchCurve,
    SearchRow,
    search_rows,
)
from greenbatch.records.provenance import Provenance
from tests.fakes import training_runs

pytestmark = pytest.mark.numeric

ACCURACIES = training_runs.SEARCH_ACCURACIES


def compared(path: Path, **more: object) -> SearchTests:
    run = training_runs.search_run(path, **more)  # type: ignore[arg-type]
    (found,) = search_tests(search_rows(compile_training(run)))
    return found


def best_so_far(strategy: str, block: int) -> NDArray[np.float64]:
    return np.maximum.accumulate(np.array(ACCURACIES[strategy])) + 0.002 * block


def test_the_tests_are_those_of_scipy_over_repetitions(tmp_path: Path) -> None:
    found = compared(tmp_path)
    finals = [[best_so_far(name, block)[-1] for block in range(4)] for name in ACCURACIES]
    means = [[best_so_far(name, block).mean() for block in range(4)] for name in ACCURACIES]
    for group, values in zip(found.tests, (finals, means), strict=True):
        assert group.kruskal is not None
        assert group.kruskal.statistic == pytest.approx(kruskal(*values).statistic)
    assert [group.figure for group in found.tests] == ["best found", "mean of the best so far"]


def test_the_strategy_with_the_best_mean_is_counted_against_each_other(tmp_path: Path) -> None:
    found = compared(tmp_path)
    means = {name: best_so_far(name, 0).mean() for name in ACCURACIES}
    best = max(means, key=lambda name: means[name])
    assert {one.other for one in found.dominance} == {*ACCURACIES} - {best}
    for one in found.dominance:
        gains = best_so_far(best, 0) - best_so_far(one.other, 0)
        assert one.ahead == best
        assert (one.trials, one.better) == (len(gains), int((gains > 1e-12).sum()))
        assert one.even == int((np.abs(gains) <= 1e-12).sum())
        assert one.gain.centre == pytest.approx(gains.mean())
        assert one.shown  # the repetitions differ by the same in all strategies
        counted = "every trial" if one.better == one.trials else f"{one.better} of {one.trials}"
        assert counted in one.sentence()


def test_one_search_of_each_shows_nothing(tmp_path: Path) -> None:
    found = compared(tmp_path, blocks=1)
    assert not any(one.shown for one in found.dominance)
    assert all(
        "one search of each is too few to be sure" in one.sentence() for one in found.dominance
    )


def test_strategies_that_find_the_same_are_called_as_good() -> None:
    gain = interval([0.0, 0.0, 0.0], geometric=False)
    assert gain is not None
    one = Dominance(ahead="grid", other="random", trials=5, better=0, even=5, gain=gain)
    assert one.sentence() == (
        "The best so far of grid and that of random are as good after every trial."
    )


def found_by(strategy: str, energies_j: list[float]) -> SearchRow:
    """Three searches for little energy, alike but for a joule for each block."""
    score = np.array([[energy_j + block for energy_j in energies_j] for block in range(3)])
    curve = SearchCurve(
        context=Context((), ""),
        strategy=strategy,
        objective="energy",
        within=0.01,
        blocks=(0, 1, 2),
        score=score,
        energy_j=score.cumsum(axis=-1),
        source=Provenance.MEASURED,
        ok=9,
        failed=0,
        unknown=0,
        unfinished=(),
        best_trial={},
    )
    near = Arrival(trials={}, energy_j={}, never=())
    return SearchRow(curve=curve, best=None, near_own=near, near_all=near, total_j=None)


def test_less_energy_is_better_where_it_is_the_objective() -> None:
    rows = [found_by("random", [9.0, 8.0, 4.0]), found_by("gp", [9.0, 5.0, 5.0])]
    (found,) = search_tests(rows)
    (one,) = found.dominance
    assert (one.ahead, one.other) == ("gp", "random")
    assert (one.trials, one.better, one.even) == (3, 1, 1)
    assert one.gain.centre == pytest.approx((0 + 3 - 1) / 3)
    assert "after 1 of 3 trials, as good after 1, worse after 1" in one.sentence()


def test_one_strategy_alone_is_not_tested(tmp_path: Path) -> None:
    run = training_runs.search_run(tmp_path, strategies=("gp",))
    assert search_tests(search_rows(compile_training(run))) == []
