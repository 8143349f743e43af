"""Whether each backend really runs here: a one-node network, in a process of its own."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

from greenbatch.records import Status
from greenbatch.runners import backends as table
from greenbatch.runners.backends.onnx_runtime import providers
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.messages import Tried

_TIMEOUT_S = 60.0
# Which distributions provide a runtime; without an entry it is the one of the same name.
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino"),
    "torch-compile": ("torch",),
    "torch-aot": ("torch",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """One backend.

    Attributes:
        name, runtime, provider: As in the table of backends.
        version: Of the runtime; ``None`` where it is not installed.
        placement: Nodes of the trial by execution provider, or results by device.
        trial_s: How long the trial took, the runtime's import included, in s.
        reason: Why it cannot be used, cure included, one sentence.
    """

    name: str
    runtime: str
    provider: str
    version: str | None = None
    placement: Mapping[str, int] = field(default_factory=dict)
    trial_s: float | None = None
    reason: str | None = None

    @property
    def usable(self) -> bool:
        """Whether the trial ran where requested."""
        return self.reason is None


def worth_trying() -> list[str]:
    """Return the names of all backends but those that no package has for this system."""
    elsewhere = {
        f"onnxruntime-{provider.name}"
        for provider in providers.PROVIDERS.values()
        if sys.platform not in provider.systems
    }
    return [name for name in table.known() if name not in elsewhere]


def look(name: str, timeout_s: float = _TIMEOUT_S) -> BackendState:
    """Try the backend ``name``.

    Args:
        name: In the table of backends.
        timeout_s: The longest that the trial may take.
    """
    spec = table.find(name)
    try:
        with ChildProcess(timeout_s, name, "trial") as child:
            tried = child.event(Tried, stage="trying a one-node network")
    except ChildFailed as failure:
        late = failure.status is Status.TIMEOUT
        reason = (
            f"its trial did not end within {timeout_s:g} s; run it again on a quiet machine, or "
            "look into the runtime's installation"
            if late
            else f"its trial failed: {failure.reason}"
        )
        tried = Tried(reason=reason, placement={}, trial_s=None)
    return BackendState(
        name=name,
        runtime=spec.runtime,
        provider=spec.provider,
        version=_version(spec.runtime),
        placement=tried.placement,
        trial_s=tried.trial_s,
        reason=tried.reason,
    )


def _version(runtime: str) -> str | None:
    for name in _DISTRIBUTIONS.get(runtime, (runtime,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
