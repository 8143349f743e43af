"""When a backend plans how it computes a batch size, which takes many times as long as a run."""

from enum import StrEnum
from typing import Protocol, runtime_checkable


class Planning(StrEnum):
    """When kernels are chosen or compiled for a batch size.

    Attributes:
        NEVER: Any size runs at once.
        ONCE: At the first run of each size; the plan is kept.
        CHANGE: At each run of another size than the one before. ONNX Runtime's CUDA provider
            compares the shape of a convolution's input with that of the last call alone
            (``Conv::UpdateState`` in its ``nn/conv.cc``).
        LOAD: When it is loaded: the whole network is compiled for one size.
    """

    NEVER = "never"
    ONCE = "once"
    CHANGE = "change"
    LOAD = "load"


@runtime_checkable
class Planned(Protocol):
    """A backend that plans."""

    @property
    def planning(self) -> Planning:
        """When it plans for a batch size."""


def planning_of(backend: object) -> Planning:
    """Return when a backend plans for a batch size; one that does not report it never does."""
    return backend.planning if isinstance(backend, Planned) else Planning.NEVER
