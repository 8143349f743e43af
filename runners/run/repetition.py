"""One repetition, seen from the parent: a fresh child, its meters, the record that comes of it."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenbatch.arrays import read_arrays
from greenbatch.design.study import Study
from greenbatch.files import draft, make_folder
from greenbatch.models.artifacts import Artifact
from greenbatch.records import (
    Agreement,
    AsPublished,
    Cell,
    Conditions,
    EnergyFigure,
    Flag,
    Idle,
    OneOff,
    Pipeline,
    Queue,
    Record,
    Repetition,
    Status,
    WarmUp,
    artifact_key,
)
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.jobs import judged_by_itself
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.host.load import DISTURBED_ABOVE, HostSampler
from greenbatch.runners.metering import Metering
from greenbatch.runners.metering.sampling.sampler import Recorder
from greenbatch.runners.run.caches import of_cell
from greenbatch.runners.scheduling.order import Slot

DISAGREES_ABOVE = 0.05

SERVER_LEAD_S = 1.0
"""Requests arrive for so long before a server's window, that its queue reaches its usual length."""

_PROBE_TIMEOUT_S = 120.0
_TAIL_GAPS, _TAIL_S = 2.0, 1.0
"""How long yarally/green-ai (part2) went on reading power after its last request: two gaps between
requests and a second, in which its queue was waited for in vain."""


