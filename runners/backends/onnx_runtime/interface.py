"""What is used of ONNX Runtime's objects: it has no type hints of its own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from greenbatch.models.onnx_placement import Recording

if TYPE_CHECKING:
    import numpy as np


class Argument(Protocol):
    """An input or output of a session."""

    name: str


class Device(Protocol):
    """A device that a plugin found."""

    ep_name: str


class Value(Protocol):
    """A tensor in a device's memory (``OrtValue``)."""

    def numpy(self) -> "np.ndarray":
        """Return it on the host; of a tensor there the memory itself."""

    def update_inplace(self, images: "np.ndarray", /) -> None:
        """Copy an array of its shape into it."""


class Binding(Protocol):
    """Inputs and outputs of a session bound to memory (``IOBinding``)."""

    def bind_ortvalue_input(self, name: str, value: Value, /) -> None:
        """Read an input from there."""

    def bind_ortvalue_output(self, name: str, value: Value, /) -> None:
        """Write an output to there."""

    def bind_output(self, name: str, device: str, /) -> None:
        """Have an output allocated on a device in each run."""

    def get_outputs(self) -> Sequence[Value]:
        """Return the outputs of the last run, in the order in which they were bound."""

    def synchronize_outputs(self) -> None:
        """Wait until the outputs are complete."""

    def copy_outputs_to_cpu(self) -> "Sequence[np.ndarray]":
        """Return the outputs on the host."""


class SessionOptions(Protocol):
    """What a session is started with."""

    log_severity_level: int
    enable_profiling: bool
    profile_file_prefix: str
    optimized_model_filepath: str
    graph_optimization_level: object
    execution_mode: object
    enable_mem_pattern: bool
    intra_op_num_threads: int
    inter_op_num_threads: int

    def add_session_config_entry(self, key: str, value: str, /) -> None:
        """Set an entry."""

    def get_session_config_entry(self, key: str, /) -> str:
        """Return an entry; raise `RuntimeError` where it is not set."""

    def add_free_dimension_override_by_name(self, name: str, size: int, /) -> None:
        """Make an axis constant."""

    def add_provider_for_devices(
        self, devices: Sequence[Device], options: Mapping[str, str], /
    ) -> None:
        """Run on devices of a plugin."""


class Session(Recording, Protocol):
    """A network that is loaded (``InferenceSession``)."""

    def run(
        self, outputs: Sequence[str] | None, inputs: "Mapping[str, np.ndarray]", /
    ) -> "Sequence[np.ndarray]":
        """Run it, with copies from the host and to it."""

    def run_with_iobinding(self, binding: Binding, /) -> None:
        """Run it in memory that is bound."""

    def io_binding(self) -> Binding:
        """Return a binding without memory."""

    def get_inputs(self) -> Sequence[Argument]:
        """Return its inputs."""

    def get_outputs(self) -> Sequence[Argument]:
        """Return its outputs."""

    def get_providers(self) -> Sequence[str]:
        """Return its execution providers, by priority."""

    def get_provider_options(self) -> Mapping[str, Mapping[str, str]]:
        """Return the options of each, as far as they give them back."""

    def get_session_options(self) -> SessionOptions:
        """Return what it was started with."""

    def end_profiling(self) -> str:
        """End its profile; return the file."""
