"""PyTorch in eager mode, with the artifact's own weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from greenbatch.errors import UnsupportedCell
from greenbatch.runners.backends import Task
from greenbatch.runners.backends.planning import Planning
from greenbatch.runners.backends.pytorch.base import TorchBackend

if TYPE_CHECKING:
    from greenbatch.runners.backends.pytorch.base import Forward


class TorchEager(TorchBackend):
    """The network as a torch module, operator by operator."""

    preloads: ClassVar[tuple[str, ...]] = TorchBackend.packages

    def _ready(self, task: Task) -> "Forward":
        return self._network(task)

    @property
    def planning(self) -> Planning:
        """When it plans: cuDNN once for each size, a CUDA graph for the one that it captured."""
        if self._captures:
            return Planning.CHANGE
        return Planning.ONCE if self._device.type == "cuda" else Planning.NEVER

    @property
    def is_rebatchable(self) -> bool:
        """Whether it can go on with another batch: not with a CUDA graph of one size."""
        return not self._captures

    def rebatch(self, task: Task) -> None:
        """Run the batch of another task from now on, in buffers of its own."""
        self._buffers = self._buffers_of(task)
        self._returned = None

    def resized(self, size: int) -> Callable[[], None]:
        """Return what runs the first ``size`` images of the batch.

        Raises:
            UnsupportedCell: A CUDA graph is replayed, which was captured for one size.
        """
        if self._captures:
            raise UnsupportedCell(
                "torch replays a CUDA graph of one batch size, and this cell forms batches of "
                "several; leave cuda_graph out, or batch by fixed:N"
            )
        smaller = self._first(size)

        def run() -> None:
            self._run(smaller)

        return run
