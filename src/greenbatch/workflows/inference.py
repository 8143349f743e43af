"""The whole job: artifacts, run, report; what ``gb bench`` and `greenbatch.bench` do."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from greenbatch.errors import BackendUnavailable
from greenbatch.records import Repetition, Status
from greenbatch.workflows.energy_worth import energy_worth
from greenbatch.workflows.own_networks import check_runnable, choose, default_runtimes
from greenbatch.workflows.packages import require_backends, require_runtimes
from greenbatch.workflows.study_artifacts import export_models, keep_accuracies, load_artifacts

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.report.findings import InferenceFindings
    from greenbatch.design.options import BenchOptions
    from greenbatch.design.study import Study
    from greenbatch.design.training_study import TrainingStudy
    from greenbatch.models.artifacts import Artifact
    from greenbatch.runners.host.machine_lock import MachineLock
    from greenbatch.runners.metering import Metering
    from greenbatch.runners.run.directory import RunDirectory
    from greenbatch.runners.run.execute import Progress

PAPER_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
DEFAULT_BUDGET = "15m"
"""Of `gb bench` without an option that sets the design."""
_NO_MEMBERS = (
    "runtimes",
    "providers",
    "batch_sizes",
    "out",
    "artifacts_dir",
    "input",
    "network",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        path: Its directory.
        repetitions: All that was measured.
        report: The report's page.
        findings: What the report shows.
    """

    path: Path
    repetitions: tuple[Repetition, ...]
    report: Path
    findings: "InferenceFindings"

    @property
    def measured(self) -> bool:
        """Whether anything at all was measured."""
        return any(repetition.status is Status.OK for repetition in self.repetitions)

    def dataset(self) -> "xr.Dataset":
        """Open the run's dataset."""
        from greenbatch.analysis import open_run

        return open_run(self.path)


@dataclass(frozen=True, slots=True)
class Listener:
    """Whoever wants to know what is going on; each is called with one argument.

    Attributes:
        on_design: What a new run will measure, once the machine is free for it.
        on_step: A sentence about a step: probing, exporting, ...
        on_progress: Where the measuring stands.
    """

    on_design: Callable[["Study"], None] = lambda study: None
    on_step: Callable[[str], None] = lambda sentence: None
    on_progress: Callable[["Progress"], None] = lambda progress: None


def plan(
    models: Sequence[str] = (),
    on_step: Callable[[str], None] = lambda sentence: None,
    **options: Unpack["BenchOptions"],
) -> tuple["Study", Path]:
    """Make a study from options, and choose where its run goes.

    Args:
        models: Names in the registry or of artifacts, or what a user's own network comes from (see
            `greenbatch.models.sources.parse.parse_source`); the five study models when empty.
        on_step: Is called with a sentence about what is left out.
        options: See `greenbatch.design.options.BenchOptions`; ``batch_sizes`` are those of the
            paper when not given.

    Raises:
        UnknownNameError: An option, model, runtime or provider is not known.
        StudyError: The options do not make a study.
        MissingPackage: A runtime's package is not installed.
    """
    from greenbatch.design.options import check_keywords
    from greenbatch.design.study import make_study
    from greenbatch.runners import backends
    from greenbatch.runners.known import ThisMachine
    from greenbatch.runners.run.repetition import probe

    check_keywords(options)
    members = {name: value for name, value in options.items() if name not in _NO_MEMBERS}
    artifacts_dir = Path(options.get("artifacts_dir", "artifacts"))
    networks = choose(models, artifacts_dir, options.get("input", ()), options.get("network", ""))
    chosen = list(options.get("runtimes") or ())
    if not chosen:
        chosen, left_out = default_runtimes(backends.DEFAULT_RUNTIMES, networks)
        if left_out:
            on_step(left_out)
    require_runtimes(chosen)
    providers = list(options.get("providers") or ())
    if not providers:
        known = backends.pair(chosen, ["cuda"])
        providers = ["cpu"] if any(probe(name) for name in known) else ["cuda"]
    path = Path(options.get("out") or fresh_path())
    sources = networks.sources
    offline = "offline" in options.get("scenarios", ["offline"])
    study = make_study(
        {
            "name": path.name,
            **({"models": list(sources)} if models else {}),
            "sources": {name: text for name, text in sources.items() if name != text},
            "inputs": networks.inputs,
            "exported": networks.exported,
            "backends": backends.pair(chosen, providers),
            "batch_sizes": list(options.get("batch_sizes", PAPER_BATCH_SIZES)) if offline else [],
            "artifacts_dir": str(artifacts_dir),
            **members,
        },
        "the options",
        known=ThisMachine(),
    )
    return study, path


def fresh_path() -> Path:
    """Return a name for a run that was given none: ``runs/`` and the date and time."""
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}"


