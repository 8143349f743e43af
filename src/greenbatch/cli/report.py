"""``gb report``: compile a run and write its report."""

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as JSON.")] = False,
) -> None:
    """Compile a run's journal to dataset.nc and write its report."""
    from greenbatch.analysis import write_report
    from greenbatch.cli.result import show_run

    page = write_report(run)
    if as_json:
        paths = {"run": str(run), "dataset": str(run / "dataset.nc"), "report": str(page)}
        typer.echo(json.dumps(paths))
    else:
        show_run(run)
