"""A module that looks like ``onnxruntime`` with NVIDIA's providers, and writes down what is asked.

It reads the network and reports its nodes by their own names, each as a subgraph of its own where
they alternate between providers, as the real one does. It computes nothing: a run copies the first
numbers of the input to the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NODES = ("conv", "relu", "shape", "first", "sizes", "flat", "count", "as_number", "scaled")
REFUSAL = (
    "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
    "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
)


def write_network(path: Path, bias: str | None = None) -> None:
    """Write a network that computes sizes: `NODES` in their order.

    Its convolution has no bias, or one of ``int32`` that a node ``bias`` dequantises.

    ``first`` and ``sizes`` make the sizes of a Reshape; ``count`` and ``as_number`` are whole
    numbers on their way into the logits.
    """
    kinds = ("Conv", "Relu", "Shape", "Slice", "Concat", "Reshape", "Gather", "Cast", "Mul")
    wiring = (
        (["images", "kernel"], "convolved"),
        (["convolved"], "positive"),
        (["positive"], "dims"),
        (["dims", "zero", "one"], "batch"),
        (["batch", "rest"], "wanted"),
        (["positive", "wanted"], "rows"),
        (["dims", "zero"], "images_in_all"),
        (["images_in_all"], "factor"),
        (["rows", "factor"], "logits"),
    )
    marks: dict[str, Any] = {"sizes": {"axis": 0}, "as_number": {"to": 1}}
    nodes = [
        helper.make_node(kind, inputs, [output], name=name, **marks.get(name, {}))
        for kind, name, (inputs, output) in zip(kinds, NODES, wiring, strict=True)
    ]
    constants = [numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "kernel")]
    if bias:
        constants.append(numpy_helper.from_array(np.zeros(1, bias), "quantised"))
        constants.append(numpy_helper.from_array(np.ones((), np.float32), "scale"))
        dequantised = helper.make_node("DequantizeLinear", ["quantised", "scale"], ["b"], "bias")
        nodes[0].input.append("b")
        nodes.insert(0, dequantised)
    numbers = {"zero": [0], "one": [1], "rest": [-1]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [
            *constants,
            *(numpy_helper.from_array(np.array(v, np.int64), n) for n, v in numbers.items()),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


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
        nowhere: Name of a node that no provider has a kernel for.
        elsewhere: Names of nodes that another provider takes, by its name.
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
    nowhere: str = ""
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
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
        session = Session(self, options, given.get("providers", []), _read(network))
        assert given["enable_fallback"] == 0, "the CPU would replace a provider that fails"
        self.sessions.append(session)
        asked = session.options_of_provider
        for key in asked if self.known is not None else ():
            if key not in (self.known or ()):
                raise RuntimeError(
                    f"parse_options.h:48 Parse(const Options&) Unknown option: {key}"
                )
        for node in session.graph.node:
            if node.name == self.nowhere:
                raise RuntimeError(
                    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
                    "transformer_memcpy.cc:253 !node_provider_type.empty() was false. Provider "
                    f"type for {node.op_type} node with name '{node.name}' is not set."
                )
        strict = options.entries.get("session.disable_cpu_ep_fallback") == "1"
        if strict and self.on_cpu:  # nodes that compute sizes are no exemption
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
    """An InferenceSession."""

    def __init__(
        self, ort: FakeOrt, options: Any, providers: Sequence[Any], graph: onnx.GraphProto
    ) -> None:
        self.ort, self.options, self.providers, self.graph = ort, options, providers, graph
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
        """Return the nodes of each provider, in parts where they alternate."""
        if self.options.entries.get("session.record_ep_graph_assignment_info") != "1":
            raise RuntimeError("Session options must enable the recording of EP assignment")
        where = dict.fromkeys(self.ort.on_cpu, "CPUExecutionProvider")
        where |= {n: ep for ep, names in self.ort.elsewhere.items() for n in names}
        unknown = where.keys() - {node.name for node in self.graph.node}
        assert not unknown, f"the graph has no nodes {unknown}"
        parts: list[tuple[str, list[Any]]] = []
        for node in self.graph.node:
            name = where.get(node.name, self.name)
            if not parts or parts[-1][0] != name:
                parts.append((name, []))
            parts[-1][1].append(
                SimpleNamespace(name=node.name, op_type=node.op_type, domain=node.domain)
            )
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: nodes)
            for name, nodes in parts
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

    def get_outputs(self) -> list[Value]:
        """Return the only one."""
        return [self.bound["logits"]]

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """Copy to the host."""
        self.ort.log.append("to cpu")
        return [self.bound["logits"].array.copy()]


def _read(network: Any) -> onnx.GraphProto:
    if isinstance(network, bytes):
        return onnx.load_model_from_string(network).graph
    if not Path(network).exists():
        raise RuntimeError(f"[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model {network} failed")
    return onnx.load(network).graph


def _forward(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)[:, :4]
