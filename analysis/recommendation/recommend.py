"""Which backend, batching policy and wait serve a traffic with the least energy.

Every repetition of a backend is simulated as a server of its own, with arrivals of its own, and
intervals are over repetitions: they hold what differs between repetitions and what differs between
simulations. A recording is replayed in every repetition. All policies meet the same arrivals in a
repetition, so ratios are paired by block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.comparisons import Ratio
from greenbatch.analysis.recommendation.basis import basis, of_recording, without_choice
from greenbatch.analysis.recommendation.candidates import Candidate, Search, candidates
from greenbatch.analysis.recommendation.choices import (
    Choice,
    Verdict,
    choice_of,
    cost,
    differs,
    nearest,
    over,
    ranked,
    verdict,
    within,
)
from greenbatch.analysis.recommendation.limits import Limits
from greenbatch.analysis.recommendation.recorded import Recorded, read_recorded
from greenbatch.analysis.recommendation.service_curves import ServiceCurve, flag_notes
from greenbatch.analysis.recommendation.simulation import (
    Traffic,
    draw_traffic,
    replay_traffic,
    serve,
)
from greenbatch.analysis.statistics.dominance import on_front
from greenbatch.analysis.statistics.intervals import Interval, interval
from greenbatch.queueing.arrivals import Arrivals, Replay
from greenbatch.records import Cell

SEARCHED = 3_000
SIMULATED = 60_000
LEAST_SIMULATED = 6_000
_CONFIRMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer for one model.

    Attributes:
        rate_hz: Requests/s of what is simulated.
        recorded: What is judged of a recording; ``None`` where arrivals are drawn.
        limits: On the response time.
        verdict: Whether the limits are kept: ``met`` or ``not met`` by more than the intervals and
            the error of the prediction, else ``not shown``.
        met: Whether there is a choice that is predicted to sustain the rate within the limits.
        criterion: ``energy``, or ``response`` where there is no energy that can be compared.
        best: The answer: the simplest choice whose cost does not differ significantly from the
            least; where the limits are not met, the choice that comes nearest to them; ``None``
            where no policy sustains the rate.
        least: The choice of the least predicted cost; often the best itself.
        least_over_best: Its cost over that of the best.
        runner_up: The next choice that differs in more than the wait.
        margin: Its figure of the criterion over the best one's.
        elsewhere: The best choice of every other backend (precision, io) that sustains the rate,
            the cheapest first; then the nearest of those of which none is within the limits.
        batch_one: The same backend serving one at a time; ``None`` where that does not sustain the
            rate or cannot be priced.
        fastest: The choice of the lowest p99.
        against_one, against_fastest: Energy of the best over theirs.
        pareto: The Pareto front of energy and p99, frugal ones first.
        choices: All that were simulated at length.
        needed_hz: The rate that full batches have to hold: more than ``rate_hz`` for a recording.
        most_hz: The largest rate that can be sustained, by ``most``.
        most: Where it is held.
        idle_counted: Whether energy between batches is in the energy per request.
        notes: What else must be known, in sentences.
    """

    model: str
    rate_hz: float
    recorded: Recorded | None
    limits: Limits
    verdict: Verdict
    met: bool
    criterion: str
    best: Choice | None
    least: Choice | None
    least_over_best: Interval | None
    runner_up: Choice | None
    margin: Interval | None
    elsewhere: tuple[Choice, ...]
    batch_one: Choice | None
    fastest: Choice | None
    against_one: Ratio
    against_fastest: Ratio
    pareto: tuple[Choice, ...]
    choices: tuple[Choice, ...]
    needed_hz: float
    most_hz: Interval
    most: tuple[Cell, int]
    idle_counted: bool
    notes: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether ``margin`` is a significant difference, beyond the error of the prediction."""
        return bool(
            self.margin and self.margin.kind == "t" and differs(self.margin, self.criterion)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of all candidates."""

    arrivals: Arrivals
    rate_hz: float | None
    limits: Limits
    seed: int
    idle: bool
    recorded: Recorded | None

    @property
    def shows_limits(self) -> bool:
        """Whether the traffic has requests enough to show that the limits are kept."""
        return not (self.recorded and self.limits.p99_s) or self.recorded.has_p99

    def in_short(self) -> Traffic:
        """Draw the traffic to search with."""
        if self.recorded:
            return replay_traffic(self.recorded, self.seed, SEARCHED)
        return draw_traffic(self.arrivals, self.rate_hz, SEARCHED, self.seed)

    def at_length(self, count: int, place: int, *, whole: bool) -> Traffic:
        """Draw the traffic of a repetition, by its place; of a recording, ``whole`` or in part."""
        seed = self.seed + 1 + place
        if self.recorded:
            return replay_traffic(self.recorded, seed, None if whole else count)
        return draw_traffic(self.arrivals, self.rate_hz, count, seed)


