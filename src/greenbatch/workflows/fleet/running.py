"""A study on a fleet, from the export to the dataset; what ``gb fleet run`` and ``attach`` do."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import FleetError, RunError
from greenbatch.records import Status
from greenbatch.runners.fleet.coordination import Coordinator, Listener, Rules
from greenbatch.runners.fleet.home import FleetFile, Home, read_fleet
from greenbatch.runners.fleet.planning import check_divisible, parse_sharing

if TYPE_CHECKING:
    from greenbatch.design.study import Study
    from greenbatch.models.artifacts import Artifact
    from greenbatch.workflows.inference import Listener as StepListener

DATASET = "dataset.nc"


@dataclass(frozen=True, slots=True)
class FleetRun:
    """What a fleet measured.

    Attributes:
        path: Its folder.
        machines: Number of measured repetitions by machine.
        planned: Number of repetitions that were to be measured.
        failed: Reasons of units and repetitions that failed.
        refused: Why a machine had no part, by name.
        dataset: The file of all machines; ``None``: nothing was measured.
        report: The report's page.
    """

    path: Path
    machines: Mapping[str, int]
    planned: int
    failed: tuple[str, ...]
    refused: Mapping[str, str]
    dataset: Path | None
    report: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """How a study is run on a fleet.

    Attributes:
        executor: See `greenbatch.runners.fleet.executors.opening.open_executor`.
        machines: ``each``, ``any`` or ``KIND=N``.
        whole: Whether a unit is the whole study.
        expect: How many machines to wait for.
        wait_s: How long a unit waits for another run on its machine, in s.
        trust: Run the code that the study names.
        group_versions: Accept machines whose software differs.
    """

    executor: Mapping[str, str]
    machines: str = "each"
    whole: bool = False
    expect: int = 1
    wait_s: float = 3600.0
    trust: bool = False
    group_versions: bool = False

    @property
    def rules(self) -> Rules:
        """The rules of the coordinator."""
        return Rules(
            sharing=parse_sharing(self.machines),
            whole=self.whole,
            machines=self.expect,
            wait_s=self.wait_s,
            trust=self.trust,
            group_versions=self.group_versions,
        )


def run_fleet(
    study: "Study",
    path: Path,
    options: FleetOptions,
    listener: Listener | None = None,
    steps: "StepListener | None" = None,
) -> FleetRun:
    """Measure a study on the machines of a fleet, and make one dataset of what they measured.

    Args:
        study: The design.
        path: The fleet's folder.
        options: See `FleetOptions`.
        listener: Called with what happens on the machines.
        steps: Called with what happens here.

    Raises:
        UsageError: The options do not fit the study.
        RunError: The folder is not free.
        ExportError: A model did not become an artifact.
        FleetError: Nothing can be reached or measured; what was measured is kept.
    """
    from greenbatch.design.study import reference
    from greenbatch.workflows import inference
    from greenbatch.workflows.packages import require_backends

    steps = steps or inference.Listener()
    require_backends(study.backends)
    check_divisible(study, options.rules.sharing, whole=options.whole)
    inference.check_room(study)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path} is not empty; continue a fleet with: gb fleet attach {path}, or choose "
            "another --out"
        )
    artifacts = inference.export_models(study, steps)
    references = {name: reference(artifact) for name, artifact in artifacts.items()}
    folder = str(Path(study.artifacts_dir).resolve())
    study = study.model_copy(update={"artifacts": references, "artifacts_dir": folder})
    fleet = FleetFile(
        id=secrets.token_hex(6),
        study=study.to_yaml(),
        machines=options.machines,
        whole=options.whole,
        executor=dict(options.executor),
        options={
            "expect": str(options.expect),
            "wait_s": str(options.wait_s),
            "trust": "yes" if options.trust else "no",
            "versions": "group" if options.group_versions else "refuse",
        },
    )
    with Home.create(path, fleet) as home:
        return _run(home, options, artifacts, listener or Listener(), steps)


def attach(
    path: Path,
    executor: Mapping[str, str] | None = None,
    listener: Listener | None = None,
    steps: "StepListener | None" = None,
) -> FleetRun:
    """Go on with a fleet whose client, scheduler or machines went away.

    Args:
        path: The fleet's folder.
        executor: Another one than the fleet began with; ``None``: the same.
        listener: Called with what happens on the machines.
        steps: Called with what happens here.

    Raises:
        RunError: There is no fleet, or another client takes in its records.
        FleetError: Nothing can be reached or measured; what was measured is kept.
    """
    from greenbatch.workflows import inference

    options = options_of(read_fleet(path), executor)
    with Home.open(path) as home:
        artifacts = inference.load_artifacts(home.study)
        return _run(home, options, artifacts, listener or Listener(), steps or inference.Listener())


def options_of(fleet: FleetFile, executor: Mapping[str, str] | None = None) -> FleetOptions:
    """Return the options that a fleet began with, on another executor where one is given."""
    return FleetOptions(
        executor=executor or fleet.executor,
        machines=fleet.machines,
        whole=fleet.whole,
        expect=int(fleet.options.get("expect", "1")),
        wait_s=float(fleet.options.get("wait_s", "3600")),
        trust=fleet.options.get("trust") == "yes",
        group_versions=fleet.options.get("versions") == "group",
    )


def study_hash(home: Home) -> str:
    """Return the hash of a fleet's study, wherever its artifacts lie."""
    text = home.study.model_copy(update={"artifacts_dir": ""}).to_yaml()
    return hashlib.sha256(text.encode()).hexdigest()


