"""The runtimes, one file each, behind one small interface.

A backend is a runtime with its device. The table below is all that a parent process reads; the
class behind an entry is imported in the child that measures with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from greenbatch.errors import MeasurementError, UnknownNameError, UsageError
from greenbatch.models.output_rows import take_images
from greenbatch.records import Cell, Manifest
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
from greenbatch.runners.backends.options import OF_ALL, Option, Options, Setting, parse_settings
from greenbatch.runners.backends.spec import BackendSpec

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BACKENDS",
    "DEFAULT_RUNTIMES",
    "TRIAL_RESULT",
    "TRIAL_SHAPE",
    "Backend",
    "BackendSpec",
    "Fed",
    "Forkable",
    "Option",
    "Options",
    "Rebatchable",
    "Setting",
    "Task",
    "builds_networks",
    "check_settings",
    "check_trial",
    "find",
    "known",
    "named_outputs",
    "pair",
    "parse_settings",
    "resolve",
]

TRIAL_SHAPE = (1, 3, 3, 3)  # of the images and of the kernel
TRIAL_RESULT = 27.0


@dataclass(frozen=True, slots=True)
class Task:
    """All that a backend needs to load a cell.

    Attributes:
        cell: Its precision, io and batch size apply.
        artifact: The ``.onnx`` file.
        weights: The safetensors file with the same weights.
        manifest: Of the artifact.
        threads: Threads for work on the CPU.
        images: The batch, of the type and layout of the manifest's ``input``: mostly float32,
            shape (batch_size, channels, height, width). A backend may read them in place, and then
            `Fed.feed` writes to them.
        others: Inputs beside the images, by name, for the same batch.
        allow_fallback: Let nodes run elsewhere than requested, and record it.
        settings: What was set on the backend, checked against its ``options``.
        source: The text that a user's own network came from, see
            `greenbatch.models.sources.parse.parse_source`; empty: the network is listed, or
            unknown.
        cache: A folder of this cell's own for what the backend compiles: empty at the cell's first
            repetition, then as that one left it. ``None``: nothing is kept.
    """

    cell: Cell
    artifact: Path
    weights: Path
    manifest: Manifest
    threads: int
    images: "np.ndarray"
    others: Mapping[str, "np.ndarray"] = field(default_factory=dict)
    allow_fallback: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    source: str = ""
    cache: Path | None = None

    def inputs(self, size: int | None = None) -> "dict[str, np.ndarray]":
        """Return all inputs by name, of the first ``size`` images; ``None``: of all."""
        spec = self.manifest.input
        every = {spec.name: self.images, **self.others}
        return every if size is None else take_images(spec, every, range(size))

    def smaller(self, size: int) -> "Task":
        """Return the task of the first ``size`` images, which are read in place."""
        first, *_ = given = list(self.inputs(size).items())
        return replace(self, images=first[1], others=dict(given[1:]))


class Backend(Protocol):
    """A network loaded in one runtime, ready to run its batch.

    Attributes:
        options: What a user may set on it.
        packages: What it imports: done, and timed, before it is made.
    """

    options: ClassVar[Options]
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, task: Task) -> None:
        """Load the network; raise `PlacementError` if it would not run where requested."""

    def run(self) -> None:
        """Run the batch once; return when the outputs are where ``io`` says and complete."""

    def outputs(self) -> "Mapping[str, np.ndarray] | np.ndarray":
        """Return copies of the last run's outputs on the host, by their names in the manifest.

        Of a network with one output it may be that array.
        """

    @property
    def placement(self) -> Mapping[str, int]:
        """Nodes by execution provider, or by device where the runtime has no graph."""

    @property
    def fell_back(self) -> bool:
        """Whether something runs elsewhere than requested (only with ``allow_fallback``)."""

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The effective settings, read from the runtime where it reports them.

        It has every key of `greenbatch.records.FACTORS` but those that the child fills in
        (``affinity``, ``transfers``); ``None`` where the runtime does not report it.
        """

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say in one sentence, cure included, why this machine cannot run it; ``None`` if it can.

        Called in a process of its own; must answer within seconds.
        """

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Run a network of one convolution, and return its placement as a real load would.

        Called in a process of its own, after `unavailable` found nothing; raises what a load
        raises, and `MeasurementError` where the result is wrong.
        """


@runtime_checkable
class Fed(Protocol):
    """A backend that takes other images than those it was loaded with."""

    def feed(self, images: "np.ndarray") -> None:
        """Copy images to where the next run reads them.

        Args:
            images: Float32, as many as that run takes: the batch, or, where the backend is
                `greenbatch.runners.scenarios.batches.Resizable`, a size that it was asked for.
        """


@runtime_checkable
class Rebatchable(Protocol):
    """A backend that goes on with another batch, with the network as it is loaded.

    It is then as one that was loaded for that batch: what it runs, its outputs and its settings.
    """

    @property
    def is_rebatchable(self) -> bool:
        """Whether it can: not where the network was compiled or captured for one batch size."""

    def rebatch(self, task: Task) -> None:
        """Run the batch of another task from now on, which differs in that alone."""


