"""``gb study``: experiments that are there to be run, and those in files."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
    typer.Option(help="Shorten times, requests and repetitions, as 0.01; the dataset says so."),
]


@study.command("list")
def list_studies() -> None:
    """List the presets, and what each is after."""
    from greenbatch.runners import studies

    for name in studies.presets():
        about = str(studies.read(name).members.get("about", ""))
        typer.echo(f"{name}\n    {about.partition(':')[0]}")


@study.command("show")
def show(
    name: _Name,
    changes: _Changes = None,
    provider: _Provider = None,
    scale: _Scale = None,
) -> None:
    """Print a study as the file that would run it."""
    from greenbatch.runners import studies

    design = studies.resolve(name, changes=changes or (), provider=provider, scale=scale)
    typer.echo(design.to_yaml(), nl=False)


@study.command("run")
def run(
    name: _Name,
    changes: _Changes = None,
    provider: _Provider = None,
    scale: _Scale = None,
    weights: Annotated[
        str | None, typer.Option(help="auto, pretrained, random or a weights file.")
    ] = None,
    meter: Annotated[list[str] | None, typer.Option(help="As for 'gb bench'; repeatable.")] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder of exported artifacts. Default: the study's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of this run. Default: runs/<now>.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print cells, order and the least time; measure nothing."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Run a study."""
    from greenbatch import workflow
    from greenbatch.cli.bench import measure
    from greenbatch.runners import studies

    overrides: dict[str, Any] = {
        **({"artifacts_dir": str(artifacts)} if artifacts else {}),
        **({"weights": weights} if weights else {}),
        **({"meters": meter} if meter else {}),
    }
    design = studies.resolve(
        name, changes=changes or (), provider=provider, scale=scale, overrides=overrides
    )
    if dry_run:
        typer.echo(outline(design))
        return
    measure(design.fresh(), out or workflow.fresh_path(), as_json)


def outline(design: Any) -> str:
    """Return a design's cells in their order, and the least time that they take."""
    from greenbatch import units
    from greenbatch.runners.order import slots

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
    return "\n".join(lines)
