"""``gb report``: compile a run and write its report."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from greenbatch.cli.options import AsJson
from greenbatch.cli.output.next_steps import suggest_again, suggest_policy
from greenbatch.cli.output.printing import echo
from greenbatch.errors import UsageError


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or a dataset file.")],
    carbon_intensity: Annotated[
        str | None,
        typer.Option(
            help="Report the emissions of a million images, or of a training or search. Give the "
            "carbon intensity in g CO2e/kWh, e.g. 250, or a country or region, e.g. FRA or "
            "USA/ohio."
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            help="Report the cost of a million images, or of a training or search. Give the price "
            "of 1 kWh."
        ),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of the price, e.g. EUR.")] = "",
    timeline_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Show the networks by year also at one batch size, e.g. 8. Of servers: the "
            "largest batch of the policy. Default: only the best of each network.",
        ),
    ] = None,
    timeline_backend: Annotated[
        str | None,
        typer.Option(
            help="Show the networks by year also on one backend, e.g. torch-cpu. Default: only "
            "the best of each network."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Judge trainings by this measure on the validation images: accuracy, f1, "
            "precision, recall or auc. Default: accuracy."
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            help="Name the training with the least energy among those within this share of the "
            "best, e.g. 2%. Default: 1%."
        ),
    ] = None,
    welch: Annotated[
        bool,
        typer.Option(
            "--welch",
            help="Test the means of trainings beside their ranks, for spreads that differ: Welch's "
            "analysis of variance, and Games-Howell of each pair.",
        ),
    ] = False,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="Write figures for print (SVG, PDF, PNG) of each machine of a merged dataset too. "
            "Default: only of a single run.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compile a run to dataset.nc and write its report.

    A dataset file is reported as it is.
    """
    from greenbatch.analysis import write_report
    from greenbatch.analysis.training.report.findings import TrainingReport
    from greenbatch.cli.output.inference import run_as_json, show_run

    report = write_report(
        run,
        carbon_intensity=None if carbon_intensity is None else _number_or_place(carbon_intensity),
        price=price,
        currency=currency,
        timeline_batch=timeline_batch,
        timeline_backend=timeline_backend,
        metric=metric,
        within=None if within is None else _share(within),
        welch=welch,
        figures=figures,
    )
    if isinstance(report, TrainingReport):
        sentences = {
            label: [found.shown.summary, *found.shown.sentences]
            for label, found in report.findings.items()
        }
        if as_json:
            _print_json({"run": str(run), "report": str(report.page), "answers": sentences})
        else:
            for label, (first, *others) in sentences.items():
                echo(f"{label}: {first}", *(f"  {one}" for one in others))
            echo(f"report: {report.page}")
            if run.is_dir():
                suggest_again(run)
    elif run.is_file():
        summaries = {label: found.summary for label, found in report.findings.items()}
        if as_json:
            _print_json(
                {
                    "dataset": str(run),
                    "report": str(report.page),
                    "answers": summaries,
                    "kinds": [asdict(one) for one in report.kinds],
                }
            )
        else:
            echo(*(f"{label}: {summary}" for label, summary in summaries.items()))
            echo(f"report: {report.page}")
            if len(report.findings) == 1:
                suggest_policy(run, next(iter(report.findings.values())).cells)
    else:
        (found,) = report.findings.values()
        if as_json:
            typer.echo(run_as_json(run, found, report.page))
        else:
            show_run(found, report.page)
            if not suggest_policy(run, found.cells):
                suggest_again(run)


def _print_json(facts: Mapping[str, object]) -> None:
    typer.echo(json.dumps(facts, indent=2))


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (1 if number == text.strip() else 100)
    except ValueError:
        raise UsageError(f"--within is {text!r}; give a share, e.g. 1% or 0.01") from None


def _number_or_place(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
