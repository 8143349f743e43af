"""OpenVINO's own runtime: a model compiled for one device and one batch size."""

import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from greenbatch.errors import PlacementError, StudyError, UnsupportedCell
from greenbatch.runners.backends import (
    TRIAL_SHAPE,
    Option,
    Options,
    Setting,
    Task,
    check_trial,
    find,
)

if TYPE_CHECKING:
    import numpy as np

# `import openvino` reports its use to Intel through this package, if it is there. Without it,
# openvino takes a stub of its own.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

_PREFIX = "property."
_HINT = "INFERENCE_PRECISION_HINT"
# By itself, OpenVINO computes an fp32 model in bf16 where the CPU has instructions for it. What is
# not quantised in an int8 model is fp32, as in ONNX Runtime.
_LOWER = {"fp16": "f16", "bf16": "bf16"}
_TYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
_LAYOUTS = {"abcd": "channels_first", "acdb": "channels_last"}  # of oneDNN's tags
_MULTIPLYING = {"convolution", "groupconvolution", "fullyconnected", "fully_connected", "matmul"}
_NOT_RUN = {"const", "input", "output"}
_HINT_CHOICES = ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")
_CORE_CHOICES = ("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY")


class _RuntimeInfo(Protocol):
    value: object


class _Node(Protocol):
    def get_rt_info(self) -> Mapping[str, _RuntimeInfo]:
        """Return what OpenVINO knows of it."""


class _Model(Protocol):
    """What is used of ``openvino.Model``."""

    def input(self, name: str, /) -> Hashable:
        """Return an input."""

    def reshape(self, shapes: "Mapping[Hashable, list[int]]", /) -> None:
        """Fix shapes of inputs."""

    def get_ops(self) -> "list[_Node]":
        """Return its nodes."""


class _Tensor(Protocol):
    data: "np.ndarray"


class _InferRequest(Protocol):
    """What is used of ``openvino.InferRequest``."""

    def set_tensor(self, name: str, tensor: object, /) -> None:
        """Read an input from there."""

    def get_output_tensor(self, index: int, /) -> _Tensor:
        """Return where an output is written."""

    def infer(self, inputs: None, *, share_inputs: bool, share_outputs: bool) -> object:
        """Run it and wait."""


class _Compiled(Protocol):
    """What is used of ``openvino.CompiledModel``."""

    def create_infer_request(self) -> _InferRequest:
        """Make a request."""

    def get_property(self, name: str, /) -> Any:
        """Return a property; its type depends on the name."""

    def get_runtime_model(self) -> _Model:
        """Return the graph as it is executed."""


class _Core(Protocol):
    """What is used of ``openvino.Core``."""

    def read_model(self, path: Path, /) -> _Model:
        """Read an artifact."""

    def get_property(self, device: str, name: str, /) -> Any:
        """Return a property of a device; its type depends on the name."""

    def compile_model(
        self, model: _Model, device: str, properties: Mapping[str, Setting], /
    ) -> _Compiled:
        """Compile a model for a device."""


