"""Which backend, batching policy and wait serve a traffic with the least energy.

Every repetition of a backend is simulated as a server of its own, with arrivals of its own, and
intervals are over repetitions: they hold what differs between repetitions and what differs between
simulations. All policies meet the same arrivals in a repetition, so ratios are paired by block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from greenbatch.analysis.dataset.energy_basis import Basis, all_unlike
from greenbatch.analysis.findings.comparisons import Ratio
from greenbatch.analysis.recommendation.candidates import Candidate, Limits, candidates, shortlist
from greenbatch.analysis.recommendation.service_curves import ServiceCurve
from greenbatch.analysis.recommendation.simulation import (
    Outcome,
    Traffic,
    draw_traffic,
    figures,
    serve,
)
from greenbatch.analysis.statistics.dominance import on_front
from greenbatch.analysis.statistics.intervals import LEAST, Interval, interval, ratio
from greenbatch.queueing.arrivals import Arrivals
from greenbatch.queueing.policies import Policy
from greenbatch.records import Cell, Provenance

SEARCHED = 3_000
SIMULATED = 60_000
LEAST_SIMULATED = 6_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backend under a policy, and what is predicted of it.

    Attributes:
        cell: Model and backend; its batch size is the most in a batch.
        policy: When a batch starts.
        p99_s, mean_s: Response time of a request.
        energy_j: Energy per request; ``None`` where it is missing.
        energy_source: What the energy rests on.
        batch: Mean batch size.
        busy: Share of the time in which a batch runs.
        interpolated: Share of the requests in batches of a size that was not measured.
        holds_hz: The largest rate that the policy sustains.
        met: Whether the predicted response times are within the limits.
        sure: Whether their intervals are, too; never with fewer than three repetitions.
        bases: What the energy rests on, of each measured batch size.
        series: Figures by block, for ratios: ``energy_j``, ``p99_s``, ``mean_s``.
    """

    cell: Cell
    policy: Policy
    p99_s: Interval
    mean_s: Interval
    energy_j: Interval | None
    energy_source: Provenance
    batch: float
    busy: float
    interpolated: float
    holds_hz: Interval
    met: bool
    sure: bool
    bases: tuple[Basis, ...] = ()
    series: Mapping[str, Mapping[int, float]] = field(repr=False)

    @property
    def kind(self) -> tuple[str, str, str, str, int]:
        """What distinguishes choices: all but the wait."""
        cell, name = self.cell, self.policy.text.partition(":")[0]
        return cell.variant, cell.precision, cell.io, name, self.policy.largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer for one model.

    Attributes:
        rate_hz: Requests/s.
        limits: On the response time.
        met: Whether there is a choice that sustains the rate within the limits.
        criterion: ``energy``, or ``response`` where there is no energy that can be compared.
        best: The answer; where it is not met, the choice that comes nearest to the limits;
            ``None`` where no policy sustains the rate.
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
        most_hz: The largest rate that can be sustained, by ``most``.
        most: Where it is held.
        idle_counted: Whether energy between batches is in the energy per request.
        notes: What else must be known, in sentences.
    """

    model: str
    rate_hz: float
    limits: Limits
    met: bool
    criterion: str
    best: Choice | None
    runner_up: Choice | None
    margin: Interval | None
    elsewhere: tuple[Choice, ...]
    batch_one: Choice | None
    fastest: Choice | None
    against_one: Ratio
    against_fastest: Ratio
    pareto: tuple[Choice, ...]
    choices: tuple[Choice, ...]
    most_hz: Interval
    most: tuple[Cell, int]
    idle_counted: bool
    notes: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether the interval of ``margin`` excludes 1."""
        return bool(self.margin and self.margin.excludes(1.0))


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
    traffic = draw_traffic(arrivals, rate_hz, SEARCHED, seed)
    criterion, idle, notes = _basis(curves)
    energy = criterion == "energy"
    every = [c for curve in curves for c in candidates(curve, traffic.rate_hz, limits)]
    most = max(every, key=lambda c: min(c.holds_hz.values()))
    held = [candidate for candidate in every if candidate.can_hold(traffic.rate_hz)]
    chosen = shortlist(held, traffic, limits, energy=energy, idle=idle)
    choices = _simulated(chosen, arrivals, rate_hz, limits, seed, idle=idle)

    def cost(choice: Choice) -> float:
        if not energy:
            return choice.p99_s.centre
        return choice.energy_j.centre if choice.energy_j else float("inf")

    fit = sorted((c for c in choices if c.met), key=lambda c: (cost(c), c.p99_s.centre))
    best = fit[0] if fit else min(choices, key=lambda c: _strain(c, limits), default=None)
    second = next((c for c in fit[1:] if best and c.kind != best.kind), None)
    elsewhere = _elsewhere(choices, fit, best, limits)
    one = next((c for c in choices if best and _is_batch_one(c, best)), None)
    fastest = min(choices, key=lambda c: c.p99_s.centre, default=None)
    holds = interval(most.holds_hz.values())
    assert holds is not None
    return Recommendation(
        model=curves[0].cell.model,
        rate_hz=traffic.rate_hz,
        limits=limits,
        met=bool(fit),
        criterion=criterion,
        best=best,
        runner_up=second,
        margin=_over(second, best, "energy_j" if energy else "p99_s"),
        elsewhere=elsewhere,
        batch_one=one,
        fastest=fastest,
        against_one=_energies(best, one),
        against_fastest=_energies(best, fastest),
        pareto=_front(choices),
        choices=tuple(choices),
        most_hz=holds,
        most=(most.curve.cell, most.policy.largest),
        idle_counted=idle,
        notes=(*notes, *_without_choice(curves, choices)),
    )


