"""Energy between two instants, from counter ticks or from power samples.

A counter is exact only at the instant it ticks, and a reader sees a tick only some time after
it happened. Both limits are carried into the uncertainty, which is the half-width of a band for
the error *in time*; the calibration of the sensor itself is not in it.
"""

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

_NEIGHBOURS = 17
_FEWEST_NEIGHBOURS = 5
_FINEST_S = 1e-6
_SLACK = 1.25  # a line found by least squares may graze brackets that a better one passes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Energy between two instants, and the half-width of the band that holds the truth; in J."""

    energy_j: float
    uncertainty_j: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no energy for a window; one sentence."""

    reason: str


def _uncovered(t_s: FloatArray, t0_s: float, t1_s: float, what: str) -> Refusal | None:
    if t1_s < t0_s:
        raise ValueError(f"a window ends at {t1_s} s before it starts at {t0_s} s")
    if len(t_s) < 2:
        return Refusal(f"only {len(t_s)} {what} seen, two are needed to cover a window")
    if t0_s < t_s[0]:
        return Refusal(f"the window starts {t_s[0] - t0_s:.3f} s before the first of the {what}")
    if t1_s > t_s[-1]:
        return Refusal(f"the window ends {t1_s - t_s[-1]:.3f} s after the last of the {what}")
    return None


def even_instants(middle_s: FloatArray, bracket_s: FloatArray) -> FloatArray:
    """Move instants to where an even train of ticks has them, if there is such a train.

    A counter that ticks evenly is seen late by a different delay each time. A line through
    seventeen neighbours (least squares, weighted by the brackets) averages the delays out. It is
    trusted for a tick only where it passes through the brackets of all of them; else the tick
    keeps its middle.

    Args:
        middle_s: Middle of each tick's bracket, increasing, shape (n,).
        bracket_s: Half-width of each bracket, shape (n,).

    Returns:
        An instant inside each bracket, increasing, shape (n,).
    """
    n = len(middle_s)
    width = min(_NEIGHBOURS, n)
    if width < _FEWEST_NEIGHBOURS:
        return middle_s
    place = np.arange(width) - (width - 1) / 2
    middles_s = np.lib.stride_tricks.sliding_window_view(middle_s, width)
    reach_s = np.lib.stride_tricks.sliding_window_view(bracket_s, width)
    weight = 1 / np.maximum(reach_s, _FINEST_S) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    centre = weight @ place
    centre_s = (weight * middles_s).sum(axis=1)
    lever = place - centre[:, None]
    period_s = (weight * lever * (middles_s - centre_s[:, None])).sum(axis=1)
    period_s /= (weight * lever**2).sum(axis=1)
    distance_s = np.abs(middles_s - centre_s[:, None] - period_s[:, None] * lever)
    even = (distance_s <= _SLACK * reach_s).all(axis=1)
    tick = np.arange(n)
    window = np.clip(tick - width // 2, 0, n - width)
    fitted_s = centre_s[window] + period_s[window] * lever[window, tick - window]
    held_s = np.clip(fitted_s, middle_s - bracket_s, middle_s + bracket_s)
    instants_s = np.where(even[window], held_s, middle_s)
    return instants_s if np.all(np.diff(instants_s) > 0) else middle_s


class EnergyFunction:
    """E(t) of a counter: the joules at each tick, linear between ticks.

    Args:
        t_s: Instants of the ticks, strictly increasing, shape (n,).
        joules: Cumulative energy at each, never falling, shape (n,).
        bracket_s: Half-width of the stretch of time in which each tick happened, shape (n,).
        tick_s: Least time between two ticks of the counter, where it is known; two ticks that
            seem closer were seen late, and do not mean a higher power.

    Raises:
        ValueError: The shapes differ or the order is broken.
    """

    def __init__(
        self,
        t_s: FloatArray,
        joules: FloatArray,
        bracket_s: FloatArray | None = None,
        tick_s: float = 0.0,
    ) -> None:
        self.t_s = np.asarray(t_s, dtype=np.float64)
        self.joules = np.asarray(joules, dtype=np.float64)
        self.bracket_s = np.zeros_like(self.t_s) if bracket_s is None else np.asarray(bracket_s)
        self.tick_s = tick_s
        if not self.t_s.shape == self.joules.shape == self.bracket_s.shape:
            raise ValueError("ticks need as many joules and brackets as instants")
        if np.any(np.diff(self.t_s) <= 0):
            raise ValueError("the instants of ticks must increase")
        if np.any(np.diff(self.joules) < 0):
            raise ValueError("the joules of ticks must not fall")

    @classmethod
    def from_reads(
        cls, before_s: FloatArray, after_s: FloatArray, energy_j: FloatArray, tick_s: float
    ) -> Self:
        """Find the ticks in a series of reads.

        A tick lies between the last read with the old value and the first with the new one, and
        no earlier than one period before the latter: else the counter had ticked again. Its
        instant is taken in the middle of that bracket, or where `even_instants` puts it; the
        uncertainty always spans the whole bracket.

        Args:
            before_s, after_s: When each read began and ended, in s, shape (n,).
            energy_j: The value read, never falling, shape (n,).
            tick_s: Update period of the counter.
        """
        changed = np.flatnonzero(np.diff(energy_j) > 0) + 1
        latest_s = after_s[changed]
        earliest_s = np.maximum(before_s[changed - 1], before_s[changed] - tick_s)
        t_s = even_instants((earliest_s + latest_s) / 2, (latest_s - earliest_s) / 2)
        bracket_s = np.maximum(latest_s - t_s, t_s - earliest_s)
        return cls(t_s, energy_j[changed], bracket_s, tick_s=tick_s)

    def between(self, t0_s: float, t1_s: float) -> Stretch | Refusal:
        """Interpolate the energy from ``t0_s`` to ``t1_s``.

        The uncertainty is the sum over both ends of ``step / 2 + power x bracket``: half a tick
        of energy, for where inside a tick the energy went, and what flows in the time by which
        the tick's own instant is unknown. ``step`` and ``power`` are the largest of the tick
        that holds the end and its two neighbours, as load may have changed inside it.

        Returns:
            The energy, or a refusal where ticks do not cover the window on both sides.

        Raises:
            ValueError: The window ends before it starts.
        """
        if refusal := _uncovered(self.t_s, t0_s, t1_s, "ticks"):
            return refusal
        start_j, end_j = np.interp([t0_s, t1_s], self.t_s, self.joules)
        return Stretch(float(end_j - start_j), self._doubt_j(t0_s) + self._doubt_j(t1_s))

    def _doubt_j(self, instant_s: float) -> float:
        last = len(self.t_s) - 2
        here = min(max(int(np.searchsorted(self.t_s, instant_s, side="right")) - 1, 0), last)
        near = slice(max(here - 1, 0), min(here + 2, last + 1) + 1)
        step_j = np.diff(self.joules[near])
        power_w = step_j / np.maximum(np.diff(self.t_s[near]), self.tick_s)
        bracket_s = self.bracket_s[here : here + 2].max()
        return float(step_j.max() / 2 + power_w.max() * bracket_s)

    def power_max_w(self, t0_s: float, t1_s: float, span_s: float) -> float | None:
        """Return the highest mean power between two ticks at least ``span_s`` apart, in W.

        ``span_s`` keeps the jitter of single ticks out; ``None`` where the window from ``t0_s``
        to ``t1_s`` holds no such pair.
        """
        inside = (self.t_s >= t0_s) & (self.t_s <= t1_s)
        t_s, joules = self.t_s[inside], self.joules[inside]
        later = np.searchsorted(t_s, t_s + span_s)
        first = np.flatnonzero(later < len(t_s))
        if not len(first):
            return None
        then = later[first]
        return float(((joules[then] - joules[first]) / (t_s[then] - t_s[first])).max())


class PowerFunction:
    """P(t) from power samples, linear between them.

    Args:
        t_s: Instants of the samples, strictly increasing, shape (n,).
        power_w: Power at each, shape (n,).
        lag_s: How old a sample may be when it is read.
        resolution_w: Step of the values.

    Raises:
        ValueError: The shapes differ or the order is broken.
    """

    def __init__(
        self, t_s: FloatArray, power_w: FloatArray, lag_s: float = 0.0, resolution_w: float = 0.0
    ) -> None:
        self.t_s = np.asarray(t_s, dtype=np.float64)
        self.power_w = np.asarray(power_w, dtype=np.float64)
        self.lag_s, self.resolution_w = lag_s, resolution_w
        if self.t_s.shape != self.power_w.shape:
            raise ValueError("power samples need as many values as instants")
        if np.any(np.diff(self.t_s) <= 0):
            raise ValueError("the instants of power samples must increase")

    def between(self, t0_s: float, t1_s: float) -> Stretch | Refusal:
        """Integrate from exactly ``t0_s`` to ``t1_s``: trapezoid weighted by time.

        The uncertainty is ``sum(|dp| dt / 2) + lag (p_max - p_min) + resolution (t1 - t0) / 2``.
        First, power between two samples is taken to lie between their values (at the two ends,
        where a trapezoid is cut, ``|dp| dt`` then bounds the error). Second, samples that are
        ``lag`` old shift the curve in time, which moves the integral by at most ``lag`` times
        the difference of power at the ends. Third, the step of the values.

        Returns:
            The energy, or a refusal where samples do not cover the window on both sides.

        Raises:
            ValueError: The window ends before it starts.
        """
        if refusal := _uncovered(self.t_s, t0_s, t1_s, "power samples"):
            return refusal
        inside = (self.t_s > t0_s) & (self.t_s < t1_s)
        t_s = np.concatenate(([t0_s], self.t_s[inside], [t1_s]))
        power_w = np.interp(t_s, self.t_s, self.power_w)
        step_s = np.diff(t_s)
        energy_j = float(np.sum((power_w[1:] + power_w[:-1]) / 2 * step_s))
        pair = np.clip(np.searchsorted(self.t_s, t_s[1:], side="left"), 1, len(self.t_s) - 1)
        error_j = np.abs(self.power_w[pair] - self.power_w[pair - 1]) * step_s
        error_j[1:-1] /= 2
        doubt_j = (
            error_j.sum()
            + self.lag_s * (power_w.max() - power_w.min())
            + self.resolution_w * (t1_s - t0_s) / 2
        )
        return Stretch(energy_j, float(doubt_j))

    def power_max_w(self, t0_s: float, t1_s: float) -> float | None:
        """Return the highest sample from ``t0_s`` to ``t1_s``, in W; ``None`` without any."""
        inside = self.power_w[(self.t_s >= t0_s) & (self.t_s <= t1_s)]
        return float(inside.max()) if len(inside) else None
