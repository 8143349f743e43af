"""How carefully a cell is measured: the numbers behind ``--profile``."""

from dataclasses import dataclass, replace
from typing import Self

_IN_SESSION = 0.25
"""Of the shortest warm-up, for a network that ran another batch size just before: the start of the
process, which that time is meant for, is over. ``benchmarks/shared_sessions.py`` compares such
cells with isolated ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementProtocol:
    """The rules of one repetition.

    Attributes:
        window_s: Shortest window, in s; a slow meter lengthens it.
        window_ticks: Shortest window, in update periods of the slowest meter in use.
        window_iterations: Fewest iterations in a window.
        warm_up_iterations: Fewest warm-up iterations after the first inference.
        warm_up_min_s: Shortest warm-up, in s: a drift is only seen over a time in which it shows.
        warm_up_max_s: When a cell that will not settle is measured all the same (and flagged).
        steady_tolerance: Largest relative difference between the medians of successive stretches
            of latencies that still counts as stationary.
        idle_s: Length of each idle measurement.
        rest_min_s, rest_max_s: Bounds of the rest between cells.
        rest_band_c: The device is rested when it is at most this much warmer than at the start.
        timeout_s: A repetition that takes longer is stopped.
        repeat_disturbed: How often at most a disturbed repetition is measured again at the end of
            its block.
    """

    window_s: float
    window_ticks: int
    window_iterations: int
    warm_up_iterations: int
    warm_up_min_s: float
    warm_up_max_s: float
    steady_tolerance: float
    idle_s: float
    rest_min_s: float
    rest_max_s: float
    rest_band_c: float
    timeout_s: float
    repeat_disturbed: int

    def window_for(self, period_s: float | None) -> float:
        """Return the window length, in s, for a slowest meter with this period (None: no meter)."""
        return max(self.window_s, self.window_ticks * (period_s or 0.0))

    def in_session(self) -> Self:
        """Return the rules for a network that ran another batch size just before."""
        return replace(self, warm_up_min_s=_IN_SESSION * self.warm_up_min_s)


WAIT_QUIET_S = {"quick": 0.0, "standard": 60.0, "rigorous": 300.0}
"""By profile: how long a quiet machine is waited for before the first cell, in s."""

PROFILES = {
    "quick": MeasurementProtocol(
        window_s=0.5,
        window_ticks=5,
        window_iterations=2,
        warm_up_iterations=1,
        warm_up_min_s=0.2,
        warm_up_max_s=3.0,
        steady_tolerance=0.10,
        idle_s=0.5,
        rest_min_s=0.1,
        rest_max_s=10.0,
        rest_band_c=5.0,
        timeout_s=300.0,
        repeat_disturbed=0,
    ),
    "standard": MeasurementProtocol(
        window_s=2.0,
        window_ticks=20,
        window_iterations=5,
        warm_up_iterations=3,
        warm_up_min_s=2.0,
        warm_up_max_s=20.0,
        steady_tolerance=0.05,
        idle_s=2.0,
        rest_min_s=1.0,
        rest_max_s=60.0,
        rest_band_c=3.0,
        timeout_s=900.0,
        repeat_disturbed=1,
    ),
    "rigorous": MeasurementProtocol(
        window_s=10.0,
        window_ticks=100,
        window_iterations=10,
        warm_up_iterations=10,
        warm_up_min_s=5.0,
        warm_up_max_s=60.0,
        steady_tolerance=0.03,
        idle_s=10.0,
        rest_min_s=5.0,
        rest_max_s=300.0,
        rest_band_c=2.0,
        timeout_s=3600.0,
        repeat_disturbed=1,
    ),
}
