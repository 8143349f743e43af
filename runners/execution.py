"""A run: all that is left of a study, measured in order, journaled one by one."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean

from greenbatch.errors import RunError
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell, Conditions, Repetition
from greenbatch.runners.cores import granted_cores
from greenbatch.runners.directory import RunDirectory
from greenbatch.runners.host import HostSampler, cpu_temperatures_c
from greenbatch.runners.metering import Conditioned, Metering
from greenbatch.runners.order import Slot, slots
from greenbatch.runners.profiles import MeasurementProtocol
from greenbatch.runners.repetition import Station, measure
from greenbatch.runners.study import reference


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        done, total: Repetitions.
        left_s: Estimated time left, in s; ``None`` before anything is known.
        next: What is measured now; ``None`` when the run is complete.
        last: What has just been measured.
    """

    done: int
    total: int
    left_s: float | None
    next: Slot | None
    last: Repetition | None


def execute(
    directory: RunDirectory,
    artifacts: Mapping[str, Artifact],
    metering: Metering,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Repetition]:
    """Measure what is left of a run.

    Args:
        directory: Of the run; its journal grows.
        artifacts: By `artifact_key`.
        metering: The open meters.
        on_progress: Told before the first repetition and after each one.

    Returns:
        Every repetition of the run, earlier ones included.

    Raises:
        RunError: An artifact is not the one that the run began with.
    """
    study = directory.study
    _check_artifacts(directory, artifacts)
    left = slots(study.cells(), study.repetitions, study.seed, directory.finished)
    done = list(directory.journal.repetitions)
    total = len(done) + len(left)
    with ExitStack() as stack:
        station = Station(
            study=study,
            artifacts=artifacts,
            metering=metering,
            host=stack.enter_context(HostSampler()),
            cores=granted_cores(),
            traces=directory.path / "traces",
        )
        reference = temperatures_c(metering)
        on_progress(
            Progress(len(done), total, time_left_s(done, left), next(iter(left), None), None)
        )
        for index, slot in enumerate(left):
            rested = rest(study.rules, reference, lambda: temperatures_c(metering))
            records = measure(slot, station, rested)
            directory.append(records)
            repetition = records[-1]
            assert isinstance(repetition, Repetition)
            done.append(repetition)
            behind = left[index + 1 :]
            on_progress(
                Progress(
                    len(done),
                    total,
                    time_left_s(done, behind),
                    next(iter(behind), None),
                    repetition,
                )
            )
    return done


def rest(
    rules: MeasurementProtocol,
    reference_c: Mapping[str, float],
    read_c: Callable[[], Mapping[str, float]],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Conditions:
    """Rest until every sensor is back within the band, within the bounds of the rules.

    Args:
        rules: ``rest_min_s``, ``rest_max_s`` and ``rest_band_c`` apply.
        reference_c: Temperatures when the run began, by sensor, in degrees Celsius.
        read_c: Reads them now.
        sleep, clock: Passed in by tests.

    Returns:
        How long the rest was, and the temperatures at its end.
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
            return Conditions(rest_s=rested_s, temperature_c=dict(now_c))
        sleep(min(0.5, rules.rest_max_s - rested_s))


def temperatures_c(metering: Metering) -> dict[str, float]:
    """Read the temperature of every CPU and device that tells one, in degrees Celsius."""
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
    walls = [(r.cell, r.phases_s.get("wall", 0.0) + r.conditions.rest_s) for r in done]
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


def _check_artifacts(directory: RunDirectory, artifacts: Mapping[str, Artifact]) -> None:
    for name, began_with in directory.study.artifacts.items():
        found = reference(artifacts[name])
        if found.sha256 != began_with.sha256 or found.weights != began_with.weights:
            raise RunError(
                f"cannot resume {directory.path}: the artifact of {name} is "
                f"{found.sha256[:12]} ({found.weights['kind']} weights), the run began with "
                f"{began_with.sha256[:12]} ({began_with.weights['kind']} weights); restore that "
                "artifact, or measure a new run"
            )
