"""The measuring of layers, seen from the parent: a child that cuts, then a fresh one each block."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.errors import MeasurementError, UsageError
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell
from greenbatch.records.layers import (
    LayerBlock,
    LayerRun,
    LayerWindow,
    OperatorTime,
    Part,
)
from greenbatch.runners import backends
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.layers.graph import placed
from greenbatch.runners.metering import Metering, Recorder

RUNTIMES = ("onnxruntime", "torch")
"""Those that have a profiler which tells operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """What is to be measured.

    Attributes:
        cell: Model, backend, precision and batch size.
        parts: Into how many parts it is cut; 0: it is not.
        repetitions: Blocks, each in a fresh process.
        threads: Of work on the CPU.
        seed: Of images and order.
        protocol: The rules of a repetition.
        source: What a network of the user's own came from; else empty.

    Raises:
        UsageError: It cannot be meant.
    """

    cell: Cell
    parts: int
    repetitions: int
    threads: int
    seed: int
    protocol: MeasurementProtocol
    source: str = ""

    def __post_init__(self) -> None:
        spec = backends.find(self.cell.backend)
        if spec.runtime not in RUNTIMES:
            raise UsageError(
                f"{spec.runtime} has no profiler that tells its operators here; choose "
                f"{' or '.join(RUNTIMES)}"
            )
        if spec.provider != "cpu":
            raise UsageError(
                f"the provider is {spec.provider}, where the profiler tells when operators are "
                "handed over, not when they run; layers are told on --provider cpu alone"
            )
        if self.parts == 1 or self.parts < 0:
            raise UsageError(f"--check is {self.parts}; wanted 2 parts or more, or 0 for no check")
        if self.parts and spec.runtime != "onnxruntime":
            raise UsageError(
                f"--check {self.parts} cuts an ONNX graph, which {spec.runtime} does not run; "
                "leave it out, or choose --runtime onnxruntime"
            )
        if self.repetitions < 1:
            raise UsageError(f"--repetitions is {self.repetitions}; wanted 1 or more")


