"""The network that a child has loaded, and goes on with when another batch size comes."""

from dataclasses import dataclass, replace

from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.child.messages import Load


@dataclass(slots=True)
class LoadedNetwork:
    """What a process has loaded; nothing at first."""

    _load: Load | None = None
    _backend: backends.Backend | None = None

    def for_batch(self, load: Load, task: backends.Task) -> tuple[backends.Backend, bool]:
        """Return the network of a task, ready to run its batch, and whether it was loaded now.

        Args:
            load: What the task was made from.
            task: It differs from the last one in the batch size alone, or the network is loaded.
        """
        known, self._load = self._load, _network(load)
        if self._backend is not None and known == self._load and goes_on(self._backend, load.cell):
            assert isinstance(self._backend, backends.Rebatchable)
            self._backend.rebatch(task)
            return self._backend, False
        self._backend = backends.resolve(backends.find(load.cell.backend))(task)
        return self._backend, True


def goes_on(backend: backends.Backend, cell: Cell) -> bool:
    """Whether a network that is loaded can run another batch of the closed loop next."""
    return (
        not cell.is_server and isinstance(backend, backends.Rebatchable) and backend.is_rebatchable
    )


def _network(load: Load) -> Load:
    return replace(load, cell=replace(load.cell, batch_size=1), cache=None)
