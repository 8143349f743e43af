"""The runtimes, one file each, behind one small interface.

A backend is a runtime with its device. The table below is all that a parent process reads; the
class behind an entry is imported in the child that measures with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from greenbatch.errors import MeasurementError, UnknownNameError
from greenbatch.records import Cell, Manifest
from greenbatch.runners.backends.options import Option, Options, Setting, parse_settings

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BACKENDS",
    "PROVIDERS",
    "RUNTIMES",
    "TRIAL_RESULT",
    "TRIAL_SHAPE",
    "Backend",
    "BackendSpec",
    "Option",
    "Options",
    "Setting",
    "Task",
    "check_trial",
    "find",
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
        images: The batch, float32, shape (batch_size, channels, height, width).
        allow_fallback: Let nodes run elsewhere than asked, and record it.
        settings: What was set on the backend, checked against its ``options``.
        cache: A folder of this cell's own for what the backend compiles: empty at the cell's first
            repetition, then as that one left it. ``None``: nothing is kept.
    """

    cell: Cell
    artifact: Path
    weights: Path
    manifest: Manifest
    threads: int
    images: "np.ndarray"
    allow_fallback: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    cache: Path | None = None


class Backend(Protocol):
    """A network loaded in one runtime, ready to run its batch.

    Attributes:
        options: What a user may set on it.
        packages: What it imports: done, and timed, before it is made.
    """

    options: ClassVar[Options]
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, task: Task) -> None:
        """Load the network; raise `PlacementError` if it would not run where it was asked to."""

    def run(self) -> None:
        """Run the batch once; return when the outputs are where ``io`` says and complete."""

    def outputs(self) -> "np.ndarray":
        """Return a copy of the last run's logits on the host, shape (batch_size, classes)."""

    @property
    def placement(self) -> Mapping[str, int]:
        """Nodes by execution provider, or by device where the runtime has no graph."""

    @property
    def fell_back(self) -> bool:
        """Whether something runs elsewhere than asked (only with ``allow_fallback``)."""

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What is in force, asked from the runtime where it can be asked.

        It has every key of `greenbatch.records.FACTORS` but those that the child fills in
        (``affinity``, ``transfers``); ``None`` where the runtime does not tell.
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


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """An entry of the table: ``target`` is ``module:class``."""

    name: str
    runtime: str
    provider: str
    device: str
    target: str


def _spec(runtime: str, provider: str, target: str) -> BackendSpec:
    return BackendSpec(f"{runtime}-{provider}", runtime, provider, provider, target)


_ONNX = "greenbatch.runners.backends.onnx_session:OnnxSession"
_TORCH = "greenbatch.runners.backends.torch_eager:TorchEager"

BACKENDS = {
    spec.name: spec
    for spec in (
        _spec("onnxruntime", "cpu", _ONNX),
        _spec("onnxruntime", "cuda", _ONNX),
        _spec("torch", "cpu", _TORCH),
        _spec("torch", "cuda", _TORCH),
    )
}
RUNTIMES = tuple(dict.fromkeys(spec.runtime for spec in BACKENDS.values()))
PROVIDERS = tuple(dict.fromkeys(spec.provider for spec in BACKENDS.values()))


def find(name: str) -> BackendSpec:
    """Return the entry called ``name``.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    return BACKENDS[name]


def resolve(spec: BackendSpec) -> type[Backend]:
    """Import the class behind an entry."""
    module, _, name = spec.target.partition(":")
    backend: type[Backend] = getattr(import_module(module), name)
    return backend


def pair(runtimes: list[str], providers: list[str]) -> list[str]:
    """Return the names of the backends that pair these runtimes and providers, runtimes outermost.

    Raises:
        UnknownNameError: A runtime or provider is not in the table.
    """
    for kind, names, known in (
        ("runtime", runtimes, RUNTIMES),
        ("provider", providers, PROVIDERS),
    ):
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, name, known)
    names = [f"{runtime}-{provider}" for provider in providers for runtime in runtimes]
    return [name for name in dict.fromkeys(names) if name in BACKENDS]
