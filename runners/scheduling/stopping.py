"""When a cell has been repeated often enough: a fixed number, or until its interval is narrow.

The sequential rule is that of Chow and Robbins (On the asymptotic theory of fixed-width sequential
confidence intervals for the mean, Annals of Mathematical Statistics 36, 1965) on logarithms, where
a width is a relative one: after each repetition, from a smallest number on, stop when Student's
interval of the mean is within the target. A series that happens to begin alike stops too early;
how often, and what the smallest number does about it, ``benchmarks/protocol_rules.py`` prints.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from greenbatch.confidence import student_quantile
from greenbatch.records import Repetition, Status, total_energy
from greenbatch.records.repetition import Stop


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """How often a cell is measured.

    Attributes:
        fewest, most: Bounds of the number of repetitions.
        target: Largest relative half-width of the interval, 0.02 for ± 2 %; ``None``: measure
            ``most``, whatever the interval.
    """

    fewest: int
    most: int
    target: float | None = None

    def judge(self, repetitions: Sequence[Repetition]) -> Stop | None:
        """Say why a cell is not measured again; ``None``: it is.

        Args:
            repetitions: All of the cell, one for each block: superseded ones are left out.
        """
        count = len(repetitions)
        if self.target is None:
            return Stop(why="fixed") if count >= self.most else None
        if count < self.fewest:
            return None
        if not any(repetition.status is Status.OK for repetition in repetitions):
            return Stop(why="failed")
        quantity, values = observed(repetitions)
        half = half_width(values)
        if half is not None and half <= self.target and len(values) >= self.fewest:
            return Stop(why="target", quantity=quantity, half_width=half)
        if count >= self.most:
            return Stop(why="maximum", quantity=quantity, half_width=half)
        return None


def observed(
    repetitions: Sequence[Repetition],
) -> tuple[Literal["energy", "time"], list[float]]:
    """Return what the rule looks at, in J or s, one value for each repetition that has it.

    Gross energy per image over the domains that count; where no repetition of the cell has it, time
    per image, of a server the mean response time.
    """
    measured = [repetition for repetition in repetitions if repetition.status is Status.OK]
    energies = [energy for each in measured if (energy := energy_per_image_j(each)) is not None]
    if energies:
        return "energy", energies
    return "time", [time for each in measured if (time := time_per_image_s(each)) is not None]


def half_width(values: Sequence[float]) -> float | None:
    """Return the relative half-width of the 95 % interval of the geometric mean.

    Student's t on logarithms. The upper side is the wider one and is returned.

    Returns:
        ``None`` of fewer than two values.
    """
    if len(values) < 2:
        return None
    logarithms = [math.log(value) for value in values]
    centre = fmean(logarithms)
    error = stdev(logarithms, centre) / math.sqrt(len(values))
    return math.expm1(student_quantile(len(values) - 1) * error)


def energy_per_image_j(repetition: Repetition) -> float | None:
    """Return the gross energy per image over the domains that count, in J."""
    energy_j = total_energy(repetition.energy).energy_j
    return energy_j / repetition.images if energy_j and repetition.images else None


def time_per_image_s(repetition: Repetition) -> float | None:
    """Return the time per image of a window, of a server the mean response time, in s."""
    if repetition.queue:
        return repetition.queue.response_mean_s or None
    if not repetition.images or not repetition.duration_s:
        return None
    return repetition.duration_s / repetition.images