class OpenvinoModel:
    """An artifact compiled by OpenVINO, with one infer request that reads and writes in place.

    The batch is fixed before compiling: kernels are chosen for it, at load rather than in the first
    run, and an NPU takes no other. One request holds one batch, so that a latency is that of a
    batch from submit to result; streams beyond the first have nothing to do.

    Raises:
        PlacementError: It was compiled for another device than requested.
        StudyError: OpenVINO has no such property, or not with such a value.
        UnsupportedCell: OpenVINO cannot read the artifact, keep to a setting, or leave tensors on
            the device.
    """

    options: ClassVar[Options] = {
        "inference_num_threads": Option("threads; the study's, with 0 OpenVINO's choice", "count"),
        "performance_hint": Option(
            "what streams and threads are chosen for; LATENCY", "choice", _HINT_CHOICES
        ),
        "num_streams": Option("requests that may run at a time; by the hint", "count"),
        "enable_cpu_pinning": Option("bind threads to cores; OpenVINO's choice", "flag"),
        "enable_hyper_threading": Option("use both threads of a core; OpenVINO's choice", "flag"),
        "scheduling_core_type": Option(
            "which cores of a hybrid CPU; ANY_CORE", "choice", _CORE_CHOICES
        ),
        _PREFIX: Option("any other property, by OpenVINO's name for it"),
    }
    packages = ("openvino",)
    preloads = packages  # without openvino_telemetry it starts no thread

    def __init__(self, task: Task) -> None:
        import openvino

        self._device = find(task.cell.backend).provider.upper()
        if self._device != "CPU" and task.cell.io == "device":
            raise UnsupportedCell(
                f"{task.cell.backend} measures with inputs and outputs on the host only; "
                "leave --io device out"
            )
        core = openvino.Core()
        model = _read(core, task)
        inputs = task.inputs()
        model.reshape({model.input(name): list(value.shape) for name, value in inputs.items()})
        self._compiled = _compile(core, model, self._device, _properties(core, self._device, task))
        _check_kept(self._compiled, task)
        nodes = list(_nodes(self._compiled))
        self._placement = _place(self._compiled, self._device, len(nodes))
        self._products = Counter(kind for kind, _ in _products(nodes))
        self._layouts = Counter(layout for _, layout in _products(nodes))

        self._images = task.images  # keeps the memory that the request reads
        self._names = [output.name for output in task.manifest.outputs]
        self._request = self._compiled.create_infer_request()
        self._tensors = {
            name: openvino.Tensor(value, shared_memory=True) for name, value in inputs.items()
        }
        for name, tensor in self._tensors.items():
            self._request.set_tensor(name, tensor)
        self._infer = self._request.infer

    def feed(self, images: "np.ndarray") -> None:
        """Copy images to the memory that the request reads."""
        self._images[...] = images

    def run(self) -> None:
        """Run the request and wait for it; nothing is passed, copied or converted."""
        self._infer(None, share_inputs=True, share_outputs=True)

    def outputs(self) -> "dict[str, np.ndarray]":
        """Return copies of the last run's outputs."""
        return {
            name: self._request.get_output_tensor(place).data.copy()
            for place, name in enumerate(self._names)
        }

    @property
    def placement(self) -> Mapping[str, int]:
        """Nodes of the compiled model, constants not counted, by the device that executes it."""
        return self._placement

    @property
    def fell_back(self) -> bool:
        """One device is requested by name, and it takes the whole model or refuses it."""
        return False

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Threads of a request, types and layouts of the products, and all effective properties.

        OpenVINO's threads are oneTBB's or OpenMP's; how long they spin is not reported.
        """
        import openvino

        in_force = _in_force(self._compiled)
        threads, streams = in_force.get("INFERENCE_NUM_THREADS"), in_force.get("NUM_STREAMS")
        return {
            "openvino": openvino.get_version(),
            "threads": _threads_of_request(threads, streams),
            "inter_op_threads": 1,  # a request's nodes run one after the other
            "spinning": None,
            "arithmetic": _commonest(self._products) or _hinted_type(in_force.get(_HINT)),
            "layout": _commonest(self._layouts),
            "graph_capture": "none",
            "autotuning": "none",
            "optimization": f"at compile time, mode {in_force.get('EXECUTION_MODE_HINT')}",
            "products": ", ".join(f"{n} in {kind}" for kind, n in self._products.most_common()),
            **{f"{_PREFIX}{name}": value for name, value in sorted(in_force.items())},
        }

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why the device cannot be used here."""
        try:
            import openvino
        except ImportError as error:
            return (
                f"the package openvino cannot be imported ({error}); install it by: "
                "pip install 'greenbatch[openvino]'"
            )
        found = openvino.Core().available_devices
        if any(_kind(name) == provider.upper() for name in found):
            return None
        return (
            f"OpenVINO {openvino.get_version()} finds no {provider.upper()} here, only "
            f"{', '.join(found) or 'nothing'}; install Intel's driver for it, or measure "
            "openvino-cpu"
        )

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Run a network of one convolution on the device."""
        import numpy as np
        import openvino
        from openvino import opset13 as ops

        images = ops.parameter(TRIAL_SHAPE, openvino.Type.f32)
        kernel = ops.constant(np.ones(TRIAL_SHAPE, np.float32))
        result = ops.convolution(images, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        model = openvino.Model([result], [images], "trial")
        device = provider.upper()
        compiled = openvino.Core().compile_model(model, device, {_HINT: "f32"})
        placement = _place(compiled, device, sum(1 for _ in _nodes(compiled)))
        check_trial(float(compiled([np.ones(TRIAL_SHAPE, np.float32)])[0].item()))
        return placement


def _read(core: _Core, task: Task) -> _Model:
    try:
        return core.read_model(task.artifact)
    except RuntimeError as error:
        if "OpConversionFailure" not in str(error):
            raise
        raise UnsupportedCell(
            f"OpenVINO cannot read {task.artifact.name}: {_cause(error)}; "
            "measure it with --runtime onnxruntime"
        ) from error


def _properties(core: _Core, device: str, task: Task) -> dict[str, Setting]:
    """Return what to compile with: this program's defaults, then what was set."""
    precision = task.cell.precision
    # Asked for a type that the device lacks, OpenVINO takes a coarser one: bf16 for f16.
    able = precision.upper() in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    properties: dict[str, Setting] = {
        "PERFORMANCE_HINT": "LATENCY",
        _HINT: _LOWER.get(precision, "f32") if able else "f32",
    }
    if device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = task.threads
    if task.cache is not None:
        properties["CACHE_DIR"] = str(task.cache)
    return properties | {
        name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else name.upper(): value
        for name, value in task.settings.items()
    }


