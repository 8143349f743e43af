"""By how much a power sensor's way of looking may have missed the energy of a window."""

import numpy as np
from numpy.typing import NDArray

from greenbatch.runners.metering.sensors import Sensor

_Column = NDArray[np.float64]

_STEPS = 4  # a load that begins and ends, each seen in two readings
_AROUND_LEAST_S = 3.0
_STEADY_S = 2.0
_STEADY = 0.1


def sensor_doubt_j(
    sensor: Sensor, t_s: _Column, power_w: _Column, t0_s: float, t1_s: float
) -> float:
    """Return the half-width of the error in time and of what was not looked at, without the gain.

    Args:
        sensor: How the device measures.
        t_s: Instants of the readings, each moved back by `Sensor.age_s`, increasing, shape (n,).
        power_w: The readings, shape (n,).
        t0_s, t1_s: The window, inside the readings.
    """
    return _timing_j(sensor, t_s, power_w, t0_s, t1_s) + (
        _unseen_j(sensor, t_s, power_w, t0_s, t1_s) if sensor.unseen else 0.0
    )


def counter_doubt_j(
    sensor: Sensor, t_s: _Column, power_w: _Column, t0_s: float, t1_s: float
) -> float:
    """Return the same for a counter of the device, beside what its ticks leave open.

    Nothing states that a counter looks more often than the sensor beside it, nor sooner: it may be
    a period of the sensor late at both ends alike, and miss what the sensor misses.
    """
    reach_s = sensor.window_s / 2 + sensor.period_s
    near_w = [_near_w(t_s, power_w, end_s - reach_s, end_s + reach_s) for end_s in (t0_s, t1_s)]
    apart_w = max(near_w[1].max() - near_w[0].min(), near_w[0].max() - near_w[1].min())
    late_j = float(sensor.period_s * apart_w)
    return late_j + (_unseen_j(sensor, t_s, power_w, t0_s, t1_s) if sensor.unseen else 0.0)


def _timing_j(sensor: Sensor, t_s: _Column, power_w: _Column, t0_s: float, t1_s: float) -> float:
    """Return ``blur x (change around each end + difference of the ends)``.

    The first two: an instant that is wrong by ``blur`` adds or loses that much of a change next to
    it. The third: an age that is wrong moves the whole curve.
    """
    reach_s = sensor.window_s / 2 + sensor.period_s
    change_w = sum(
        np.ptp(_near_w(t_s, power_w, end_s - reach_s, end_s + reach_s)) for end_s in (t0_s, t1_s)
    )
    first_w, last_w = np.interp([t0_s, t1_s], t_s, power_w)
    return float(sensor.blur_s * (change_w + abs(last_w - first_w)))


def _near_w(t_s: _Column, power_w: _Column, from_s: float, to_s: float) -> _Column:
    """Return the readings in a stretch, and those at its ends."""
    inside = power_w[(t_s >= from_s) & (t_s <= to_s)]
    return np.append(inside, np.interp([from_s, to_s], t_s, power_w))


def _unseen_j(sensor: Sensor, t_s: _Column, power_w: _Column, t0_s: float, t1_s: float) -> float:
    """Return what a sensor may have missed that looks part of the time.

    Between two readings power is taken to lie between them, as the trapezoid rule does, in the time
    that was not looked at. But a load that alternates about as fast as the sensor looks is seen at
    another place of its period each time: readings wander slowly around its mean, and a window
    shorter than their wandering has another mean. Readings cannot tell that from a load which
    changes slowly. So the window's energy by the mean of a longer stretch around it is as likely as
    its own, and their difference is in doubt. Steps of the load are no wandering: the largest few
    changes in the stretch are left out. Nor does a load wander that is steady for 2 s: it would
    have to keep step with the sensor to a fraction of a percent.
    """
    around_s = max(_AROUND_LEAST_S, t1_s - t0_s)
    near = (t_s >= t0_s - around_s) & (t_s <= t1_s + around_s)
    near_s, near_w = t_s[near], power_w[near]
    if len(near_s) < 2:
        return 0.0
    changes_w = np.diff(near_w)
    inside = (near_s[1:] > t0_s) & (near_s[:-1] < t1_s)
    between_j = sensor.unseen * sensor.period_s / 2 * np.abs(changes_w[inside]).sum()
    without_steps_w = changes_w.copy()
    without_steps_w[np.argsort(np.abs(changes_w))[-_STEPS:]] = 0.0
    level_w = np.concatenate(([0.0], np.cumsum(without_steps_w)))
    wandering_j = min(_wandering_j(near_s, each_w, t0_s, t1_s) for each_w in (near_w, level_w))
    if (change_w := _steady_w(near_s, near_w, t0_s, t1_s)) is not None:
        wandering_j = min(wandering_j, sensor.unseen * change_w * (t1_s - t0_s))
    return float(between_j) + wandering_j


def _steady_w(t_s: _Column, power_w: _Column, t0_s: float, t1_s: float) -> float | None:
    """Return by how much readings change in a steady stretch around a window; ``None``: in none."""
    length_s = max(_STEADY_S, t1_s - t0_s)
    found_w = []
    for from_s, to_s in ((t0_s, t0_s + length_s), (t1_s - length_s, t1_s)):
        if t_s[0] <= from_s and to_s <= t_s[-1]:
            stretch_w = _near_w(t_s, power_w, from_s, to_s)
            if np.ptp(stretch_w) <= _STEADY * stretch_w.mean():
                found_w.append(float(np.ptp(stretch_w)))
    return min(found_w, default=None)


def _wandering_j(t_s: _Column, power_w: _Column, t0_s: float, t1_s: float) -> float:
    """Return the energy of a window less that by the mean of all readings, and that mean's doubt.

    The mean is in doubt by as much as the readings ever get ahead of it, as they need not begin and
    end at the same place of their wandering.
    """
    means_w = (power_w[1:] + power_w[:-1]) / 2
    passed_j = np.concatenate(([0.0], np.cumsum(means_w * np.diff(t_s))))
    length_s = t_s[-1] - t_s[0]
    ahead_j = passed_j - passed_j[-1] * (t_s - t_s[0]) / length_s
    own_j = abs(np.diff(np.interp([t0_s, t1_s], t_s, ahead_j))[0])
    return float(own_j + np.ptp(ahead_j) * (t1_s - t0_s) / length_s)
