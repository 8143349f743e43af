"""PyTorch in eager mode, with the artifact's own weights."""

from typing import TYPE_CHECKING

from greenbatch.runners.backends import Task
from greenbatch.runners.backends.torch_network import TorchBackend

if TYPE_CHECKING:
    from greenbatch.runners.backends.torch_network import Forward


class TorchEager(TorchBackend):
    """The network as a torch module, operator by operator."""

    def _ready(self, task: Task) -> "Forward":
        return self._network(task)
