"""``gb report``: compile a run and write its report."""

from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.options import AsJson
from greenbatch.cli.output.printing import echo


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or a dataset file.")],
    carbon_intensity: Annotated[
        str | None,
        typer.Option(
            help="Report the emissions of a million images. Give the carbon intensity in g "
            "CO2e/kWh, e.g. 250, or a country or region, e.g. FRA or USA/ohio."
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(help="Report the cost of a million images. Give the price of 1 kWh."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of the price, e.g. EUR.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compile a run to dataset.nc and write its report.

    A dataset file is reported as it is.
    """
    from greenbatch.analysis import write_report
    from greenbatch.analysis.dataset.store import kind_of
    from greenbatch.cli.output.inference import run_as_json, show_run

    page = write_report(
        run,
        carbon_intensity=None if carbon_intensity is None else _number_or_place(carbon_intensity),
        price=price,
        currency=currency,
    )
    if kind_of(run) == "training":
        _show_trainings(run, page, as_json=as_json)
    elif run.is_file():
        _show_file(run, page, as_json=as_json)
    elif as_json:
        typer.echo(run_as_json(run))
    else:
        show_run(run)


def _show_trainings(run: Path, page: Path, *, as_json: bool) -> None:
    """Print the answer of a run of trainings, of each machine in it, and where its report is."""
    import json

    from greenbatch.analysis.training.report.build import training_answers

    result = training_answers(run)
    if as_json:
        typer.echo(json.dumps({"run": str(run), "report": str(page), "answers": result}, indent=2))
        return
    for label, sentences in result.items():
        echo(f"{label}: {sentences[0]}", *(f"  {one}" for one in sentences[1:]))
    echo(f"report: {page}")


def _show_file(path: Path, page: Path, *, as_json: bool) -> None:
    """Print the answer of a dataset file, of each machine or run in it, and where its report is."""
    import json

    from greenbatch.analysis import cell_rows, open_run
    from greenbatch.analysis.dataset.merging import separate
    from greenbatch.analysis.findings.answers import answers
    from greenbatch.analysis.report.build import lead

    leads = {
        label: lead(answers([row for row in cell_rows(part) if not row.cell.is_server]))
        for label, part in separate(open_run(path)).items()
    }
    if as_json:
        result = {"dataset": str(path), "report": str(page), "answers": leads}
        typer.echo(json.dumps(result, indent=2))
        return
    for label, sentence in leads.items():
        echo(f"{label}: {sentence}")
    echo(f"report: {page}")


def _number_or_place(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
