"""What tests of a backend read of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class HasOutputs(Protocol):
    """What is read of a backend."""

    def outputs(self) -> "Mapping[str, np.ndarray] | np.ndarray":
        """Return the last run's outputs."""


def only_output(backend: HasOutputs) -> "np.ndarray":
    """Return the last run's output of a network that has one, as (images, values)."""
    outputs = backend.outputs()
    if isinstance(outputs, Mapping):
        (outputs,) = outputs.values()
    return outputs.reshape(len(outputs), -1)
