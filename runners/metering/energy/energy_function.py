"""Energy between two instants, from counter ticks or from power samples.

A counter is exact only at the instant it ticks, and a reader sees a tick only some time after
it happened. Both limits are carried into the uncertainty, which is the half-width of a band for
the error *in time*; the calibration of the sensor itself is not in it.
"""

import math
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from greenbatch.runners.metering.energy.sensor_doubt import sensor_doubt_j
from greenbatch.runners.metering.sensors import Sensor

FloatArray: TypeAlias = NDArray[np.float64]

_NEIGHBOURS = 17
_FEWEST_NEIGHBOURS = 5
_FINEST_S = 1e-6
_SLACK = 1.25  # a line found by least squares may graze brackets that a better one passes
_LONGEST_PERIODS = 1.5  # periods of real counters vary
_MUCH = 3
_REACH_PERIODS = 30
_REACH_LEAST_S = 0.5
_WIDEST_SCALE = 2  # further apart, power samples and counter tell different things
_MISSED_PERIODS = 2  # a counter that is seen to stand for longer has missed a tick
_NEAR = 3
_STUCK_PERIODS = 10
_STUCK_LEAST_S = 0.5


def stuck_s(tick_s: float) -> float:
    """Return how long a counter may be seen to stand still before it counts as stuck, in s."""
    return max(_STUCK_LEAST_S, _STUCK_PERIODS * tick_s)


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


