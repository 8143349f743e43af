"""A known power over time: what simulated hardware draws, and the truth that tests compare to."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PowerCurve:
    """Constant ``low_w``; or, with a period, ``low_w`` and ``high_w`` for half a period each.

    Times are of ``CLOCK_MONOTONIC`` (`time.perf_counter` on Linux); a period starts at 0.
    """

    low_w: float
    high_w: float = 0.0
    period_s: float = 0.0

    def energy_j(self, t0_s: float, t1_s: float) -> float:
        """Return the energy from ``t0_s`` to ``t1_s``."""
        return self._since_origin_j(t1_s) - self._since_origin_j(t0_s)

    def _since_origin_j(self, t_s: float) -> float:
        if not self.period_s:
            return self.low_w * t_s
        whole = math.floor(t_s / self.period_s)
        rest_s, half_s = t_s - whole * self.period_s, self.period_s / 2
        low_s = whole * half_s + min(rest_s, half_s)
        high_s = whole * half_s + max(rest_s - half_s, 0.0)
        return self.low_w * low_s + self.high_w * high_s