def _basis(curves: Sequence[ServiceCurve]) -> tuple[str, bool, tuple[str, ...]]:
    """Say what decides, whether idle energy is counted, and what is left out and why."""
    notes = []
    known = [c for c in curves if any(b.energy_j is not None for b in c.blocks.values())]
    without = [_name(c) for c in curves if c not in known]
    unlike = all_unlike(basis for curve in known for basis in curve.bases)
    same = not unlike
    if unlike:
        notes.append(
            f"Energies are not alike ({unlike}), which cannot be compared; the lowest response "
            "time decides. Choose backends of one kind with --backend."
        )
    elif not known:
        notes.append("There is no energy in this run; the lowest response time decides.")
    elif without:
        notes.append(f"No energy is known of {', '.join(without)}; it comes after the others.")
    idle_less = [
        _name(curve)
        for curve in known
        if any(b.energy_j is not None and b.idle_w is None for b in curve.blocks.values())
    ]
    if idle_less:
        notes.append(
            f"The idle power of {', '.join(idle_less)} is missing: energy is that of the batches "
            "alone, without what the server takes while it waits."
        )
    for curve in curves:
        if curve.left_out:
            one = curve.left_out == 1
            notes.append(
                f"{curve.left_out} repetition{'' if one else 's'} of {_name(curve)} "
                f"{'lacks' if one else 'lack'} a batch size and {'is' if one else 'are'} left out."
            )
        if len(curve.measured) == 1:
            size = curve.measured[0]
            notes.append(f"{_name(curve)} was measured at batch {size} alone; no other is judged.")
        elif curve.smallest > 1:  # a smaller batch would be an extrapolation
            notes.append(
                f"{_name(curve)} was not measured at batch 1; only full batches are judged."
            )
    fewest = min(len(curve.blocks) for curve in curves)
    if fewest < LEAST:
        reason = "one repetition has no spread" if fewest == 1 else "two repetitions give a range"
        notes.append(f"Without an interval: {reason}.")
    if len({curve.cell.precision for curve in curves}) > 1:
        notes.append("Precisions are compared as if they were equally accurate.")
    return "energy" if known and same else "response", not idle_less, tuple(notes)


def _name(curve: ServiceCurve) -> str:
    precision = "" if curve.cell.precision == "fp32" else f" in {curve.cell.precision}"
    return f"{curve.cell.variant}{precision}"


