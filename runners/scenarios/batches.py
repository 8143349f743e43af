"""Batches of whatever size a policy forms, on a backend that was made for the largest."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from greenbatch.runners.backends import Backend, Task

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

    A backend that is `Resizable` runs each size as it is. Any other is loaded again for each power
    of two below the largest size, and a batch is padded to the next of them, as servers with
    static shapes do; what the padding costs is part of what is measured.

    Args:
        backend: Loaded for the largest batch.
        task: It was loaded with.
        sizes: Those that can occur, see `greenbatch.queueing.policies.Policy.batch_sizes`.

    Attributes:
        padding: What batches are padded to, for a person: ``none``, or ``1, 2, 4, 8``.
    """

    def __init__(self, backend: Backend, task: Task, sizes: Sequence[int]) -> None:
        largest = len(task.images)
        self._backends = {largest: backend}
        self._runs: dict[int, Run] = {largest: backend.run}
        if isinstance(backend, Resizable):
            self._runs |= {size: backend.resized(size) for size in sizes if size < largest}
            self.padding = "none"
        else:
            steps = _steps(largest) if len(sizes) > 1 else []
            self._backends |= {size: _load(type(backend), task, size) for size in steps}
            self._runs = {size: loaded.run for size, loaded in self._backends.items()}
            self.padding = ", ".join(map(str, sorted(self._runs)))
        self._by_size = self._table(largest)

    def preprocess(self, preprocessor: "Preprocessor") -> None:
        """From now on, decode and transform the images of a batch before it is run.

        Raises:
            UnsupportedCell: The backend takes no other images than those it was loaded with.
        """
        largest = len(self._by_size) - 1
        for images in range(1, largest + 1):
            size = self._padded(images)
            backend = self._backends.get(size, self._backends[largest])
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
            most_s: When so much time has gone by, the sizes that are left are left out.

        Returns:
            How many sizes were run.
        """
        deadline_s = clock() + most_s
        warmed = 0
        for size in sorted(self._runs, key=lambda size: (size.bit_count() > 1, size)):
            if clock() > deadline_s:
                break
            for _ in range(runs):
                self._runs[size]()
            warmed += 1
        return warmed

    def each(self) -> list[Run]:
        """Return what runs each size that is not padded."""
        return list(self._runs.values())

    def _table(self, largest: int) -> list[Run]:
        """Return by size what runs it: itself, or the next larger one that there is."""
        return [self._runs[self._padded(wanted)] for wanted in range(largest + 1)]

    def _padded(self, wanted: int) -> int:
        return next(size for size in sorted(self._runs) if size >= wanted)


def _steps(largest: int) -> list[int]:
    return [1 << power for power in range(largest.bit_length()) if 1 << power < largest]


def _load(kind: type[Backend], task: Task, size: int) -> Backend:
    cache = task.cache / f"batch-{size}" if task.cache else None
    if cache:
        cache.mkdir(exist_ok=True)
    cell = replace(task.cell, batch_size=size)
    return kind(replace(task, cell=cell, images=task.images[:size], cache=cache))
