"""The execution providers of ONNX Runtime: what each is called, needs and is set to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARENA = "arena_extend_strategy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One execution provider; a backend is called ``onnxruntime-`` and its name.

    Attributes:
        name: In a backend's name and after ``--provider``.
        execution_provider: ONNX Runtime's name for it.
        device: Where it computes; ``soc``: on the parts of a chip that it chooses itself.
        install: The packages that have it, as ``pip install`` takes them, or how to build it.
        systems: Where these packages exist (as in `sys.platform`); empty: there are none.
        plugin: The module of a package that adds it to any ONNX Runtime, if there is one.
        memory: Where it reads inputs and writes outputs: ``cpu`` or ``cuda``. ``None``: in memory
            of its own, to and from which ONNX Runtime copies in each run.
        options: What is set unless the user sets it.
        of_precision: What is set besides for a precision.
        graph_option: Captures a CUDA graph when it is 1.
        threads_option: Takes the number of threads, where they are not ONNX Runtime's own.
        cache_options: Keep what it compiles, in the folder put for ``{cache}``.
        shape_options: Take the smallest, best and largest shapes of the input that it compiles for.
    """

    name: str
    execution_provider: str
    device: str
    install: str
    systems: tuple[str, ...] = ("linux", "win32")
    plugin: str | None = None
    memory: str | None = "cpu"
    options: Mapping[str, str] = field(default_factory=dict)
    of_precision: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    graph_option: str | None = None
    threads_option: str | None = None
    cache_options: Mapping[str, str] = field(default_factory=dict)
    shape_options: tuple[str, ...] = ()

    def defaults(self, precision: str, threads: int, cache: Path | None) -> dict[str, str]:
        """Return the options that are set unless the user sets them."""
        options = {**self.options, **self.of_precision.get(precision, {})}
        if self.threads_option and threads:
            options[self.threads_option] = str(threads)
        if cache is not None:
            options |= {key: text.format(cache=cache) for key, text in self.cache_options.items()}
        return options


_CUDA = {
    # cuDNN's heuristic chooses, as it does in torch; nothing is timed. See `settings`.
    "cudnn_conv_algo_search": "HEURISTIC",
    # The arena would double with each extension, and the reported memory must be what is needed.
    ARENA: "kSameAsRequested",
}

# As in torch: fp32 means fp32 for every runtime of a study. int8 is multiplied in fp32, see
# `settings`. Of fp16 and bf16 it would take away the tensor cores: ONNX Runtime then deselects all
# of cuDNN's plans that use them, whatever the type.
_WITHOUT_TF32 = {"use_tf32": "0"}

_ALL = (
    Provider(
        name="cpu",
        execution_provider="CPUExecutionProvider",
        device="cpu",
        install="onnxruntime",
        systems=("linux", "win32", "darwin"),
    ),
    Provider(
        name="cuda",
        execution_provider="CUDAExecutionProvider",
        device="cuda",
        install="onnxruntime-gpu[cuda,cudnn]",
        memory="cuda",
        options=_CUDA,
        of_precision={"fp32": _WITHOUT_TF32, "int8": _WITHOUT_TF32},
        graph_option="enable_cuda_graph",
    ),
    Provider(
        name="tensorrt",
        execution_provider="TensorrtExecutionProvider",
        device="cuda",
        install="onnxruntime-gpu[cuda,cudnn] tensorrt-cu13>=10,<11",
        memory="cuda",
        of_precision={
            precision: {f"trt_{precision}_enable": "1"} for precision in ("fp16", "bf16", "int8")
        },
        graph_option="trt_cuda_graph_enable",
        cache_options={
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": "{cache}",
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": "{cache}",
        },
        shape_options=tuple(f"trt_profile_{end}_shapes" for end in ("min", "opt", "max")),
    ),
    Provider(
        name="tensorrt-rtx",
        execution_provider="NvTensorRTRTXExecutionProvider",
        device="cuda",
        install="onnxruntime onnxruntime-ep-nv-tensorrt-rtx",
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
        memory=None,
        cache_options={"nv_runtime_cache_path": "{cache}"},
        shape_options=tuple(f"nv_profile_{end}_shapes" for end in ("min", "opt", "max")),
    ),
    Provider(
        name="openvino",
        execution_provider="OpenVINOExecutionProvider",
        device="cpu",
        install="onnxruntime-openvino",
        options={"device_type": "CPU", "precision": "ACCURACY"},
        threads_option="num_of_threads",
        cache_options={"cache_dir": "{cache}"},
    ),
    Provider(
        name="dnnl",
        execution_provider="DnnlExecutionProvider",
        device="cpu",
        install="an ONNX Runtime that was built with --use_dnnl",
        systems=(),
    ),
    Provider(
        name="xnnpack",
        execution_provider="XnnpackExecutionProvider",
        device="cpu",
        install="an ONNX Runtime that was built with --use_xnnpack",
        systems=(),
        threads_option="intra_op_num_threads",
    ),
    Provider(
        name="dml",
        execution_provider="DmlExecutionProvider",
        device="gpu",
        install="onnxruntime-directml",
        systems=("win32",),
        memory=None,
    ),
    Provider(
        name="webgpu",
        execution_provider="WebGpuExecutionProvider",
        device="gpu",
        install="onnxruntime onnxruntime-ep-webgpu",
        systems=("linux", "win32", "darwin"),
        plugin="onnxruntime_ep_webgpu",
        memory=None,
    ),
    Provider(
        name="migraphx",
        execution_provider="MIGraphXExecutionProvider",
        device="gpu",
        install="onnxruntime-migraphx",
        systems=("linux",),
        memory=None,
    ),
    Provider(
        name="coreml",
        execution_provider="CoreMLExecutionProvider",
        device="soc",
        install="onnxruntime",
        systems=("darwin",),
        options={"ModelFormat": "MLProgram"},
        cache_options={"ModelCacheDirectory": "{cache}"},
    ),
    Provider(
        name="qnn",
        execution_provider="QNNExecutionProvider",
        device="npu",
        install="onnxruntime onnxruntime-qnn",
        plugin="onnxruntime_qnn",
    ),
    Provider(
        name="vitisai",
        execution_provider="VitisAIExecutionProvider",
        device="npu",
        install="the ONNX Runtime of AMD's Ryzen AI software",
        systems=(),
    ),
    Provider(
        name="cann",
        execution_provider="CANNExecutionProvider",
        device="npu",
        install="onnxruntime-cann",
        systems=("linux",),
        memory=None,
    ),
)

PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _ALL}
"""By name. Not in it: providers of phones and browsers, which no Python package has, and ROCm's,
whose last ONNX Runtime (1.22) does not report where its nodes run."""