def measure(
    plan: LayerPlan,
    artifact: Artifact,
    metering: Metering,
    on_step: Callable[[str], None] = lambda sentence: None,
) -> LayerRun:
    """Measure where time and energy of an inference go.

    Args:
        plan: What is measured.
        artifact: Of its model and precision.
        metering: The open meters.
        on_step: Told of what is done, in a sentence.

    Returns:
        All that was measured. A block that failed is named in ``failed``.

    Raises:
        MeasurementError: Nothing could be measured.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    with tempfile.TemporaryDirectory(prefix="gb-layers-") as folder:
        outlined = _Outline({})
        if backends.find(plan.cell.backend).runtime == "onnxruntime":
            on_step("tracing operators to layers" + (", and cutting" if plan.parts else ""))
            outlined = _outline(plan, artifact, folder)
        blocks: list[LayerBlock] = []
        failed: list[str] = []
        settings: dict[str, str] = {}
        for block in range(plan.repetitions):
            on_step(f"measuring block {block + 1} of {plan.repetitions}")
            try:
                measured, settings = _block(plan, artifact, metering, outlined, folder, block)
            except ChildFailed as failure:
                failed.append(f"block {block}: {failure.reason}")
                on_step(failed[-1])
            else:
                blocks.append(measured)
    if not blocks:
        raise MeasurementError(f"{plan.cell} could not be measured: {failed[0]}")
    return LayerRun(
        model=plan.cell.model,
        backend=plan.cell.backend,
        precision=plan.cell.precision,
        batch_size=plan.cell.batch_size,
        threads=plan.threads,
        seed=plan.seed,
        artifact_sha256=artifact.manifest.sha256,
        started_at=started_at,
        protocol=asdict(plan.protocol),
        settings=settings,
        parts=outlined.parts,
        uncut=outlined.uncut,
        blocks=tuple(blocks),
        failed=tuple(failed),
        absent=dict(metering.absent),
    )


@dataclass(frozen=True, slots=True)
class _Outline:
    """What is known of the operators before anything is timed.

    Attributes:
        operators: Layer, origin and what it stands for, by name; empty for torch.
        cut_after: Names of the operators behind which the cuts are.
        parts: Between the cuts.
        uncut: Why there are none.
    """

    operators: Mapping[str, Mapping[str, Any]]
    cut_after: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    uncut: str | None = None


def _request(plan: LayerPlan, artifact: Artifact, folder: str) -> dict[str, Any]:
    return {
        "cell": asdict(plan.cell),
        "artifact": str(artifact.path),
        "manifest": str(artifact.manifest_path),
        "weights": str(artifact.weights_path),
        "source": plan.source,
        "threads": plan.threads,
        "seed": plan.seed,
        "images": None,
        "allow_fallback": False,
        "folder": folder,
    }


def _outline(plan: LayerPlan, artifact: Artifact, folder: str) -> _Outline:
    try:
        with ChildProcess(plan.protocol.timeout_s) as child:
            child.begin("outline", plan.cell.backend)
            request = _request(plan, artifact, folder) | {"parts": plan.parts}
            told = child.finish(request, "outlined")
    except ChildFailed as failure:
        raise MeasurementError(
            f"{plan.cell} could not be traced to its layers: {failure.reason}"
        ) from failure
    parts = tuple(Part(**members) for members in told["parts"])
    return _Outline(told["operators"], tuple(told["cut_after"]), parts, told["uncut"])


def _block(
    plan: LayerPlan,
    artifact: Artifact,
    metering: Metering,
    outlined: _Outline,
    folder: str,
    block: int,
) -> tuple[LayerBlock, dict[str, str]]:
    rules = plan.protocol
    with Recorder(metering.meters) as recorder:
        lead_s = recorder.focus_s

        def focus(event: Mapping[str, Any]) -> None:
            now_s = recorder.mark()
            if event["event"] == "warm":
                for end_s in (now_s + lead_s, now_s + lead_s + event["window_s"]):
                    recorder.focus(end_s - lead_s, end_s + lead_s)

        with ChildProcess(rules.timeout_s) as child:
            child.begin("layers", plan.cell.backend)
            metering.follow(child.pid)
            request = _request(plan, artifact, folder) | {
                "parts": [part.what for part in outlined.parts],
                "events": len(outlined.operators) + 3,  # and the run's own
                "protocol": asdict(rules),
                "window_s": rules.window_for(metering.slowest_period_s),
                "lead_s": lead_s,
                "order_seed": plan.seed + block,
            }
            told = child.finish(request, "measured", focus)
            recorder.settle(told["idle"][-1][1], recorder.patience_s)
        return _record(told, outlined, recorder, block), told["settings"]


def _record(
    told: Mapping[str, Any], outlined: _Outline, recorder: Recorder, block: int
) -> LayerBlock:
    windows = []
    for position, each in enumerate(told["windows"]):
        start_s, end_s = each["window"]
        windows.append(
            LayerWindow(
                what=each["what"],
                block=block,
                position=position,
                duration_s=end_s - start_s,
                iterations=each["iterations"],
                settled=each["settled"],
                energy=recorder.energy(start_s, end_s),
            )
        )
    return LayerBlock(
        block=block,
        windows=tuple(windows),
        idle=tuple(f for start_s, end_s in told["idle"] for f in recorder.idle(start_s, end_s)),
        operators=tuple(_operators(told["operators"], outlined)),
    )


def _operators(told: Sequence[Mapping[str, Any]], outlined: _Outline) -> Iterator[OperatorTime]:
    """Give the operators of a profile with their layers and parts."""
    places = placed([(each["name"], each["operator"]) for each in told], outlined.cut_after)
    for each, (name, part) in zip(told, places, strict=True):
        known: Mapping[str, Any] = outlined.operators.get(each["name"], {})
        traced = bool(outlined.operators) and name == each["name"]
        yield OperatorTime(
            name=name,
            operator=each["operator"],
            layer=known.get("layer", each["layer"]),
            origin=known.get("origin", "unknown") if traced else _untraced(outlined),
            stands_for=tuple(known.get("stands_for", ())),
            part=part if outlined.parts else None,
            calls=each["calls"],
            time_s=each["time_s"],
        )


def _untraced(outlined: _Outline) -> str:
    """Torch tells its modules itself; in ONNX Runtime it is a change of layout."""
    return "runtime" if outlined.operators else "network"
