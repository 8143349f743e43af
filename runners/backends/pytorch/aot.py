"""AOTInductor: the network exported and compiled ahead, then loaded without building it."""

import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from greenbatch.runners.backends import Option, Options, Setting, Task
from greenbatch.runners.backends.pytorch.base import OPTIONS, TorchBackend
from greenbatch.runners.backends.pytorch.compiled import (
    InductorOptions,
    inductor_options,
    optimization,
    prepare_inductor,
    scratch_folder,
    stop_compile_workers,
    tuning,
)
from greenbatch.runners.backends.pytorch.toolchain import (
    compiler_found,
    compiler_missing,
    find_toolkit,
    headers_missing,
    toolkit_missing,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from greenbatch.runners.backends.pytorch.base import Forward

_LOADS_FOLDERS = (2, 15)  # the version it was tried with


class TorchAot(TorchBackend):
    """A compiled package with its weights inside, kept in the cell's cache.

    The first repetition builds the network and compiles it while it loads; later ones need neither
    torchvision nor torch.export. Once it is loaded no Python runs but the call.
    """

    options: ClassVar[Options] = {
        **OPTIONS,
        "mode": Option(
            "what is tried; default", "choice", ("default", "max-autotune-no-cudagraphs")
        ),
        "freezing": Option("fold weights into the graph; 0", "flag"),
    }
    packages = ("torch", "torch._inductor")
    preloads = packages

    def _ready(self, task: Task) -> "Forward":
        from torch._inductor import aoti_load_package

        # Without a cache the folder goes once it is loaded: the system keeps what is mapped.
        with nullcontext(str(task.cache)) if task.cache else scratch_folder() as folder:
            package = Path(folder) / "package"
            if not package.is_dir():
                _compile(
                    self._network(task),
                    self._buffers.inputs,
                    package,
                    _inductor_options(self._set),
                    self._threads,
                )
            loaded = aoti_load_package(str(package), run_single_threaded=True)
        constants = len(loaded.get_constant_fqns())
        self._placement = {loaded.get_metadata()["AOTI_DEVICE_KEY"]: constants}
        forward: Forward = loaded
        return forward

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The effective settings."""
        reported, requested = super().settings, _inductor_options(self._set)
        return {
            **reported,
            "autotuning": tuning(reported["autotuning"], requested),
            "optimization": optimization("AOTInductor", requested),
            "mode": self._set.get("mode", "default"),
            "compiler": compiler_found(),
        }

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why nothing can be compiled for the device here."""
        import torch

        if torch.__version__ < _LOADS_FOLDERS:  # type: ignore[operator]  # it takes numbers too
            return (
                f"torch {torch.__version__} does not load a compiled package from a folder; wanted "
                f"{'.'.join(map(str, _LOADS_FOLDERS))} or later, upgrade it"
            )
        reason = TorchBackend.unavailable(provider) or compiler_missing(provider)
        if reason or provider == "cpu":
            return reason
        return headers_missing() or toolkit_missing()

    @classmethod
    def _convolve(cls, ones: "torch.Tensor") -> "torch.Tensor":
        import torch
        from torch._inductor import aoti_load_package

        class Convolution(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.conv2d(images, images)

        with scratch_folder() as folder:
            package = Path(folder) / "package"
            _compile(Convolution(), [ones], package, {}, threads=1)
            result: torch.Tensor = aoti_load_package(str(package))(ones)
        return result


def _inductor_options(requested: Mapping[str, Setting]) -> InductorOptions:
    """Leave CUDA graphs to the backend: a package knows none."""
    return inductor_options({key: value for key, value in requested.items() if key != "cuda_graph"})


def _compile(
    module: "nn.Module",
    inputs: "Sequence[torch.Tensor]",
    package: Path,
    options: InductorOptions,
    threads: int,
) -> None:
    """Export a module for these inputs, compile it and unpack the result as ``package``.

    The package appears whole or not at all. It is unpacked because torch would unpack it at every
    start, into a folder that a killed process leaves behind.
    """
    import torch
    from torch._inductor import aoti_compile_and_package

    with TemporaryDirectory(dir=package.parent, ignore_cleanup_errors=True) as staging:
        made, unpacked = Path(staging, "made"), Path(staging, "unpacked")
        made.mkdir()
        prepare_inductor(made, threads)
        if inputs[0].device.type == "cuda":
            find_toolkit()
        with torch.no_grad():
            program = torch.export.export(module, tuple(inputs))
            path = aoti_compile_and_package(
                program, package_path=str(made / "network.pt2"), inductor_configs=options
            )
        stop_compile_workers()
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
        (unpacked / "network").rename(package)
