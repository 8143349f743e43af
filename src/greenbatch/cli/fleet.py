"""``gb fleet``: a study on several machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.command import Command, Group
from greenbatch.cli.measuring import require_consent
from greenbatch.cli.options import AsJson, Meters, Trust, parse_wait
from greenbatch.cli.output.printing import echo, note
from greenbatch.errors import MeasurementError, UsageError

if TYPE_CHECKING:
    from greenbatch.workflows.fleet.running import FleetRun

PARTLY_FAILED = 4  # as of `gb bench`

fleet = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Measure a study on several machines.",
)

_Folder = Annotated[Path, typer.Argument(help="Folder of the fleet.")]
_Local = Annotated[
    int | None,
    typer.Option(metavar="N", help="Start N workers on this machine. Default: 1."),
]
_Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Use a running Dask scheduler, e.g. tcp://head:8786."),
]
_Slurm = Annotated[
    bool, typer.Option("--slurm", help="Submit job arrays to the Slurm cluster of this host.")
]
_Partition = Annotated[
    str | None, typer.Option(help="Partition of Slurm. Default: the cluster's default partition.")
]
_Constraint = Annotated[
    str | None, typer.Option(help="Features that a node of Slurm must have, e.g. 'epyc&ib'.")
]
_Setup = Annotated[
    str | None,
    typer.Option(
        metavar="LINE", help="Line of shell to run on a node first, e.g. 'module load python'."
    ),
]
_Sbatch = Annotated[
    str | None,
    typer.Option(metavar="OPTIONS", help="Further options of sbatch, e.g. '--account=lab'."),
]


@fleet.command("run", cls=Command)
def run(
    study: Annotated[str, typer.Argument(help="Preset (see 'gb study list') or study file.")],
    local: _Local = None,
    scheduler: _Scheduler = None,
    slurm: _Slurm = False,
    partition: _Partition = None,
    constraint: _Constraint = None,
    setup: _Setup = None,
    sbatch: _Sbatch = None,
    machines: Annotated[
        str,
        typer.Option(
            help="Division of the study. each: every machine measures everything. any: all "
            "machines share the repetitions. KIND=N: N machines whose kind contains KIND share "
            "them, e.g. 'EPYC 9354=4'."
        ),
    ] = "each",
    unit: Annotated[
        str,
        typer.Option(help="What a machine measures at a time: block or study. Default: block."),
    ] = "block",
    expect: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of machines to wait for. Default: 1; with --local N."
        ),
    ] = None,
    versions: Annotated[
        str,
        typer.Option(
            help="Machines with other versions of the runtimes: refuse or group. Default: refuse."
        ),
    ] = "refuse",
    wait: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How long a machine waits for another run on it, e.g. 30m; 0 to refuse. "
            "Default: 1h.",
        ),
    ] = "1h",
    kinds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Expected cores, RAPL zones, power limits and governor of each kind: a YAML "
            "mapping. A machine that deviates is refused.",
        ),
    ] = None,
    control: Annotated[
        bool,
        typer.Option(
            "--control/--no-control",
            help="Measure a control cell on each machine at the start and the end.",
        ),
    ] = True,
    worker_env: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Environment variables of each local worker: a YAML list of mappings.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a member of the study. Repeatable."
        ),
    ] = None,
    meter: Meters = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(help="Folder of exported artifacts. Default: the folder of the study."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the new fleet. Default: runs/<date and time>."),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Measure a study on the machines of a cluster, and make one dataset of it."""
    from greenbatch.cli.output.fleet import FleetDisplay
    from greenbatch.design import presets
    from greenbatch.design.study import Study
    from greenbatch.runners.fleet.planning import read_kinds
    from greenbatch.runners.known import ThisMachine
    from greenbatch.workflows import inference
    from greenbatch.workflows.fleet import running

    if unit not in ("block", "study"):
        raise UsageError(f"--unit is {unit!r}; valid: block, study")
    if versions not in ("refuse", "group"):
        raise UsageError(f"--versions is {versions!r}; valid: refuse, group")
    overrides: dict[str, object] = {
        **({"artifacts_dir": str(artifacts)} if artifacts else {}),
        **({"meters": meter} if meter else {}),
    }
    file = presets.read(study)
    if file.is_training:
        raise UsageError(
            f"{study} is a training study, and a fleet measures inference; run it on one machine "
            "with: gb study run"
        )
    design = presets.resolve(study, ThisMachine(), changes=changes or (), overrides=overrides)
    assert isinstance(design, Study)
    if not trust:
        require_consent(design, Path(study), file.members)
    path = out or inference.fresh_path()
    of_slurm = _slurm(slurm, partition, constraint, setup, sbatch)
    executor = _executor(local, scheduler, of_slurm, worker_env)
    options = running.FleetOptions(
        executor=executor,
        machines=machines,
        whole=unit == "study",
        expect=expect or 1,
        wait_s=parse_wait(wait, "--wait"),
        trust=True,  # the user allowed it, or wrote it on the command line
        group_versions=versions == "group",
        control=control,
        kinds=read_kinds(kinds) if kinds else {},
    )
    with FleetDisplay() as display:
        done = running.run_fleet(design.fresh(), path, options, display.listener, display.steps)
    _finish(done, as_json)


