"""``gb resume``: go on with a run that was interrupted."""

from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.options import AsJson, ShareMachine, Trust


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run of any kind.", show_default=False)],
    trust: Trust = False,
    share_machine: ShareMachine = False,
    as_json: AsJson = False,
) -> None:
    """Resume an interrupted run; finished repetitions are kept."""
    from greenbatch.cli.measuring import resume_run

    resume_run(run, as_json, trust=trust, share_machine=share_machine)