@dataclass(frozen=True, slots=True)
class Station:
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
    """

    study: Study
    artifacts: Mapping[str, Artifact]
    metering: Metering
    host: HostSampler
    cores: float
    traces: Path
    references: Mapping[str, Path]
    cache: Path


def measure(slot: Slot, station: Station, rest: Callable[[], Conditions]) -> list[Record]:
    """Measure a slot in a fresh child process.

    The child imports what it needs while the machine rests: that takes seconds, and little power.

    Args:
        slot: The cell, and whether idle power is taken beside it.
        station: What all repetitions share.
        rest: Rests as the protocol asks, and returns the conditions before the cell; the window's
            are added to them.

    Returns:
        The idle records, if any, then the repetition's. A child that fails, dies or hangs gives a
        repetition that says so, and what it had compiled is forgotten.
    """
    began_s = time.perf_counter()
    repetition = _Draft(slot, station, datetime.now(UTC).isoformat(timespec="milliseconds"))
    arrays = station.traces / f".child-{repetition.name}.npz"
    cache = of_cell(station.cache, slot.cell.slug)
    conditions = Conditions()

    def wall_s() -> float:
        return time.perf_counter() - began_s - conditions.rest_s

    try:
        make_folder(cache)
        with Recorder(station.metering.meters, time.perf_counter) as recorder:
            with ChildProcess(_timeout_s(slot.cell, station)) as child:
                child.begin("repetition", slot.cell.backend)
                station.metering.follow(child.pid)
                conditions = rest()
                lead_s = max(recorder.focus_s, SERVER_LEAD_S if slot.cell.is_server else 0.0)
                request = _request(slot, station, arrays, cache) | {"lead_s": lead_s}
                focus = _Focus(recorder, lead_s, request["window_s"])
                told = child.finish(request, "measured", focus)
                ends_s = (end for _, end in (told["window"], *told["idle"].values()))
                last_s = max(*ends_s, told["window"][1] + request["tail_s"])
                recorder.settle(last_s, recorder.patience_s)
            _save_trace(station.traces / f"{repetition.name}.npz", arrays, recorder, told)
            return [
                *repetition.idles(told, recorder),
                repetition.ok(told, recorder, conditions, wall_s()),
            ]
    except ChildFailed as failure:
        shutil.rmtree(cache, ignore_errors=True)
        return [repetition.failed(failure, conditions, wall_s())]
    finally:
        arrays.unlink(missing_ok=True)


def probe(backend: str) -> str | None:
    """Say why ``backend`` cannot run on this machine, asked in a child; ``None`` if it can."""
    try:
        with ChildProcess(_PROBE_TIMEOUT_S, backend) as child:
            reason: str | None = child.event()["reason"]
    except ChildFailed as failure:
        return f"its probe failed: {failure.reason}"
    return reason


@dataclass(frozen=True, slots=True)
class _Focus:
    """Has the meters read often around both ends of the window, as the child tells of them."""

    recorder: Recorder
    lead_s: float
    window_s: float

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "warm":
            start_s = self.recorder.mark() + self.lead_s
            for end_s in (start_s, start_s + event.get("window_s", self.window_s)):
                self.recorder.focus(end_s - self.lead_s, end_s + self.lead_s)
        elif event["event"] == "ended":
            self.recorder.mark()


@dataclass(frozen=True, slots=True)
class _Draft:
    """A repetition on its way to a record."""

    slot: Slot
    station: Station
    started_at: str

    @property
    def name(self) -> str:
        return f"{self.slot.cell.slug}_r{self.slot.block}"

    @property
    def _common(self) -> dict[str, Any]:
        slot = self.slot
        return {
            "cell": slot.cell,
            "block": slot.block,
            "position": slot.position,
            "started_at": self.started_at,
        }

    def ok(
        self, told: dict[str, Any], recorder: Recorder, conditions: Conditions, wall_s: float
    ) -> Repetition:
        start_s, end_s = told["window"]
        energy = recorder.energy(start_s, end_s)
        station = self.station
        conditions = conditions_around(told, recorder, station.host, station.cores, conditions)
        return Repetition(
            **self._common,
            status=Status.OK,
            flags=_flags(told, energy, conditions).names,
            duration_s=end_s - start_s,
            iterations=told["iterations"],
            images=told["images"],
            latency_s=told["latency_s"],
            energy=energy,
            memory_host_bytes=told["memory_host_bytes"],
            memory_children_bytes=told["memory_children_bytes"],
            warm_up=WarmUp(**told["warm_up"]),
            conditions=conditions,
            placement=told["placement"],
            settings=told["settings"],
            agreement=Agreement(**told["agreement"]),
            one_off={
                phase: OneOff(duration_s=end_s - start_s, energy=recorder.energy(start_s, end_s))
                for phase, (start_s, end_s) in told["one_off"].items()
            },
            cache=told["cache"],
            queue=_queue(told, recorder) if "queue" in told else None,
            pipeline=Pipeline(**told["pipeline"]) if told["pipeline"] else None,
            phases_s=told["phases_s"] | {"wall": wall_s},
            trace=f"{self.name}.npz",
        )

    def failed(self, failure: ChildFailed, conditions: Conditions, wall_s: float) -> Repetition:
        return Repetition(
            **self._common,
            status=failure.status,
            reason=failure.reason,
            conditions=conditions,
            phases_s={"wall": wall_s},
        )

    def idles(self, told: dict[str, Any], recorder: Recorder) -> list[Idle]:
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
            )
            for when, (start_s, end_s) in told["idle"].items()
        ]


def conditions_around(
    told: Mapping[str, Any], recorder: Recorder, host: HostSampler, cores: float, before: Conditions
) -> Conditions:
    """Add what the machine was like in a window to the conditions before it.

    Args:
        told: By the child: its ``pid``, its ``window``, and ``cpu_s`` that it used in it.
        recorder: That read the meters meanwhile.
        host: Sampled the machine's load meanwhile.
        cores: Granted to this run.
        before: The conditions before.
    """
    start_s, end_s = told["window"]
    devices = recorder.conditions(start_s, end_s, own_pids=(told["pid"],))
    return replace(
        before,
        foreign_load=host.foreign_load(start_s, end_s, told["cpu_s"], cores),
        clock_hz=_known({d.device: d.clock_hz for d in devices})
        | _known({f"{d.device}-memory": d.memory_clock_hz for d in devices}),
        power_limit_w=_known({d.device: d.power_limit_w for d in devices}),
        throttle_reasons=tuple(sorted({r for d in devices for r in d.throttle_reasons})),
        memory_device_bytes={
            d.device: d.memory_bytes for d in devices if d.memory_bytes is not None
        },
        foreign_processes=(
            *before.foreign_processes,
            *(f"{d.device}: {other}" for d in devices for other in d.foreign_pids),
        ),
    )


def doubts(energy: tuple[EnergyFigure, ...], conditions: Conditions) -> Flag:
    """Return the flags that energy and conditions of any window ask for."""
    flags = Flag(0)
    if conditions.throttle_reasons:
        flags |= Flag.THROTTLED
    if (conditions.foreign_load or 0.0) > DISTURBED_ABOVE or conditions.foreign_processes:
        flags |= Flag.DISTURBED
    for figure in energy:
        if figure.disagreement is not None and abs(figure.disagreement) > DISAGREES_ABOVE:
            flags |= Flag.METER_DISAGREES
    return flags


def _queue(told: dict[str, Any], recorder: Recorder) -> Queue:
    sizes = {int(size): count for size, count in told["queue"]["batch_sizes"].items()}  # from JSON
    queue = Queue(**(told["queue"] | {"batch_sizes": sizes}))
    if not told["tail_s"]:
        return queue
    start_s, end_s = told["window"]
    with_tail_s = end_s + told["tail_s"] - start_s
    figures = [f for f in recorder.energy(start_s, start_s + with_tail_s) if f.counts]
    gpus = [figure for figure in figures if figure.domain.startswith("gpu-")]
    energies = {figure.domain: figure.energy_j for figure in gpus or figures}
    if not energies or None in energies.values():
        return queue
    mean_w = sum(energy for energy in energies.values() if energy is not None) / with_tail_s
    published = AsPublished(
        energy_j=mean_w * (end_s - start_s), domains=tuple(energies), tail_s=told["tail_s"]
    )
    return replace(queue, as_published=published)


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _request(slot: Slot, station: Station, arrays: Path, cache: Path) -> dict[str, Any]:
    rules = station.study.rules
    key = artifact_key(slot.cell.model, slot.cell.precision)
    return loading(slot.cell, station.artifacts[key], station.study) | {
        "reference": str(station.references[slot.cell.model]),
        "arithmetic": str(station.references[key]) if judged_by_itself(slot.cell) else "",
        "cache": str(cache),
        "preprocessing": station.study.preprocessing,
        "protocol": asdict(rules),
        "window_s": station.study.window_for(slot.cell, station.metering.slowest_period_s),
        "arrivals_seed": station.study.seed + slot.block,
        "tail_s": _tail_s(slot.cell) if station.study.as_published else 0.0,
        "idle_before_s": rules.idle_s if slot.idle_before else 0.0,
        "idle_after_s": rules.idle_s if slot.idle_after else 0.0,
        "arrays": str(arrays),
    }


def _timeout_s(cell: Cell, station: Station) -> float:
    """The protocol's, on top of a server's window, however many requests the study asks for."""
    window_s = station.study.window_for(cell, station.metering.slowest_period_s)
    return station.study.rules.timeout_s + (2 * window_s if cell.is_server else 0.0)


def _tail_s(cell: Cell) -> float:
    rate_hz = cell.served.rate_hz if cell.is_server else None
    return _TAIL_S + (_TAIL_GAPS / rate_hz if rate_hz else 0.0)


def loading(cell: Cell, artifact: Artifact, study: Study) -> dict[str, Any]:
    """Return the members of a request that say what is to be loaded."""
    return {
        "cell": asdict(cell),
        "artifact": str(artifact.path),
        "manifest": str(artifact.manifest_path),
        "weights": str(artifact.weights_path),
        "source": study.sources.get(cell.model, ""),
        "threads": thread_count(study.threads),
        "seed": study.seed,
        "images": study.images.model_dump() if study.images else None,
        "allow_fallback": study.allow_fallback,
    }


def _flags(told: dict[str, Any], energy: tuple[EnergyFigure, ...], conditions: Conditions) -> Flag:
    flags = doubts(energy, conditions)
    if not (told["warm_up"]["settled"] and told["steady"]):
        flags |= Flag.UNSTEADY
    for name, flag in (
        ("fell_back", Flag.FALLBACK),
        ("overloaded", Flag.OVERLOADED),
        ("late", Flag.LATE),
    ):
        if told.get(name):
            flags |= flag
    return flags


def _save_trace(path: Path, of_child: Path, recorder: Recorder, told: dict[str, Any]) -> None:
    """Write the child's arrays and power traces as one ``.npz``, before the journal names it."""
    import numpy as np

    start_s, end_s = told["window"]
    arrays: dict[str, Any] = {**read_arrays(of_child), **recorder.trace(start_s, end_s)}
    with draft(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
