"""The report: one HTML file that works offline, the same as Markdown, tables and figures."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.answers import Answer, answers
from greenbatch.analysis.caveats import Severity, caveats, window_s
from greenbatch.analysis.charts import styles
from greenbatch.analysis.comparisons import best_rows, comparison_rows
from greenbatch.analysis.csv_tables import best_csv, cells_csv, comparison_csv
from greenbatch.analysis.dataset import open_with_files
from greenbatch.analysis.detail_tables import beside_ratios, fairness_table, outputs_table
from greenbatch.analysis.fairness import factor_name, fairness
from greenbatch.analysis.figures import write_figures
from greenbatch.analysis.latex_tables import latex
from greenbatch.analysis.one_off import break_evens, start_ups
from greenbatch.analysis.palette import THEMES
from greenbatch.analysis.power_traces import PowerTrace, power_traces
from greenbatch.analysis.sections import batch_sections, power_sections, timeline_sections
from greenbatch.analysis.serving_tables import serving_lead, serving_table
from greenbatch.analysis.start_tables import starts_table
from greenbatch.analysis.surroundings import (
    artifacts_table,
    design_facts,
    environment_groups,
    machine_line,
)
from greenbatch.analysis.tables import CellRow, cell_rows
from greenbatch.analysis.text_tables import Table, best_table, cells_table, comparison_table
from greenbatch.analysis.tidy_table import tidy
from greenbatch.analysis.timeline import timeline
from greenbatch.analysis.tradeoff_tables import (
    Footprint,
    crossing_sentences,
    footprint_table,
    front_table,
    offline,
    standings,
    turning_sentences,
    turning_table,
    turnings,
)
from greenbatch.errors import RunError
from greenbatch.records import FACTORS, Journal

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "report"


def write_report(
    run: Path,
    *,
    carbon_intensity: float | str | None = None,
    price: float | None = None,
    currency: str = "",
) -> Path:
    """Compile a run and write its report.

    Args:
        run: The run directory; ``report/`` in it is written anew, ``dataset.nc``
            where it is out of date.
        carbon_intensity: In g CO2e per kWh, or a country or region as
            `greenbatch.analysis.intensity_of` takes it: the report then says what a million
            images emit.
        price: Of a kWh: the report then says what a million images cost.
        currency: Of the price.

    Returns:
        Path of ``report/index.html``.

    Raises:
        RunError: The run cannot be read or written to.
        UsageError: The intensity or the price is not positive; or a place is given and
            codecarbon is not installed.
        UnknownNameError: The place is not known.
    """
    folder = run / FOLDER
    dataset, files = open_with_files(run)
    journal = files.journal
    asked = Footprint(carbon_intensity=carbon_intensity, price=price, currency=currency)
    every = cell_rows(dataset)
    traces = power_traces(run, journal.repetitions)
    page = page_facts(dataset, every, journal, traces, asked)
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        rows = [row for row in every if not row.cell.is_server]
        for name, text in (
            ("cells", cells_csv(every)),
            ("comparison", comparison_csv(comparison_rows(rows))),
            ("best", best_csv(best_rows(rows))),
        ):
            _write(folder / "tables" / f"{name}.csv", text)
        _write_latex(folder / "tables", [page[name] for name in TABLES])
        page["parquet"] = _write_parquet(dataset, folder / "tables" / "repetitions.parquet")
        figures = write_figures(rows, folder / "figures", page["standing"], page["networks"])
        page["figure_files"] = [f"figures/{path.name}" for path in figures if path.suffix == ".svg"]
        _write(folder / "report.md", _render("report.md.j2", page))
        _write(folder / "index.html", _render("report.html.j2", page | _scripts(page)))
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {(error.strerror or 'unknown cause').lower()}; "
            "make the run's directory writable or copy the run"
        ) from error
    return folder / "index.html"


TABLES = (
    "serving",
    "best",
    "front",
    "turning",
    "footprint",
    "comparison",
    "fairness",
    "starts",
    "outputs",
    "cells",
    "artifacts",
)
"""The tables of a report, in the order in which they are shown."""


MOST_MODELS = 12
"""Of more, the page begins with the first one: a page of charts takes its time to draw."""


def page_facts(
    dataset: "xr.Dataset",
    every: Sequence[CellRow],
    journal: Journal,
    traces: Sequence[PowerTrace] = (),
    asked: Footprint | None = None,
) -> dict[str, Any]:
    """Gather what the templates show; no formatting beyond finished text."""
    servers = [row for row in every if row.cell.is_server]
    rows = [row for row in every if not row.cell.is_server]
    study = json.loads(dataset.attrs["study"])
    environment = json.loads(dataset.attrs["environment"])
    in_force = fairness(journal.repetitions, (row.cell for row in every))
    found = caveats(dataset, every, in_force)
    answered = answers(rows)
    starts = start_ups(dataset, rows)
    compared = comparison_rows(rows)
    settings, mismatched = beside_ratios(compared, in_force)
    years = zip(dataset["model"].values, dataset["year"].values, strict=True)
    closed = offline(dataset)
    models = list(dict.fromkeys(row.cell.model for row in rows))
    standing, refused = standings(closed)
    bends = turnings(closed)
    networks, left_out = timeline(dataset, rows)
    best = best_rows(rows)
    footprint, assumed = Table("footprint", "", (), (), ()), ""
    if asked and (asked.carbon_intensity is not None or asked.price is not None):
        footprint, assumed = footprint_table(closed, best, asked)
    turns = [*turning_sentences(answered, bends), *crossing_sentences(closed, bends)]
    sections = batch_sections(rows, found, standing, turns, refused) if rows or not every else []
    sections += timeline_sections(networks, left_out)
    sections += power_sections(traces, [*rows, *servers])
    return {
        "title": dataset.attrs["title"],
        "source": dataset.attrs["source"],
        "provenance": dataset.attrs["energy_provenance"],
        "machine": machine_line(environment),
        "lead": lead(answered) if rows or not every else "",
        "answers": answered,
        "years": {str(model): int(year) for model, year in years if year == year},
        "serious": [caveat for caveat in found if caveat.severity is Severity.SERIOUS],
        "caveats": [caveat for caveat in found if caveat.severity is not Severity.SERIOUS],
        "sections": sections,
        "themes": THEMES,
        "models": models,
        "many": len(models) > MOST_MODELS,
        "styles": styles([*rows, *servers]),
        "variants": styles(rows),
        "standing": standing,
        "networks": networks,
        "comparison": comparison_table(compared, settings),
        "mismatched": mismatched,
        "fairness": fairness_table(in_force),
        "unrecorded": [factor_name(f) for f in FACTORS if f not in in_force.recorded],
        "starts": starts_table(starts, break_evens(starts)),
        "outputs": outputs_table(rows),
        "serving": serving_table(every),
        "serving_lead": serving_lead(every),
        "best": best_table(best),
        "front": front_table(rows, standing),
        "turning": turning_table(bends),
        "footprint": footprint,
        "assumed": assumed,
        "cells": cells_table(rows),
        "environment": environment_groups(environment),
        "design": design_facts(study),
        "artifacts": artifacts_table(study),
        "measured": sum(row.ok for row in every),
        "planned": sum(row.planned for row in every),
        "window_s": window_s(study, environment),
    }


def lead(answered: Sequence[Answer]) -> str:
    """Answer the run's question in one sentence, models with the same answer together."""
    if not any(answer.best for answer in answered):
        return "Nothing was measured."
    parts = []
    for criterion, words in (
        ("energy", "Least energy per image"),
        ("throughput", "Highest throughput"),
    ):
        groups: dict[str, list[str]] = {}
        sources = set()
        for answer in answered:
            if answer.best and answer.criterion == criterion:
                best = answer.best
                place = best.how
                groups.setdefault(place, []).append(answer.model)
                sources.add(answer.energy_source)
        if not groups:
            continue
        if criterion == "energy" and sources != {"measured"}:
            words += f" ({', '.join(sorted(sources))})"
        if len(groups) == 1 and len(answered) > 1:
            place, models = next(iter(groups.items()))
            every = "both models" if len(models) == 2 else f"all {len(models)} models"
            whom = every if len(models) == len(answered) else _listed(models)
            parts.append(f"{words}: {place}, for {whom}")
        else:
            places = (f"{place} for {_listed(models)}" for place, models in groups.items())
            parts.append(f"{words}: {'; '.join(places)}")
    return ". ".join(parts) + "."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _write_latex(folder: Path, tables: Sequence[Table]) -> None:
    for table in tables:
        path = folder / f"{table.name}.tex"
        if table.rows:
            _write(path, latex(table))
        else:  # one of an earlier report must not stand for this run
            path.unlink(missing_ok=True)


def _write_parquet(dataset: "xr.Dataset", path: Path) -> bool:
    """Write every repetition as parquet where pyarrow is installed; say whether it is."""
    from importlib.util import find_spec

    path.unlink(missing_ok=True)
    if find_spec("pyarrow") is None:
        return False
    tidy(dataset).to_parquet(path, engine="pyarrow", index=False)
    return True


def _scripts(page: Mapping[str, Any]) -> dict[str, str]:
    from plotly.offline import get_plotlyjs

    charts = {c.name: c.facts for section in page["sections"] for c in section.charts}
    facts = {"charts": charts, "styles": page["styles"], "themes": page["themes"]}
    # Inside a script element only '<' can end it or begin a comment; JSON may spell it so.
    text = json.dumps(facts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return {"plotly_js": get_plotlyjs() if charts else "", "figures_json": text}


def _render(template: str, facts: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = template.endswith(".html.j2")
    environment = Environment(
        loader=PackageLoader("greenbatch.analysis"),
        autoescape=page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=None if page else _no_tags,
    )
    return environment.get_template(template).render(facts)


def _no_tags(value: Any) -> Any:
    """Markdown lets HTML through: a name from a user is text."""
    return value.replace("<", "&lt;") if isinstance(value, str) else value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
