"""A backend under a policy with what is predicted of it, and the choice among several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from greenbatch.analysis.dataset.energy_basis import Basis
from greenbatch.analysis.recommendation.candidates import Candidate
from greenbatch.analysis.recommendation.limits import (
    ENERGY_ERROR,
    RESPONSE_ERROR,
    Limits,
    response_error,
)
from greenbatch.analysis.recommendation.simulation import Outcome, figures
from greenbatch.analysis.statistics import claims
from greenbatch.analysis.statistics.intervals import LEAST, Interval, bounds, interval, ratio
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.queueing.policies import Policy
from greenbatch.records import Cell, Provenance

Verdict = Literal["met", "not met", "not shown"]

_SERIES = ("energy_j", "idle_j", "p99_s", "mean_s", "busiest_p99_s", "busiest_mean_s")

_SERIES_OF = {"energy": ("energy_j", ENERGY_ERROR), "response": ("p99_s", RESPONSE_ERROR)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backend under a policy, and what is predicted of it.

    Attributes:
        cell: Model and backend; its batch size is the most in a batch.
        policy: When a batch starts.
        p99_s, mean_s: Response time of a request.
        busiest_p99_s, busiest_mean_s: The same in the busiest stretch of a recording; else
            ``None``.
        energy_j: Energy per request; ``None`` where it is missing.
        idle_j: The part of it that the machine takes while no batch runs; ``None`` where it is
            not counted.
        energy_source: What the energy rests on.
        batch: Mean batch size.
        busy: Share of the time in which a batch runs.
        interpolated: Share of the requests in batches of a size that was not measured.
        holds_hz: The largest rate that the policy sustains.
        met: Whether the predicted response times are within the limits.
        sure: Whether they are by more than the intervals and the error of the prediction, and the
            rate is sustained by as much; never with fewer than three repetitions.
        surely_not: Whether they are beyond the limits by more than these.
        bases: What the energy rests on, of each measured batch size.
        series: Figures by block, for ratios: ``energy_j``, ``p99_s``, ``mean_s``, ...
    """

    cell: Cell
    policy: Policy
    p99_s: Interval
    mean_s: Interval
    busiest_p99_s: Interval | None
    busiest_mean_s: Interval | None
    energy_j: Interval | None
    idle_j: Interval | None
    energy_source: Provenance
    batch: float
    busy: float
    interpolated: float
    holds_hz: Interval
    met: bool
    sure: bool
    surely_not: bool
    bases: tuple[Basis, ...] = ()
    series: Mapping[str, Mapping[int, float]] = field(repr=False)

    @property
    def kind(self) -> tuple[str, str, str, str, int]:
        """What distinguishes choices: all but the wait."""
        cell, name = self.cell, self.policy.text.partition(":")[0]
        return cell.variant, cell.precision, cell.io, name, self.policy.largest

    @property
    def hardest_p99_s(self) -> float:
        """The 99th percentile in the busiest stretch of a recording, else of all requests."""
        return max(self.p99_s.centre, self.busiest_p99_s.centre if self.busiest_p99_s else 0.0)

    def strain(self, limits: Limits) -> float:
        """Return the predicted response times over their limits, the worst of them."""
        mean_s = max(self.mean_s.centre, self.busiest_mean_s.centre if self.busiest_mean_s else 0.0)
        return limits.strain(self.hardest_p99_s, mean_s)


def choice_of(
    candidate: Candidate, outcomes: Mapping[int, Outcome], limits: Limits, needed_hz: float
) -> Choice:
    """Make a choice of the outcomes of every repetition.

    Args:
        candidate: A backend under a policy.
        outcomes: By block.
        limits: On the response time, over all requests and in the busiest stretch.
        needed_hz: The rate that full batches have to hold.
    """
    curve, policy = candidate.curve, candidate.policy
    series = {name: figures(outcomes, name) for name in _SERIES}
    spread = {name: interval(values.values()) for name, values in series.items()}
    holds = interval(candidate.holds_hz.values())
    p99, mean = spread["p99_s"], spread["mean_s"]
    assert p99 is not None
    assert mean is not None
    assert holds is not None
    pairs = [(p99, mean)]
    if (hard_p99 := spread["busiest_p99_s"]) and (hard_mean := spread["busiest_mean_s"]):
        pairs.append((hard_p99, hard_mean))
    single_s = max(float(one.times_s[0].mean()) for one in curve.blocks.values())
    above, below = 1 + response_error(policy, single_s), 1 + RESPONSE_ERROR
    high = max(limits.strain(bounds(p)[1], bounds(m)[1]) for p, m in pairs) * above
    low = max(limits.strain(bounds(p)[0], bounds(m)[0]) for p, m in pairs) / below

    def centre(name: str) -> float:
        values = figures(outcomes, name).values()
        return sum(values) / len(values)

    energy = spread["energy_j"]
    return Choice(
        cell=replace(curve.cell, batch_size=policy.largest),
        policy=policy,
        p99_s=p99,
        mean_s=mean,
        busiest_p99_s=spread["busiest_p99_s"],
        busiest_mean_s=spread["busiest_mean_s"],
        energy_j=energy,
        idle_j=spread["idle_j"],
        energy_source=curve.energy_source if energy else Provenance.MISSING,
        bases=curve.bases if energy else (),
        batch=centre("batch"),
        busy=centre("busy"),
        interpolated=centre("interpolated"),
        holds_hz=holds,
        met=max(limits.strain(p.centre, m.centre) for p, m in pairs) <= 1,
        sure=p99.kind == "t" and high <= 1 and bounds(holds)[0] / below >= needed_hz,
        surely_not=low > 1,
        series=series,
    )


