"""A run: all that is left of a study, measured in order, journaled one by one."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean

from greenbatch.design.artifact_reference import reference
from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.design.study import Study
from greenbatch.errors import RunError
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Capacity, Cell, Conditions, Record, Repetition, Status, artifact_key
from greenbatch.runners import backends
from greenbatch.runners.child.sessions import Sessions
from greenbatch.runners.child.starting import Isolation, Starter
from greenbatch.runners.host.cores import granted_cores
from greenbatch.runners.host.load import HostSampler, cpu_temperatures_c
from greenbatch.runners.metering import Conditioned, Metering
from greenbatch.runners.run import quiet
from greenbatch.runners.run.caches import compiled_code
from greenbatch.runners.run.capacity import find_capacity
from greenbatch.runners.run.cell_metering import metering_of
from greenbatch.runners.run.directory import RunDirectory
from greenbatch.runners.run.reference import make_references
from greenbatch.runners.run.repetition import RunContext, measure
from greenbatch.runners.run.shared_code import SharedCode
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.scheduling.schedule import Part, Planned, schedule_of

_LOOK_S, _SHORT_LOOK_S = 1.0, 0.3  # the short one where nothing is waited for


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        done, total: Repetitions; with a precision target the total is the least that is known.
        left_s: Estimated time left, in s; ``None`` before anything is known.
        next: What is measured now; ``None`` when the run is complete.
        last: What has just been measured.
        answered: Of a run with a budget, how many questions are answered.
    """

    done: int
    total: int
    left_s: float | None
    next: Slot | None
    last: Repetition | None
    answered: str = ""


def execute(
    directory: RunDirectory,
    artifacts: Mapping[str, Artifact],
    metering: Metering,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_step: Callable[[str], None] = lambda sentence: None,
    neighbours: Callable[[], tuple[str, ...]] = lambda: (),
    part: Part | None = None,
) -> list[Repetition]:
    """Measure what is left of a run, or of a part of it.

    Args:
        directory: Of the run; its journal grows.
        artifacts: By `artifact_key`.
        metering: The open meters.
        on_progress: Called before the first repetition and after each one.
        on_step: Called with what else is done, in a sentence.
        neighbours: Names runs that measure on this machine at the same time.
        part: Measure no more than this, and keep what was compiled for the other parts.

    Returns:
        Every repetition of the run, earlier ones included.

    Raises:
        RunError: An artifact is not the one that the run began with.
        MeasurementError: The machine is busy, and the study refuses that.
    """
    study = directory.study
    _check_artifacts(directory, artifacts)
    done = list(directory.journal.repetitions)
    schedule = schedule_of(study, directory.journal, part)
    slots = schedule.slots()
    slot = next(slots, None)
    directory.append([*schedule.decided()])  # of a run that was killed before they were written
    bounds = MemoryBounds(directory.journal.capacities, done)
    if not slot:
        return done
    with ExitStack() as stack:
        how: Isolation = "spawn" if study.isolation == "spawn" else "fork"
        starter = stack.enter_context(Starter(how))
        references = make_references(study, artifacts, directory.path / "reference", starter)
        offline = [cell for cell in study.cells() if not cell.is_server]
        for cell in bounds.unknown(offline) if study.probe_max_batch else ():
            artifact = artifacts[artifact_key(cell.model, cell.precision)]
            on_step(f"finding the largest batch of {cell.model} on {cell.variant}")
            environment = metering_of(metering, cell.backend).environment
            capacity = find_capacity(cell, artifact, study, environment, starter)
            if capacity.ended:
                on_step(f"the largest batch is not known: {capacity.ended}")
            directory.append([capacity])
            bounds.take(capacity)
        context = RunContext(
            study=study,
            artifacts=artifacts,
            metering=metering,
            host=stack.enter_context(HostSampler()),
            cores=granted_cores(),
            traces=directory.path / "traces",
            references=references,
            cache=stack.enter_context(
                compiled_code(
                    directory.path,
                    study,
                    resumed=bool(done),
                    keep=part is not None,
                    on_step=on_step,
                )
            ),
            children=stack.enter_context(Sessions(starter, shared=study.in_sessions)),
            shared=_shared_code(study, on_step),
        )
        if not neighbours():  # beside another run the machine is not quiet, as was asked
            _wait_until_quiet(study, on_step)
        reference_c = temperatures_c(metering)
        on_progress(_progress(done, schedule, slot, None))
        while slot:
            if too_large := bounds.reason(slot.cell):
                records: list[Record] = [_not_run(slot, too_large)]
            else:
                counted = metering_of(metering, slot.cell.backend).metering
                records = measure(
                    slot,
                    replace(context, most_s=schedule.most_s),
                    partial(
                        rest,
                        study.rules,
                        reference_c,
                        partial(temperatures_c, counted),
                        neighbours=neighbours,
                    ),
                )
            repetition = records[-1]
            assert isinstance(repetition, Repetition)
            repetition = schedule.add(repetition, slot.attempt)
            if schedule.is_repeated(repetition):
                repetition = _set_aside(repetition, context.traces)
            directory.append([*records[:-1], repetition])
            bounds.see(repetition)
            done.append(repetition)
            slot = next(slots, None)
            directory.append([*schedule.decided()])
            on_progress(_progress(done, schedule, slot, repetition))
    return done


