"""``gb resume``: go on with a run that was interrupted."""

from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.options import AsJson, ShareMachine, Trust, WaitMachine, parse_wait


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run of any kind.", show_default=False)],
    trust: Trust = False,
    share_machine: ShareMachine = False,
    wait_machine: WaitMachine = None,
    as_json: AsJson = False,
) -> None:
    """Resume an interrupted run; finished repetitions are kept."""
    from greenbatch.cli.measuring import resume_run

    resume_run(
        run,
        as_json,
        trust=trust,
        share_machine=share_machine,
        wait_machine_s=parse_wait(wait_machine),
    )
