"""Batches of whatever size a policy forms, on a backend that was made for the largest."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from greenbatch.runners.backends import Backend, Task
from greenbatch.runners.backends.planning import Planning, planning_of

if TYPE_CHECKING:
    from greenbatch.runners.scenarios.preprocessing import Preprocessor

Run = Callable[[], None]


@runtime_checkable
class Resizable(Protocol):
    """A backend that runs a smaller batch as it is, without padding."""

    def resized(self, size: int) -> Run:
        """Return what runs the first ``size`` images of the batch."""


class Batches:
    """Runs batches of 1 to ``largest`` images.

    A backend that is `Resizable` runs each size as it is, unless it plans for each change of size
    or for one size. Any other is loaded again for each power of two below the largest size, and a
    batch is padded to the next of them, as servers with static shapes do; what the padding costs is
    part of what is measured. One that plans at each change, and is loaded fast, has the sizes
    half-way between too: ``benchmarks/server_batches.py`` compares this with the alternatives.

    After `warm` no batch is planned any more: of a backend that plans in the first run of a size,
    what was not run there is padded to the next size that was.

    Args:
        backend: Loaded for the largest batch.
        task: It was loaded with.
        sizes: Those that can occur, see `greenbatch.queueing.policies.Policy.batch_sizes`.

    Attributes:
        loaded: How many times the network is loaded, each with weights of its own.
    """

    def __init__(self, backend: Backend, task: Task, sizes: Sequence[int]) -> None:
        self._largest = largest = len(task.images)
        self._backends = {largest: backend}
        self._runs: dict[int, Run] = {largest: backend.run}
        self._planning = planning_of(backend)
        if isinstance(backend, Resizable) and self._planning in (Planning.NEVER, Planning.ONCE):
            self._resized = True
            self._runs |= {size: backend.resized(size) for size in sizes if size < largest}
        else:
            self._resized = False
            halves = self._planning is Planning.CHANGE
            steps = _steps(largest, halves=halves) if len(sizes) > 1 else []
            self._backends |= {size: _load(type(backend), task, size) for size in steps}
            self._runs = {size: loaded.run for size, loaded in self._backends.items()}
        self.loaded = len(self._backends)
        self._used = sorted(self._runs)
        self._by_size = self._table()

    @property
    def padding(self) -> str:
        """What batches are padded to, for a person: ``none``, or ``1, 2, 4, 8``."""
        as_it_is = self._resized and len(self._used) == len(self._runs)
        return "none" if as_it_is else ", ".join(map(str, self._used))

    def preprocess(self, preprocessor: "Preprocessor") -> None:
        """From now on, decode and transform the images of a batch before it is run.

        Raises:
            UnsupportedCell: The backend takes no other images than those it was loaded with.
        """
        for images in range(1, self._largest + 1):
            size = self._padded(images)
            backend = self._backends.get(size, self._backends[self._largest])
            run = self._runs[size]
            self._by_size[images] = preprocessor.before(backend, run, images, padded_to=size)

    def run(self, size: int) -> None:
        """Run a batch of so many images."""
        self._by_size[size]()

    def warm(self, runs: int, clock: Callable[[], float], most_s: float) -> int:
        """Run each size ``runs`` times, powers of two first: the first of a size may be slow.

        Args:
            runs: Of each size.
            clock: Monotonic, in s.
            most_s: When so much time has gone by, the sizes that are left are left out; but for
                those that are due, see `_is_due`.

        Returns:
            How many sizes were run.
        """
        deadline_s = clock() + most_s
        warmed = []
        for size in sorted(self._runs, key=lambda size: (size.bit_count() > 1, size)):
            if clock() > deadline_s and not self._is_due(size):
                continue
            for _ in range(runs):
                self._runs[size]()
            warmed.append(size)
        if self._planning is Planning.ONCE:
            self._used = sorted(warmed)
            self._by_size = self._table()
        return len(warmed)

    def _is_due(self, size: int) -> bool:
        """Whether a size is run before the window, however long that takes.

        One that was loaded apart may be compiled in its first run. Of those that are planned in it,
        powers of two and the largest are enough: the others can be padded to them.
        """
        if self.loaded > 1:
            return True
        return self._planning is Planning.ONCE and (size.bit_count() == 1 or size == self._largest)

    def each(self) -> list[Run]:
        """Return what runs each size that is not padded."""
        return list(self._runs.values())

    def _table(self) -> list[Run]:
        """Return by size what runs it: itself, or the next larger one that there is."""
        return [self._runs[self._padded(wanted)] for wanted in range(self._largest + 1)]

    def _padded(self, wanted: int) -> int:
        return next(size for size in self._used if size >= wanted)


def _steps(largest: int, *, halves: bool) -> list[int]:
    """Return 1, 2, 4, 8, ... below ``largest``; with halves 1, 2, 3, 4, 6, 8, 12, ..."""
    powers = [1 << power for power in range(largest.bit_length())]
    between = [3 * power // 2 for power in powers[1:]] if halves else []
    return sorted(size for size in (*powers, *between) if size < largest)


def _load(kind: type[Backend], task: Task, size: int) -> Backend:
    cache = task.cache / f"batch-{size}" if task.cache else None
    if cache:
        cache.mkdir(exist_ok=True)
    cell = replace(task.cell, batch_size=size)
    return kind(replace(task, cell=cell, images=task.images[:size], cache=cache))
