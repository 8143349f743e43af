"""A module that looks like ``onnxruntime`` with NVIDIA's providers, and writes down what is asked.

It computes nothing: a run copies the first numbers of the input to the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

NODES = ("node_a", "node_b", "node_c", "node_d", "node_e")
REFUSAL = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
    "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
)


class SessionOptions:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.devices: list[tuple[list[Any], dict[str, str]]] = []
        self.graph_optimization_level = "GraphOptimizationLevel.ORT_ENABLE_ALL"
        self.execution_mode = "ExecutionMode.ORT_SEQUENTIAL"
        self.enable_mem_pattern = True

    def add_session_config_entry(self, key: str, text: str) -> None:
        """Set an entry."""
        self.entries[key] = text

    def get_session_config_entry(self, key: str) -> str:
        """Return an entry that was set."""
        if key not in self.entries:
            raise RuntimeError(f"SessionOptions does not have configuration with key: {key}")
        return self.entries[key]

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        """Choose a plugin's devices."""
        self.devices.append((devices, options))


@dataclass
class FakeOrt:
    """The module.

    Attributes:
        available: Providers that it was built with.
        on_cpu: Names of nodes that the asked provider leaves to the CPU.
        refuses: Whether it refuses nodes on the CPU when it is asked to.
        known: Options that providers take; all others are refused as CUDA's provider does.
        plugin_devices: What a registered plugin finds.
        log: What was asked, in order.
        plans: Batch sizes for which convolutions were planned, in order: as on CUDA, whenever the
            shape is another than in a session's last run.
        ran: Batch sizes that ran, in order.
    """

    available: Sequence[str] = (
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    )
    on_cpu: Sequence[str] = ()
    refuses: bool = True
    known: Sequence[str] | None = None
    plugin_devices: Sequence[Any] = ()
    log: list[Any] = field(default_factory=list)
    sessions: list["Session"] = field(default_factory=list)
    plans: list[int] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)
    __version__ = "9.9.9"
    __file__ = "/nowhere/onnxruntime/__init__.py"
    SessionOptions = SessionOptions
    ExecutionMode = SimpleNamespace(ORT_PARALLEL="ExecutionMode.ORT_PARALLEL")

    def __post_init__(self) -> None:
        self.OrtValue = SimpleNamespace(
            ortvalue_from_numpy=lambda array, device, _: Value(self, array.copy(), device),
            ortvalue_from_shape_and_type=lambda shape, dtype, device, _: Value(
                self, np.zeros(shape, dtype), device
            ),
        )
        self.registered: list[tuple[str, str]] = []

    def get_available_providers(self) -> list[str]:
        """Return what it was built with."""
        return list(self.available)

    def preload_dlls(self) -> None:
        """Write down that it was called."""
        self.log.append("preload")

    def register_execution_provider_library(self, name: str, path: str) -> None:
        """Take a plugin."""
        self.registered.append((name, path))

    def get_ep_devices(self) -> list[Any]:
        """Return the plugin's devices once it is registered."""
        return list(self.plugin_devices) if self.registered else []

    def InferenceSession(  # noqa: N802
        self, network: Any, options: Any, **given: Any
    ) -> "Session":
        """Start a session as ONNX Runtime does."""
        self.log.append("session")
        session = Session(self, options, given.get("providers", []))
        assert given["enable_fallback"] == 0, "the CPU would replace a provider that fails"
        self.sessions.append(session)
        asked = session.options_of_provider
        for key in asked if self.known is not None else ():
            if key not in (self.known or ()):
                raise RuntimeError(
                    f"parse_options.h:48 Parse(const Options&) Unknown option: {key}"
                )
        strict = options.entries.get("session.disable_cpu_ep_fallback") == "1"
        if strict and self.on_cpu and self.refuses:
            raise RuntimeError(REFUSAL)
        return session


class Value:
    """An OrtValue that knows where it is."""

    def __init__(self, ort: FakeOrt, array: np.ndarray, device: str) -> None:
        self.ort, self.array, self.device = ort, array, device

    def update_inplace(self, array: np.ndarray) -> None:
        """Copy from the host."""
        self.ort.log.append(f"to {self.device}")
        self.array[...] = array

    def numpy(self) -> np.ndarray:
        """Return what it holds."""
        return self.array


class Session:
    """An InferenceSession whose graph is a chain of five nodes."""

    def __init__(self, ort: FakeOrt, options: Any, providers: Sequence[Any]) -> None:
        self.ort, self.options, self.providers = ort, options, providers
        self.name = providers[0][0] if providers else options.devices[0][0][0].ep_name
        self.options_of_provider: Mapping[str, str] = (
            providers[0][1] if providers else options.devices[0][1]
        )
        self.bound: dict[str, Value] = {}
        self.last_shape: tuple[int, ...] = ()

    def get_providers(self) -> list[str]:
        """Return those that started."""
        return [self.name, "CPUExecutionProvider"]

    def get_provider_options(self) -> dict[str, Mapping[str, str]]:
        """Return them by provider."""
        return {self.name: self.options_of_provider}

    def get_session_options(self) -> Any:
        """Return what it was started with."""
        return self.options

    def get_inputs(self) -> list[Any]:
        """Return the only one."""
        return [SimpleNamespace(name="images")]

    def get_outputs(self) -> list[Any]:
        """Return the only one."""
        return [SimpleNamespace(name="logits")]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        """Return the nodes of each provider."""
        parts: dict[str, list[Any]] = {}
        for node in NODES:
            where = "CPUExecutionProvider" if node in self.ort.on_cpu else self.name
            parts.setdefault(where, []).append(
                SimpleNamespace(name=node, op_type="Conv", domain="")
            )
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: nodes)
            for name, nodes in parts.items()
        ]

    def io_binding(self) -> "Binding":
        """Return a binding without memory."""
        binding = Binding(self.ort)
        self.bound = binding.bound
        return binding

    def run_with_iobinding(self, binding: "Binding") -> None:
        """Copy the first numbers of each image."""
        self.ort.log.append("run")
        images = binding.bound["images"].array
        self._plan(images.shape)
        binding.bound["logits"].array[...] = _forward(images)

    def _plan(self, shape: tuple[int, ...]) -> None:
        self.ort.ran.append(shape[0])
        if shape != self.last_shape and self.name != "CPUExecutionProvider":
            self.ort.plans.append(shape[0])
        self.last_shape = shape

    def run(self, names: list[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Do the same with copies of its own."""
        self.ort.log.append("run with copies")
        self._plan(feeds["images"].shape)
        return [_forward(feeds["images"])]


class Binding:
    """An IOBinding; a session can have several, with memory of other sizes."""

    def __init__(self, ort: FakeOrt) -> None:
        self.ort = ort
        self.bound: dict[str, Value] = {}

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        """Bind an input; one in host memory would be copied now and never again."""
        self.bound[name] = value

    bind_ortvalue_output = bind_ortvalue_input

    def synchronize_outputs(self) -> None:
        """Write down that it was called."""
        self.ort.log.append("wait")

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """Copy to the host."""
        self.ort.log.append("to cpu")
        return [self.bound["logits"].array.copy()]


def _forward(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)[:, :4]
