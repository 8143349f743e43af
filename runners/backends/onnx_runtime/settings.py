"""Settings of a session of ONNX Runtime: its defaults, the user's and the effective ones."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from greenbatch.errors import StudyError
from greenbatch.models.onnx_session import BIAS_QUANTISING, CRASHING, LEFT_OUT
from greenbatch.runners.backends import tf32
from greenbatch.runners.backends.onnx_runtime.interface import SessionOptions
from greenbatch.runners.backends.onnx_runtime.providers import ARENA, Provider
from greenbatch.runners.backends.options import Option, Options, Setting

OPTIONS: Options = {
    "intra_op_num_threads": Option("threads inside an operator; the study's --threads", "count"),
    "inter_op_num_threads": Option(
        "operators at a time, if execution_mode is parallel; 1", "count"
    ),
    "allow_spinning": Option("threads spin while they wait for work; 1", "flag"),
    "graph_optimization_level": Option(
        "how far the graph is optimised; all",
        "choice",
        ("disable", "basic", "extended", "layout", "all"),
    ),
    "execution_mode": Option(
        "operators one after another or side by side; sequential",
        "choice",
        ("sequential", "parallel"),
    ),
    "dynamic_block_base": Option("parts into which a thread's share of work is cut; off", "count"),
    "set_denormal_as_zero": Option("count numbers too small for full precision as 0; 0", "flag"),
    "enable_mem_pattern": Option(
        "one block of memory for a run's tensors, planned in the first run; 1, on cuda 0", "flag"
    ),
    "enable_cuda_graph": Option("replay one CUDA graph, on cuda and tensorrt; 0", "flag"),
    "provider.": Option("an option of the execution provider, in its own words"),
}

_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")

# What cudnn_conv_algo_search means. From 1.20 on cuDNN's frontend builds the plan that a heuristic
# puts first, and nothing is timed (microsoft/onnxruntime#19470, #22705).
_CUDNN_FRONTEND = (1, 20)
_SEARCHES = {
    "EXHAUSTIVE": "none: cuDNN's heuristic, mode B",
    "HEURISTIC": "none: cuDNN's heuristic, mode A",
    "DEFAULT": "none: cuDNN's fallback",
}
_SEARCHES_BEFORE = {
    "EXHAUSTIVE": "cuDNN's algorithms, in the warm-up",
    "HEURISTIC": "none: cuDNN's heuristic",
    "DEFAULT": "none: implicit GEMM",
}


def session_options(
    ort: ModuleType,
    *,
    precision: str,
    threads: int,
    settings: Mapping[str, Setting],
    may_run_on_cpu: bool,
    plans_memory: bool = True,
) -> SessionOptions:
    """Return the ``SessionOptions`` for a cell.

    Args:
        ort: The module ``onnxruntime``.
        precision: Of the artifact.
        threads: Inside an operator; 0: ONNX Runtime's own choice.
        settings: Checked against `OPTIONS`.
        may_run_on_cpu: Whether ONNX Runtime's own kernels on the CPU may get nodes.
        plans_memory: Whether the memory of a run is one block unless the user sets it. On a GPU its
            arena would keep both what the first run took, tensor by tensor, and the block.

    Raises:
        StudyError: The installed ONNX Runtime has not that level of optimisation.
    """
    options: SessionOptions = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = int(settings.get("inter_op_num_threads", 1) or 0)
    if "graph_optimization_level" in settings:
        level = str(settings["graph_optimization_level"])
        if not hasattr(ort.GraphOptimizationLevel, _LEVELS[level]):
            raise StudyError(
                f"graph_optimization_level is {level!r}, which onnxruntime {ort.__version__} does "
                "not know; choose another or upgrade it"
            )
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    options.enable_mem_pattern = bool(settings.get("enable_mem_pattern", plans_memory))
    if settings.get("execution_mode") == "parallel":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    entries = dict.fromkeys(_SPINNING, "1" if settings.get("allow_spinning", True) else "0")
    entries["session.record_ep_graph_assignment_info"] = "1"
    if "dynamic_block_base" in settings:
        entries["session.dynamic_block_base"] = str(settings["dynamic_block_base"])
    if settings.get("set_denormal_as_zero"):
        entries["session.set_denormal_as_zero"] = "1"
    if precision == "fp16" and may_run_on_cpu:
        entries[LEFT_OUT] = CRASHING
    if precision == "int8" and not may_run_on_cpu:
        entries[LEFT_OUT] = BIAS_QUANTISING
    for key, text in entries.items():
        options.add_session_config_entry(key, text)
    return options


def provider_options(
    provider: Provider,
    *,
    precision: str,
    threads: int,
    settings: Mapping[str, Setting],
    cache: Path | None,
    shape: str,
) -> dict[str, str]:
    """Return the provider's options: a user's ``provider.`` ones win over all others.

    Args:
        provider: The session's.
        precision: Of the artifact.
        threads: Inside an operator.
        settings: Checked against `OPTIONS`.
        cache: See `greenbatch.runners.backends.Task`.
        shape: The input and its only shape, in TensorRT's words: ``images:4x3x224x224``.

    Raises:
        StudyError: A CUDA graph, or any option, is set on a provider that has none.
    """
    options = provider.defaults(precision, threads, cache)
    if settings.get("enable_cuda_graph"):
        if provider.graph_option is None:
            raise StudyError(
                f"enable_cuda_graph is set on onnxruntime-{provider.name}, which has no CUDA "
                "graphs; set it on onnxruntime-cuda or onnxruntime-tensorrt"
            )
        options[provider.graph_option] = "1"
    requested = provider_settings(settings)
    if requested and provider.name == "cpu":  # ONNX Runtime itself would say nothing
        raise StudyError(
            f"{provider.execution_provider} has no options, but {', '.join(requested)} is set; "
            "leave it out"
        )
    if not any(name in requested for name in provider.shape_options):  # a user's go together
        options |= dict.fromkeys(provider.shape_options, shape)
    options |= requested
    if captures_graph(provider, options) and ARENA in options and ARENA not in requested:
        # A capture must not allocate: an arena that grows by the requested size has nothing left.
        options[ARENA] = "kNextPowerOfTwo"
    return options


def provider_settings(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Return the user's ``provider.`` settings by the provider's own names."""
    return {
        name.partition(".")[2]: str(text)
        for name, text in settings.items()
        if name.startswith("provider.")
    }


