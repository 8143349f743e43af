"""When a meter is read: on a grid, and often where an instant decides."""

_FREE = 3  # times as long as a read takes, nobody reads
_RETRY_S = 0.25  # a meter that fails is read again at this rate: it may come back


class Schedule:
    """Plans the reads of one meter; the caller keeps two threads from using it at once.

    Args:
        interval_s: Between two reads, in s.
        focus_interval_s: The same while a focus lasts; ``None``: a focus changes nothing.
    """

    def __init__(self, interval_s: float, focus_interval_s: float | None = None) -> None:
        self._interval_s = interval_s
        self._focus_interval_s = min(focus_interval_s or interval_s, interval_s)
        self._focus: list[tuple[float, float]] = []

    def focus(self, from_s: float, to_s: float) -> None:
        """Read often between two instants."""
        self._focus.append((from_s, to_s))

    def focuses(self, from_s: float, to_s: float) -> bool:
        """Return whether a focus lasts at some time in a stretch."""
        return any(begin_s < to_s and end_s > from_s for begin_s, end_s in self._focus)

    def next_s(
        self,
        due_s: float,
        now_s: float,
        good: bool = True,
        quiet_until_s: float = 0.0,
        read_s: float = 0.0,
    ) -> float:
        """Return when to read again.

        Args:
            due_s: When the last read was due.
            now_s: The time now, after that read.
            good: Whether it succeeded.
            quiet_until_s: Before this, a focus has nothing to see: no counter is due to tick.
            read_s: How long the last read took; a focus leaves the driver alone for longer.
        """
        if not good:
            return now_s + max(_RETRY_S, self._interval_s)
        interval_s = self._interval_s
        if self._focus:
            self._focus = [ends for ends in self._focus if ends[1] > now_s]
            if any(from_s <= now_s for from_s, _ in self._focus):
                pause_s = max(self._focus_interval_s, _FREE * read_s, quiet_until_s - now_s)
                interval_s = min(pause_s, self._interval_s)
        # late by less than an interval, the next read is still on time
        next_s = due_s + interval_s
        if not now_s < next_s <= now_s + interval_s:
            next_s = now_s + interval_s
        return min([next_s, *(from_s for from_s, _ in self._focus if from_s > now_s)])