def _shared_code(study: Study, on_step: Callable[[str], None]) -> SharedCode | None:
    if not study.compile_cache:
        return None
    try:
        return SharedCode(study)
    except OSError as error:
        on_step(f"the cache folder cannot be used ({error}); everything is compiled in this run")
        return None


def _wait_until_quiet(study: Study, on_step: Callable[[str], None]) -> None:
    on_gpu = any(backends.find(name).device != "cpu" for name in study.backends)
    look_s = _LOOK_S if study.wait_quiet_s else _SHORT_LOOK_S
    look = partial(quiet.disturbing, look_s, on_gpu=on_gpu)
    refuse = study.on_busy == "refuse"
    quiet.wait_until_quiet(look, study.wait_quiet_s, on_step, refuse=refuse)


def _progress(
    done: list[Repetition], schedule: Planned, slot: Slot | None, last: Repetition | None
) -> Progress:
    left = schedule.left() if slot else []
    left_s = time_left_s(done, left) if schedule.left_s is None else schedule.left_s
    return Progress(
        len(done), len(done) + len(left), left_s, slot, last, answered=schedule.answered
    )


def _set_aside(repetition: Repetition, traces: Path) -> Repetition:
    """Give the trace of a repetition another name; the next attempt takes the one it has."""
    if repetition.trace is None:
        return repetition
    trace = Path(repetition.trace)
    name = f"{trace.stem}_attempt{repetition.attempt}{trace.suffix}"
    (traces / trace).replace(traces / name)
    return replace(repetition, trace=name)


