"""Which policies to simulate, and which of them deserve to be simulated at length."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch.analysis.recommendation.service_curves import Repeated, ServiceCurve
from greenbatch.analysis.recommendation.simulation import Outcome, Traffic, averaged, serve
from greenbatch.analysis.statistics.dominance import on_front
from greenbatch.queueing.policies import Policy, parse_policy

WAITS_PER_DECADE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_SHARES_OF_LIMIT = (0.6, 0.65, 0.75, 0.8, 0.85, 0.9, 0.95)
_SLACK = 1.25  # a short simulation knows a 99th percentile to some 10 or 20 %
_KINDS = 8
_EACH = 3
_FRONT = 12
_SAFEST = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest response times allowed, in s; ``None``: any."""

    p99_s: float | None = None
    mean_s: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self.p99_s is not None or self.mean_s is not None

    def strain(self, p99_s: float, mean_s: float) -> float:
        """Return the response time over its limit, the worse of two; 0 where there is none."""
        parts = ((p99_s, self.p99_s), (mean_s, self.mean_s))
        return max((got / limit for got, limit in parts if limit), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A backend under a policy."""

    curve: ServiceCurve
    policy: Policy

    @property
    def kind(self) -> tuple[int, str, int]:
        """What distinguishes choices: all but the wait."""
        return id(self.curve), self.policy.text.partition(":")[0], self.policy.largest

    @property
    def holds_hz(self) -> dict[int, float]:
        """The rate that full batches hold, by block, in requests/s."""
        return self.curve.capacities_hz(self.policy.largest)

    def can_hold(self, rate_hz: float) -> bool:
        """Whether every repetition of the backend was fast enough."""
        return min(self.holds_hz.values()) > rate_hz


def batch_limits(curve: ServiceCurve) -> list[int]:
    """List the measured sizes and the powers of two between them."""
    powers = (1 << place for place in range(curve.largest.bit_length()))
    return sorted({*curve.measured, *(p for p in powers if curve.smallest <= p <= curve.largest)})


def candidates(curve: ServiceCurve, rate_hz: float, limits: Limits) -> list[Candidate]:
    """List the policies of a backend, simple ones first.

    Waits are in steps of 1 to 1.5 to 2 ... from a tenth of the time between requests, below which
    a wait changes little, to twice the time that fills the batch; and some just below the limit on
    the 99th percentile, where the answer often lies. A backend that was not measured at
    batch 1 can only wait for full batches.
    """
    sizes = batch_limits(curve)
    small = curve.smallest == 1
    texts = [f"greedy:{size}" for size in sizes if small]
    texts += [f"fixed:{size}" for size in sizes if size > 1]
    for size in sizes if small else ():
        if size > 1:
            waits_s = _waits_s(0.1 / rate_hz, 2 * size / rate_hz, limits.p99_s)
            texts += [f"dynamic:{size}:{wait_s * 1e3:g}ms" for wait_s in waits_s]
    return [Candidate(curve, parse_policy(text)) for text in texts]


def _waits_s(low_s: float, high_s: float, limit_s: float | None) -> list[float]:
    decades = range(math.floor(math.log10(low_s)), math.ceil(math.log10(high_s)) + 1)
    every = [step * 10.0**decade for decade in decades for step in WAITS_PER_DECADE]
    if limit_s is not None:
        every += [float(f"{share * limit_s:.2g}") for share in _SHARES_OF_LIMIT]
        high_s = min(high_s, limit_s)
    return sorted({wait_s for wait_s in every if low_s <= wait_s <= high_s})


def shortlist(
    found: Iterable[Candidate], traffic: Traffic, limits: Limits, *, energy: bool, idle: bool
) -> list[Candidate]:
    """Simulate each candidate shortly, and keep those that may be the answer or stand beside it.

    Kept are batch 1 of every backend, its best and its nearest to the limits, the fastest, and:
    with limits, the few of least energy of each of the best kinds, within the limits and a margin;
    without, the front of energy and p99.

    Args:
        found: All of which sustain the rate.
        traffic: A short one.
        limits: On the response time.
        energy: Whether energy decides; else response time.
        idle: As for `serve`.
    """
    tried: list[tuple[Candidate, Outcome]] = []
    seen = set()
    means: dict[int, Repeated] = {}
    for candidate in found:
        curve = candidate.curve
        one = means.setdefault(id(curve), averaged(curve))
        outcome = serve(traffic, candidate.policy, curve, one, idle=idle)
        # With these arrivals it behaves as a simpler one does: a batch limit never reached.
        same = (id(curve), outcome)
        if outcome is not None and same not in seen:
            seen.add(same)
            tried.append((candidate, outcome))

    def strain(one: tuple[Candidate, Outcome]) -> tuple[float, float]:
        return limits.strain(one[1].p99_s, one[1].mean_s), one[1].p99_s

    kept = [c for c, _ in tried if c.policy.largest == 1]
    swift = sorted(tried, key=strain)
    kept += [c for c, _ in swift[:_SAFEST]]
    for place in means:
        own = [one for one in swift if id(one[0].curve) == place]
        kept += [c for c, _ in own[:1]]
        within = [one for one in own if strain(one)[0] <= 1]
        kept += [c for c, _ in sorted(within, key=_energy)[:_EACH] if energy]
    kept += [c for c, _ in sorted(tried, key=lambda t: t[1].p99_s)[:_SAFEST]]
    if energy and limits.any:
        kept += _frugal(tried, limits)
    elif energy:
        kept += _front(tried)
    return list(dict.fromkeys(kept))


def _frugal(tried: Sequence[tuple[Candidate, Outcome]], limits: Limits) -> list[Candidate]:
    kinds: dict[tuple[int, str, int], list[Candidate]] = {}
    for margin in (1.0, _SLACK):
        counts = {kind: len(members) for kind, members in kinds.items()}
        for candidate, outcome in sorted(tried, key=_energy):
            members = kinds.setdefault(candidate.kind, [])
            most = _EACH if margin == 1.0 else counts.get(candidate.kind, 0) + 1
            near = limits.strain(outcome.p99_s, outcome.mean_s) <= margin
            if near and candidate not in members and len(members) < most:
                members.append(candidate)
    filled = [members for members in kinds.values() if members]
    return [candidate for members in filled[:_KINDS] for candidate in members]


def _front(tried: Sequence[tuple[Candidate, Outcome]]) -> list[Candidate]:
    """Keep what is not dominated in energy and p99, thinned to a dozen."""
    known = sorted((one for one in tried if one[1].energy_j is not None), key=_energy)
    best = on_front(map(_energy, known))
    front = [candidate for (candidate, _), kept in zip(known, best, strict=True) if kept]
    if len(front) <= _FRONT:
        return front
    places = {round(at * (len(front) - 1) / (_FRONT - 1)) for at in range(_FRONT)}
    return [front[place] for place in sorted(places)]


def _energy(tried: tuple[Candidate, Outcome]) -> tuple[float, float]:
    energy_j = tried[1].energy_j
    return (math.inf if energy_j is None else energy_j, tried[1].p99_s)
