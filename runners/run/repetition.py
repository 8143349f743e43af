"""One repetition, seen from the parent: a fresh child, its meters, the record that comes of it."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from greenbatch.arrays import read_arrays, write_arrays
from greenbatch.design.study import Study
from greenbatch.files import draft, make_folder
from greenbatch.models.artifacts import Artifact
from greenbatch.records import (
    AsPublished,
    Cell,
    Conditions,
    Idle,
    OneOff,
    Queue,
    Record,
    Repetition,
    Status,
    artifact_key,
)
from greenbatch.runners.child.environment import variables_of
from greenbatch.runners.child.handle import ChildFailed, ChildProcess, reported_figures
from greenbatch.runners.child.messages import (
    Ended,
    Idling,
    Load,
    Measured,
    MeasureRepetition,
    Message,
    Probed,
    Settled,
    Warm,
)
from greenbatch.runners.child.reference_outputs import judged_by_itself
from greenbatch.runners.child.sessions import Sessions
from greenbatch.runners.child.starting import Starter
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.host.load import HostSampler
from greenbatch.runners.metering import Metering
from greenbatch.runners.metering.sampling.sampler import Recorder
from greenbatch.runners.run.caches import of_cell
from greenbatch.runners.run.cell_metering import check_device, metering_of
from greenbatch.runners.run.shared_code import SharedCode
from greenbatch.runners.run.window_conditions import conditions_around, repetition_flags
from greenbatch.runners.scheduling.order import Slot

SERVER_LEAD_S = 1.0
"""Requests arrive for so long before a server's window, that its queue reaches its usual length."""

_PROBE_TIMEOUT_S = 120.0
_TAIL_GAPS, _TAIL_S = 2.0, 1.0
"""How long yarally/green-ai (part2) went on reading power after its last request: two gaps between
requests and a second, in which its queue was waited for in vain."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all repetitions of a run share.

    Attributes:
        study: The design.
        artifacts: By `artifact_key`.
        metering: The open meters.
        host: The open sampler of the machine's load.
        cores: Granted to this run.
        traces: The run's folder of traces.
        references: The files of reference logits, by `artifact_key`.
        cache: The folder for what backends compile in this run.
        children: Give the child of each repetition.
        shared: What was compiled in other runs; ``None``: it is not used.
        most_s: How long the next repetition may take by the budget of the run, in s; ``None``:
            there is none.
    """

    study: Study
    artifacts: Mapping[str, Artifact]
    metering: Metering
    host: HostSampler
    cores: float
    traces: Path
    references: Mapping[str, Path]
    cache: Path
    children: Sessions = field(default_factory=lambda: Sessions(Starter("spawn"), shared=False))
    shared: SharedCode | None = None
    most_s: float | None = None