def recommend(
    curves: Sequence[ServiceCurve],
    arrivals: Arrivals,
    rate_hz: float | None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Recommendation:
    """Search backends and policies for those of least energy within the limits.

    Args:
        curves: Of one model, as `read_service_curves` gives them; at least one.
        arrivals: How requests arrive.
        rate_hz: Requests/s; ``None``: as a recording has them.
        limits: On the predicted response time.
        seed: Of arrivals and batch times; the same seed gives the same answer.

    Raises:
        UsageError: The arrivals cannot be drawn at this rate.
    """
    recorded = read_recorded(arrivals, rate_hz, limits) if isinstance(arrivals, Replay) else None
    criterion, idle, notes = basis(curves)
    question = _Question(arrivals, rate_hz, limits, seed, idle, recorded)
    traffic = question.in_short()
    every = [c for curve in curves for c in candidates(curve, traffic, limits)]
    most = max(every, key=lambda c: min(c.holds_hz.values()))
    held = [candidate for candidate in every if candidate.can_hold(traffic.needed_hz)]
    search = Search(traffic, limits, energy=criterion == "energy", idle=idle)
    chosen = search.shortlist(held)
    choices = _simulated(chosen, question, whole=recorded is None)
    if recorded:
        kept = _worth_confirming(choices, criterion, limits)
        chosen = [one for one in chosen if _name(one) in kept]
        choices = _simulated(chosen, question, whole=True)
    holds = interval(most.holds_hz.values())
    assert holds is not None
    fit = ranked(within(choices), criterion)
    best = fit.simplest or nearest(choices, limits)
    least = fit.least or best
    second = next((c for c in fit.order if best and c.kind != best.kind), None)
    one = next((c for c in choices if best and _is_batch_one(c, best)), None)
    fastest = min(choices, key=lambda c: c.hardest_p99_s, default=None)
    return Recommendation(
        model=curves[0].cell.model,
        rate_hz=traffic.rate_hz,
        recorded=recorded,
        limits=limits,
        verdict=verdict(best, choices, holds, traffic.needed_hz),
        met=bool(fit.order),
        criterion=criterion,
        best=best,
        least=least,
        least_over_best=over(least, best, criterion),
        runner_up=second,
        margin=over(second, best, criterion),
        elsewhere=_elsewhere(choices, best, criterion, limits),
        batch_one=one,
        fastest=fastest,
        against_one=_energies(best, one),
        against_fastest=_energies(best, fastest),
        pareto=_front(choices),
        choices=tuple(choices),
        needed_hz=traffic.needed_hz,
        most_hz=holds,
        most=(most.curve.cell, most.policy.largest),
        idle_counted=idle,
        notes=(
            *of_recording(recorded, limits),
            *notes,
            *flag_notes(curves),
            *without_choice(curves, choices),
        ),
    )


def _simulated(chosen: Sequence[Candidate], question: _Question, *, whole: bool) -> list[Choice]:
    """Simulate every repetition at length; a policy whose queue grows in one is no choice."""
    blocks = sorted({block for candidate in chosen for block in candidate.curve.blocks})
    count = max(LEAST_SIMULATED, SIMULATED // max(len(blocks), 1))
    traffics = {
        block: question.at_length(count, place, whole=whole) for place, block in enumerate(blocks)
    }
    choices = []
    for candidate in chosen:
        curve = candidate.curve
        outcomes = {
            block: serve(traffics[block], candidate.policy, curve, one, idle=question.idle)
            for block, one in curve.blocks.items()
        }
        known = {block: outcome for block, outcome in outcomes.items() if outcome is not None}
        if len(known) == len(outcomes) and not any(o.growing for o in known.values()):
            needed_hz = next(iter(traffics.values())).needed_hz
            choice = choice_of(candidate, known, question.limits, needed_hz)
            choices.append(choice if question.shows_limits else replace(choice, sure=False))
    return choices


def _worth_confirming(
    choices: Sequence[Choice], criterion: str, limits: Limits
) -> set[tuple[Cell, str]]:
    """Name the choices of a part of a recording that may be the answer for the whole of it."""
    orders: list[Callable[[Choice], tuple[float, float]]] = [
        lambda c: (c.strain(limits), c.p99_s.centre),
        lambda c: (c.hardest_p99_s, 0.0),
    ]
    kept = [one for order in orders for one in sorted(choices, key=order)[:2]]
    for fit in ([c for c in choices if c.sure], [c for c in choices if c.met]):
        order = ranked(fit, criterion)
        best = order.simplest
        kept += [*order.order[:_CONFIRMED], *([best] if best else [])]
        kept += _elsewhere(choices, best, criterion, limits)
    kept += [c for c in choices if c.policy.largest == 1]
    kept += [] if limits.any else _front(choices)
    return {(one.cell, one.policy.text) for one in kept}


def _name(candidate: Candidate) -> tuple[Cell, str]:
    cell = replace(candidate.curve.cell, batch_size=candidate.policy.largest)
    return cell, candidate.policy.text


def _elsewhere(
    choices: Sequence[Choice], best: Choice | None, criterion: str, limits: Limits
) -> tuple[Choice, ...]:
    """Take one choice of every backend but the best one's: the best that fits, or the nearest."""
    groups: dict[tuple[str, str, str], list[Choice]] = {}
    for choice in choices:
        if best is not None and choice.kind[:3] != best.kind[:3]:
            groups.setdefault(choice.kind[:3], []).append(choice)
    each = (
        ranked(within(group), criterion).simplest or nearest(group, limits)
        for group in groups.values()
    )
    found = [choice for choice in each if choice is not None]
    order = sorted(found, key=lambda c: cost(c, criterion) if c.met else c.strain(limits))
    return tuple(sorted(order, key=lambda c: not c.met))


def _is_batch_one(choice: Choice, best: Choice) -> bool:
    return choice.policy.largest == 1 and choice.kind[:3] == best.kind[:3]


def _energies(best: Choice | None, other: Choice | None) -> Ratio:
    """Set the energy of the best against another's; withheld where they are not alike."""
    if best is None or other is None:
        return Ratio(None, "")
    if unlike := all_unlike((*best.bases, *other.bases)):
        return Ratio(None, unlike)
    return Ratio(over(best, other, "energy"), "")


def _front(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The Pareto front of energy and p99; nothing where energies are not alike."""
    known = [(c, (c.energy_j.centre, c.p99_s.centre)) for c in choices if c.energy_j]
    if all_unlike(basis for choice, _ in known for basis in choice.bases):
        return ()
    best = on_front(point for _, point in known)
    kept = [one for one, is_best in zip(known, best, strict=True) if is_best]
    return tuple(choice for choice, _ in sorted(kept, key=lambda one: one[1]))
