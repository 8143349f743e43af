"""All that was read of one domain, in order of time; wraps and resets of its counter taken out."""

import math
from array import array
from dataclasses import dataclass

import numpy as np

from greenbatch.runners.metering.energy.energy_function import FloatArray, stuck_s
from greenbatch.runners.metering.meter import Reading

_BACK_STEPS = 5  # a fall by no more than this many steps is a counter that corrects itself
_FADE = 0.9
_POWER_MARGIN = 4  # power while nobody looked may have been this many times the mean before
_MEAN_LEAST_S = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """A stretch of time in which a domain could not be read.

    Attributes:
        from_s, to_s: The last good read before it and the first after; ``inf`` while it lasts.
        reason: One sentence.
        broken: The counter went on from another value: energy in the stretch is lost.
    """

    from_s: float
    to_s: float
    reason: str
    broken: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A copy of a series: columns of shape (n,), NaN where a read had no such value.

    Attributes:
        before_s, after_s: When each read began and ended, in s.
        energy_j: Cumulative, never falling, in J.
        power_w: In W.
        faults: In order of time.
        back_s, back_j: When the counter stepped back a little, and by how much, shape (m,).
    """

    before_s: FloatArray
    after_s: FloatArray
    energy_j: FloatArray
    power_w: FloatArray
    faults: tuple[Fault, ...]
    back_s: FloatArray
    back_j: FloatArray


class Series:
    """Collects readings of one domain; the caller keeps two threads from using it at once.

    Args:
        range_j: Where the domain's counter starts again from 0, in J; ``None`` where not known.
        tick_s: How often it is updated, in s.
        counts_ticks: Whether its counter is what decides, see `reaches`.
        age_s: How long after an instant its power shows it, in s.
        power_most_w: More than the domain can draw, in W; ``None`` where not known.
    """

    def __init__(
        self,
        range_j: float | None = None,
        tick_s: float = 0.0,
        counts_ticks: bool = True,
        age_s: float = 0.0,
        power_most_w: float | None = None,
    ) -> None:
        self._tick_s = tick_s
        self._counts_ticks = counts_ticks
        self._age_s = age_s
        self._power_most_w = math.inf if power_most_w is None else power_most_w
        self._range_j = range_j
        self._before_s = array("d")
        self._after_s = array("d")
        self._energy_j = array("d")
        self._power_w = array("d")
        self._faults: list[Fault] = []
        self._last_j: float | None = None
        self._offset_j = self._top_j = 0.0
        self._largest_step_j = self._first_j = 0.0
        self._back_s = array("d")
        self._back_j = array("d")
        self._ticked_s = -math.inf  # no later than the latest tick
        self._changed_s = -math.inf  # when the latest tick was seen

    def append(self, before_s: float, after_s: float, reading: Reading) -> None:
        """Add a reading that was made between two instants."""
        if reading.energy_j is None and reading.power_w is None:
            self.fail(before_s, after_s, reading.reason or "the meter gave no value")
            return
        self._end_fault(after_s)
        energy_j = math.nan
        if reading.energy_j is not None:
            energy_j = self._continue(reading.energy_j, before_s, after_s)
        self._before_s.append(before_s)
        self._after_s.append(after_s)
        self._energy_j.append(energy_j)
        self._power_w.append(math.nan if reading.power_w is None else reading.power_w)

    def fail(self, before_s: float, after_s: float, reason: str) -> None:
        """Note that a read between two instants failed."""
        if self._faults and math.isinf(self._faults[-1].to_s):
            return  # it still lasts: the first reason is the cause
        since_s = self._before_s[-1] if self._before_s else before_s
        self._faults.append(Fault(since_s, math.inf, reason))

    def reaches(self, t_s: float) -> bool:
        """Return whether a window that ends at ``t_s`` can be answered: more waiting adds nothing.

        With a counter that is a tick after it, else a read; and a read that shows the power of
        ``t_s``, where that is older than the read. Or the domain is failing, or stuck.
        """
        if not self._before_s:
            return bool(self._faults)
        read_s = self._before_s[-1]
        if self._faults and math.isinf(self._faults[-1].to_s):
            return True
        if self._last_j is None or not self._counts_ticks or read_s < t_s + self._age_s:
            return read_s >= t_s + self._age_s
        stood_s = read_s - max(self._changed_s, self._before_s[0])
        return self._ticked_s >= t_s or stood_s > stuck_s(self._tick_s)

    @property
    def ticked_s(self) -> float:
        """An instant no later than the latest tick, in s; -inf before the first."""
        return self._ticked_s

    def history(self) -> History:
        """Copy what there is."""
        return History(
            np.array(self._before_s),
            np.array(self._after_s),
            np.array(self._energy_j),
            np.array(self._power_w),
            tuple(self._faults),
            np.array(self._back_s),
            np.array(self._back_j),
        )

    def _end_fault(self, after_s: float) -> None:
        if self._faults and math.isinf((last := self._faults[-1]).to_s):
            self._faults[-1] = Fault(last.from_s, after_s, last.reason, last.broken)

    def _continue(self, counter_j: float, before_s: float, after_s: float) -> float:
        """Return ``counter_j`` on the series' own scale, which never falls.

        A fall is one of three: a wrap, where a range is known and what is left of it is a small
        step; a step back by no more than a few ticks' energy, which is waited out (the scale
        stands still until the counter is past it) and stays in doubt; or a reset, which leaves
        the energy since the last read unknown. So does a rise that no power explains.
        """
        last_j, self._last_j = self._last_j, counter_j
        if last_j is None:
            self._first_j = self._top_j = counter_j
            return counter_j
        step_j, unread_s = counter_j - last_j, before_s - self._before_s[-1]
        # A read after a tick shows the energy of that tick, though the one before it was just now.
        most_j = self._power_most_w * (after_s - self._before_s[-1] + 2 * self._tick_s)
        if step_j > most_j:
            self._offset_j -= step_j
            self._break(
                after_s,
                f"the counter rose from {last_j:.3f} J to {counter_j:.3f} J within {unread_s:.2g} "
                f"s, which is more than {self._power_most_w:g} W: it was set anew",
            )
            step_j = 0.0
        if step_j < 0:
            wrapped_j = step_j + (self._range_j or 0.0)
            if self._range_j and 0 <= wrapped_j <= min(self._range_j / 2, most_j):
                self._offset_j += self._range_j
                step_j = wrapped_j
            elif -step_j <= _BACK_STEPS * self._largest_step_j:
                self._back_s.append(after_s)
                self._back_j.append(-step_j)
            else:
                self._offset_j -= step_j
                known = f"{self._range_j:.3f} J" if self._range_j else "not known"
                self._break(
                    after_s,
                    f"the counter fell from {last_j:.3f} J to {counter_j:.3f} J, which is no wrap "
                    f"(its range is {known}): it was reset",
                )
        if self._range_j and unread_s * self._mean_w() * _POWER_MARGIN > self._range_j:
            reason = f"the counter was not read for {unread_s:.2g} s and may have wrapped unseen"
            self._break(after_s, reason)
        energy_j = counter_j + self._offset_j
        if energy_j > self._top_j:
            self._ticked_s, self._changed_s = self._before_s[-1], after_s
            self._top_j = energy_j
        if step_j > 0:
            self._largest_step_j = max(step_j, _FADE * self._largest_step_j)
        return self._top_j

    def _mean_w(self) -> float:
        """Return the mean power up to the last read."""
        elapsed_s = max(self._before_s[-1] - self._before_s[0], _MEAN_LEAST_S)
        return (self._top_j - self._first_j) / elapsed_s

    def _break(self, after_s: float, reason: str) -> None:
        self._faults.append(Fault(self._before_s[-1], after_s, reason, broken=True))
