"""``gb report``: compile a run and write its report."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Compile a run's journal to dataset.nc and write its report."""
    from greenbatch.analysis import write_report
    from greenbatch.cli.result import run_as_json, show_run

    write_report(run)
    if as_json:
        typer.echo(run_as_json(run))
    else:
        show_run(run)
