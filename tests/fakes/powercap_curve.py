"""A known power over time: what simulated hardware draws, and the truth that tests compare to."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["square", "ramp", "walk", "decay"]
_WALK_STEPS = 64
_WALK_REACH = 0.5  # of the whole range, the most by which power changes in a step, up or down


@dataclass(frozen=True)
class PowerCurve:
    """Constant ``low_w``; or, with a period, a shape between ``low_w`` and ``high_w``.

    ``square`` stays at either for half a period; ``ramp`` rises for half a period and falls for
    the other; ``walk`` goes straight between 64 values a period that are drawn from ``seed``;
    ``decay`` falls from ``high_w`` at the time ``seed``, to ``low_w``, by an e-fold a period.
    Times are of ``CLOCK_MONOTONIC`` (`time.perf_counter` on Linux); a period starts at 0.
    ``nvml.c`` holds the same curves.
    """

    low_w: float
    high_w: float = 0.0
    period_s: float = 0.0
    shape: Shape = "square"
    seed: float = 0

    def power_w(self, t_s: float) -> float:
        """Return the power at an instant."""
        if not self.period_s:
            return self.low_w
        if self.shape == "decay":
            since_s = max(t_s - self.seed, 0.0)
            return self.low_w + (self.high_w - self.low_w) * math.exp(-since_s / self.period_s)
        rest_s = math.fmod(t_s, self.period_s)
        if self.shape == "square":
            return self.low_w if rest_s < self.period_s / 2 else self.high_w
        knots = _knots_w(self)
        step_s = self.period_s / len(knots)
        k = min(int(rest_s / step_s), len(knots) - 1)
        part = rest_s / step_s - k
        return knots[k] + part * (knots[(k + 1) % len(knots)] - knots[k])

    def energy_j(self, t0_s: float, t1_s: float) -> float:
        """Return the energy from ``t0_s`` to ``t1_s``."""
        return self._since_origin_j(t1_s) - self._since_origin_j(t0_s)

    def _since_origin_j(self, t_s: float) -> float:
        if not self.period_s:
            return self.low_w * t_s
        if self.shape == "decay":
            since_s = max(t_s - self.seed, 0.0)
            fallen = 1 - math.exp(-since_s / self.period_s)
            excess_j = (self.high_w - self.low_w) * self.period_s * fallen
            return self.low_w * since_s + self.high_w * min(t_s, self.seed) + excess_j
        whole = math.floor(t_s / self.period_s)
        rest_s, half_s = t_s - whole * self.period_s, self.period_s / 2
        if self.shape == "square":
            low_s = whole * half_s + min(rest_s, half_s)
            high_s = whole * half_s + max(rest_s - half_s, 0.0)
            return self.low_w * low_s + self.high_w * high_s
        knots = _knots_w(self)
        step_s = self.period_s / len(knots)
        k = min(int(rest_s / step_s), len(knots) - 1)
        part = rest_s / step_s - k
        after = knots[(k + 1) % len(knots)]
        begun_w = knots[k] * part + (after - knots[k]) * part * part / 2
        passed_w = sum(knots[:k]) + (knots[k] - knots[0]) / 2
        return step_s * (whole * sum(knots) + passed_w + begun_w)


@cache
def _knots_w(curve: PowerCurve) -> tuple[float, ...]:
    """Return the values that a period goes straight between, evenly spaced; the last to the first.

    The walk is drawn by Knuth's MMIX generator and reflected at both limits.
    """
    if curve.shape == "ramp":
        return curve.low_w, curve.high_w
    state, power_w = int(curve.seed), (curve.low_w + curve.high_w) / 2
    span_w = curve.high_w - curve.low_w
    knots = []
    for _ in range(_WALK_STEPS):
        knots.append(power_w)
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        power_w += ((state >> 11) / 2**53 * 2 - 1) * _WALK_REACH * span_w
        if power_w > curve.high_w:
            power_w = 2 * curve.high_w - power_w
        if power_w < curve.low_w:
            power_w = 2 * curve.low_w - power_w
    return tuple(knots)