def run_study(
    study: "Study",
    path: Path,
    listener: Listener = Listener(),
    *,
    trust: bool = False,
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
) -> Run:
    """Export what is missing, measure a new run of ``study`` in ``path``, and report it.

    Args:
        study: The design.
        path: The run's directory.
        listener: Who wants to know what is going on.
        trust: Run the code that the study names, see `greenbatch.runners.run.consent`.
        share_machine: Measure beside another run; repetitions are flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.

    Raises:
        StudyError: The dataset of the design could not be laid out.
        UsageError: The study names code, and it is not trusted.
        MeasurementError: Another run is measuring on this machine.
        BackendUnavailable: A backend cannot run here and no fallback is allowed.
        MeterUnavailable: A meter that the study names cannot be read.
        ExportError: A model did not become an artifact.
        RunError: The directory is not free.
    """
    from greenbatch.design.artifact_reference import reference
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.directory import RunDirectory, check_free
    from greenbatch.runners.run.environment import describe

    check_free(path)
    check_room(study)
    require_backends(study.backends)
    if not trust:
        consent.require(study, "the study")
    with (
        machine_for(
            str(path), share=share_machine, wait_s=wait_machine_s, on_step=listener.on_step
        ) as machine,
        meters_for(study) as metering,
    ):
        listener.on_design(study)
        listener.on_step(energy_worth(metering))
        check_backends(study, listener)
        artifacts = export_models(study, listener)
        check_runnable(study, artifacts)
        references = {name: reference(artifact) for name, artifact in artifacts.items()}
        study = study.model_copy(update={"artifacts": references})
        with RunDirectory.create(path, study, describe(study, metering)) as directory:
            if problem := consent.remember(path, study):
                listener.on_step(problem)
            return _measure(directory, artifacts, metering, listener, machine)


def resume(
    path: Path,
    listener: Listener = Listener(),
    *,
    trust: bool = False,
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
) -> Run:
    """Go on with a run that was interrupted; what is in its journal is not measured again.

    Args:
        path: The run's directory.
        listener: Who wants to know what is going on.
        trust: Run the code that its study names, although it was not begun here.
        share_machine: Measure beside another run; repetitions are flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.

    Raises:
        UsageError: Its study names code, the run was not begun here, and it is not trusted.
        MeasurementError: Another run is measuring on this machine.
        RunError: It cannot be the same run any more: the message says what differs.
    """
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.known import ThisMachine
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.directory import RunDirectory, open_study
    from greenbatch.runners.run.environment import describe, describe_without_meters

    study = open_study(path, ThisMachine())
    if not trust:
        consent.require(study, f"the run {path}", run=path)
    require_backends(study.backends)
    RunDirectory.require_same(path, describe_without_meters(study))  # nothing was opened or asked
    with machine_for(
        str(path), share=share_machine, wait_s=wait_machine_s, on_step=listener.on_step
    ) as machine:
        check_backends(study, listener)
        artifacts = load_artifacts(study)
        with (
            meters_for(study) as metering,
            RunDirectory.resume(path, describe(study, metering)) as directory,
        ):
            if problem := consent.remember(path, study):
                listener.on_step(problem)
            return _measure(directory, artifacts, metering, listener, machine)


def bench(
    models: Sequence[str] = (),
    *,
    listener: Listener = Listener(),
    share_machine: bool = False,
    wait_machine_s: float = 0.0,
    **options: Unpack["BenchOptions"],
) -> Run:
    """Measure energy and latency of models across runtimes and batch sizes, and write the report.

    Args:
        models: Names in the registry; the five study models when empty.
        listener: Is called with each step and the progress.
        share_machine: Measure beside another run; repetitions are flagged as disturbed.
        wait_machine_s: How long to wait for another run on this machine to end, in s.
        options: See `greenbatch.design.options.BenchOptions`.

    Returns:
        The finished run.

    Raises:
        UnknownNameError: There is no such option, model, runtime or provider; the message gives
            the nearest one.

    Examples:
        >>> run = greenbatch.bench(["alexnet"], providers=["cpu"], batch_sizes=[1, 8])
        >>> run.dataset().energy_per_image
    """
    study, path = plan(models, **options)
    return run_study(
        study,
        path,
        listener,
        trust=True,
        share_machine=share_machine,
        wait_machine_s=wait_machine_s,
    )


def check_room(study: "Study") -> None:
    """Refuse a design whose dataset could not be laid out, before anything is measured.

    Raises:
        StudyError: It has too many places.
    """
    from greenbatch.analysis.dataset.labels import require_room
    from greenbatch.design.recorded import RecordedStudy

    require_room(RecordedStudy.read(study.model_dump(mode="json", by_alias=True)))


def check_backends(study: "Study", listener: Listener) -> None:
    """Ask each backend of a study whether it can run here.

    Raises:
        BackendUnavailable: One cannot, and no fallback is allowed.
    """
    from greenbatch.runners.run.repetition import probe

    listener.on_step(f"checking {', '.join(study.backends)}")
    for name in study.backends:
        reason = probe(name)
        if reason and not study.allow_fallback:
            raise BackendUnavailable(f"{name} cannot run on this machine: {reason}")
        if reason:
            listener.on_step(f"{name} may fall back, as allowed: {reason}")


def meters_for(study: "Study | TrainingStudy") -> "Metering":
    """Open the meters that a study asks for."""
    from greenbatch.runners.metering import BY_BUS, MeterOptions, open_meters

    environ = {**os.environ, **BY_BUS}  # as its child processes see the GPUs
    return open_meters(study.meters, MeterOptions(cpu_tdp_w=study.cpu_tdp_w, environ=environ))


def _measure(
    directory: "RunDirectory",
    artifacts: Mapping[str, "Artifact"],
    metering: "Metering",
    listener: Listener,
    machine: "MachineLock",
) -> Run:
    from greenbatch.analysis.report.build import report_of_run
    from greenbatch.runners.run.execute import execute

    with directory.resumable():
        keep_accuracies(directory.study, artifacts, directory.path)
        repetitions = execute(
            directory,
            artifacts,
            metering,
            listener.on_progress,
            listener.on_step,
            machine.neighbours,
        )
    listener.on_step("writing the report")
    page, findings = report_of_run(directory.path)
    return Run(directory.path, tuple(repetitions), page, findings)
