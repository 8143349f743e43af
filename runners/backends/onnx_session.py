"""ONNX Runtime: an InferenceSession with its inputs and outputs bound once."""

import ctypes
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from greenbatch.errors import BackendUnavailable, PlacementError
from greenbatch.runners.backends import (
    TRIAL_SHAPE,
    Options,
    Setting,
    Task,
    check_trial,
    cuda_driver,
    find,
)

if TYPE_CHECKING:
    import numpy as np

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TF32 off, as in torch: fp32 means fp32 for every runtime of a study.
_OPTIONS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
_SPINNING = "session.intra_op.allow_spinning"
_TRIAL_IR, _TRIAL_OPSET = 8, 17  # old enough for every ONNX Runtime that greenbatch takes


class OnnxSession:
    """A session on one execution provider, proved to run there, reading and writing fixed buffers.

    The session's own initial graph assignment is the proof: ``placement`` counts its nodes by
    provider. Unless a fallback is allowed, ``session.disable_cpu_ep_fallback`` makes ONNX Runtime
    itself refuse a graph that would run partly on the CPU.

    Raises:
        PlacementError: The provider did not start, or left nodes to another one.
    """

    options: ClassVar[Options] = {}
    packages = ("onnxruntime",)

    def __init__(self, task: Task) -> None:
        import onnxruntime as ort

        spec = find(task.cell.backend)
        self._provider = _PROVIDERS[spec.provider]
        self._options = _session_options(ort, spec.provider, task.allow_fallback)
        self._options.intra_op_num_threads = task.threads
        self._session = _start(
            ort, str(task.artifact), task.artifact.name, self._options, spec.provider
        )
        self._placement = _count_nodes(self._session)
        if self.fell_back and not task.allow_fallback:
            raise PlacementError(_misplaced(task.artifact.name, self._provider, self._placement))
        self._bind(ort, task, "cpu" if task.cell.io == "host" else spec.device)

    def _bind(self, ort: Any, task: Task, device: str) -> None:
        first, result = self._session.get_inputs()[0], self._session.get_outputs()[0]
        dims = [int(dim) for dim in task.manifest.outputs[0].dims[1:]]
        self._input = ort.OrtValue.ortvalue_from_numpy(task.images, device, 0)
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(
            [len(task.images), *dims], task.images.dtype, device, 0
        )
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(first.name, self._input)
        self._binding.bind_ortvalue_output(result.name, self._output)
        self._waits = device != "cpu"

    def run(self) -> None:
        """Run the bound batch; ONNX Runtime returns when a host output is complete."""
        self._session.run_with_iobinding(self._binding)
        if self._waits:
            self._binding.synchronize_outputs()

    def outputs(self) -> "np.ndarray":
        """Return a copy of the last run's logits."""
        logits: np.ndarray = self._output.numpy().copy()
        return logits.reshape(len(logits), -1)  # a user's own may be (N, classes, 1, 1)

    @property
    def placement(self) -> Mapping[str, int]:
        """Nodes by execution provider, after ONNX Runtime's basic graph optimisations."""
        return self._placement

    @property
    def fell_back(self) -> bool:
        """Whether any node runs on another provider than the one asked for."""
        return set(self._placement) != {self._provider}

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Threads, spinning, optimisation level, provider options and version, as in force."""
        import onnxruntime as ort

        options = self._options
        in_force = self._session.get_provider_options().get(self._provider, {})
        return {
            "onnxruntime": ort.__version__,
            "threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "execution_mode": str(options.execution_mode).rpartition(".")[2],
            "graph_optimization": str(options.graph_optimization_level).rpartition(".")[2],
            "allow_spinning": options.get_session_config_entry(_SPINNING) == "1",
            "tf32": in_force.get("use_tf32", "0") == "1",
            **{f"provider.{key}": value for key, value in sorted(in_force.items())},
        }

    @staticmethod
    def unavailable(provider: str) -> str | None:
        """Say why the provider cannot run here."""
        import onnxruntime as ort

        if _PROVIDERS[provider] not in ort.get_available_providers():
            return (
                f"the installed onnxruntime {ort.__version__} was built without "
                f"{_PROVIDERS[provider]}; install onnxruntime-gpu[cuda,cudnn] in its place"
            )
        if provider == "cpu":
            return None
        if reason := cuda_driver.unavailable():
            return reason
        _load_libraries(ort)
        return unavailable_libraries(ort)

    @staticmethod
    def trial(provider: str) -> Mapping[str, int]:
        """Run a network of one convolution; no fallback is allowed."""
        import numpy as np
        import onnxruntime as ort

        options = _session_options(ort, provider, allow_fallback=False)
        session = _start(ort, _one_convolution(), "the trial's network", options, provider)
        placement = _count_nodes(session)
        if set(placement) != {_PROVIDERS[provider]}:
            raise PlacementError(_misplaced("the trial's network", _PROVIDERS[provider], placement))
        ones = np.ones(TRIAL_SHAPE, np.float32)
        (result,) = session.run(None, {"images": ones, "kernel": ones})
        check_trial(float(result.item()))
        return placement


def _session_options(ort: Any, provider: str, allow_fallback: bool) -> Any:
    options = ort.SessionOptions()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(_SPINNING, "1")  # ONNX Runtime's default, stated
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if provider != "cpu":
        _load_libraries(ort)
        if not allow_fallback:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def _start(ort: Any, network: str | bytes, name: str, options: Any, provider: str) -> Any:
    """Start a session for a file or a serialised network, called ``name`` in errors."""
    wanted = _PROVIDERS[provider]
    try:
        return ort.InferenceSession(network, options, providers=[(wanted, _OPTIONS[provider])])
    except Exception as error:
        if "fallback to CPU EP has been explicitly disabled" in str(error):
            cause = unavailable_libraries(ort) if "CUDA" in wanted else None
            raise PlacementError(
                f"{wanted} left nodes of {name} to the CPU"
                + (f" because {cause}" if cause else "")
                + "; pass --allow-fallback to measure the mixture and record it"
            ) from error
        raise


def _one_convolution() -> bytes:
    from onnx import TensorProto, helper

    def tensor(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "kernel"], ["result"])],
        "trial",
        [tensor("images", *TRIAL_SHAPE), tensor("kernel", *TRIAL_SHAPE)],
        [tensor("result", 1, 1, 1, 1)],
    )
    network = helper.make_model(
        graph, ir_version=_TRIAL_IR, opset_imports=[helper.make_opsetid("", _TRIAL_OPSET)]
    )
    serialised: bytes = network.SerializeToString()
    return serialised


def unavailable_libraries(ort: Any) -> str | None:
    """Say which shared library the CUDA provider lacks; ``None`` when it loads.

    ONNX Runtime itself only logs this and goes on with the CPU, so its provider library is loaded
    here by hand. Call `onnxruntime.preload_dlls` before.
    """
    capi = Path(ort.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(capi / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(capi / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return (
            f"its CUDA provider cannot be loaded ({error}); install the missing library, "
            "for CUDA's own by: pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return None


def _load_libraries(ort: Any) -> None:
    """Load CUDA and cuDNN from their wheels: the provider does not look there by itself."""
    if not hasattr(ort, "preload_dlls"):
        raise BackendUnavailable(
            f"onnxruntime {ort.__version__} has no preload_dlls; wanted 1.24 or later, upgrade it"
        )
    ort.preload_dlls()


def _count_nodes(session: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _misplaced(name: str, wanted: str, placement: Mapping[str, int]) -> str:
    found = ", ".join(f"{count} nodes on {provider}" for provider, count in placement.items())
    return (
        f"{name} was to run on {wanted} alone, but has {found or 'no nodes'}; "
        "pass --allow-fallback to measure the mixture and record it"
    )
