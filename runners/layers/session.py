"""The measuring of layers, seen from the parent: a child that cuts, then a fresh one each block."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.errors import MeasurementError, UsageError
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell
from greenbatch.records.layers import (
    LayerBlock,
    LayerRun,
    LayerWindow,
    OperatorTime,
)
from greenbatch.runners import backends
from greenbatch.runners.child.handle import ChildFailed, ChildProcess, reported_figures
from greenbatch.runners.child.messages import Load, Message, Warm
from greenbatch.runners.layers.graph import placed
from greenbatch.runners.layers.messages import (
    LayersMeasured,
    MeasureLayers,
    OperatorSource,
    Outline,
    Outlined,
    ProfiledOperator,
)
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
        on_step: Receives a sentence on what is done.

    Returns:
        All that was measured. A block that failed is named in ``failed``.

    Raises:
        MeasurementError: Nothing could be measured.
    """
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    with tempfile.TemporaryDirectory(prefix="gb-layers-") as temporary:
        folder = Path(temporary)
        outlined = Outlined(operators={}, cut_after=(), parts=(), uncut=None)
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


def _load(plan: LayerPlan, artifact: Artifact) -> Load:
    return Load(
        cell=plan.cell,
        artifact=artifact.path,
        manifest=artifact.manifest_path,
        weights=artifact.weights_path,
        source=plan.source,
        threads=plan.threads,
        seed=plan.seed,
        images=None,
        preprocessing="before",
        allow_fallback=False,
        cache=None,
    )


def _outline(plan: LayerPlan, artifact: Artifact, folder: Path) -> Outlined:
    try:
        with ChildProcess(plan.protocol.timeout_s) as child:
            child.begin("outline", plan.cell.backend)
            request = Outline(load=_load(plan, artifact), parts=plan.parts, folder=folder)
            return child.finish(request, Outlined)
    except ChildFailed as failure:
        raise MeasurementError(
            f"{plan.cell} could not be traced to its layers: {failure.reason}"
        ) from failure


def _block(
    plan: LayerPlan,
    artifact: Artifact,
    metering: Metering,
    outlined: Outlined,
    folder: Path,
    block: int,
) -> tuple[LayerBlock, dict[str, str]]:
    rules = plan.protocol
    with Recorder(metering.meters) as recorder:
        lead_s = recorder.focus_s

        def focus(event: Message) -> None:
            now_s = recorder.mark()
            if isinstance(event, Warm):
                for end_s in (now_s + lead_s, now_s + lead_s + event.window_s):
                    recorder.focus(end_s - lead_s, end_s + lead_s)

        with ChildProcess(rules.timeout_s) as child:
            child.begin("layers", plan.cell.backend)
            metering.follow(child.pid)
            request = MeasureLayers(
                load=_load(plan, artifact),
                folder=folder,
                parts=tuple(part.what for part in outlined.parts),
                profile_events=len(outlined.operators) + 3,  # and the run's own
                protocol=rules,
                window_s=rules.window_for(metering.slowest_period_s),
                lead_s=lead_s,
                order_seed=plan.seed + block,
            )
            reply = child.finish(request, LayersMeasured, focus)
            recorder.settle(reply.idle[-1][1], recorder.patience_s)
        with reported_figures():
            return _record(reply, outlined, recorder, block), reply.settings


def _record(
    reply: LayersMeasured, outlined: Outlined, recorder: Recorder, block: int
) -> LayerBlock:
    windows = []
    for position, each in enumerate(reply.windows):
        start_s, end_s = each.window
        windows.append(
            LayerWindow(
                what=each.what,
                block=block,
                position=position,
                duration_s=end_s - start_s,
                iterations=each.iterations,
                settled=each.settled,
                energy=recorder.energy(start_s, end_s),
            )
        )
    return LayerBlock(
        block=block,
        windows=tuple(windows),
        idle=tuple(f for start_s, end_s in reply.idle for f in recorder.idle(start_s, end_s)),
        operators=tuple(_operators(reply.operators, outlined)),
    )


def _operators(profiled: Sequence[ProfiledOperator], outlined: Outlined) -> Iterator[OperatorTime]:
    """Give the operators of a profile with their layers and parts."""
    places = placed([(each.name, each.operator) for each in profiled], outlined.cut_after)
    for each, (name, part) in zip(profiled, places, strict=True):
        unknown = OperatorSource(layer=each.layer, origin="unknown", stands_for=())
        known = outlined.operators.get(each.name, unknown)
        traced = bool(outlined.operators) and name == each.name
        yield OperatorTime(
            name=name,
            operator=each.operator,
            layer=known.layer,
            origin=known.origin if traced else _untraced(outlined),
            stands_for=known.stands_for,
            part=part if outlined.parts else None,
            calls=each.calls,
            time_s=each.time_s,
        )


def _untraced(outlined: Outlined) -> str:
    """Return the origin of what is not traced: torch reports modules, ONNX Runtime a new layout."""
    return "runtime" if outlined.operators else "network"
