"""The run of a study of trainings: all of its trainings, in order, each in a session or more."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from greenbatch.design.training_options import RANDOM
from greenbatch.design.training_study import TrainingStudy
from greenbatch.errors import BackendUnavailable, MeasurementError, UsageError
from greenbatch.records import Epoch, Record, Training, TrainingCell
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.host.cores import granted_cores
from greenbatch.runners.host.load import HostSampler
from greenbatch.runners.metering import Metering
from greenbatch.runners.run.cell_metering import metering_of
from greenbatch.runners.run.directory import TrainingDirectory
from greenbatch.runners.run.execute import rest, temperatures_c
from greenbatch.runners.training.messages import Preflight, PreflightResult
from greenbatch.runners.training.parent import schedule, session
from greenbatch.runners.training.parent.ledger import Ledger
from greenbatch.runners.training.parent.requests import data_of


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run of trainings stands.

    Attributes:
        done, total: Trainings.
        left_s: Estimated time left, in s; ``None`` before a training has ended.
        next: What is trained now; ``None`` when the run is complete.
        epochs: That it has behind it, and has at the most.
        last: The training that has just ended, if one has.
        epoch: The epoch that has just ended, if one has.
    """

    done: int
    total: int
    left_s: float | None
    next: TrainingCell | None
    epochs: tuple[int, int]
    last: Training | None = None
    epoch: Epoch | None = None


def preflight(study: TrainingStudy) -> list[str]:
    """Load the data in a child, before anything is measured or written.

    Returns:
        What there is to say of them, a sentence each.

    Raises:
        BackendUnavailable: A backend cannot run here.
        UsageError, MeasurementError: Data cannot be had, or there is nothing to learn in them.
    """
    try:
        with ChildProcess(study.rules.timeout_s) as child:
            child.begin("preflight", "torch-cpu")
            request = Preflight(
                backends=study.backends,
                names=study.data,
                data=data_of(study),
                weights={k: v for k, v in study.transfer.weights.items() if v != RANDOM},
            )
            found = child.finish(request, PreflightResult)
    except ChildFailed as failure:
        raise MeasurementError(f"the data cannot be loaded: {failure.reason}") from None
    for name, reason in found.reasons.items():
        if reason:
            raise BackendUnavailable(f"{name} cannot run on this machine: {reason}")
    if found.fault:
        kind = UsageError if found.code == UsageError.exit_code else MeasurementError
        raise kind(found.fault)
    return list(found.notes)


def execute(
    directory: TrainingDirectory,
    metering: Metering,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_step: Callable[[str], None] = lambda sentence: None,
    neighbours: Callable[[], tuple[str, ...]] = lambda: (),
) -> tuple[Training, ...]:
    """Do what is left of a run.

    Args:
        directory: Of the run; its journal grows.
        metering: The open meters.
        on_progress: Called before the first training, and after each epoch and training.
        on_step: Receives a sentence on what else is done.
        neighbours: Names runs that measure on this machine at the same time.

    Returns:
        Every training of the run, earlier ones included.

    Raises:
        StudyError: A search cannot go on; what was trained is kept.
    """
    study, ledger = directory.study, Ledger(directory.journal)
    slots = schedule.slots(study, ledger)
    slot = next(slots, None)
    if slot is None:
        return ledger.trainings

    def append(records: list[Record]) -> None:
        directory.append(records)
        ledger.add(records)

    def report(last: Training | None = None, epoch: Epoch | None = None) -> None:
        done, every = len(ledger.trainings), schedule.total(study)
        behind = len(ledger.epochs(slot.cell, slot.block)) if slot else 0
        left_s = _left_s(ledger.trainings, every - done)
        now = slot.cell if slot else None
        on_progress(Progress(done, every, left_s, now, (behind, study.epochs), last, epoch))

    with HostSampler() as host:
        context = session.TrainingContext(
            study=study,
            metering=metering,
            host=host,
            cores=granted_cores(),
            run=directory.path,
            ledger=ledger,
            append=append,
            on_step=on_step,
            on_epoch=lambda epoch: report(epoch=epoch),
        )
        reference_c = temperatures_c(metering)
        report()
        while slot:
            counted = metering_of(metering, slot.cell.backend).metering
            training = session.train(
                slot,
                context,
                partial(
                    rest,
                    study.rules,
                    reference_c,
                    partial(temperatures_c, counted),
                    neighbours=neighbours,
                ),
            )
            slot = next(slots, None)
            report(last=training)
    shutil.rmtree(directory.path / "checkpoints", ignore_errors=True)
    return ledger.trainings


def _left_s(trainings: tuple[Training, ...], left: int) -> float | None:
    """Estimate how long so many trainings take, from those that were done, in s."""
    walls = [t.phases_s.get("wall", 0.0) + t.conditions.rest_s for t in trainings]
    return fmean(walls) * left if walls else None
