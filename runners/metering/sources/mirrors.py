"""Counters that are shown twice: of several dies of a package, each the whole package's.

On AMD processors of several dies (Threadripper and EPYC of the first two generations) the kernel
has a zone for each die, and every one of them shows the energy of the socket (mlco2/codecarbon,
issues 1274 and 1379). Their names do not say so. Two counters of different hardware drift apart
within a few ticks while one core is at work; those of one register keep their difference to the
microjoule.
"""

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Protocol, TypeAlias

from greenbatch.runners.metering.meter import Clock, Domain
from greenbatch.units import MICROJOULE_J

_TICKS = 40  # that are compared, where time allows
_FEWEST_TICKS = 8
_LIMIT_S, _LONGEST_S = 0.15, 1.0
_SHARE = 0.75  # of the comparisons have the same difference: a tick may fall between two reads


class _Readable(Protocol):
    """A counter of joules."""

    def read_j(self) -> float:
        """Return its value, in J."""


_Watched: TypeAlias = tuple[Domain, _Readable]


def mirrored(
    parts: Sequence[_Watched], ticks_s: Mapping[str, float], clock: Clock
) -> dict[str, str]:
    """Find counters of one part of the machine that move alike, while this process works.

    Args:
        parts: The domains that count, with their counters.
        ticks_s: How often each counter is updated, in s.
        clock: Returns the time in s.

    Returns:
        For each domain that shows what another one before it shows, the name of that one.
    """
    found: dict[str, str] = {}
    for kind in dict.fromkeys(domain.part for domain, _ in parts):
        group = [part for part in parts if part[0].part == kind and part[0].name in ticks_s]
        for first, second in _alike(group, ticks_s, clock) if len(group) > 1 else ():
            if first not in found:
                found.setdefault(second, first)
    return found


def _alike(
    group: Sequence[_Watched], ticks_s: Mapping[str, float], clock: Clock
) -> list[tuple[str, str]]:
    """Return the pairs whose difference stays the same; the reads themselves are the load."""
    names = [domain.name for domain, _ in group]
    ranges_uj = {domain.name: round((domain.range_j or 0.0) / MICROJOULE_J) for domain, _ in group}
    pairs = list(combinations(names, 2))
    gaps: dict[tuple[str, str], Tally[int]] = {pair: Tally() for pair in pairs}
    ticks: dict[str, set[int]] = {name: set() for name in names}
    slowest_s = max(ticks_s[name] for name in names)
    end_s = clock() + min(max(_LIMIT_S, 2 * _FEWEST_TICKS * slowest_s), _LONGEST_S)
    while clock() < end_s and min(map(len, ticks.values())) < _TICKS:
        try:
            once, again = (
                {domain.name: round(c.read_j() / MICROJOULE_J) for domain, c in group}
                for _ in range(2)
            )
        except (OSError, ValueError):
            continue
        for name in names:
            ticks[name].add(once[name])
        for pair in pairs:
            one, other = pair
            if once[one] == again[one] and once[other] == again[other]:
                gap_uj = once[other] - once[one]
                gaps[pair][gap_uj % ranges_uj[one] if ranges_uj[one] else gap_uj] += 1
    return [
        pair
        for pair in pairs
        if min(len(ticks[name]) for name in pair) >= _FEWEST_TICKS
        and max(gaps[pair].values(), default=0) >= _SHARE * max(gaps[pair].total(), 1)
    ]
