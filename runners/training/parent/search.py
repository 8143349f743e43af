"""Strategies that propose the trials of a search, by Optuna's samplers and one of our own.

Nothing is kept between two proposals: a strategy is made anew from the results so far, and
seeded by its name, the search's seed and how many trials that are. So a search that is resumed
goes on as it would have gone on.
"""

import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from greenbatch.design.search_space import Dimension
from greenbatch.design.training_study import Search
from greenbatch.errors import StudyError
from greenbatch.records import Epoch, Status, Training, TrainingCell, holding, total_energy
from greenbatch.runners.training.parent import improvement

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

BATCH_SIZE = "batch_size"
"""A dimension of this name is the cell's factor, and no setting."""
DIRECTIONS: Mapping[str, Mapping[str, Literal["maximize", "minimize"]]] = {
    "accuracy": {"accuracy": "maximize"},
    "energy": {"energy": "minimize"},
    "both": {"accuracy": "maximize", "energy": "minimize"},
}
"""What each objective looks at, in the order of a trial's values, and which way is better."""
_FEWEST_AT_RANDOM, _MOST_AT_RANDOM = 4, 10


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial that has ended.

    Attributes:
        settings: What had been proposed; further settings are not looked at.
        values: Its figures in the order of `DIRECTIONS`; ``None``: the trial failed.
    """

    settings: Mapping[str, str]
    values: tuple[float, ...] | None


def require_optuna() -> None:
    """Check that searches can be done here.

    Raises:
        StudyError: Optuna is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise StudyError(
            f"a search needs Optuna, which cannot be imported ({error}); "
            "run pip install 'greenbatch[train]'"
        ) from error


def propose(
    search: Search, strategy: str, results: Sequence[TrialResult], seed: int
) -> dict[str, str] | None:
    """Propose the next trial of a strategy.

    ``grid`` visits its points in an order that is shuffled by the seed, so that a budget smaller
    than the grid is spread over it. ``gp`` and ``tpe`` begin at random (a quarter of the budget,
    from 4 to 10 trials), ``gp-pi`` with one random trial; they learn nothing of failed trials.
    Where one proposes what failed before once more, a random point is taken in its place.

    Args:
        search: Its space, objective and budget.
        strategy: ``grid``, ``random``, ``gp``, ``gp-pi`` or ``tpe``.
        results: Its trials so far, in order.
        seed: Of this search; another repetition has another one.

    Returns:
        A text for each dimension; ``None`` when the grid is exhausted.

    Raises:
        StudyError: Optuna is not installed.
    """
    require_optuna()
    if strategy == "grid" and len(results) >= grid_size(search):
        return None
    proposal = _ask(search, strategy, results, seed)
    failed = [_own(search, trial.settings) for trial in results if trial.values is None]
    if strategy in ("gp", "gp-pi", "tpe") and proposal in failed:
        return _ask(search, "random", results, seed)
    return proposal


def grid_size(search: Search) -> int:
    """Return how many points the grid of a search has."""
    return math.prod(len(dimension.grid()) for dimension in search.dimensions)


def cell_of(cell: TrainingCell, proposal: Mapping[str, str]) -> TrainingCell:
    """Return a cell with what was proposed in place: settings, and the batch size."""
    settings = {**dict(cell.settings), **proposal}
    batch_size = int(settings.pop(BATCH_SIZE, cell.batch_size))
    return replace(cell, batch_size=batch_size, settings=tuple(settings.items()))


def result_of(search: Search, training: Training, epochs: Sequence[Epoch]) -> TrialResult:
    """Return what a strategy learns of a training, see `values_of`."""
    cell = training.cell
    settings = {**dict(cell.settings), BATCH_SIZE: str(cell.batch_size)}
    return TrialResult(_own(search, settings), values_of(search, training, epochs))