@runtime_checkable
class Forkable(Protocol):
    """A backend whose processes may be forked from one that has imported a part of what they need.

    It applies to the class that states it: a subclass may import more, and states its own.

    Attributes:
        preloads: Modules that start no thread and open no device when they are imported. Others of
            ``packages`` are imported after the fork.
    """

    preloads: ClassVar[tuple[str, ...]]


def named_outputs(backend: Backend, manifest: Manifest) -> "Mapping[str, np.ndarray]":
    """Return a backend's outputs by name, in the manifest's order.

    Raises:
        MeasurementError: It returns one array of a network with several outputs.
    """
    outputs = backend.outputs()
    if isinstance(outputs, Mapping):
        return outputs
    names = [output.name for output in manifest.outputs]
    if len(names) != 1:
        raise MeasurementError(
            f"{type(backend).__name__} returns one array, and {manifest.model} has the outputs "
            f"{', '.join(names)}; measure it with another runtime"
        )
    return {names[0]: outputs}


def check_trial(value: float) -> None:
    """Compare a trial's result to the truth: 3 channels of 3 x 3 ones, convolved with ones.

    Raises:
        MeasurementError: It is another number.
    """
    if value != TRIAL_RESULT:
        raise MeasurementError(
            f"a convolution of ones gave {value:g}, wanted {TRIAL_RESULT:g}; the runtime computes "
            "wrongly here: install it again, or another version"
        )


def builds_networks(runtime: str) -> bool:
    """Whether a runtime builds a network from its source, and cannot run an ``.onnx`` file."""
    return runtime in _BUILDERS


_BUILDERS = ("torch", "torch-compile", "torch-aot")
_HERE = "greenbatch.runners.backends"
_ONNX = f"{_HERE}.onnx_runtime.session:OnnxSession"


def _specs(runtime: str, target: str, **devices: str) -> list[BackendSpec]:
    """Return a runtime's entries, one for each provider and its device."""
    return [
        BackendSpec(f"{runtime}-{provider}", runtime, provider, device, f"{_HERE}.{target}")
        for provider, device in devices.items()
    ]


BACKENDS: Mapping[str, BackendSpec] = {
    spec.name: spec
    for spec in (
        *(
            BackendSpec(f"onnxruntime-{p.name}", "onnxruntime", p.name, p.device, _ONNX)
            for p in PROVIDERS.values()
        ),
        *_specs("torch", "pytorch.eager:TorchEager", cpu="cpu", cuda="cuda"),
        *_specs("torch-compile", "pytorch.compiled:TorchCompiled", cpu="cpu", cuda="cuda"),
        *_specs("torch-aot", "pytorch.aot:TorchAot", cpu="cpu", cuda="cuda"),
        *_specs("openvino", "openvino_model:OpenvinoModel", cpu="cpu", gpu="gpu", npu="npu"),
    )
}
"""The built-in ones; other distributions bring more, see `known`."""

DEFAULT_RUNTIMES = ("onnxruntime", "torch")


def known() -> Mapping[str, BackendSpec]:
    """Return every backend by name, those of other distributions included.

    Raises:
        StudyError: A distribution registers a backend wrongly.
    """
    from greenbatch.runners.backends.third_party import discover

    return {**BACKENDS, **discover(BACKENDS)}


def find(name: str) -> BackendSpec:
    """Return the entry called ``name``.

    Raises:
        UnknownNameError: There is none.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    every = known()  # other distributions are searched only where the name is not ours
    if name not in every:
        raise UnknownNameError("backend", name, every)
    return every[name]


def check_settings(name: str, requested: Mapping[str, str]) -> dict[str, Setting]:
    """Return what is set on a backend, checked and typed.

    Args:
        name: Of the backend.
        requested: Texts by the name of the setting.

    Raises:
        UnknownNameError: There is no such backend.
        StudyError: It has no such setting, or not with such a value.
    """
    if not requested:
        return {}
    return parse_settings(name, {**OF_ALL, **resolve(find(name)).options}, requested)


def resolve(spec: BackendSpec) -> type[Backend]:
    """Import the class behind an entry."""
    module, _, name = spec.target.partition(":")
    backend: type[Backend] = getattr(import_module(module), name)
    return backend


def pair(runtimes: list[str], providers: list[str]) -> list[str]:
    """Return the names of the backends that pair these runtimes and providers, runtimes outermost.

    Raises:
        UnknownNameError: A runtime or provider is not known.
        UsageError: None of the runtimes has any of the providers.
    """
    every = known()
    for kind, names, choice in (
        ("runtime", runtimes, [spec.runtime for spec in every.values()]),
        ("provider", providers, [spec.provider for spec in every.values()]),
    ):
        for name in names:
            if name not in choice:
                raise UnknownNameError(kind, name, dict.fromkeys(choice))
    wanted = [f"{runtime}-{provider}" for provider in providers for runtime in runtimes]
    names = [name for name in dict.fromkeys(wanted) if name in every]
    if not names:
        raise UsageError(
            f"{' and '.join(runtimes)} cannot run on {' or '.join(providers)}; there are "
            f"{', '.join(name for name, spec in every.items() if spec.runtime in runtimes)}"
        )
    return names
