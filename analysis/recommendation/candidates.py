"""Which policies to simulate, and which of them deserve to be simulated at length."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch.analysis.recommendation.limits import ENERGY_ERROR, RESPONSE_ERROR, Limits
from greenbatch.analysis.recommendation.service_curves import Repeated, ServiceCurve
from greenbatch.analysis.recommendation.simulation import Outcome, Traffic, averaged, serve
from greenbatch.analysis.statistics.dominance import on_front
from greenbatch.queueing.policies import Policy, PolicyKind, parse_policy

WAITS_PER_DECADE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_SHARES_OF_LIMIT = (0.6, 0.65, 0.75, 0.8, 0.85, 0.9, 0.95)
_SLACK = 1.25  # a short simulation knows a 99th percentile to some 10 or 20 %
_SURELY = 1 / (1 + RESPONSE_ERROR)
_KINDS = 8
_EACH = 3
_FRONT = 12
_SAFEST = 4
_REFINED = 2
_STEPS = 4
_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)


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


def candidates(curve: ServiceCurve, traffic: Traffic, limits: Limits) -> list[Candidate]:
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
            low_s, high_s = 0.1 / traffic.needed_hz, 2 * size / traffic.rate_hz
            waits_s = _waits_s(low_s, high_s, limits.p99_s)
            texts += [f"dynamic:{size}:{wait_s * 1e3:g}ms" for wait_s in waits_s]
    return [Candidate(curve, parse_policy(text)) for text in texts]


def _waits_s(low_s: float, high_s: float, limit_s: float | None) -> list[float]:
    decades = range(math.floor(math.log10(low_s)), math.ceil(math.log10(high_s)) + 1)
    every = [step * 10.0**decade for decade in decades for step in WAITS_PER_DECADE]
    if limit_s is not None:
        every += [float(f"{share * limit_s:.2g}") for share in _SHARES_OF_LIMIT]
        high_s = min(high_s, limit_s)
    return sorted({wait_s for wait_s in every if low_s <= wait_s <= high_s})


def refined(candidate: Candidate, limits: Limits) -> list[Candidate]:
    """List policies around one: batches and waits between it and its neighbours in `candidates`."""
    policy, curve = candidate.policy, candidate.curve
    sizes = [size for size in batch_limits(curve) if size > 1 or policy.kind == PolicyKind.GREEDY]
    place = sizes.index(policy.largest)
    low, high = sizes[max(place - 1, 0)], sizes[min(place + 1, len(sizes) - 1)]
    between = {round(low + (high - low) * step / _STEPS) for step in range(_STEPS + 1)}
    if policy.kind != PolicyKind.DYNAMIC:
        texts = [f"{policy.kind}:{size}" for size in sorted(between)]
    else:
        most_s = limits.p99_s if limits.p99_s is not None else math.inf
        waits_s = {min(policy.wait_s * factor, most_s) for factor in _FACTORS}
        texts = [
            f"dynamic:{size}:{wait_s * 1e3:.3g}ms"
            for size in sorted(between)
            for wait_s in sorted(waits_s)
        ]
    return [Candidate(curve, parse_policy(text)) for text in texts]


class Search:
    """Simulates candidates shortly, and keeps those that may be the answer or stand beside it.

    Args:
        traffic: A short one.
        limits: On the response time.
        energy: Whether energy decides; else response time.
        idle: As for `serve`.
    """

    def __init__(self, traffic: Traffic, limits: Limits, *, energy: bool, idle: bool) -> None:
        self._traffic, self._limits = traffic, limits
        self._energy, self._idle = energy, idle
        self._tried: list[_Tried] = []
        self._seen: set[tuple[int, Outcome]] = set()
        self._texts: set[tuple[int, str]] = set()
        self._means: dict[int, Repeated] = {}

    def shortlist(self, found: Iterable[Candidate]) -> list[Candidate]:
        """Keep batch 1 of every backend, its best and its nearest to the limits, and the fastest.

        With limits, the few of least energy of each of the best kinds are kept, within the limits
        and a margin to either side; without, the front of energy and p99. Around the best of
        these, smaller steps of batch and wait are tried.

        Args:
            found: All of which sustain the rate.
        """
        self._try(found)
        if self._energy:
            for candidate in self._promising():
                near = refined(candidate, self._limits)
                self._try(one for one in near if one.can_hold(self._traffic.needed_hz))
        tried, strain = self._tried, self._strain
        swift = sorted(tried, key=lambda one: (strain(one), one.hardest_p99_s))
        fast = sorted(tried, key=lambda one: one.hardest_p99_s)
        kept = [one for one in tried if one.candidate.policy.largest == 1]
        kept += [*swift[:_SAFEST], *fast[:_SAFEST]]
        for place in self._means:
            own = [one for one in swift if id(one.candidate.curve) == place]
            prompt = [one for one in own if not one.candidate.policy.wait_s]
            for few in (own, prompt):
                kept += few[:1]
                for margin in (_SURELY, 1.0):
                    fit = sorted((one for one in few if strain(one) <= margin), key=_energy)
                    kept += fit[: _EACH if self._energy else 1]
            if self._energy:
                kept += self._simple(own)
        if self._energy:
            kept += self._frugal() if self._limits.any else _front(tried)
        return list(dict.fromkeys(one.candidate for one in kept))

    def _try(self, found: Iterable[Candidate]) -> None:
        for candidate in found:
            curve = candidate.curve
            name = (id(curve), candidate.policy.text)
            if name in self._texts:
                continue
            self._texts.add(name)
            mean = self._means.setdefault(id(curve), averaged(curve))
            outcome = serve(self._traffic, candidate.policy, curve, mean, idle=self._idle)
            # With these arrivals it behaves as a simpler one does: a batch limit never reached.
            if outcome is not None and (id(curve), outcome) not in self._seen:
                self._seen.add((id(curve), outcome))
                self._tried.append(_Tried(candidate, outcome))

    def _strain(self, one: "_Tried") -> float:
        return self._limits.strain(one.hardest_p99_s, one.hardest_mean_s)

    def _promising(self) -> list[Candidate]:
        """Return the best of each of the most frugal kinds of every backend."""
        best: dict[tuple[int, str, int], Candidate] = {}
        for one in sorted(self._tried, key=_energy):
            if self._strain(one) <= 1:
                best.setdefault(one.candidate.kind, one.candidate)
        found = []
        for place in self._means:
            own = [candidate for (curve, _, _), candidate in best.items() if curve == place]
            found += own[:_REFINED]
        return found

    def _simple(self, own: "Sequence[_Tried]") -> "list[_Tried]":
        """Return those on the front of wait and energy, near the most energy that is no loss.

        The shortest wait whose energy is that of the least, within the error of the prediction, is
        among them.
        """
        found: list[_Tried] = []
        for margin in (_SURELY, 1.0) if self._limits.any else ():
            fit = [one for one in own if self._strain(one) <= margin]
            energies = [_energy(one)[0] for one in fit]
            most_j = min(energies, default=math.inf) * (1 + ENERGY_ERROR)
            waits = [one.candidate.policy.wait_s for one in fit]
            best = on_front(zip(waits, energies, strict=True))
            front = [one for one, kept in zip(fit, best, strict=True) if kept]
            found += sorted(front, key=lambda one: abs(_energy(one)[0] - most_j))[:_SAFEST]
        return found

    def _frugal(self) -> "list[_Tried]":
        kinds: dict[tuple[int, str, int], list[_Tried]] = {}
        for margin in (_SURELY, 1.0, _SLACK):
            most = {kind: len(members) + 1 for kind, members in kinds.items()}
            for one in sorted(self._tried, key=_energy):
                members = kinds.setdefault(one.candidate.kind, [])
                allowed = _EACH if margin < 1 else most.get(one.candidate.kind, 1)
                if self._strain(one) <= margin and one not in members and len(members) < allowed:
                    members.append(one)
        filled = [members for members in kinds.values() if members]
        return [one for members in filled[:_KINDS] for one in members]


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    candidate: Candidate
    outcome: Outcome

    @property
    def hardest_p99_s(self) -> float:
        return max(self.outcome.p99_s, self.outcome.busiest_p99_s or 0.0)

    @property
    def hardest_mean_s(self) -> float:
        return max(self.outcome.mean_s, self.outcome.busiest_mean_s or 0.0)


def _front(tried: Sequence[_Tried]) -> list[_Tried]:
    """Keep what is not dominated in energy and p99, thinned to a dozen."""
    known = sorted((one for one in tried if one.outcome.energy_j is not None), key=_energy)
    best = on_front(map(_energy, known))
    front = [one for one, kept in zip(known, best, strict=True) if kept]
    if len(front) <= _FRONT:
        return front
    places = {round(at * (len(front) - 1) / (_FRONT - 1)) for at in range(_FRONT)}
    return [front[place] for place in sorted(places)]


def _energy(one: _Tried) -> tuple[float, float]:
    energy_j = one.outcome.energy_j
    return (math.inf if energy_j is None else energy_j, one.hardest_p99_s)
