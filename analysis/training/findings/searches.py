"""Searches side by side: the best so far over trials and over energy, and when it was near."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.analysis.training.dataset.contexts import Context, contexts, search_of
from greenbatch.analysis.training.dataset.totals import counted
from greenbatch.errors import UsageError
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Objective = Literal["accuracy", "energy", "both"]
_OK, _NOT_RUN = STATUSES.index("ok"), STATUSES.index("not_run")
_POINTS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCurve:
    """The searches of one strategy: the same budget, another seed in each block.

    Attributes:
        context: What was searched for: network, data, ...
        strategy: Its name.
        objective: ``accuracy`` (the best so far rises), ``energy`` (J of a training; it falls), or
            ``both``: the share of the area between the worst and the best of all trials, in
            accuracy and energy, that the trials so far dominate (hypervolume; it rises).
        within: How near to the best counts as near, a share.
        blocks: Numbers of the blocks of searches that are finished.
        score: Best so far, shape (block, trial); NaN before the first trial that is ok.
        energy_j: Energy of all trials so far, what failed or was lost included, shape (block,
            trial); NaN where the energy of an ok trial is not known.
        source: What the energies rest on, one of ``PROVENANCES``.
        ok, failed: Trials of all blocks.
        unknown: Failed trials of whose energy nothing is known: the sums are then too low.
        unfinished: Blocks of which trials are still to come; they are left out.
        best_trial: By block, the trial of the best accuracy or the least energy.
    """

    context: Context
    strategy: str
    objective: Objective
    within: float
    blocks: tuple[int, ...]
    score: "Array" = field(repr=False)
    energy_j: "Array" = field(repr=False)
    source: Provenance
    ok: int
    failed: int
    unknown: int
    unfinished: tuple[int, ...]
    best_trial: Mapping[int, int]

    @property
    def rises(self) -> bool:
        """Whether more is better."""
        return self.objective != "energy"

    @property
    def final(self) -> dict[int, float]:
        """The best that each search found, by block; only of those that found any."""
        if not self.score.shape[-1]:
            return {}
        found = zip(self.blocks, self.score[:, -1].tolist(), strict=True)
        return {block: value for block, value in found if not math.isnan(value)}

    @property
    def total_j(self) -> dict[int, float]:
        """Energy of each whole search, by block; only where it is known."""
        if not self.energy_j.shape[-1]:
            return {}
        found = zip(self.blocks, self.energy_j[:, -1].tolist(), strict=True)
        return {block: value for block, value in found if not math.isnan(value)}

    def by_trial(self) -> list[Interval | None]:
        """Summarise the best so far over blocks, trial by trial.

        ``None`` while a block has no ok trial yet: a mean of the others would fall when it has.
        """
        return [self._summary(self.score[:, trial]) for trial in range(self.score.shape[-1])]

    def by_energy(self, points: int = _POINTS) -> list[tuple[float, Interval | None]]:
        """Summarise the best so far over blocks, by the energy spent in J.

        Args:
            points: Evenly from zero to what the cheapest of the searches spent in all: behind it
                only some of them would be left. Empty where an energy is not known.
        """
        import numpy as np

        if not self.energy_j.size or np.isnan(self.energy_j).any():
            return []
        spent = np.linspace(0, self.energy_j[:, -1].min(), points)
        found = []
        for energy_j in spent.tolist():
            # What a search has after its last trial that is paid for; rounding aside.
            done = (self.energy_j <= energy_j * (1 + 1e-12)).sum(-1)
            rows = np.arange(len(done))
            values = np.where(done > 0, self.score[rows, done - 1], np.nan)
            found.append((energy_j, self._summary(values)))
        return found

    def near(self, targets: Mapping[int, float]) -> "Arrival":
        """Return when each search first was within ``within`` of a target, by block."""
        trials, energies, never = {}, {}, []
        for row, block in enumerate(self.blocks):
            target = targets.get(block)
            if target is None:
                never.append(block)
                continue
            margin = abs(target) * self.within + 1e-12 * abs(target)
            score = self.score[row]
            there = score >= target - margin if self.rises else score <= target + margin
            if not there.any():
                never.append(block)
                continue
            first = int(there.argmax())
            trials[block] = first + 1
            if not math.isnan(energy_j := float(self.energy_j[row, first])):
                energies[block] = energy_j
        return Arrival(trials=trials, energy_j=energies, never=tuple(never))

    def _summary(self, values: "Array") -> Interval | None:
        import numpy as np

        if np.isnan(values).any():
            return None
        return interval(values.tolist(), geometric=self.objective == "energy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """When searches first were near to a target.

    Attributes:
        trials: By block, trials until then.
        energy_j: By block, J until then, what failed included; only where it is known.
        never: Blocks whose search was never so near within its budget.
    """

    trials: Mapping[int, int]
    energy_j: Mapping[int, float]
    never: tuple[int, ...]

    @property
    def mean_trials(self) -> Interval | None:
        """Mean of the trials; ``None`` where a search never arrived, which has no number."""
        return None if self.never else interval(map(float, self.trials.values()), geometric=False)

    @property
    def mean_energy_j(self) -> Interval | None:
        """Mean of the energies; ``None`` where a search never arrived or an energy is missing."""
        if self.never or len(self.energy_j) < len(self.trials):
            return None
        return interval(self.energy_j.values())

    @property
    def median_trials(self) -> float | None:
        """Median, of searches that never arrived as well; ``None`` where half of them did not."""
        return _median([*self.trials.values()], len(self.never))

    @property
    def median_energy_j(self) -> float | None:
        """Median, of searches that never arrived as well; ``None`` where half of them did not."""
        if len(self.energy_j) < len(self.trials):
            return None
        return _median([*self.energy_j.values()], len(self.never))


def _median(values: Sequence[float], never: int) -> float | None:
    """Return the median of values and so many that are larger than any."""
    import numpy as np

    if not len(values) > never:
        return None
    return float(np.median([*values, *([max(values) * 2 + 1] * never)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRow:
    """What one strategy found, and what it took.

    Attributes:
        curve: Its searches.
        best: What it found in the end, over blocks; ``None`` where nothing was found.
        near_own: Until it was near to its own final best.
        near_all: Until it was near to the best that any strategy found in that block.
        total_j: Energy of the whole search, over blocks; ``None`` where it is not known.
    """

    curve: SearchCurve
    best: Interval | None
    near_own: Arrival
    near_all: Arrival
    total_j: Interval | None

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return self.curve.strategy

    @property
    def searches(self) -> int:
        """Searches that are finished: one in each block."""
        return len(self.curve.blocks)


def search_curves(dataset: "xr.Dataset") -> list[SearchCurve]:
    """Follow each strategy through its trials, for each network and data set.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.

    Raises:
        UsageError: The run was no search.
    """
    search = search_of(dataset)
    if search is None:
        raise UsageError("the run is no search; 'gb tune' makes one")
    return [
        curve
        for context, part in contexts(dataset, apart=("strategy", "trial"))
        for curve in _curves(context, part, search["objective"], float(search["within"]))
    ]


def search_rows(dataset: "xr.Dataset") -> list[SearchRow]:
    """Say what each strategy found, and with how many trials and how much energy.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.

    Returns:
        For each network and data set, a row for each strategy, in the order of the study.

    Raises:
        UsageError: The run was no search.
    """
    groups: dict[Context, list[SearchCurve]] = {}
    for curve in search_curves(dataset):
        groups.setdefault(curve.context, []).append(curve)
    return [
        SearchRow(
            curve=curve,
            best=interval(curve.final.values(), geometric=not curve.rises),
            near_own=curve.near(curve.final),
            near_all=curve.near(_best_of_all(curves)),
            total_j=_complete(curve.total_j, curve),
        )
        for curves in groups.values()
        for curve in curves
    ]


def _best_of_all(curves: Sequence[SearchCurve]) -> dict[int, float]:
    """Return the best of any strategy by block, of blocks that all of them have finished."""
    blocks = set.intersection(*({*curve.blocks} for curve in curves))
    found: dict[int, float] = {}
    for block in sorted(blocks):
        values = [curve.final[block] for curve in curves if block in curve.final]
        if values:
            found[block] = max(values) if curves[0].rises else min(values)
    return found


def _complete(values: Mapping[int, float], curve: SearchCurve) -> Interval | None:
    return interval(values.values()) if len(values) == len(curve.blocks) else None


def _curves(
    context: Context, part: "xr.Dataset", objective: Objective, within: float
) -> Iterator[SearchCurve]:
    import numpy as np

    order = ("strategy", "repetition", "trial")
    names = ("status", "best_accuracy", "spent_energy", "spent_energy_source")
    status, accuracy, spent_j, sources = (part[n].transpose(*order).values for n in names)
    energy_j = counted(part, "energy").transpose(*order).values
    ok = status == _OK
    accuracy, energy_j = (np.where(ok, values, np.nan) for values in (accuracy, energy_j))
    objectives = {"accuracy": (accuracy,), "energy": (-energy_j,), "both": (accuracy, -energy_j)}
    scores = _best_so_far(objectives[objective])
    if objective == "energy":
        scores = -scores
    blocks = part["repetition"].values.tolist()
    for number, strategy in enumerate(part["strategy"].values.tolist()):
        ran = status[number] != _NOT_RUN
        counts = ran.sum(-1)
        length = int(counts.max(initial=0))
        finished = (counts == length) & (counts > 0)
        rows = np.flatnonzero(finished)
        cost_j = np.where(ran & ~ok[number] & np.isnan(spent_j[number]), 0.0, spent_j[number])
        cost_j = np.where(ran, cost_j, 0.0)[rows, :length]
        cost = energy_j[number] if objective == "energy" else -accuracy[number]
        yield SearchCurve(
            context=context,
            strategy=strategy,
            objective=objective,
            within=within,
            blocks=tuple(blocks[row] for row in rows),
            score=scores[number][rows, :length],
            energy_j=np.cumsum(cost_j, axis=-1),
            source=provenance_of(sources[number][rows]),
            ok=int(ok[number][rows].sum()),
            failed=int((ran & ~ok[number])[rows].sum()),
            unknown=int((ran & ~ok[number] & np.isnan(spent_j[number]))[rows].sum()),
            unfinished=tuple(blocks[row] for row in np.flatnonzero(~finished)),
            best_trial={
                blocks[row]: int(np.nanargmin(cost[row]))
                for row in rows
                if not np.isnan(cost[row]).all()
            },
        )


def _best_so_far(objectives: "tuple[Array, ...]") -> "Array":
    """Return the best so far along the last axis; of two objectives the area they dominate.

    Both rise; the area is a share of that between the worst and the best of all values.
    """
    import numpy as np

    if len(objectives) == 1:
        return np.fmax.accumulate(objectives[0], axis=-1)
    known = np.asarray(np.isfinite(np.stack(objectives)).all(axis=0))
    shares = []
    for values in objectives:
        if not known.any():
            return np.full(known.shape, np.nan)
        low, high = values[known].min(), values[known].max()
        # Where all are alike, all are best.
        shares.append((values - low) / (high - low) if high > low else np.ones(values.shape))
    found = np.full(known.shape, np.nan)
    for place in np.ndindex(known.shape[:-1]):
        points: list[tuple[float, float]] = []
        for trial in range(known.shape[-1]):
            if known[(*place, trial)]:
                points.append(
                    (float(shares[0][(*place, trial)]), float(shares[1][(*place, trial)]))
                )
            if points:
                found[(*place, trial)] = dominated_area(points)
    return found


def dominated_area(points: Sequence[tuple[float, float]]) -> float:
    """Return the area between the origin and points that it is good to be far from it with.

    >>> dominated_area([(1.0, 0.25), (0.5, 1.0), (0.5, 0.5)])
    0.625
    """
    area = height = 0.0
    for width, height_there in sorted(points, reverse=True):
        if height_there > height:
            area += width * (height_there - height)
            height = height_there
    return area