@fleet.command("attach", cls=Command)
def attach(
    folder: _Folder,
    local: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Start N workers on this machine. Default: what the fleet began with.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use a running Dask scheduler, e.g. tcp://head:8786. Default: what the fleet "
            "began with.",
        ),
    ] = None,
    worker_env: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Environment variables of each local worker."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a fleet; what is in its folder is not measured again.

    The study and the options are those that the fleet began with, those of Slurm included.
    """
    from greenbatch.cli.output.fleet import FleetDisplay
    from greenbatch.workflows.fleet import running

    other = local is not None or scheduler is not None
    executor = _executor(local, scheduler, {}, worker_env) if other else None
    with FleetDisplay() as display:
        done = running.attach(folder, executor, display.listener, display.steps)
    _finish(done, as_json)


@fleet.command("status", cls=Command)
def status(folder: _Folder, as_json: AsJson = False) -> None:
    """Print what each machine of a fleet has measured, and what is left."""
    from greenbatch.cli.output.fleet import status_as_json, status_lines
    from greenbatch.runners.fleet.home import Home

    home = Home.look(folder)
    if as_json:
        typer.echo(status_as_json(home))
    else:
        echo(*status_lines(home))


@fleet.command("best", cls=Command)
def best(
    folder: Annotated[Path, typer.Argument(help="Folder of a fleet, or a merged dataset file.")],
    p99: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Limit of the p99 latency of a batch, e.g. 50ms."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print on which machine, with which backend and batch, a network costs the least energy."""
    from greenbatch.analysis.dataset.store import load_dataset
    from greenbatch.analysis.findings.machines import best_by_machine, interaction_of
    from greenbatch.cli.output.fleet import best_as_json, best_lines
    from greenbatch.queueing.durations import seconds
    from greenbatch.runners.fleet.fleet_file import read_fleet

    limit_s = None
    if p99 is not None:
        try:
            limit_s = seconds(p99, "s")
        except ValueError as error:
            raise UsageError(f"--p99 is {p99!r}; write a time, e.g. 50ms") from error
    path = folder
    if folder.is_dir():
        read_fleet(folder)
        path = folder / "dataset.nc"
        if not path.exists():
            raise UsageError(f"{folder} has no dataset yet; go on with: gb fleet attach {folder}")
    dataset = load_dataset(path)
    choices = best_by_machine(dataset, limit_s=limit_s)
    interaction = interaction_of(dataset)
    if as_json:
        typer.echo(best_as_json(choices, interaction))
    else:
        echo(*best_lines(choices, interaction))


@fleet.command("cancel", cls=Command)
def cancel(folder: _Folder) -> None:
    """End what a fleet measures; what was measured is kept."""
    from greenbatch.workflows.fleet import running

    echo(running.cancel(folder))


@fleet.command("logs", cls=Command)
def logs(
    folder: _Folder,
    machine: Annotated[
        str | None, typer.Argument(help="Name of a machine. Default: all of them.")
    ] = None,
) -> None:
    """Print what the machines of a fleet reported."""
    from greenbatch.errors import UnknownNameError
    from greenbatch.runners.fleet.home import Home

    home = Home.look(folder)
    found = home.logs()
    if machine is not None and machine not in found:
        raise UnknownNameError("machine", machine, found)
    for name, text in found.items():
        if machine in (None, name):
            echo(*(f"{name}: {line}" for line in text.splitlines()))


def _slurm(
    slurm: bool,
    partition: str | None,
    constraint: str | None,
    setup: str | None,
    sbatch: str | None,
) -> dict[str, str]:
    """Return the options of Slurm; none where it is not asked for."""
    named = {"partition": partition, "constraint": constraint, "setup": setup, "sbatch": sbatch}
    given = {name: text for name, text in named.items() if text is not None}
    if given and not slurm:
        raise UsageError(f"--{next(iter(given))} is for Slurm; add --slurm, or remove it")
    if "sbatch" in given:
        given["more"] = given.pop("sbatch")
    return {"kind": "slurm", **given} if slurm else {}


def _executor(
    local: int | None, scheduler: str | None, slurm: dict[str, str], worker_env: Path | None
) -> dict[str, str]:
    """Return what runs the units, from the options of a command."""
    if (local is not None) + (scheduler is not None) + bool(slurm) > 1:
        raise UsageError("--local, --scheduler and --slurm exclude each other; choose one")
    if worker_env and (scheduler is not None or slurm):
        raise UsageError("--worker-env is for the workers of --local; remove it")
    if slurm:
        return slurm
    if scheduler is not None:
        return {"kind": "scheduler", "address": scheduler}
    environments = str(worker_env.resolve()) if worker_env else ""
    return {
        "kind": "local",
        "workers": str(1 if local is None else local),
        "worker_env": environments,
    }


def _finish(done: "FleetRun", as_json: bool) -> None:
    from greenbatch.cli.output.fleet import run_as_json, run_lines

    if as_json:
        typer.echo(run_as_json(done))
    else:
        echo(*run_lines(done))
    if not done.dataset:
        reason = next(iter((*done.refused.values(), *done.failed)), "no machine measured anything")
        raise MeasurementError(f"no repetition of {done.path} could be measured; {reason}")
    if sum(done.machines.values()) < done.planned:
        missing = done.planned - sum(done.machines.values())
        reasons = [*done.failed, *(f"{name}: {why}" for name, why in done.refused.items())]
        why = f"; the first: {reasons[0]}" if reasons else ""
        note(f"{units.part(missing, done.planned, 'repetition')} missing{why}")
        raise typer.Exit(PARTLY_FAILED)