def _simulated(
    chosen: Sequence[Candidate],
    arrivals: Arrivals,
    rate_hz: float | None,
    limits: Limits,
    seed: int,
    *,
    idle: bool,
) -> list[Choice]:
    """Simulate every repetition at length; a policy whose queue grows in one is no choice."""
    blocks = sorted({block for candidate in chosen for block in candidate.curve.blocks})
    count = max(LEAST_SIMULATED, SIMULATED // max(len(blocks), 1))
    traffics: dict[int, Traffic] = {
        block: draw_traffic(arrivals, rate_hz, count, seed + 1 + place)
        for place, block in enumerate(blocks)
    }
    choices = []
    for candidate in chosen:
        curve = candidate.curve
        outcomes = {
            block: serve(traffics[block], candidate.policy, curve, one, idle=idle)
            for block, one in curve.blocks.items()
        }
        known = {block: outcome for block, outcome in outcomes.items() if outcome is not None}
        if len(known) == len(outcomes) and not any(o.growing for o in known.values()):
            choices.append(_choice(candidate, known, limits))
    return choices


def _choice(candidate: Candidate, outcomes: Mapping[int, Outcome], limits: Limits) -> Choice:
    series = {name: figures(outcomes, name) for name in ("energy_j", "p99_s", "mean_s")}
    p99, mean = interval(series["p99_s"].values()), interval(series["mean_s"].values())
    holds = interval(candidate.holds_hz.values())
    assert p99 is not None
    assert mean is not None
    assert holds is not None
    high = None
    if p99.kind == "t" and p99.high is not None and mean.high is not None:
        high = limits.strain(p99.high, mean.high)
    curve = candidate.curve
    energy = interval(series["energy_j"].values())

    def centre(name: str) -> float:
        values = figures(outcomes, name).values()
        return sum(values) / len(values)

    return Choice(
        cell=replace(curve.cell, batch_size=candidate.policy.largest),
        policy=candidate.policy,
        p99_s=p99,
        mean_s=mean,
        energy_j=energy,
        energy_source=curve.energy_source if energy else Provenance.MISSING,
        bases=curve.bases if energy else (),
        batch=centre("batch"),
        busy=centre("busy"),
        interpolated=centre("interpolated"),
        holds_hz=holds,
        met=limits.strain(p99.centre, mean.centre) <= 1,
        sure=high is not None and high <= 1,
        series=series,
    )


def _strain(choice: Choice, limits: Limits) -> tuple[float, float]:
    p99_s = choice.p99_s.centre
    return limits.strain(p99_s, choice.mean_s.centre), p99_s


def _elsewhere(
    choices: Sequence[Choice], fit: Sequence[Choice], best: Choice | None, limits: Limits
) -> tuple[Choice, ...]:
    """Take one choice of every backend but the best one's: the first that fits, or the nearest."""
    nearest = sorted((c for c in choices if not c.met), key=lambda c: _strain(c, limits))
    found: dict[tuple[str, str, str], Choice] = {}
    for choice in (*fit, *nearest):
        if best is not None and choice.kind[:3] != best.kind[:3]:
            found.setdefault(choice.kind[:3], choice)
    return tuple(found.values())


def _without_choice(curves: Sequence[ServiceCurve], choices: Sequence[Choice]) -> list[str]:
    """Say which backends sustain the rate under no policy, where others do."""
    held = {choice.kind[:3] for choice in choices}
    names = [
        _name(curve)
        for curve in curves
        if held and (curve.cell.variant, curve.cell.precision, curve.cell.io) not in held
    ]
    verb = "sustains" if len(names) == 1 else "sustain"
    return [f"{', '.join(names)} {verb} the rate under no policy."] if names else []


def _is_batch_one(choice: Choice, best: Choice) -> bool:
    return choice.policy.largest == 1 and choice.kind[:3] == best.kind[:3]


def _over(over: Choice | None, under: Choice | None, name: str) -> Interval | None:
    return ratio(over.series[name], under.series[name]) if over and under else None


def _energies(best: Choice | None, other: Choice | None) -> Ratio:
    """Set the energy of the best against another's; withheld where they are not alike."""
    if best is None or other is None:
        return Ratio(None, "")
    if unlike := all_unlike((*best.bases, *other.bases)):
        return Ratio(None, unlike)
    return Ratio(_over(best, other, "energy_j"), "")


def _front(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """The Pareto front of energy and p99; nothing where energies are not alike."""
    known = [(c, (c.energy_j.centre, c.p99_s.centre)) for c in choices if c.energy_j]
    if all_unlike(basis for choice, _ in known for basis in choice.bases):
        return ()
    best = on_front(point for _, point in known)
    kept = [one for one, is_best in zip(known, best, strict=True) if is_best]
    return tuple(choice for choice, _ in sorted(kept, key=lambda one: one[1]))
