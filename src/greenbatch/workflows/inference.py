"""The whole job: artifacts, run, report; what ``gb bench`` and `greenbatch.bench` do."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from greenbatch import extras, files
from greenbatch.errors import BackendUnavailable, ExportError, UsageError
from greenbatch.records import Repetition, Status
from greenbatch.workflows.exports import plan_exports
from greenbatch.workflows.own_networks import check_runnable, choose, default_runtimes
from greenbatch.workflows.packages import require_backends, require_runtimes

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.report.findings import InferenceFindings
    from greenbatch.design.options import BenchOptions
    from greenbatch.design.study import Study
    from greenbatch.design.training_study import TrainingStudy
    from greenbatch.exporter.parallel import Outcome
    from greenbatch.models import ModelSpec
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
        on_step: A sentence about a step: probing, exporting, ...
        on_progress: Where the measuring stands.
    """

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
    from greenbatch.design.study import reference
    from greenbatch.runners.host.machine_lock import machine_for
    from greenbatch.runners.run import consent
    from greenbatch.runners.run.directory import RunDirectory, check_free
    from greenbatch.runners.run.environment import describe

    check_free(path)
    check_room(study)
    require_backends(study.backends)
    if not trust:
        consent.require(study, "the study")
    with machine_for(
        str(path), share=share_machine, wait_s=wait_machine_s, on_step=listener.on_step
    ) as machine:
        check_backends(study, listener)
        with meters_for(study) as metering:
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


def load_artifacts(study: "Study") -> Mapping[str, "Artifact"]:
    """Read the artifacts of a study, with the fp32 ones as reference, and check their files."""
    from greenbatch.models.artifacts import load_artifact
    from greenbatch.records import artifact_key

    folder = Path(study.artifacts_dir)
    return {
        artifact_key(model, precision): load_artifact(folder, model, precision)
        for model in study.models
        for precision in dict.fromkeys(("fp32", *study.precisions))  # fp32 is the reference
    }


def export_models(study: "Study", listener: Listener) -> Mapping[str, "Artifact"]:
    """Export what a study needs, in processes of their own: this one stays small and quiet."""
    from greenbatch.models import ModelSpec, registry

    listener.on_step(f"exporting {', '.join(study.models)} (up-to-date artifacts are kept)")
    options = [f"--precision={name}" for name in study.precisions if name != "fp32"]
    drawn = [f"--weights={study.weights}", f"--seed={study.seed}"]
    listed = [registry.find(name) for name in study.models if name in registry.names(registry.ALL)]
    _export([spec for spec in listed if _stale(spec, study)], [*options, *drawn], study, listener)
    for name in study.sources:  # how much memory each takes is not known: one at a time
        if name not in study.exported:
            spec = ModelSpec(name=name, family="own", parameters=0, weights="")
            inputs = [f"--input={text}" for text in study.inputs.get(name, ())]
            onnx = study.sources[name].lower().endswith(".onnx")
            free = ["--dynamic-batch"] if onnx else []
            _export([spec], [*options, *inputs, *free], study, listener)
    return load_artifacts(study)


def _stale(spec: "ModelSpec", study: "Study") -> bool:
    """Whether an export of this network has something to do, as far as that is known at once."""
    from greenbatch.exporter.export import find_up_to_date

    if study.precisions != ("fp32",):
        return True
    folder = Path(study.artifacts_dir)
    return not find_up_to_date(spec.name, folder, weights=study.weights, seed=study.seed)


def _export(
    specs: "Sequence[ModelSpec]", options: Sequence[str], study: "Study", listener: Listener
) -> None:
    from greenbatch.exporter.parallel import Fleet

    if not specs:
        return
    extras.require(f"the export of {specs[0].name}", extras.EXTRAS["bench"])
    plan = plan_exports(Path(study.artifacts_dir), options, len(specs), sources=study.sources)
    failed: list[Outcome] = []
    notes: dict[str, None] = {}
    with contextlib.closing(Fleet(plan).run(specs)) as running:
        for outcome in running:
            if outcome.exported:
                made = f"{outcome.model} ({', '.join(outcome.exported)})"
                listener.on_step(f"exported {made} in {outcome.seconds:.0f} s")
            for note in outcome.notes:
                if note not in notes:
                    listener.on_step(note)
                notes[note] = None
            if not outcome.good:
                failed.append(outcome)
    if failed:
        wrong_use = all(outcome.exit_code == UsageError.exit_code for outcome in failed)
        error = UsageError if wrong_use else ExportError
        raise error("; ".join(outcome.reason for outcome in failed))


def _keep_accuracies(study: "Study", artifacts: Mapping[str, "Artifact"], path: Path) -> None:
    """Copy what ``gb eval`` measured of these very artifacts into the run."""
    from greenbatch.records.accuracy import FOLDER, parse_accuracy

    for artifact in artifacts.values():
        manifest = artifact.manifest
        file = Path(study.artifacts_dir) / FOLDER / f"{manifest.model}-{manifest.precision}.json"
        if not file.is_file() or (path / FOLDER / file.name).exists():
            continue
        text = files.read_text(file, files.MEGABYTE_BYTES)
        if parse_accuracy(text, str(file)).artifact_sha256 == manifest.sha256:
            files.make_folder(path / FOLDER)
            files.write_atomically(path / FOLDER / file.name, text)


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
        _keep_accuracies(directory.study, artifacts, directory.path)
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