class PowerFunction:
    """P(t) from power samples, linear between them.

    Args:
        t_s: Instants of the samples, strictly increasing, shape (n,).
        power_w: Power at each, shape (n,).
        lag_s: How old a sample may be when it is read.
        resolution_w: Step of the values.
        sensor: What made them, in the place of ``lag_s``; their instants are then moved back by its
            age.

    Raises:
        ValueError: The shapes differ or the order is broken.
    """

    def __init__(
        self,
        t_s: FloatArray,
        power_w: FloatArray,
        lag_s: float = 0.0,
        resolution_w: float = 0.0,
        sensor: Sensor | None = None,
    ) -> None:
        self.t_s = np.asarray(t_s, dtype=np.float64)
        self.power_w = np.asarray(power_w, dtype=np.float64)
        self.lag_s, self.resolution_w, self.sensor = lag_s, resolution_w, sensor
        if self.t_s.shape != self.power_w.shape:
            raise ValueError("power samples need as many values as instants")
        if np.any(np.diff(self.t_s) <= 0):
            raise ValueError("the instants of power samples must increase")

    def energy_j(self, t_s: FloatArray) -> FloatArray:
        """Return the integral from the first sample to each instant; flat outside the samples."""
        if len(self.t_s) < 2:
            return np.zeros_like(t_s)
        t_s = np.clip(t_s, self.t_s[0], self.t_s[-1])
        step_s = np.diff(self.t_s)
        slope_w = np.diff(self.power_w)
        whole_j = np.cumsum((self.power_w[1:] - slope_w / 2) * step_s)
        here = np.clip(np.searchsorted(self.t_s, t_s, side="right") - 1, 0, len(step_s) - 1)
        part = (t_s - self.t_s[here]) / step_s[here]
        begun_j = np.concatenate(([0.0], whole_j))[here]
        return begun_j + part * step_s[here] * (self.power_w[here] + part * slope_w[here] / 2)

    def between(self, t0_s: float, t1_s: float) -> Stretch | Refusal:
        """Integrate from exactly ``t0_s`` to ``t1_s``: trapezoid weighted by time.

        The uncertainty is ``sum(|dp| dt / 2) + lag (p_max - p_min) + resolution (t1 - t0) / 2``.
        First, power between two samples is taken to lie between their values (at the two ends,
        where a trapezoid is cut, ``|dp| dt`` then bounds the error). Second, samples that are
        ``lag`` old shift the curve in time, which moves the integral by at most ``lag`` times
        the difference of power at the ends; where the sensor is known, `sensor_doubt_j` is in the
        place of this. Third, the step of the values.

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
        doubt_j = error_j.sum() + self.resolution_w * (t1_s - t0_s) / 2
        if self.sensor:
            doubt_j += sensor_doubt_j(self.sensor, self.t_s, self.power_w, t0_s, t1_s)
        else:
            doubt_j += self.lag_s * (power_w.max() - power_w.min())
        return Stretch(energy_j, float(doubt_j))

    def longest_gap_s(self, t0_s: float, t1_s: float) -> float:
        """Return the longest time without a sample in a stretch; inf where they do not cover it."""
        if not len(self.t_s) or t0_s < self.t_s[0] or t1_s > self.t_s[-1]:
            return math.inf
        inside = (self.t_s > t0_s) & (self.t_s < t1_s)
        return float(np.diff([t0_s, *self.t_s[inside], t1_s]).max())

    def power_max_w(self, t0_s: float, t1_s: float) -> float | None:
        """Return the highest sample from ``t0_s`` to ``t1_s``, in W; ``None`` without any."""
        inside = self.power_w[(self.t_s >= t0_s) & (self.t_s <= t1_s)]
        return float(inside.max()) if len(inside) else None


class EnergyFunction:
    """E(t) of a counter: the joules at each tick, and between ticks as the power samples run.

    Args:
        t_s: Instants of the ticks, strictly increasing, shape (n,).
        joules: Cumulative energy at each, never falling, shape (n,).
        bracket_s: Half-width of the stretch of time in which each tick happened, shape (n,).
        tick_s: Update period of the counter, where it is known; two ticks that seem closer were
            seen late, and do not mean a higher power.
        stood_s: How long each tick's value was read again and again, up to the next tick,
            shape (n,): a counter that misses ticks may have lost what flowed.
        shape: Power samples of the same device, which tell how a tick's joules lie inside it;
            without them they lie evenly.

    Raises:
        ValueError: The shapes differ or the order is broken.
    """

    def __init__(
        self,
        t_s: FloatArray,
        joules: FloatArray,
        bracket_s: FloatArray | None = None,
        tick_s: float = 0.0,
        stood_s: FloatArray | None = None,
        shape: PowerFunction | None = None,
    ) -> None:
        self.t_s = np.asarray(t_s, dtype=np.float64)
        self.joules = np.asarray(joules, dtype=np.float64)
        self.bracket_s = np.zeros_like(self.t_s) if bracket_s is None else np.asarray(bracket_s)
        self.stood_s = np.zeros_like(self.t_s) if stood_s is None else np.asarray(stood_s)
        self.tick_s = tick_s
        self._shape = shape
        columns = (self.t_s, self.joules, self.bracket_s, self.stood_s)
        if len({column.shape for column in columns}) != 1:
            raise ValueError("ticks need as many joules, brackets and standstills as instants")
        if np.any(np.diff(self.t_s) <= 0):
            raise ValueError("the instants of ticks must increase")
        if np.any(np.diff(self.joules) < 0):
            raise ValueError("the joules of ticks must not fall")

    @classmethod
    def from_reads(
        cls,
        before_s: FloatArray,
        after_s: FloatArray,
        energy_j: FloatArray,
        tick_s: float,
        shape: PowerFunction | None = None,
        ends_s: tuple[float, ...] = (),
    ) -> Self:
        """Find the ticks in a series of reads.

        A tick lies between the last read with the old value and the first with the new one, and
        no earlier than about one period before the latter: else the counter had ticked again.
        Its instant is taken in the middle of that bracket, or where `even_instants` puts it; the
        uncertainty always spans the whole bracket, with room for a period half as long again.

        Args:
            before_s, after_s: When each read began and ended, in s, shape (n,).
            energy_j: The value read, never falling, shape (n,).
            tick_s: Update period of the counter.
            shape: See the class.
            ends_s: The instants that will be asked for; only near these are the ticks' own
                instants made as sharp as can be, as a day has a million of them.
        """
        changed = np.flatnonzero(np.diff(energy_j) > 0) + 1
        latest_s, old_s = after_s[changed], before_s[changed - 1]
        earliest_s = np.maximum(old_s, before_s[changed] - tick_s)
        t_s = (earliest_s + latest_s) / 2
        for end_s in ends_s:
            reach_s = max(_REACH_LEAST_S, _REACH_PERIODS * tick_s)
            near = slice(*np.searchsorted(t_s, [end_s - reach_s, end_s + reach_s]))
            t_s[near] = even_instants(t_s[near], (latest_s[near] - earliest_s[near]) / 2)
        first_s = np.maximum(old_s, before_s[changed] - _LONGEST_PERIODS * tick_s)
        bracket_s = np.maximum(latest_s - t_s, t_s - first_s)
        until = np.append(changed, len(energy_j))[1:] - 1
        stood_s = np.maximum(before_s[until] - latest_s, 0.0)
        return cls(t_s, energy_j[changed], bracket_s, tick_s, stood_s, shape)

    def between(self, t0_s: float, t1_s: float) -> Stretch | Refusal:
        """Interpolate the energy from ``t0_s`` to ``t1_s``.

        The uncertainty is the sum over both ends of ``power x (distance + bracket)``: what flows
        between the end and the tick next to it, and in the time by which that tick's own instant
        is unknown; at the most ``step / 2 + power x bracket``, half a tick of energy. ``step`` and
        ``power`` are the largest of the tick that holds the end and its two neighbours, as load
        may have changed inside it. Where the counter stood still for longer than its period,
        what may have flowed unseen is added.

        Returns:
            The energy, or a refusal where ticks do not cover the window on both sides, or the
            counter stood still for long.

        Raises:
            ValueError: The window ends before it starts.
        """
        if refusal := self._stuck(t0_s, t1_s) or _uncovered(self.t_s, t0_s, t1_s, "ticks"):
            return refusal
        energy_j = self._at(t1_s) - self._at(t0_s)
        doubt_j = self._doubt_j(t0_s) + self._doubt_j(t1_s) + self._lost_j(t0_s, t1_s)
        return Stretch(energy_j, doubt_j)

    def _at(self, instant_s: float) -> float:
        """Return E at an instant inside the ticks.

        Without power samples it lies on the line between the two ticks. With them, the tick's
        energy lies in it as the samples run; where one of the two ticks was seen much later than
        the other, or the samples on its side are much further apart, E is reached from the other
        tick alone, by the energy that flowed between.
        """
        here = self._tick_before(instant_s)
        first_s, last_s = self.t_s[here : here + 2]
        first_j, last_j = self.joules[here : here + 2]
        evenly_j = float(np.interp(instant_s, self.t_s, self.joules))
        if self._shape is None:
            return evenly_j
        flowed_j = np.diff(self._shape.energy_j(np.array([first_s, instant_s, last_s])))
        before_s = self.bracket_s[here] + self._shape.longest_gap_s(first_s, instant_s)
        after_s = self.bracket_s[here + 1] + self._shape.longest_gap_s(instant_s, last_s)
        if not math.isfinite(before_s + after_s) or not flowed_j.sum():
            return evenly_j
        if after_s > _MUCH * before_s:
            reached_j = first_j + self._scale(here) * flowed_j[0]
        elif before_s > _MUCH * after_s:
            reached_j = last_j - self._scale(here) * flowed_j[1]
        else:
            reached_j = first_j + (last_j - first_j) * flowed_j[0] / flowed_j.sum()
        return float(np.clip(reached_j, first_j, last_j))

    def _scale(self, here: int) -> float:
        """Return energy by the counter over energy by the samples, near a tick.

        Taken over the ticks that were seen sharply, with dense samples between; 1 without any, or
        where the two tell different things.
        """
        assert self._shape is not None
        counted_j = flowed_j = 0.0
        for tick in range(max(here - _NEAR, 0), min(here + _NEAR, len(self.t_s) - 1)):
            ends_s = self.t_s[tick : tick + 2]
            blur_s = self._shape.longest_gap_s(*ends_s) + self.bracket_s[tick : tick + 2].max()
            if blur_s * _MUCH < ends_s[1] - ends_s[0]:
                counted_j += self.joules[tick + 1] - self.joules[tick]
                flowed_j += np.ptp(self._shape.energy_j(ends_s))
        scale = counted_j / flowed_j if flowed_j else 1.0
        return float(scale) if 1 / _WIDEST_SCALE < scale < _WIDEST_SCALE else 1.0

    def _tick_before(self, instant_s: float) -> int:
        """Return the index of the last tick that is no later, and has one after it."""
        here = int(np.searchsorted(self.t_s, instant_s, side="right")) - 1
        return min(max(here, 0), len(self.t_s) - 2)

    def _doubt_j(self, instant_s: float) -> float:
        here = self._tick_before(instant_s)
        near = slice(max(here - 1, 0), here + 3)
        step_j = np.diff(self.joules[near])
        power_w = float((step_j / np.maximum(np.diff(self.t_s[near]), self.tick_s)).max())
        bracket_s = self.bracket_s[here : here + 2]
        away_s = np.abs(self.t_s[here : here + 2] - instant_s)
        half_j = step_j.max() / 2 + power_w * bracket_s.max()
        return float(min(half_j, power_w * (away_s + bracket_s).min()))

    def _stuck(self, t0_s: float, t1_s: float) -> Refusal | None:
        """Refuse a window in which the counter was read and stood still for many periods."""
        if not len(self.t_s):
            return None
        until_s = np.append(self.t_s[1:], self.t_s[-1] + self.stood_s[-1])
        touched = (self.t_s <= t1_s) & (until_s >= t0_s)
        longest_s = float(self.stood_s[touched].max(initial=0.0))
        if longest_s <= stuck_s(self.tick_s):
            return None
        return Refusal(
            f"the counter stood still for {longest_s:.2f} s, though it ticks every "
            f"{self.tick_s * 1e3:.3g} ms"
        )

    def _lost_j(self, t0_s: float, t1_s: float) -> float:
        """Return what may have flowed while ticks were missing: neighbours' power, less the step.

        A counter that catches up afterwards has lost nothing, and adds next to nothing here.
        """
        gap_s = np.diff(self.t_s)
        missed = (
            (self.stood_s[:-1] > _MISSED_PERIODS * self.tick_s)
            & (self.t_s[1:] >= t0_s)
            & (self.t_s[:-1] <= t1_s)
        )
        if not self.tick_s or not missed.any():
            return 0.0
        step_j = np.diff(self.joules)
        power_w = step_j / np.maximum(gap_s, self.tick_s)
        longest_s = gap_s + self.bracket_s[1:] + self.bracket_s[:-1] + self.tick_s
        lost_j = 0.0
        for gap in np.flatnonzero(missed):
            near_w = power_w[max(gap - _NEAR, 0) : gap + _NEAR + 1].max()
            lost_j += max(near_w * longest_s[gap] - step_j[gap], 0.0)
        return float(lost_j)

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
