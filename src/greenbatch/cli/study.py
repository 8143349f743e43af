"""``gb study``: experiments that are there to be run, and those in files."""

from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.command import Command
from greenbatch.cli.measuring import measure, require_consent
from greenbatch.cli.output.plan import outline
from greenbatch.cli.output.printing import echo
from greenbatch.cli.shared_options import AsJson, Meters, Out, ShareMachine, Trust
from greenbatch.errors import UsageError

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
    from greenbatch.design import presets as studies

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
    from greenbatch.design import presets as studies
    from greenbatch.runners.known import ThisMachine

    design = studies.resolve(
        name,
        ThisMachine(),
        changes=changes or (),
        provider=provider,
        data=data or (),
        scale=scale,
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
    from greenbatch.design import presets as studies
    from greenbatch.design.study import Study
    from greenbatch.runners.known import ThisMachine
    from greenbatch.workflows import inference

    overrides: dict[str, object] = {
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
        ThisMachine(),
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
        require_consent(design, Path(name), file.members)
    fresh = design.fresh() if isinstance(design, Study) else design
    measure(fresh, path, as_json, trust=True, share_machine=share_machine)
