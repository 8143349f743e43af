"""A study on a fleet, from the export to the dataset; what ``gb fleet run`` and ``attach`` do."""

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import FleetError, RunError
from greenbatch.records import Status
from greenbatch.runners.fleet.control import History, control_study, drift_of
from greenbatch.runners.fleet.coordination import Coordinator, Listener, Parcel
from greenbatch.runners.fleet.fleet_file import FleetFile, read_fleet
from greenbatch.runners.fleet.home import Home
from greenbatch.runners.fleet.planning import check_divisible, parse_sharing
from greenbatch.runners.fleet.rules import Rules

if TYPE_CHECKING:
    from greenbatch.design.study import Study
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
        flagged: What is suspicious about a machine, each with its name.
        dataset: The file of all machines; ``None``: nothing was measured.
        report: The report's page.
    """

    path: Path
    machines: Mapping[str, int]
    planned: int
    failed: tuple[str, ...]
    refused: Mapping[str, str]
    flagged: tuple[str, ...]
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
        control: Measure a control cell at start and end.
        kinds: What is expected of machines; see `Rules`.
    """

    executor: Mapping[str, str]
    machines: str = "each"
    whole: bool = False
    expect: int = 1
    wait_s: float = 3600.0
    trust: bool = False
    group_versions: bool = False
    control: bool = True
    kinds: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

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
            kinds=self.kinds,
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
    from greenbatch.runners.fleet.executors.opening import check_reachable
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
    check_reachable(options.executor, path)
    study = _bound(study, steps)
    control = _bound(control_study(study), steps) if options.control else None
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
            "kinds": json.dumps(options.kinds),
        },
        control=control.to_yaml() if control else "",
    )
    with Home.create(path, fleet) as home:
        return _run(home, options, listener or Listener(), steps)


def _bound(study: "Study", steps: "StepListener") -> "Study":
    """Export what a study needs, and bind it to these artifacts."""
    from greenbatch.design.artifact_reference import reference
    from greenbatch.workflows.study_artifacts import export_models

    artifacts = export_models(study, steps)
    references = {name: reference(artifact) for name, artifact in artifacts.items()}
    folder = str(Path(study.artifacts_dir).resolve())
    return study.model_copy(update={"artifacts": references, "artifacts_dir": folder})


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
        home.withdraw_cancel()
        return _run(home, options, listener or Listener(), steps or inference.Listener())


def cancel(path: Path) -> str:
    """End a fleet: what runs is ended, what waits is taken back, what was measured is kept.

    Args:
        path: The fleet's folder.

    Returns:
        What was done, one sentence.

    Raises:
        RunError: There is no fleet.
        FleetError: Its scheduler cannot be reached.
    """
    from greenbatch.runners.fleet.executors.opening import open_executor

    fleet = read_fleet(path)
    Home.look(path).request_cancel()
    try:
        home = Home.open(path)
    except RunError:
        return "the client of the fleet was asked to end it"
    with home:
        if fleet.executor.get("kind") != "local":  # whose workers ended with their client
            with open_executor(fleet.executor, fleet.id, path) as executor:
                executor.cancel()
        home.note("cancelled")
        home.withdraw_cancel()
    return f"the fleet was cancelled; go on with: gb fleet attach {path}"


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
        control=bool(fleet.control),
        kinds=json.loads(fleet.options.get("kinds", "{}")),
    )


def _run(
    home: Home,
    options: FleetOptions,
    listener: Listener,
    steps: "StepListener",
) -> FleetRun:
    from greenbatch.runners.fleet.executors.opening import open_executor

    parcel = _parcel(home.study)
    control = _parcel(home.control) if home.control else None
    try:
        with open_executor(options.executor, home.fleet.id, home.path) as executor:
            steps.on_step(f"fleet {home.fleet.id}: waiting for machines")
            if executor.link:
                steps.on_step(f"what runs is shown at {executor.link}")
            Coordinator(home, executor, parcel, options.rules, listener, control, History()).run()
    except FleetError as error:
        if not any(home.done(machine) for machine in home.machines):
            raise
        raise FleetError(f"{error}; go on with: gb fleet attach {home.path}") from error
    except KeyboardInterrupt:
        command = f"gb fleet attach {home.path}"
        if options.executor.get("kind") == "local":
            what = f"what was measured is kept; go on with: {command}"
        else:
            end = f"gb fleet cancel {home.path}"
            what = f"units on the machines go on; follow them with: {command}, or end them: {end}"
        raise KeyboardInterrupt(what) from None
    steps.on_step("writing the dataset and the report")
    return summarize(home, options.group_versions)


def _parcel(study: "Study") -> Parcel:
    from greenbatch.runners.fleet.artifact_store import files_of
    from greenbatch.workflows.study_artifacts import load_artifacts

    artifacts = load_artifacts(study)
    return Parcel(files_of(list(artifacts.values())), Path(study.artifacts_dir))


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
        page = _write(home, runs, dataset, ("version",) if group_versions else ())
    units = [event for event in home.events if event.what == "failed"]
    groups = set(home.groups.values())
    cells = len(home.study.cells()) * home.study.repetitions
    return FleetRun(
        path=home.path,
        machines=measured,
        planned=cells * len(groups),
        failed=tuple(f"{e.machine} {e.unit}: {e.reason}" for e in units),
        refused={e.machine: e.reason for e in home.events if e.what == "refused"},
        flagged=tuple(
            dict.fromkeys(f"{e.machine}: {e.reason}" for e in home.events if e.what == "flagged")
        ),
        dataset=dataset,
        report=page,
    )


def _write(home: Home, runs: list[Path], dataset: Path, allow: Collection[str]) -> Path:
    import numpy as np

    from greenbatch.analysis.dataset.store import store
    from greenbatch.analysis.runs import merge, write_report

    merged = merge(runs, "machine" if len(runs) > 1 else None, allow)
    if home.control and "machine" in merged.dims:
        drifts = [drift_of(home.control_folder(run.name)) for run in runs]
        shares = np.array([drift.share if drift else np.nan for drift in drifts])
        about = {"units": "1", "long_name": "change of the control cell between start and end"}
        merged = merged.assign_coords(control_drift=("machine", shares, about))
    dataset.unlink(missing_ok=True)
    store(merged, dataset)
    return write_report(dataset).page