def measure(slot: Slot, context: RunContext, rest: Callable[[], Conditions]) -> list[Record]:
    """Measure a slot in a child process of its own, or of its network's in this block.

    A child that is not forked imports what it needs while the machine rests: that takes seconds,
    and little power.

    Args:
        slot: The cell, and whether idle power is taken beside it.
        context: What all repetitions share.
        rest: Rests as the protocol asks, and returns the conditions before the cell; the window's
            are added to them.

    Returns:
        The idle records, if any, then the repetition's. A child that fails, dies or hangs gives a
        repetition that says so, and what it had compiled is forgotten.
    """
    began_s = time.perf_counter()
    repetition = _Draft(slot, context, datetime.now(UTC).isoformat(timespec="milliseconds"))
    arrays = context.traces / f".child-{repetition.name}.npz"
    cache, shared = of_cell(context.cache, slot.cell.slug), context.shared
    artifact = context.artifacts[artifact_key(slot.cell.model, slot.cell.precision)]
    conditions, server_s = Conditions(), 0.0
    counted = metering_of(context.metering, slot.cell.backend)
    metering = counted.metering

    def phases_s() -> dict[str, float]:
        wall_s = time.perf_counter() - began_s - conditions.rest_s
        return {"wall": wall_s} | ({"fork_server": server_s} if server_s else {})

    try:
        make_folder(cache)
        if shared:
            shared.take(slot.cell, artifact, cache)
        with Recorder(metering.meters, time.perf_counter) as recorder:
            timeout_s = _timeout_s(slot.cell, context)
            environment = {**variables_of(slot.cell), **counted.environment}
            children = context.children
            before_s = children.servers_s
            with children.child(slot.cell, slot.block, timeout_s, environment) as child:
                server_s = children.servers_s - before_s
                metering.follow(child.pid)
                conditions = rest()
                lead_s = max(recorder.focus_s, SERVER_LEAD_S if slot.cell.is_server else 0.0)
                request = _request(slot, context, arrays, cache, lead_s)
                events = _Events(child, recorder, lead_s)
                reply = child.finish(request, Measured, events)
                device = check_device(counted, reply.gpu_uuid)
                child.goes_on = reply.goes_on
                started = {"isolation": children.isolation(child)}
                reply = replace(reply, settings={**reply.settings, **device, **started})
                ends_s = (end for _, end in (reply.window, *reply.idle.values()))
                last_s = max(*ends_s, reply.window[1] + request.tail_s)
                recorder.settle(last_s, recorder.tick_timeout_s)
                recorder.list_processes()
            with reported_figures():
                trace = read_arrays(arrays)
                records: list[Record] = [
                    *repetition.idles(reply, recorder, events.settled),
                    repetition.ok(reply, request.tail_s, recorder, conditions, phases_s()),
                ]
            trace |= recorder.trace(*reply.window)
            path = context.traces / f"{repetition.name}.npz"
            with draft(path) as unfinished, unfinished.open("wb") as file:
                write_arrays(file, trace, packed=True)
            if shared:
                shared.give(slot.cell, artifact, cache)
            return records
    except ChildFailed as failure:
        shutil.rmtree(cache, ignore_errors=True)
        if shared:
            shared.forget(slot.cell, artifact)
        return [repetition.failed(failure, conditions, phases_s())]
    finally:
        arrays.unlink(missing_ok=True)


def probe(backend: str) -> str | None:
    """Return why ``backend`` cannot run on this machine, tried in a child; ``None`` if it can."""
    try:
        with ChildProcess(_PROBE_TIMEOUT_S, backend) as child:
            return child.event(Probed).reason
    except ChildFailed as failure:
        return f"its probe failed: {failure.reason}"


@dataclass(frozen=True, slots=True)
class _Events:
    """Has the meters read often around both ends of the window, as the child reports them.

    Idle power is waited for, where the child does.
    """

    child: ChildProcess
    recorder: Recorder
    lead_s: float
    settled: list[bool] = field(default_factory=list)

    def __call__(self, event: Message) -> None:
        if isinstance(event, Warm):
            start_s = self.recorder.mark() + self.lead_s
            self.recorder.list_processes()
            for end_s in (start_s, start_s + event.window_s):
                self.recorder.focus(end_s - self.lead_s, end_s + self.lead_s)
        elif isinstance(event, Ended):
            self.recorder.mark()
        elif isinstance(event, Idling):
            self.settled.append(self.recorder.wait_until_idle())
            self.child.send(Settled())