def _run(
    home: Home,
    options: FleetOptions,
    artifacts: "Mapping[str, Artifact]",
    listener: Listener,
    steps: "StepListener",
) -> FleetRun:
    from greenbatch.runners.fleet.artifact_store import files_of
    from greenbatch.runners.fleet.executors.opening import open_executor

    folder = Path(home.study.artifacts_dir)
    files = files_of(list(artifacts.values()))
    try:
        with open_executor(options.executor, home.fleet.id, home.path) as executor:
            steps.on_step(f"fleet {home.fleet.id}: waiting for machines")
            Coordinator(home, executor, files, folder, options.rules, listener).run()
    except FleetError as error:
        if not any(home.done(machine) for machine in home.machines):
            raise
        raise FleetError(f"{error}; go on with: gb fleet attach {home.path}") from error
    steps.on_step("writing the dataset and the report")
    return summarize(home, options.group_versions)


def summarize(home: Home, group_versions: bool = False) -> FleetRun:
    """Make one dataset and one report of what is in a fleet's folder."""
    measured = {
        name: sum(status is Status.OK for status in home.done(name).values())
        for name in home.machines
    }
    runs = [home.folder(name) for name, count in measured.items() if count]
    dataset, page = None, None
    if runs:
        dataset = home.path / DATASET
        page = _write(runs, dataset, ("version",) if group_versions else ())
    units = [event for event in home.events if event.what == "failed"]
    groups = set(home.groups.values())
    cells = len(home.study.cells()) * home.study.repetitions
    return FleetRun(
        path=home.path,
        machines=measured,
        planned=cells * len(groups),
        failed=tuple(f"{e.machine} {e.unit}: {e.reason}" for e in units),
        refused={e.machine: e.reason for e in home.events if e.what == "refused"},
        dataset=dataset,
        report=page,
    )


def _write(runs: list[Path], dataset: Path, allow: Collection[str]) -> Path:
    from greenbatch.analysis.dataset.store import store
    from greenbatch.analysis.runs import merge, write_report

    merged = merge(runs, "machine" if len(runs) > 1 else None, allow)
    dataset.unlink(missing_ok=True)
    store(merged, dataset)
    return write_report(dataset).page
