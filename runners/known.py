"""What this machine and this installation know of the names in a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from greenbatch.design.images import ImageSet
from greenbatch.models import registry
from greenbatch.models.artifacts import has_manifest
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.runners import backends
from greenbatch.runners.scenarios import preprocessing
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.design import hyperparameters, networks


class ThisMachine:
    """A `greenbatch.design.known.Known` that asks the registries and the disk."""

    def model(self, name: str, artifacts_dir: Path) -> None:
        """Check that a model is listed, or was exported to this folder.

        Raises:
            UnknownNameError: It is neither.
        """
        if not has_manifest(artifacts_dir, name):
            registry.find(name)

    def backend(self, name: str) -> None:
        """Check the name of a backend, see `greenbatch.runners.backends.find`."""
        backends.find(name)

    def on_cpu(self, name: str) -> bool:
        """Whether the device of a backend is the CPU, see `greenbatch.runners.backends.find`."""
        return backends.find(name).device == "cpu"

    def setting(self, backend: str, name: str, value: str) -> None:
        """Check what is set on a backend, see `greenbatch.runners.backends.check_settings`."""
        backends.check_settings(backend, {name: value})

    def recording(self, arrivals: str) -> None:
        """Read the file of recorded arrivals, see `greenbatch.queueing.recordings`."""
        parse_arrivals(arrivals)

    def images(self, folder: Path) -> ImageSet:
        """Look at a folder, see `greenbatch.runners.scenarios.preprocessing.survey`."""
        return preprocessing.survey(folder)

    def on_provider(self, names: Sequence[str], provider: str) -> list[str]:
        """Return the backends that are these backends' runtimes on another provider.

        Raises:
            UnknownNameError: A backend or the provider is not known.
            UsageError: None of the runtimes has this provider.
        """
        runtimes = dict.fromkeys(backends.find(name).runtime for name in names)
        return backends.pair(list(runtimes), [provider])

    def network(self, name: str) -> None:
        """Check a network's name, see `greenbatch.runners.training.design.networks.find`."""
        networks.find(name)

    def data(self, name: str) -> None:
        """Check a data set's name, see `greenbatch.runners.training.data.datasets.find`."""
        datasets.find(name)

    def hyperparameters(self, network: str, settings: Mapping[str, str]) -> None:
        """Check settings, see `greenbatch.runners.training.design.hyperparameters.check`."""
        hyperparameters.check(network, settings)
