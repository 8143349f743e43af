"""Threads that spin while others hold their cores: a batch then takes many times as long.

A thread that waits for the others of its batch in a loop does not free its core. Where others run
on that core, the thread that is waited for is not scheduled meanwhile.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from greenbatch import units
from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.fairness import switched_off
from greenbatch.records import Cell, Repetition, Status

_SLOWER, _SLOWER_THAN_OTHERS = 3.0, 10.0
"""Two processes on one core share it half and half, and runtimes differ by some factor: more than
that is not the load of others alone."""
_CURES = {"torch": "set OMP_WAIT_POLICY=passive", "onnxruntime": "add --set {}.allow_spinning=0"}


def spinning_caveats(repetitions: Iterable[Repetition]) -> Iterator[Caveat]:
    """Name the backends whose disturbed repetitions were slowed down as only spinning explains.

    Args:
        repetitions: Of a run. A disturbed one with several threads that spin counts where its
            median latency is more than three times that of the cell's fastest repetition, or ten
            times that of the fastest backend.
    """
    ok = [each for each in repetitions if each.status is Status.OK and each.latency_s]
    own_s: dict[Cell, float] = {}
    least_s: dict[Cell, float] = {}
    for each in ok:
        for found_s, cell in ((own_s, each.cell), (least_s, _alike(each.cell))):
            found_s[cell] = min(each.latency_s["0.5"], found_s.get(cell, math.inf))
    slowed: dict[str, list[float]] = defaultdict(list)
    for each in filter(_may_spin, ok):
        median_s, any_s = each.latency_s["0.5"], least_s[_alike(each.cell)]
        if median_s > min(_SLOWER * own_s[each.cell], _SLOWER_THAN_OTHERS * any_s):
            slowed[each.cell.backend].append(median_s / any_s)
    for backend, factors in slowed.items():
        runtime = backend.rpartition("-")[0].partition("-")[0]
        cure = _CURES.get(runtime, "switch its spinning off").format(backend)
        count = units.count(len(factors), "disturbed repetition")
        yield Caveat(
            "spinning",
            Severity.CAUTION,
            f"{count} of {backend} took up to {max(factors):.0f} times as long a batch as the "
            f"fastest repetition: its threads spin while others hold their cores; {cure}, or leave "
            "a core free with --threads.",
        )


def _alike(cell: Cell) -> Cell:
    """Return what cells of other backends have in common."""
    return replace(cell, backend="any", settings=())


def _may_spin(repetition: Repetition) -> bool:
    threads, spinning = (repetition.settings.get(name) for name in ("threads", "spinning"))
    several = isinstance(threads, int) and threads > 1
    spins = spinning is not None and not switched_off(spinning)
    return "disturbed" in repetition.flags and several and spins