def values_of(
    search: Search, training: Training, epochs: Sequence[Epoch]
) -> tuple[float, ...] | None:
    """Return a training's figures, in the order of `DIRECTIONS`.

    Args:
        search: Whose objective counts.
        training: That has ended.
        epochs: Its own among others.

    Returns:
        The best accuracy on the validation images, the energy of the whole in J, or both;
        ``None`` where the training failed.

    Raises:
        StudyError: The objective asks for energy, and it is not known.
    """
    if training.status is not Status.OK or training.whole is None:
        return None
    who = (training.cell, training.block)
    own = holding(epoch for epoch in epochs if (epoch.cell, epoch.block) == who)
    figures = {"accuracy": max(epoch.accuracy for epoch in own)}
    wanted = DIRECTIONS[search.objective]
    if "energy" in wanted:
        total = total_energy(training.whole.energy)
        if total.energy_j is None:
            raise StudyError(
                f"the objective is {search.objective}, and the energy of {training.cell} is not "
                f"known: {total.reason}; give a meter that counts, or search for accuracy"
            )
        figures["energy"] = total.energy_j
    return tuple(figures[name] for name in wanted)


def _own(search: Search, settings: Mapping[str, str]) -> dict[str, str]:
    """Return what a space has a dimension for."""
    return {name: settings[name] for name in search.space}


def _ask(
    search: Search, strategy: str, results: Sequence[TrialResult], seed: int
) -> dict[str, str]:
    import optuna

    if strategy == "gp-pi":
        (way,) = DIRECTIONS[search.objective].values()
        known = [(trial.settings, trial.values[0]) for trial in results if trial.values]
        drawn = _mixed(strategy, seed, len(results))
        return improvement.propose(search.dimensions, known, drawn, rises=way == "maximize")
    spread = {each.name: _distribution(each, strategy) for each in search.dimensions}
    with _quiet(), _one_thread(strategy):
        study = optuna.create_study(
            directions=list(DIRECTIONS[search.objective].values()),
            sampler=_sampler(search, strategy, len(results), seed),
        )
        study.add_trials([_trial(trial, spread) for trial in results])
        found: dict[str, str | float] = study.ask(spread).params
    return {
        each.name: text if isinstance(text := found[each.name], str) else each.text(text)
        for each in search.dimensions
    }


def _sampler(search: Search, strategy: str, count: int, seed: int) -> "BaseSampler":
    from optuna import samplers

    begin = min(_MOST_AT_RANDOM, max(_FEWEST_AT_RANDOM, search.trials // 4))
    match strategy:
        case "grid":  # every proposal needs the same shuffle
            grids = {each.name: each.grid() for each in search.dimensions}
            return samplers.GridSampler(grids, seed=_mixed(strategy, seed))
        case "random":
            return samplers.RandomSampler(seed=_mixed(strategy, seed, count))
        case "gp":
            return samplers.GPSampler(seed=_mixed(strategy, seed, count), n_startup_trials=begin)
        case "tpe":
            return samplers.TPESampler(seed=_mixed(strategy, seed, count), n_startup_trials=begin)
    raise ValueError(f"no strategy is called {strategy!r}")


def _mixed(*parts: object) -> int:
    """Return a seed of 32 bits for these parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def _distribution(dimension: Dimension, strategy: str) -> "BaseDistribution":
    from optuna import distributions

    if dimension.choices or strategy == "grid":
        return distributions.CategoricalDistribution(dimension.grid())
    if dimension.whole:
        low, high = round(dimension.low), round(dimension.high)
        return distributions.IntDistribution(low, high, log=dimension.log)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _trial(result: TrialResult, spread: Mapping[str, "BaseDistribution"]) -> "FrozenTrial":
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    params: dict[str, str | float] = {}
    for name, distribution in spread.items():
        text = result.settings[name]
        if isinstance(distribution, FloatDistribution | IntDistribution):
            # The text is rounded, and may lie a digit outside.
            params[name] = min(max(float(text), distribution.low), distribution.high)
        else:
            params[name] = text
    return create_trial(
        state=TrialState.FAIL if result.values is None else TrialState.COMPLETE,
        params=params,
        distributions=dict(spread),
        values=result.values,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks to itself, and leave its logging as it was."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _one_thread(strategy: str) -> Iterator[None]:
    """Let torch, in which ``gp`` computes, start no threads: this process measures others."""
    if strategy != "gp":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
