"""Where ONNX Runtime runs a graph: sessions that start where requested, or the reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from greenbatch.errors import BackendUnavailable, PlacementError, StudyError
from greenbatch.models.onnx_placement import RECORD, Placement, read_placement
from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.interface import Session, SessionOptions
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS, Provider

_NO_KERNEL = re.compile(
    r"(?:implementation for|Provider type for) (\w+)(?:\(\d+\))? node with name '([^']*)'"
)
_DEQUANTISES = "DequantizeLinear"
_FOR_GPU = "export int8 for GPUs: gb export --precision int8 --int8-for gpu"
_CURE = "pass --allow-fallback to measure the mixture and record it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a session is started with.

    Attributes:
        network: The artifact's path, or a serialised network.
        title: What to call it in errors.
        provider: Where it is to run.
        session_options: See `greenbatch.runners.backends.onnx_runtime.settings.session_options`.
        provider_options: Of the provider.
        requested: Those of them that the user set.
        allow_fallback: Let nodes run elsewhere.
    """

    network: str | bytes
    title: str
    provider: Provider
    session_options: SessionOptions
    provider_options: Mapping[str, str] = field(default_factory=dict)
    requested: Mapping[str, str] = field(default_factory=dict)
    allow_fallback: bool = False


def start(ort: ModuleType, wanted: Start) -> tuple[Session, Placement]:
    """Start a session, proved to run where requested unless a fallback is allowed.

    The proof is the session's own record of its graph assignment. Nodes that compute sizes alone
    may be on the CPU: that is ONNX Runtime's design, and no fallback. They are in the placement.
    ``session.disable_cpu_ep_fallback`` is not used, as it refuses these too.

    Raises:
        PlacementError: The provider did not start, or left nodes to another one; they are named.
        StudyError: The provider does not take an option that the user set.
        BackendUnavailable: The provider's libraries or devices are missing.
    """
    provider, options = wanted.provider, wanted.session_options
    devices = libraries.load(ort, provider)
    if devices:
        options.add_provider_for_devices(devices, dict(wanted.provider_options))
    options.add_session_config_entry(RECORD, "1")
    try:
        session = _session(ort, wanted, built_in=not devices)
    except Exception as error:  # ONNX Runtime's errors have no common root
        raise _translated(ort, error, wanted) from error
    if wanted.requested:
        _check_options(session, wanted)
    placement = read_placement(session, provider.execution_provider, wanted.network)
    if not wanted.allow_fallback and set(placement.nodes) != {provider.execution_provider}:
        raise PlacementError(_misplaced(ort, wanted, placement))
    return session, placement


def _session(ort: ModuleType, wanted: Start, *, built_in: bool) -> Session:
    # Without enable_fallback=0 a provider that fails to start is replaced by the CPU's.
    chosen: dict[str, object] = {"enable_fallback": 0}
    if built_in:
        providers = [(wanted.provider.execution_provider, dict(wanted.provider_options))]
        if wanted.provider.name == "tensorrt" and wanted.allow_fallback:
            # What TensorRT leaves stays on the device where it can.
            cuda = PROVIDERS["cuda"]
            providers.append((cuda.execution_provider, dict(cuda.options)))
        chosen["providers"] = providers
    session: Session = ort.InferenceSession(wanted.network, wanted.session_options, **chosen)
    return session


def _translated(ort: ModuleType, error: Exception, wanted: Start) -> Exception:
    """Name a missing library, kernel or a refused option; any other error stays as it is."""
    if cause := libraries.missing_library(ort, wanted.provider):
        return BackendUnavailable(cause)
    text = " ".join(str(error).split())
    if (found := _NO_KERNEL.search(text)) is not None:
        return PlacementError(
            f"neither {wanted.provider.execution_provider} nor the CPU has a kernel for "
            f"{found[1]} {found[2]!r} of {wanted.title}; choose another precision, or measure this "
            "one with torch"
        )
    refused = [f"{key}={value}" for key, value in wanted.requested.items() if key in text]
    if not refused:
        return error
    return StudyError(
        f"{wanted.provider.execution_provider} refuses {', '.join(refused)}: {_tail(text)}; see "
        "its page under https://onnxruntime.ai/docs/execution-providers for names and values"
    )


def _tail(text: str) -> str:
    """Cut ONNX Runtime's source file and function from before its message."""
    return text.rpartition(") ")[2].strip(" .")[-200:] or text[-200:]


def _check_options(session: Session, wanted: Start) -> None:
    """Refuse options that a provider took without a word and does not list among its own."""
    listed = session.get_provider_options().get(wanted.provider.execution_provider, {})
    unknown = [key for key in wanted.requested if listed and key not in listed]
    if unknown:
        raise StudyError(
            f"{wanted.provider.execution_provider} has no option {unknown[0]!r}; "
            f"it has {', '.join(sorted(listed))}"
        )


def _misplaced(ort: ModuleType, wanted: Start, placement: Placement) -> str:
    name = wanted.provider.execution_provider
    if not placement.nodes:
        return f"ONNX Runtime reports no nodes of {wanted.title}, wanted all on {name}; upgrade it"
    fault = f"{name} left nodes of {wanted.title} ({placement.fault()})"
    if cause := libraries.missing_library(ort, wanted.provider):
        return f"{fault} because {cause}; or {_CURE}"
    left = [node for nodes in placement.elsewhere.values() for node in nodes]
    if wanted.provider.device == "cuda" and any(_DEQUANTISES in node for node in left):
        return f"{fault}; {_FOR_GPU}, or {_CURE}"
    return f"{fault}; {_CURE}"
