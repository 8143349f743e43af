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
from greenbatch.runners.child.messages import Idling, Load, Message, Settled, Warm
from greenbatch.runners.layers.graph import placed
from greenbatch.runners.layers.messages import (
    CutNetwork,
    LayersMeasured,
    MeasureLayers,
    NetworkCut,
    OperatorSource,
    ProfiledOperator,
)
from greenbatch.runners.metering import Metering, Recorder
from greenbatch.runners.run.cell_metering import check_device, metering_of

RUNTIMES = ("onnxruntime", "torch")
"""Those that have a profiler which reports operators."""


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
                f"{spec.runtime} has no profiler that reports its operators here; choose "
                f"{' or '.join(RUNTIMES)}"
            )
        if spec.provider != "cpu":
            raise UsageError(
                f"layers cannot be measured on the provider {spec.provider}: its profiler reports "
                "when operators are launched, not when they run; use --provider cpu"
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
        network_cut = NetworkCut(operators={}, cut_after=(), parts=(), uncut=None)
        if backends.find(plan.cell.backend).runtime == "onnxruntime":
            on_step("tracing operators to layers" + (", and cutting" if plan.parts else ""))
            network_cut = _cut_network(plan, artifact, folder)
        blocks: list[LayerBlock] = []
        failed: list[str] = []
        settings: dict[str, str] = {}
        for block in range(plan.repetitions):
            on_step(f"measuring block {block + 1} of {plan.repetitions}")
            try:
                measured, settings = _block(plan, artifact, metering, network_cut, folder, block)
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
        parts=network_cut.parts,
        uncut=network_cut.uncut,
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


def _cut_network(plan: LayerPlan, artifact: Artifact, folder: Path) -> NetworkCut:
    try:
        with ChildProcess(plan.protocol.timeout_s) as child:
            child.begin("cut_network", plan.cell.backend)
            request = CutNetwork(load=_load(plan, artifact), parts=plan.parts, folder=folder)
            return child.finish(request, NetworkCut)
    except ChildFailed as failure:
        raise MeasurementError(
            f"{plan.cell} could not be traced to its layers: {failure.reason}"
        ) from failure


def _block(
    plan: LayerPlan,
    artifact: Artifact,
    metering: Metering,
    network_cut: NetworkCut,
    folder: Path,
    block: int,
) -> tuple[LayerBlock, dict[str, str]]:
    rules = plan.protocol
    counted = metering_of(metering, plan.cell.backend)
    metering = counted.metering
    with Recorder(metering.meters) as recorder:
        lead_s = recorder.focus_s

        def follow(event: Message) -> None:
            now_s = recorder.mark()
            if isinstance(event, Idling):
                recorder.wait_until_idle()
                child.send(Settled())
            elif isinstance(event, Warm):
                for end_s in (now_s + lead_s, now_s + lead_s + event.window_s):
                    recorder.focus(end_s - lead_s, end_s + lead_s)

        with ChildProcess(rules.timeout_s, environment=counted.environment) as child:
            child.begin("layers", plan.cell.backend)
            metering.follow(child.pid)
            request = MeasureLayers(
                load=_load(plan, artifact),
                folder=folder,
                parts=tuple(part.what for part in network_cut.parts),
                profile_events=len(network_cut.operators) + 3,  # and the run's own
                protocol=rules,
                window_s=rules.window_for(metering.slowest_period_s),
                lead_s=lead_s,
                order_seed=plan.seed + block,
                settles=metering.settles,
            )
            reply = child.finish(request, LayersMeasured, follow)
            device = check_device(counted, reply.gpu_uuid)
            recorder.settle(reply.idle[-1][1], recorder.tick_timeout_s)
        with reported_figures():
            return _record(reply, network_cut, recorder, block), reply.settings | device


def _record(
    reply: LayersMeasured, network_cut: NetworkCut, recorder: Recorder, block: int
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
        operators=tuple(_operators(reply.operators, network_cut)),
    )


def _operators(
    profiled: Sequence[ProfiledOperator], network_cut: NetworkCut
) -> Iterator[OperatorTime]:
    """Give the operators of a profile with their layers and parts."""
    places = placed([(each.name, each.operator) for each in profiled], network_cut.cut_after)
    for each, (name, part) in zip(profiled, places, strict=True):
        unknown = OperatorSource(layer=each.layer, origin="unknown", stands_for=())
        known = network_cut.operators.get(each.name, unknown)
        traced = bool(network_cut.operators) and name == each.name
        yield OperatorTime(
            name=name,
            operator=each.operator,
            layer=known.layer,
            origin=known.origin if traced else _untraced(network_cut),
            stands_for=known.stands_for,
            part=part if network_cut.parts else None,
            calls=each.calls,
            time_s=each.time_s,
        )


def _untraced(network_cut: NetworkCut) -> str:
    """Return the origin of what is not traced: torch reports modules, ONNX Runtime a new layout."""
    return "runtime" if network_cut.operators else "network"
