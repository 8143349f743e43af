"""``gb report``: compile a run and write its report."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    carbon_intensity: Annotated[
        str | None,
        typer.Option(
            help="Say what a million images emit: g CO2e per kWh, as 250, or a country or region, "
            "as FRA or USA/ohio."
        ),
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="Say what a million images cost: the price of a kWh.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Of the price, as EUR.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Compile a run's journal to dataset.nc and write its report."""
    from greenbatch.analysis import write_report
    from greenbatch.cli.result import run_as_json, show_run

    write_report(
        run,
        carbon_intensity=None if carbon_intensity is None else _number_or_place(carbon_intensity),
        price=price,
        currency=currency,
    )
    if as_json:
        typer.echo(run_as_json(run))
    else:
        show_run(run)


def _number_or_place(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
