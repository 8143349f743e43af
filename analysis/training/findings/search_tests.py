"""Whether strategies differ in what they found, and in the best so far over the whole budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.analysis.training.dataset.contexts import Context
from greenbatch.analysis.training.findings.correctness import GroupTests, group_tests
from greenbatch.analysis.training.findings.searches import SearchCurve, SearchRow

_EVEN = 1e-12
FOUND, BUDGET = "best found", "mean of the best so far"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dominance:
    """How one strategy stands to another over the budget, in the blocks that both finished.

    Attributes:
        ahead, other: The strategies; the first has the better mean of the best so far.
        trials: Of the budget, as far as both have a best so far in every block.
        better, even: Trials behind which the mean best so far of ``ahead`` is better, and as good.
        gain: By how much the best so far of ``ahead`` is better, the mean over those trials; over
            blocks.
    """

    ahead: str
    other: str
    trials: int
    better: int
    even: int
    gain: Interval

    @property
    def shown(self) -> bool:
        """Whether the gain is shown to be above zero."""
        return self.gain.kind == "t" and self.gain.low is not None and self.gain.low > 0

    def sentence(self) -> str:
        """Say how often it is ahead."""
        if not self.better:
            alike = f"The best so far of {self.ahead} and that of {self.other}"
            return f"{alike} are as good after every trial."
        worse = self.trials - self.better - self.even
        where = (
            "after every trial"
            if self.better == self.trials
            else f"after {self.better} of {units.count(self.trials, 'trial')}"
            + (f", as good after {self.even}" if self.even else "")
            + (f", worse after {worse}" if worse else "")
        )
        few = {1: "one search of each is", 2: "two searches of each are"}.get(self.gain.n)
        sure = f"; {few} too few to be sure" if few else "; no significant difference over searches"
        sure = "" if self.shown else sure
        return f"The best so far of {self.ahead} is better than that of {self.other} {where}{sure}."


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTests:
    """The strategies of one network and data set.

    Attributes:
        context: Network and data set.
        tests: Of what was found, and of the mean of the best so far over the budget.
        dominance: Of the strategy with the best mean over each other one.
    """

    context: Context
    tests: tuple[GroupTests, ...]
    dominance: tuple[Dominance, ...]


def search_tests(rows: Sequence[SearchRow], *, welch: bool = False) -> list[SearchTests]:
    """Test strategies against each other, over repetitions; a repetition is a whole search.

    Args:
        rows: As `greenbatch.analysis.training.search_rows` gives them.
        welch: Test means beside ranks.
    """
    groups: dict[Context, list[SearchCurve]] = {}
    for row in rows:
        groups.setdefault(row.curve.context, []).append(row.curve)
    return [
        _tests(context, curves, welch=welch)
        for context, curves in groups.items()
        if len(curves) > 1
    ]


def _tests(context: Context, curves: Sequence[SearchCurve], *, welch: bool) -> SearchTests:
    budgets = {curve.strategy: _over_budget(curve) for curve in curves}
    found = {curve.strategy: [*curve.final.values()] for curve in curves}
    means = {name: [*values.values()] for name, values in budgets.items()}
    return SearchTests(
        context=context,
        tests=(
            group_tests(FOUND, found, welch=welch),
            group_tests(BUDGET, means, welch=welch),
        ),
        dominance=tuple(_dominance(curves)),
    )


def _over_budget(curve: SearchCurve) -> Mapping[int, float]:
    """Return the mean of the best so far over all trials, by block; a first failure is left out."""
    import numpy as np

    means = {}
    for block, score in zip(curve.blocks, curve.score, strict=True):
        known = score[np.isfinite(score)]
        if known.size:
            means[block] = float(known.mean())
    return means


def _dominance(curves: Sequence[SearchCurve]) -> list[Dominance]:
    best = _best(curves)
    found = [_over(best, other) for other in curves if other is not best] if best else []
    return [one for one in found if one]


def _best(curves: Sequence[SearchCurve]) -> SearchCurve | None:
    from statistics import fmean

    means = [
        (fmean(values.values()) * (1 if curve.rises else -1), curve)
        for curve in curves
        if (values := _over_budget(curve))
    ]
    return max(means, key=lambda pair: pair[0])[1] if means else None


def _over(best: SearchCurve, other: SearchCurve) -> Dominance | None:
    import numpy as np

    blocks = [block for block in best.blocks if block in other.blocks]
    trials = min(best.score.shape[-1], other.score.shape[-1])
    if not blocks or not trials:
        return None
    scores = [
        curve.score[[curve.blocks.index(block) for block in blocks], :trials]
        for curve in (best, other)
    ]
    gains = (scores[0] - scores[1]) * (1 if best.rises else -1)
    gains = gains[:, np.isfinite(gains).all(axis=0)]
    if not gains.size:
        return None
    means = gains.mean(axis=0)
    gain = interval(gains.mean(axis=1).tolist(), geometric=False)
    assert gain is not None
    return Dominance(
        ahead=best.strategy,
        other=other.strategy,
        trials=gains.shape[1],
        better=int((means > _EVEN).sum()),
        even=int((np.abs(means) <= _EVEN).sum()),
        gain=gain,
    )
