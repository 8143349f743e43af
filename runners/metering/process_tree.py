"""The CPU time of a process and its descendants."""

from typing import TYPE_CHECKING, TypeAlias

from greenbatch.runners.metering.meter import Clock

if TYPE_CHECKING:
    import psutil

_SEARCH_EVERY_S = 0.5  # a search reads the whole process table

_Key: TypeAlias = tuple[int, float]


class ProcessTree:
    """Counts the CPU time that a process tree uses from now on; never goes backwards.

    Each process keeps what it was last seen to have used, so that nothing is taken back when it
    exits. What it uses between the last look and its exit, and a process that starts and exits
    between two searches, are not seen.

    Args:
        pid: The root.
        clock: Tells the time in s.
    """

    def __init__(self, pid: int, clock: Clock) -> None:
        self._pid = pid
        self._clock = clock
        self._living: dict[_Key, psutil.Process] = {}
        self._since_s: dict[_Key, float] = {}
        self._used_s: dict[_Key, float] = {}
        self._search()
        self._look()
        self._since_s = dict(self._used_s)  # what they had used before is not ours
        self._search_due_s = clock() + _SEARCH_EVERY_S

    def cpu_s(self) -> float:
        """Return the user and system time of all threads so far, in s."""
        if self._clock() >= self._search_due_s:
            self._search()
            self._search_due_s = self._clock() + _SEARCH_EVERY_S
        self._look()
        return sum(used_s - self._since_s.get(key, 0.0) for key, used_s in self._used_s.items())

    def _search(self) -> None:
        import psutil

        try:
            root = psutil.Process(self._pid)
            family = [root, *root.children(recursive=True)]
        except psutil.Error:
            return  # it has gone; descendants already known are still followed
        for process in family:
            self._living.setdefault((process.pid, process.create_time()), process)

    def _look(self) -> None:
        import psutil

        for key, process in list(self._living.items()):
            try:
                times = process.cpu_times()
            except psutil.Error:
                del self._living[key]
                continue
            self._used_s[key] = max(times.user + times.system, self._used_s.get(key, 0.0))
