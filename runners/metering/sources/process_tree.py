"""The CPU time of a process and its descendants."""

from typing import TYPE_CHECKING, NamedTuple

from greenbatch.runners.metering.meter import Clock

if TYPE_CHECKING:
    import psutil

_SEARCH_EVERY_S = 1.0  # a search reads the whole process table


class _Usage(NamedTuple):
    """What a process had used at a look, in s: itself, and the children that it waited for."""

    parent: int
    own_s: float
    children_s: float

    @property
    def total_s(self) -> float:
        return self.own_s + self.children_s


_NOTHING = _Usage(parent=0, own_s=0.0, children_s=0.0)


class ProcessTree:
    """Counts the CPU time that a process tree uses from now on; never goes backwards.

    A living process counts with what it used and with what the children that it waited for used,
    so that one which comes and goes between two looks counts as soon as it was waited for. When
    a process vanishes, its time moves to the parent that waited for it; what did not move is
    kept: all that it was last seen to have used where nobody in the tree waited for it. Lost is
    only what such a process used after the last look.

    Args:
        pid: The root.
        clock: Returns the time in s.
    """

    def __init__(self, pid: int, clock: Clock) -> None:
        self._clock = clock
        self._living: dict[int, psutil.Process] = {}  # parents before their children
        self._seen: dict[int, _Usage] = {}
        self._kept_s = self._latest_s = 0.0
        self._search([pid])
        self._look()
        self._before_s = self._sum_s()  # what they had used before is not ours
        self._search_due_s = clock() + _SEARCH_EVERY_S

    def cpu_s(self) -> float:
        """Return the user and system time of all threads so far, in s."""
        if self._clock() >= self._search_due_s:
            self._search([pid for pid in self._living if not self._has_parent(pid)])
            self._search_due_s = self._clock() + _SEARCH_EVERY_S
        self._look()
        self._latest_s = max(self._latest_s, self._sum_s() - self._before_s)
        return self._latest_s

    def _sum_s(self) -> float:
        return self._kept_s + sum(usage.total_s for usage in self._seen.values())

    def _has_parent(self, pid: int) -> bool:
        return self._seen.get(pid, _NOTHING).parent in self._living

    def _search(self, roots: list[int]) -> None:
        import psutil

        for pid in roots:
            try:
                root = self._living.get(pid) or psutil.Process(pid)
                family = [root, *root.children(recursive=True)]
            except psutil.Error:
                continue  # it has gone; the next look sees to that
            for process in family:
                self._living.setdefault(process.pid, process)

    def _look(self) -> None:
        """Read every process, from the start again if one has gone meanwhile.

        Only a pass in which none has gone is whole: it reads a parent before its children and
        after the going of others, so that the parent holds exactly the time of those not read.
        """
        gone: dict[int, _Usage] = {}
        while True:
            fresh, vanished = self._pass()
            if not vanished:
                break
            for pid in vanished:
                del self._living[pid]
                gone[pid] = self._seen.pop(pid, _NOTHING)
        for heir, left_s in _left_by(gone).items():
            before, after = self._seen.get(heir, _NOTHING), fresh.get(heir, _NOTHING)
            self._kept_s += max(left_s - (after.children_s - before.children_s), 0.0)
        self._seen = fresh

    def _pass(self) -> tuple[dict[int, _Usage], list[int]]:
        import psutil

        fresh: dict[int, _Usage] = {}
        vanished: list[int] = []
        for pid, process in self._living.items():
            try:
                fresh[pid] = _read(process)
            except psutil.Error:
                vanished.append(pid)
        return fresh, vanished


def _left_by(gone: dict[int, _Usage]) -> dict[int, float]:
    """Return what processes that have gone left, in s, by the nearest ancestor that has not."""
    left_s: dict[int, float] = {}
    for usage in gone.values():
        heir = usage.parent
        while heir in gone:
            heir = gone[heir].parent
        left_s[heir] = left_s.get(heir, 0.0) + usage.total_s
    return left_s


def _read(process: "psutil.Process") -> _Usage:
    import psutil

    if not process.is_running():  # another may have its number by now
        raise psutil.NoSuchProcess(process.pid)
    with process.oneshot():
        times = process.cpu_times()
        # macOS reports 0 for children: then nothing moves, and all is kept
        children_s = times.children_user + times.children_system
        return _Usage(process.ppid(), times.user + times.system, children_s)
