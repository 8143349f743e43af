"""Power as a line through points: every shape that simulated hardware draws, with its integral."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

_EDGE_S = 1e-6  # a square wave's steps take this long


class PiecewisePower:
    """Power that runs linearly between points.

    Args:
        t_s: Instants, increasing, shape (n,).
        power_w: Power at each, shape (n,).
    """

    def __init__(self, t_s: NDArray[np.float64], power_w: NDArray[np.float64]) -> None:
        self.t_s, self._power_w = t_s, power_w
        steps_j = np.diff(t_s) * (power_w[1:] + power_w[:-1]) / 2
        self._energy_j = np.concatenate(([0.0], np.cumsum(steps_j)))

    @classmethod
    def constant(cls, power_w: float, length_s: float) -> Self:
        """Draw the same all the time."""
        return cls(np.array([0.0, length_s]), np.array([power_w, power_w]))

    @classmethod
    def square(cls, low_w: float, high_w: float, period_s: float, length_s: float) -> Self:
        """Draw ``low_w`` and ``high_w`` for half a period each."""
        steps_s = np.arange(period_s / 2, length_s, period_s / 2)
        levels_w = np.where(np.arange(len(steps_s) + 1) % 2, high_w, low_w)
        edges_s = np.stack([steps_s, steps_s + _EDGE_S], axis=1).ravel()
        return cls(np.concatenate(([0.0], edges_s, [length_s])), np.repeat(levels_w, 2))

    @classmethod
    def ramp(cls, low_w: float, high_w: float, length_s: float) -> Self:
        """Rise evenly from ``low_w`` to ``high_w``."""
        return cls(np.array([0.0, length_s]), np.array([low_w, high_w]))

    @classmethod
    def walk(cls, low_w: float, high_w: float, step_s: float, length_s: float, seed: int) -> Self:
        """Walk at random between two bounds, a new direction every ``step_s``."""
        t_s = np.arange(0.0, length_s + step_s, step_s)
        steps = np.random.default_rng(seed).normal(0.0, 0.2, len(t_s)).cumsum() % 2.0
        return cls(t_s, low_w + (high_w - low_w) * np.abs(steps - 1.0))

    def power_w(self, t_s: float) -> float:
        """Return the power at an instant."""
        return float(np.interp(t_s, self.t_s, self._power_w))

    def energy_j(self, t0_s: float, t1_s: float) -> float:
        """Return the exact energy from ``t0_s`` to ``t1_s``."""
        return self._since_start_j(t1_s) - self._since_start_j(t0_s)

    def _since_start_j(self, t_s: float) -> float:
        here = int(np.clip(np.searchsorted(self.t_s, t_s, side="right") - 1, 0, len(self.t_s) - 2))
        mean_w = (self._power_w[here] + self.power_w(t_s)) / 2
        return float(self._energy_j[here] + (t_s - self.t_s[here]) * mean_w)