def _compile(
    core: _Core, model: _Model, device: str, properties: Mapping[str, Setting]
) -> _Compiled:
    try:
        return core.compile_model(model, device, properties)
    except RuntimeError as error:
        if "property" not in str(error):
            raise
        raise StudyError(
            f"OpenVINO takes no such property: {_cause(error)}; "
            "see docs.openvino.ai for those of the device"
        ) from error


def _check_kept(compiled: _Compiled, task: Task) -> None:
    """Check the effective settings against the requested: OpenVINO corrects some silently."""
    in_force = _in_force(compiled)
    for name, wanted in task.settings.items():
        if name.startswith(_PREFIX) or (wanted == 0 and name == "inference_num_threads"):
            continue
        if (got := in_force.get(name.upper())) != wanted:
            raise UnsupportedCell(
                f"{task.cell.backend}.{name} was set to {wanted}, and OpenVINO made it {got}; "
                "this machine has no other, leave the setting out"
            )


def _place(compiled: _Compiled, device: str, nodes: int) -> dict[str, int]:
    devices = compiled.get_property("EXECUTION_DEVICES")
    if {_kind(name) for name in devices} != {device}:
        raise PlacementError(
            f"the model was to run on {device} alone, but OpenVINO executes it on "
            f"{', '.join(devices) or 'nothing'}; measure the backend of that device"
        )
    return {"+".join(devices): nodes}


def _kind(device: str) -> str:
    """Return ``GPU`` for ``GPU.1``, and for ``(GPU)``, as a device still being compiled for is."""
    return device.strip("()").partition(".")[0]


def _nodes(compiled: _Compiled) -> Iterator[Mapping[str, str]]:
    """Return what OpenVINO reports of each node that it executes."""
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        node = {
            key: str(info[key].value)
            for key in ("layerType", "runtimePrecision", "outputLayouts")
            if key in info
        }
        if node and node.get("layerType", "").lower() not in _NOT_RUN:
            yield node


def _products(nodes: list[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Give the type and the layout of each node that multiplies."""
    for node in nodes:
        if node.get("layerType", "").lower() in _MULTIPLYING:
            kind = node.get("runtimePrecision", "not reported")
            layout = node.get("outputLayouts", "not reported").partition(",")[0]
            yield _TYPES.get(kind, kind), _LAYOUTS.get(layout, layout)


def _commonest(counts: "Counter[str]") -> str | None:
    return counts.most_common(1)[0][0] if counts else None


def _hinted_type(hint: Setting) -> str | None:
    return _TYPES.get(str(hint)) if hint is not None else None


def _threads_of_request(threads: Setting, streams: Setting) -> int | None:
    """Return how many threads a request can use: streams share them evenly."""
    if not isinstance(threads, int):
        return None
    return max(1, threads // streams) if isinstance(streams, int) and streams else threads


def _in_force(compiled: _Compiled) -> dict[str, Setting]:
    names = set(compiled.get_property("SUPPORTED_PROPERTIES"))
    return {
        str(name): _plain(compiled.get_property(name))
        for name in names - {"SUPPORTED_PROPERTIES", "NETWORK_NAME"}
    }


def _plain(value: object) -> Setting:
    if isinstance(value, str | int | float | bool) and not isinstance(value, Enum):
        return value
    if hasattr(value, "name"):  # members of OpenVINO's own enumerations
        return str(value.name)
    if hasattr(value, "get_type_name"):  # an element type, such as f32
        return str(value.get_type_name())
    if isinstance(value, list | tuple | set):
        return ", ".join(sorted(map(str, value))) or "none"
    return str(value)


def _cause(error: Exception) -> str:
    """Return OpenVINO's message without where in its sources it was raised."""
    lines = (line.strip(" -") for line in str(error).splitlines())
    noise = ("Exception from", "Check ", "FrontEnd API", "Summary:", "Model wasn't")
    return " ".join(line for line in lines if line and not line.startswith(noise)).rstrip(".")