class MemoryBounds:
    """From which batch size on a cell is known not to fit into memory.

    Cells that differ in nothing but the batch size share a bound.

    Args:
        capacities: That were found before.
        done: Repetitions that were measured before.
    """

    def __init__(self, capacities: Iterable[Capacity], done: Iterable[Repetition]) -> None:
        self._failing: dict[Cell, tuple[int, str]] = {}
        self._probed: set[Cell] = set()
        for capacity in capacities:
            self.take(capacity)
        for repetition in done:
            self.see(repetition)

    def take(self, capacity: Capacity) -> None:
        """Learn from a capacity that was found."""
        family = _family(capacity.cell)
        self._probed.add(family)
        if capacity.smallest_failing is not None:
            self._note(family, capacity.smallest_failing, capacity.reason)

    def see(self, repetition: Repetition) -> None:
        """Learn from a repetition that ran out of memory; a larger batch is not tried."""
        if repetition.status is Status.OOM:
            cell = repetition.cell
            self._note(_family(cell), cell.batch_size + 1, repetition.reason or "")

    def reason(self, cell: Cell) -> str | None:
        """Say why a cell is not tried; ``None``: it is."""
        size, why = self._failing.get(_family(cell), (None, ""))
        if size is None or cell.batch_size < size:
            return None
        return f"not tried, as a batch that is not larger did not fit: {why}"

    def unknown(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return a cell for each bound that was not probed yet."""
        families = dict.fromkeys(_family(cell) for cell in cells)
        return [family for family in families if family not in self._probed]

    def _note(self, family: Cell, size: int, why: str) -> None:
        known = self._failing.get(family)
        if known is None or size < known[0]:
            self._failing[family] = (size, why)


def _family(cell: Cell) -> Cell:
    return replace(cell, batch_size=1)


def _not_run(slot: Slot, reason: str) -> Repetition:
    return Repetition(
        cell=slot.cell,
        block=slot.block,
        position=slot.position,
        status=Status.NOT_RUN,
        reason=reason,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def rest(
    rules: MeasurementProtocol,
    reference_c: Mapping[str, float],
    read_c: Callable[[], Mapping[str, float]],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
    neighbours: Callable[[], tuple[str, ...]] = lambda: (),
) -> Conditions:
    """Rest until every sensor is back within the band, within the bounds of the rules.

    Args:
        rules: ``rest_min_s``, ``rest_max_s`` and ``rest_band_c`` apply.
        reference_c: Temperatures when the run began, by sensor, in degrees Celsius.
        read_c: Reads them now.
        sleep, clock: Passed in by tests.
        neighbours: Names runs that measure on this machine at the same time.

    Returns:
        How long the rest was, and the temperatures and other runs at its end.
    """
    began_s = clock()
    sleep(rules.rest_min_s)
    while True:
        now_c = read_c()
        rested_s = clock() - began_s
        warm = any(
            now_c[sensor] > reference_c[sensor] + rules.rest_band_c
            for sensor in now_c.keys() & reference_c.keys()
        )
        if not warm or rested_s >= rules.rest_max_s:
            return Conditions(
                rest_s=rested_s, temperature_c=dict(now_c), foreign_processes=neighbours()
            )
        sleep(min(0.5, rules.rest_max_s - rested_s))


def temperatures_c(metering: Metering) -> dict[str, float]:
    """Read the temperature of every CPU and device that reports one, in degrees Celsius."""
    devices = {
        device: state.temperature_c
        for meter in metering.meters
        if isinstance(meter, Conditioned)
        for device, state in meter.conditions().items()
        if state.temperature_c is not None
    }
    return cpu_temperatures_c() | devices


def time_left_s(done: list[Repetition], left: list[Slot]) -> float | None:
    """Estimate how long ``left`` takes from what was measured, in s.

    A cell takes as long as it took before; one that was not measured yet, as long as the cells most
    like it did: of its model, else all.

    Returns:
        ``None`` before anything was measured.
    """
    walls = [(r.cell, _wall_s(r)) for r in done]
    if not walls:
        return None

    def expected_s(cell: Cell) -> float:
        same = [wall for other, wall in walls if other == cell]
        kin = [wall for other, wall in walls if other.model == cell.model]
        return fmean(same or kin or [wall for _, wall in walls])

    by_cell = {slot.cell: 0.0 for slot in left}
    for cell in by_cell:
        by_cell[cell] = expected_s(cell)
    return sum(by_cell[slot.cell] for slot in left)


def _wall_s(repetition: Repetition) -> float:
    """Return how long a repetition took with its rest, in s, without a server's one start."""
    phases_s = repetition.phases_s
    own_s = phases_s.get("wall", 0.0) - phases_s.get("fork_server", 0.0)
    return own_s + repetition.conditions.rest_s


def _check_artifacts(directory: RunDirectory, artifacts: Mapping[str, Artifact]) -> None:
    kept = directory.study.artifacts
    for name in artifacts if kept else ():
        if (began_with := kept.get(name)) is None:
            raise RunError(
                f"cannot resume {directory.path}: its study.yaml names no artifact of {name}; "
                "restore the file, or measure a new run"
            )
        found = reference(artifacts[name])
        if found.sha256 != began_with.sha256 or found.weights != began_with.weights:
            raise RunError(
                f"cannot resume {directory.path}: the artifact of {name} is "
                f"{found.sha256[:12]} ({found.weights['kind']} weights), the run began with "
                f"{began_with.sha256[:12]} ({began_with.weights['kind']} weights); restore that "
                "artifact, or measure a new run"
            )
