"""``gb study``: experiments that are there to be run, and those in files."""

from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.command import Command, Group
from greenbatch.cli.measuring import measure, require_consent
from greenbatch.cli.options import (
    AsJson,
    Meters,
    OnBusy,
    Out,
    ShareMachine,
    Trust,
    WaitMachine,
    WaitQuiet,
    Weights,
    parse_wait,
)
from greenbatch.cli.output.plan import plan_lines
from greenbatch.cli.output.printing import echo
from greenbatch.errors import UsageError

study = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List, show and run studies.",
)

_Name = Annotated[str, typer.Argument(help="Preset (see 'gb study list') or study file.")]
_Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a member of the study, e.g. repetitions=5, models=[alexnet] or "
        "protocol.window_s=4. Write the value as in a study file. Repeatable.",
    ),
]
_Provider = Annotated[
    str | None, typer.Option(help="Measure the same runtimes on another provider, e.g. cpu.")
]
_Scale = Annotated[
    float | None,
    typer.Option(
        help="Multiply times, requests, epochs, trials, images and repetitions by this "
        "factor, e.g. 0.01. The dataset records it."
    ),
]
_Data = Annotated[
    list[str] | None,
    typer.Option(help="Data set of a training study, e.g. digits. Repeatable."),
]


@study.command("list", cls=Command)
def list_studies() -> None:
    """List the presets with the purpose of each."""
    from greenbatch.design import presets

    for name in presets.presets():
        about = str(presets.read(name).members.get("about", ""))
        echo(name, f"    {about.partition(':')[0]}")


@study.command("show", cls=Command)
def show(
    name: _Name,
    changes: _Changes = None,
    provider: _Provider = None,
    data: _Data = None,
    scale: _Scale = None,
) -> None:
    """Print a study as a study file."""
    from greenbatch.design import presets
    from greenbatch.runners.known import ThisMachine

    design = presets.resolve(
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
    weights: Weights = None,
    meter: Meters = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            help="Folder of exported artifacts. Default: the folder that the study names."
        ),
    ] = None,
    out: Out = None,
    trust: Trust = False,
    share_machine: ShareMachine = False,
    wait_machine: WaitMachine = None,
    wait_quiet: WaitQuiet = None,
    on_busy: OnBusy = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the cells, their order and the minimum duration; measure nothing.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study and write its report."""
    from greenbatch.design import presets
    from greenbatch.design.study import Study
    from greenbatch.runners.known import ThisMachine
    from greenbatch.workflows import inference

    of_inference = {
        "artifacts_dir": str(artifacts) if artifacts else None,
        "weights": weights,
        "wait_quiet": wait_quiet,
        "on_busy": on_busy,
    }
    given: dict[str, object] = {key: value for key, value in of_inference.items() if value}
    file = presets.read(name)
    if file.is_training and given:
        option = next(iter(given)).removesuffix("_dir").replace("_", "-")
        raise UsageError(
            f"{name} is a training study, and --{option} is for studies of inference; remove it"
        )
    overrides = {**given, **({"meters": meter} if meter else {})}
    design = presets.resolve(
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
        if isinstance(design, Study):
            inference.check_room(design)
        echo(*plan_lines(design))
        return
    if not trust:
        require_consent(design, Path(name), file.members)
    fresh = design.fresh() if isinstance(design, Study) else design
    measure(
        fresh,
        path,
        as_json,
        trust=True,
        share_machine=share_machine,
        wait_machine_s=parse_wait(wait_machine),
    )
