"""The whole job of a study of trainings: run and report; what ``gb train`` and ``gb tune`` do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from greenbatch.records import Status, Training
from greenbatch.workflows.energy_worth import energy_worth
from greenbatch.workflows.inference import meters_for
from greenbatch.workflows.packages import require_backends

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.training.report.findings import TrainingFindings
    from greenbatch.design.options import TrainingOptions
    from greenbatch.design.training_study import TrainingStudy
    from greenbatch.runners.host.machine_lock import MachineLock
    from greenbatch.runners.metering import Metering
    from greenbatch.runners.run.directory import TrainingDirectory
    from greenbatch.runners.training.parent.execution import Progress


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run of trainings.

    Attributes:
        path: Its directory.
        trainings: All that were done.
        report: The report's page.
        findings: What the report shows.
    """

    path: Path
    trainings: tuple[Training, ...]
    report: Path
    findings: "TrainingFindings"

    @property
    def measured(self) -> bool:
        """Whether any training came to its end."""
        return any(training.status is Status.OK for training in self.trainings)

    def dataset(self) -> "xr.Dataset":
        """Open the run's dataset."""
        from greenbatch.analysis.training import open_training

        return open_training(self.path)


@dataclass(frozen=True, slots=True)
class Listener:
    """Whoever wants to know what is going on; each is called with one argument.

    Attributes:
        on_step: A sentence about a step.
        on_progress: Where the training stands.
    """

    on_step: Callable[[str], None] = lambda sentence: None
    on_progress: Callable[["Progress"], None] = lambda progress: None


def plan(
    models: Sequence[str],
    *,
    providers: Sequence[str] = (),
    **members: Unpack["TrainingOptions"],
) -> "TrainingStudy":
    """Make a study of trainings from options.

    Args:
        models: Names of networks, see `greenbatch.runners.training.design.networks`.
        providers: ``cpu``, ``cuda``; the first when empty.
        members: Further members of the study, see `greenbatch.design.options.TrainingOptions`.

    Raises:
        UnknownNameError: A network or a data set is not known.
        StudyError: The options do not make a study.
    """
    from greenbatch.design.training_study import make_training_study
    from greenbatch.runners.known import ThisMachine

    backends = {"backends": [f"torch-{provider}" for provider in providers]} if providers else {}
    return make_training_study(
        {"models": list(models), **backends, **members},
        "the options",
        known=ThisMachine(),
    )


def run_training(
    study: "TrainingStudy",
    path: Path,
    listener: Listener = Listener(),
    *,
    trust: bool = False,
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
) -> Run:
    """Do a new run of ``study`` in ``path``, and report it.

    Args:
        study: The design.
        path: The run's directory.
        listener: Who wants to know what is going on.
        trust: Run the code that the study names, see `greenbatch.runners.run.consent`.
        share_machine: Measure beside another run; trainings are flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.

    Raises:
        UsageError: The study names code, and it is not trusted.
        MeasurementError: Another run is measuring on this machine.
        BackendUnavailable: A backend cannot run here.
        MeterUnavailable: A meter that the study names cannot be read.
        UsageError, MeasurementError: Its data cannot be had, or there is nothing to learn in them.
        RunError: The directory is not free.
    """
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.directory import TrainingDirectory, check_free
    from greenbatch.runners.run.environment import describe

    check_free(path)
    require_backends(study.backends)
    if not trust:
        consent.require(study, "the study")
    with (
        machine_for(
            str(path), share=share_machine, wait_s=wait_machine_s, on_step=listener.on_step
        ) as machine,
        meters_for(study) as metering,
    ):
        listener.on_step(energy_worth(metering))
        _preflight(study, listener)
        with TrainingDirectory.create(path, study, describe(study, metering)) as directory:
            if problem := consent.remember(path, study):
                listener.on_step(problem)
            return _train(directory, metering, listener, machine)


def resume_training(
    path: Path,
    listener: Listener = Listener(),
    *,
    trust: bool = False,
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
) -> Run:
    """Go on with a run that was interrupted, amid a training where there is a checkpoint.

    Args:
        path: The run's directory.
        listener: Who wants to know what is going on.
        trust: Run the code that its study names, although it was not begun here.
        share_machine: Measure beside another run; trainings are flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.

    Raises:
        UsageError: Its study names code, the run was not begun here, and it is not trusted.
        MeasurementError: Another run is measuring on this machine.
        RunError: It cannot be the same run any more: the message says what differs.
    """
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.known import ThisMachine
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.directory import TrainingDirectory, open_training_study
    from greenbatch.runners.run.environment import describe, describe_without_meters

    study = open_training_study(path, ThisMachine())
    if not trust:
        consent.require(study, f"the run {path}", run=path)
    require_backends(study.backends)
    TrainingDirectory.require_same(path, describe_without_meters(study))  # no meter was opened
    with (
        machine_for(
            str(path), share=share_machine, wait_s=wait_machine_s, on_step=listener.on_step
        ) as machine,
        meters_for(study) as metering,
        TrainingDirectory.resume(path, describe(study, metering)) as directory,
    ):
        if problem := consent.remember(path, study):
            listener.on_step(problem)
        return _train(directory, metering, listener, machine)


def _preflight(study: "TrainingStudy", listener: Listener) -> None:
    from greenbatch.runners.training.parent import execution, search

    if study.search:
        search.require_optuna()
    listener.on_step(f"loading {', '.join(study.data)}")
    for note in execution.preflight(study):
        listener.on_step(note)


def _train(
    directory: "TrainingDirectory",
    metering: "Metering",
    listener: Listener,
    machine: "MachineLock",
) -> Run:
    from greenbatch.analysis.training.report.build import report_of_run
    from greenbatch.runners.training.parent.execution import execute

    with directory.resumable():
        trainings = execute(
            directory, metering, listener.on_progress, listener.on_step, machine.neighbours
        )
    listener.on_step("writing the report")
    page, findings = report_of_run(directory.path)
    return Run(directory.path, trainings, page, findings)
