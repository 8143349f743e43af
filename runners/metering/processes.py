"""Who computes on a device: asked before and after a window, as the list is slow to get."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The processes that compute on a device at an instant.

    Attributes:
        pids: Their numbers, sorted.
        reason: Why they are not known, one sentence; then there are none in ``pids``.
    """

    pids: tuple[int, ...] = ()
    reason: str | None = None


@runtime_checkable
class ListsProcesses(Protocol):
    """A meter that can list the processes on its devices."""

    def processes(self) -> Mapping[str, Processes]:
        """Ask for those of every device now, by its domain's name."""


def around(
    lists: Sequence[tuple[float, Processes]], t0_s: float, t1_s: float
) -> tuple[Processes, ...]:
    """Return the lists inside a window, the last one before it and the first one after it.

    Args:
        lists: Instant (s) and list, in order of time.
        t0_s, t1_s: The window.
    """
    before = [found for t_s, found in lists if t_s < t0_s]
    inside = [found for t_s, found in lists if t0_s <= t_s <= t1_s]
    after = [found for t_s, found in lists if t_s > t1_s]
    return (*before[-1:], *inside, *after[:1])


def pids_of(lists: Iterable[Processes]) -> set[int]:
    """Return all processes of several lists."""
    return {pid for found in lists for pid in found.pids}