def captures_graph(provider: Provider, options: Mapping[str, str]) -> bool:
    """Whether these options of the provider make it capture a CUDA graph."""
    return provider.graph_option is not None and _on(options.get(provider.graph_option))


def in_force(
    ort: ModuleType,
    provider: Provider,
    precision: str,
    options: SessionOptions,
    of_provider: Mapping[str, str],
) -> dict[str, Setting]:
    """Return the fairness factors of a session, and what is special to ONNX Runtime.

    Args:
        ort: The module ``onnxruntime``.
        provider: The session's.
        precision: Of the artifact.
        options: The session's, as it gives them back.
        of_provider: The provider's, as the session gives them back where it does.
    """
    level = str(options.graph_optimization_level).rpartition(".")[2]
    parallel = options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    left_out = _entry(options, LEFT_OUT)
    # 0 threads: it chooses, and does not report how many.
    threads: int | None = options.intra_op_num_threads or None
    beside: int | None = (options.inter_op_num_threads or None) if parallel else 1
    spinning: Setting = _entry(options, _SPINNING[0]) == "1" if threads != 1 else "none"
    if provider.threads_option:  # a pool of its own, which reports no more than its size
        size = of_provider.get(provider.threads_option, "")
        threads, beside, spinning = int(size) if size.isdecimal() else None, None, None
    return {
        "onnxruntime": ort.__version__,
        "threads": threads,
        "inter_op_threads": beside,
        "spinning": spinning,
        "arithmetic": _arithmetic(provider, precision, of_provider),
        "layout": _layout(provider, level, of_provider),
        "graph_capture": captures_graph(provider, of_provider) if provider.graph_option else "none",
        "autotuning": _autotuning(provider, of_provider, ort.__version__),
        "optimization": level + (f" without {left_out}" if left_out else ""),
        "execution_mode": "parallel" if parallel else "sequential",
        "dynamic_block_base": _entry(options, "session.dynamic_block_base"),
        "memory_pattern": options.enable_mem_pattern,
        "denormal_as_zero": _entry(options, "session.set_denormal_as_zero") == "1",
        **({tf32.OVERRIDE: os.environ.get(tf32.OVERRIDE)} if provider.device == "cuda" else {}),
        **{
            f"provider.{key}": text
            for key, text in sorted(of_provider.items())
            if "{cache}" not in provider.cache_options.get(key, "")  # a path, other in each cell
        },
    }


def _arithmetic(provider: Provider, precision: str, options: Mapping[str, str]) -> str | None:
    if provider.name == "cuda":
        if precision in ("fp16", "bf16"):
            return precision
        # It has no int8 kernels for QDQ graphs: what is quantised is dequantised and multiplied.
        if tf32.reserved():
            return None
        if tf32.forbidden():
            return "fp32"
        return "tf32" if _on(options.get("use_tf32", "1")) else "fp32, tf32 where cuDNN needs it"
    if provider.device == "cuda":  # TensorRT chooses for each layer among the types it may use
        return "fp32" if precision == "fp32" and tf32.forbidden() else None
    # Kernels for fp16 and bf16 that are missing elsewhere are replaced by casts and those for fp32.
    if provider.name == "cpu" and precision in ("fp32", "int8"):
        return precision
    if provider.name == "openvino" and precision == "fp32":
        return precision if options.get("precision") in ("ACCURACY", "FP32") else None
    return None


def _layout(provider: Provider, level: str, options: Mapping[str, str]) -> str | None:
    if provider.name == "cuda":
        return "channels_last" if _on(options.get("prefer_nhwc")) else "channels_first"
    if provider.name == "cpu":
        blocked = level in ("ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL")
        if blocked and platform.machine() in ("x86_64", "AMD64"):
            return "channels_first, in blocks"
        return None if blocked else "channels_first"
    return None


def _autotuning(provider: Provider, options: Mapping[str, str], version: str) -> str | None:
    if provider.name == "cuda":
        search = options.get("cudnn_conv_algo_search", "EXHAUSTIVE")
        meant = _SEARCHES if _numbers(version) >= _CUDNN_FRONTEND else _SEARCHES_BEFORE
        return meant.get(search)
    if provider.name == "tensorrt":
        return "TensorRT's builder, when it is loaded"
    return "none" if provider.name == "cpu" else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _on(text: str | None) -> bool:
    return text is not None and text.lower() in ("1", "true")


def _entry(options: SessionOptions, key: str) -> str | None:
    try:
        return options.get_session_config_entry(key)
    except RuntimeError:  # not set
        return None