def within(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices that are surely within the limits; if none is, those predicted to be."""
    return [c for c in choices if c.sure] or [c for c in choices if c.met]


def cost(choice: Choice, criterion: str) -> float:
    """Return what decides between two choices: energy per request, or the 99th percentile."""
    if criterion != "energy":
        return choice.hardest_p99_s
    return choice.energy_j.centre if choice.energy_j else float("inf")


def over(one: Choice | None, other: Choice | None, criterion: str) -> Interval | None:
    """Set the cost of one choice against another's, paired by block."""
    if one is None or other is None:
        return None
    name, _ = _SERIES_OF[criterion]
    return ratio(one.series[name], other.series[name])


def differs(found: Interval, criterion: str) -> bool:
    """Whether a ratio of costs is not 1, beyond its interval and the error of the prediction.

    With fewer than three repetitions there is no interval, and the centre decides.
    """
    error = 1 + _SERIES_OF[criterion][1]
    low, high = bounds(found) if found.kind == "t" else (found.centre, found.centre)
    return low > error or high < 1 / error


@dataclass(frozen=True, slots=True)
class Ranked:
    """Choices within the limits, by their cost.

    Attributes:
        order: Of rising cost, adjusted for blocks that not all of them have.
        alike: The first of these, and those whose cost does not differ significantly from its.
    """

    order: tuple[Choice, ...]
    alike: tuple[Choice, ...]

    @property
    def least(self) -> Choice | None:
        """The choice of the least cost."""
        return self.order[0] if self.order else None

    @property
    def simplest(self) -> Choice | None:
        """The simplest of those that are alike.

        A policy that waits less is simpler; among equally long waits the lowest 99th percentile
        counts, and among those within the error of the prediction the smaller batch.
        """
        if not self.alike:
            return None
        shortest_s = min(choice.policy.wait_s for choice in self.alike)
        prompt = [choice for choice in self.alike if choice.policy.wait_s == shortest_s]
        quick_s = min(choice.hardest_p99_s for choice in prompt) * (1 + RESPONSE_ERROR)
        near = [choice for choice in prompt if choice.hardest_p99_s <= quick_s]
        return min(near, key=lambda c: (c.policy.largest, c.hardest_p99_s))


def ranked(fit: Sequence[Choice], criterion: str) -> Ranked:
    """Order choices by cost, and find those that do not differ significantly from the least.

    A difference is significant if the cost is shown to exceed the least by more than the error of
    the prediction (`greenbatch.analysis.statistics.claims`, Holm over the choices); where two
    choices share fewer than three repetitions, their ratio alone decides.

    Args:
        fit: Choices within the limits.
        criterion: See `cost`.
    """
    import numpy as np

    name, error = _SERIES_OF[criterion]
    known = sorted(
        (choice for choice in fit if choice.series[name]),
        key=lambda c: (cost(c, criterion), c.hardest_p99_s),
    )
    figures = claims.by_block([choice.series[name] for choice in known])
    found = claims.least(figures)
    if found is None:
        return Ranked(tuple(fit), tuple(fit))
    order = [*found.order, *found.apart]
    first, others = order[0], np.array(order[1:], dtype=int)
    figures[others] /= 1 + error
    p = holm((2 * claims.Competition(figures).p_above(others, first)).tolist())
    alike = [known[first]]
    for place, corrected in zip(order[1:], p, strict=True):
        against = ratio(known[place].series[name], known[first].series[name])
        if against is not None and against.n < LEAST:
            tied = not differs(against, criterion)
        else:
            tied = against is not None and corrected > claims.ALPHA
        if tied:
            alike.append(known[place])
    return Ranked(tuple(known[place] for place in order), tuple(alike))


def nearest(choices: Sequence[Choice], limits: Limits) -> Choice | None:
    """Choose the lowest 99th percentile of those that are equally near to the limits.

    In the worst minute of a recording all policies may be late alike.
    """
    if not choices:
        return None
    most = min(choice.strain(limits) for choice in choices) * (1 + RESPONSE_ERROR)
    near = [choice for choice in choices if choice.strain(limits) <= most]
    return min(near, key=lambda c: (c.p99_s.centre, c.policy.largest))


def verdict(
    best: Choice | None, choices: Sequence[Choice], most_hz: Interval, needed_hz: float
) -> Verdict:
    """Say whether the limits are kept, and whether this is shown either way.

    Args:
        best: The answer, or the nearest to the limits; ``None`` where no policy sustains the rate.
        choices: All that were simulated at length.
        most_hz: The largest rate that is sustained.
        needed_hz: The rate that has to be.
    """
    if best is None:
        over_most = needed_hz > bounds(most_hz)[1] * (1 + RESPONSE_ERROR)
        return "not met" if over_most else "not shown"
    if best.sure:
        return "met"
    return "not met" if all(choice.surely_not for choice in choices) else "not shown"
