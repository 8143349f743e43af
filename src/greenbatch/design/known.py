"""What the names and paths in a study are checked against, where somebody knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationInfo

from greenbatch.design.images import ImageSet


class Known(Protocol):
    """What is known of the names in a study, and of the files that it names.

    It travels as pydantic's validation context. A method that raises has found a name that is not
    known (`UnknownNameError`), or something that does not fit (`ValueError`, `UsageError`), and
    says so in one sentence.
    """

    def model(self, name: str, artifacts_dir: Path) -> None:
        """Check that a model is listed, or was exported to this folder."""

    def backend(self, name: str) -> None:
        """Check the name of a backend."""

    def on_cpu(self, name: str) -> bool:
        """Whether a backend computes on the CPU."""

    def setting(self, backend: str, name: str, value: str) -> None:
        """Check what is set on a backend."""

    def recording(self, arrivals: str) -> None:
        """Check the file of recorded arrivals, as ``replay:FILE``."""

    def images(self, folder: Path) -> ImageSet:
        """Look at a folder of images."""

    def on_provider(self, names: Sequence[str], provider: str) -> list[str]:
        """Return the backends that are the runtimes of these backends on another provider."""

    def network(self, name: str) -> None:
        """Check the name of a network that is to be trained."""

    def data(self, name: str) -> None:
        """Check the name of a data set, without looking whether it is there."""

    def hyperparameters(self, network: str, settings: Mapping[str, str]) -> None:
        """Check settings of a network's training."""


def known_of(info: ValidationInfo) -> Known | None:
    """Return what a validator's context knows; ``None``: names are taken as they are."""
    known: Known | None = info.context
    return known