class _Common(TypedDict):
    """What the records of a slot have in common, however it ends."""

    cell: Cell
    block: int
    position: int
    started_at: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A repetition on its way to a record."""

    slot: Slot
    context: RunContext
    started_at: str

    @property
    def name(self) -> str:
        return f"{self.slot.cell.slug}_r{self.slot.block}"

    @property
    def _common(self) -> _Common:
        slot = self.slot
        return {
            "cell": slot.cell,
            "block": slot.block,
            "position": slot.position,
            "started_at": self.started_at,
        }

    def ok(
        self,
        reply: Measured,
        tail_s: float,
        recorder: Recorder,
        conditions: Conditions,
        phases_s: Mapping[str, float],
    ) -> Repetition:
        (start_s, end_s), figures = reply.window, reply.figures
        energy = recorder.energy(start_s, end_s)
        context = self.context
        conditions = conditions_around(reply, recorder, context.host, context.cores, conditions)
        if not reply.was_loaded:  # the process kept what another batch size needed
            conditions = replace(conditions, memory_device_bytes={})
        return Repetition(
            **self._common,
            status=Status.OK,
            flags=repetition_flags(reply, energy, conditions).names,
            duration_s=end_s - start_s,
            iterations=figures.iterations,
            images=figures.images,
            latency_s=figures.latency_s,
            energy=energy,
            memory_host_bytes=reply.memory_host_bytes if reply.was_loaded else None,
            memory_children_bytes=reply.memory_children_bytes,
            warm_up=reply.warm_up,
            conditions=conditions,
            placement=reply.placement,
            settings=reply.settings,
            agreement=reply.agreement,
            one_off={
                phase: OneOff(duration_s=end_s - start_s, energy=recorder.energy(start_s, end_s))
                for phase, (start_s, end_s) in reply.one_off.items()
            },
            cache=reply.cache,
            queue=_queue(figures.queue, reply.window, tail_s, recorder) if figures.queue else None,
            pipeline=figures.pipeline,
            phases_s={**reply.phases_s, **phases_s},
            trace=f"{self.name}.npz",
        )

    def failed(
        self, failure: ChildFailed, conditions: Conditions, phases_s: Mapping[str, float]
    ) -> Repetition:
        return Repetition(
            **self._common,
            status=failure.status,
            reason=failure.reason,
            conditions=conditions,
            phases_s=dict(phases_s),
        )

    def idles(self, reply: Measured, recorder: Recorder, settled: Sequence[bool]) -> list[Idle]:
        waited = dict(zip(reply.idle, settled, strict=False))  # empty where it was not waited for
        return [
            Idle(
                backend=self.slot.cell.backend,
                model=self.slot.cell.model,
                settings=self.slot.cell.settings,
                block=self.slot.block,
                when=when,
                started_at=self.started_at,
                duration_s=end_s - start_s,
                figures=recorder.idle(start_s, end_s),
                settled=waited.get(when),
            )
            for when, (start_s, end_s) in reply.idle.items()
        ]


def _queue(queue: Queue, window: tuple[float, float], tail_s: float, recorder: Recorder) -> Queue:
    if not tail_s:
        return queue
    start_s, end_s = window
    with_tail_s = end_s + tail_s - start_s
    figures = [f for f in recorder.energy(start_s, start_s + with_tail_s) if f.counts]
    gpus = [figure for figure in figures if figure.domain.startswith("gpu-")]
    energies = {figure.domain: figure.energy_j for figure in gpus or figures}
    if not energies or None in energies.values():
        return queue
    mean_w = sum(energy for energy in energies.values() if energy is not None) / with_tail_s
    published = AsPublished(
        energy_j=mean_w * (end_s - start_s), domains=tuple(energies), tail_s=tail_s
    )
    return replace(queue, as_published=published)


def _request(
    slot: Slot, context: RunContext, arrays: Path, cache: Path, lead_s: float
) -> MeasureRepetition:
    study, rules = context.study, context.study.rules
    key = artifact_key(slot.cell.model, slot.cell.precision)
    load = loading(slot.cell, context.artifacts[key], study)
    return MeasureRepetition(
        load=replace(load, preprocessing=study.preprocessing, cache=cache),
        reference=context.references[slot.cell.model],
        arithmetic=context.references[key] if judged_by_itself(slot.cell) else None,
        protocol=rules,
        window_s=study.window_for(slot.cell, context.metering.slowest_period_s),
        lead_s=lead_s,
        arrivals_seed=study.seed + slot.block,
        tail_s=_tail_s(slot.cell) if study.as_published else 0.0,
        idle_before_s=rules.idle_s if slot.idle_before else 0.0,
        idle_after_s=rules.idle_s if slot.idle_after else 0.0,
        settles=context.metering.settles,
        arrays=arrays,
    )


def _timeout_s(cell: Cell, context: RunContext) -> float:
    """The protocol's, on top of a server's window; no more than is left of a budget."""
    window_s = context.study.window_for(cell, context.metering.slowest_period_s)
    timeout_s = context.study.rules.timeout_s + (2 * window_s if cell.is_server else 0.0)
    return timeout_s if context.most_s is None else min(timeout_s, context.most_s)


def _tail_s(cell: Cell) -> float:
    rate_hz = cell.served.rate_hz if cell.is_server else None
    return _TAIL_S + (_TAIL_GAPS / rate_hz if rate_hz else 0.0)


def loading(cell: Cell, artifact: Artifact, study: Study) -> Load:
    """Return what a child is to load for a cell, with its images and without a cache."""
    return Load(
        cell=cell,
        artifact=artifact.path,
        manifest=artifact.manifest_path,
        weights=artifact.weights_path,
        source=study.sources.get(cell.model, ""),
        threads=thread_count(study.threads),
        seed=study.seed,
        images=study.images,
        preprocessing="before",
        allow_fallback=study.allow_fallback,
        cache=None,
    )
