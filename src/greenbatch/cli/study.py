"""``gb study``: experiments that are there to be run, and those in files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbatch.cli.command import Command
from greenbatch.cli.output.printing import echo
from greenbatch.cli.shared_options import AsJson, Meters, Out, ShareMachine, Trust
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    from greenbatch.runners.study.presets import AnyStudy
    from greenbatch.runners.study.training_study import TrainingStudy

study = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and run studies.")

_Name = Annotated[str, typer.Argument(help="A preset ('gb study list'), or a study file.")]
_Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a member of the study; the value as in a file. As repetitions=5, "
        "models=[alexnet], protocol.window_s=4. Repeatable.",
    ),
]
_Provider = Annotated[
    str | None, typer.Option(help="Measure the same runtimes on this provider, as cpu.")
]
_Scale = Annotated[
    float | None,
    typer.Option(
        help="Shorten times, requests, epochs, trials, images and repetitions, as 0.01; the "
        "dataset says so."
    ),
]
_Data = Annotated[
    list[str] | None,
    typer.Option(help="Of a study of trainings: train on this data set, as digits; repeatable."),
]


@study.command("list", cls=Command)
def list_studies() -> None:
    """List the presets, and what each is after."""
    from greenbatch.runners.study import presets as studies

    for name in studies.presets():
        about = str(studies.read(name).members.get("about", ""))
        echo(name, f"    {about.partition(':')[0]}")


@study.command("show", cls=Command)
def show(
    name: _Name,
    changes: _Changes = None,
    provider: _Provider = None,
    data: _Data = None,
    scale: _Scale = None,
) -> None:
    """Print a study as the file that would run it."""
    from greenbatch.runners.study import presets as studies

    design = studies.resolve(
        name, changes=changes or (), provider=provider, data=data or (), scale=scale
    )
    echo(*design.to_yaml().removesuffix("\n").split("\n"))


@study.command("run", cls=Command)
def run(
    name: _Name,
    changes: _Changes = None,
    provider: _Provider = None,
    data: _Data = None,
    scale: _Scale = None,
    weights: Annotated[
        str | None, typer.Option(help="auto, pretrained, random or a weights file.")
    ] = None,
    meter: Meters = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder of exported artifacts. Default: the study's.")
    ] = None,
    out: Out = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print cells, order and the least time; measure nothing."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study."""
    from greenbatch.cli import bench, train, tune
    from greenbatch.runners.study import presets as studies
    from greenbatch.runners.study.study import Study
    from greenbatch.workflows import inference

    overrides: dict[str, Any] = {
        **({"artifacts_dir": str(artifacts)} if artifacts else {}),
        **({"weights": weights} if weights else {}),
        **({"meters": meter} if meter else {}),
    }
    file = studies.read(name)
    if file.is_training and (weights or artifacts):
        raise UsageError(
            f"{name} is a study of trainings, which begin with weights of their own; leave out "
            f"{'--weights' if weights else '--artifacts'}"
        )
    design = studies.resolve(
        name,
        changes=changes or (),
        provider=provider,
        data=data or (),
        scale=scale,
        overrides=overrides,
    )
    path = out or inference.fresh_path()
    if dry_run:
        echo(*outline(design))
        return
    if not trust:
        bench.require_consent(design, Path(name), file.members)
    if isinstance(design, Study):
        bench.measure(design.fresh(), path, as_json, trust=True, share_machine=share_machine)
    elif design.search:
        tune.measure(design, path, as_json, trust=True, share_machine=share_machine)
    else:
        train.measure(design, path, as_json, trust=True, share_machine=share_machine)


def outline(design: "AnyStudy") -> list[str]:
    """Return a design's cells in their order, and the least time that they take."""
    from greenbatch import units
    from greenbatch.runners.scheduling.order import slots
    from greenbatch.runners.study.study import Study

    if not isinstance(design, Study):
        return _outline_of_trainings(design)
    order = slots(design.cells(), design.repetitions, design.seed, kind=design.order)
    rules = design.rules
    least_s = sum(
        rules.rest_min_s
        + rules.warm_up_min_s
        + design.window_for(slot.cell, None)
        + rules.idle_s * (slot.idle_before + slot.idle_after)
        for slot in order
    )
    lines = [f"block {slot.block}: {slot.cell}" for slot in order]
    lines.append(
        f"{len(order)} repetitions of {len(design.cells())} cells, at least "
        f"{units.duration(least_s)}: starts, longer warm-ups and slow batches come on top"
    )
    return lines


def _outline_of_trainings(design: "TrainingStudy") -> list[str]:
    from itertools import islice

    from greenbatch import units
    from greenbatch.runners.scheduling.order import orders
    from greenbatch.runners.training.parent import schedule
    from greenbatch.runners.training.parent.search import BATCH_SIZE, grid_size

    how, cells = "", {cell: str(cell) for cell in design.cells()}
    if search := design.search:
        trials = dict.fromkeys(search.strategies, search.trials)
        if "grid" in trials:
            trials["grid"] = min(search.trials, grid_size(search))
        each = ", ".join(f"{name} {number}" for name, number in trials.items())
        how = f"; search of {', '.join(search.space)}; trials, in turns: {each}"
        if BATCH_SIZE in search.space:
            cells = {c: t.replace(f", batch {c.batch_size}", "") for c, t in cells.items()}
    blocks = islice(orders(cells, design.seed, design.order), design.repetitions)
    lines = [
        f"block {block}: {cells[cell]}{how}" for block, order in enumerate(blocks) for cell in order
    ]
    trainings = schedule.total(design)
    rules = design.rules
    least_s = trainings * (rules.rest_min_s + rules.warm_up_min_s + rules.idle_s)
    lines.append(
        f"{trainings} trainings of up to {design.epochs} epochs, at least "
        f"{units.duration(least_s)} beside the epochs: rests, warm-ups and idle power"
    )
    return lines
