"""The report: one HTML file that works offline, the same as Markdown, tables and figures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.dataset.compatibility import distinct
from greenbatch.analysis.dataset.described import environment_of, study_of
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.store import open_run, open_with_files
from greenbatch.analysis.dataset.tidy import tidy
from greenbatch.analysis.findings.answers import Answer, answers
from greenbatch.analysis.findings.caveats import Severity, caveats, window_s
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.comparisons import best_rows, comparison_rows
from greenbatch.analysis.findings.fairness import factor_name, fairness
from greenbatch.analysis.findings.serving import serving_panels
from greenbatch.analysis.findings.startup import break_evens, start_ups
from greenbatch.analysis.findings.timeline import timeline
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.charts.charts import styles
from greenbatch.analysis.report.charts.palette import THEMES
from greenbatch.analysis.report.charts.power_traces import PowerTrace, power_traces
from greenbatch.analysis.report.figures.figures import write_figures
from greenbatch.analysis.report.render import render, scripts, write_latex, written_into
from greenbatch.analysis.report.run_facts import (
    artifacts_table,
    design_facts,
    environment_groups,
    machine_line,
)
from greenbatch.analysis.report.sections import (
    accuracy_sections,
    batch_sections,
    power_sections,
    serving_sections,
    timeline_sections,
)
from greenbatch.analysis.report.tables.accuracy import accuracy_table
from greenbatch.analysis.report.tables.csv_files import best_csv, cells_csv, comparison_csv
from greenbatch.analysis.report.tables.details import beside_ratios, fairness_table, outputs_table
from greenbatch.analysis.report.tables.serving import serving_lead, serving_table
from greenbatch.analysis.report.tables.startup import starts_table
from greenbatch.analysis.report.tables.text import best_table, cells_table, comparison_table
from greenbatch.analysis.report.tables.tradeoffs import (
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
from greenbatch.analysis.tradeoffs.accuracy_front import accuracy_front
from greenbatch.files import draft, remove_old_drafts, write_atomically
from greenbatch.records import FACTORS, Journal

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "report"


def write_inference_report(run: Path, asked: Footprint) -> Path:
    """Compile a run of inference and write its report, see
    `greenbatch.analysis.runs.write_report`.
    """
    if run.is_file():
        return _of_file(run, asked)
    dataset, files = open_with_files(run)
    remove_old_drafts(run)
    traces = power_traces(run, files.journal.repetitions)
    return _written(run / FOLDER, dataset, files.journal, traces, asked, "../dataset.nc")


def _of_file(path: Path, asked: Footprint) -> Path:
    """Write the report of a dataset file beside it."""
    folder = path.with_name(f"{path.stem}-report")
    dataset = open_run(path)
    if dataset.attrs.get("merged_along") not in ("machine", "run"):
        return _written(folder, dataset, None, (), asked, f"../{path.name}")
    parts = separate(dataset)
    names = dict(zip(parts, distinct([_folder_name(label) for label in parts]), strict=True))
    told = []
    with written_into(folder):
        for label, part in parts.items():
            _written(folder / names[label], part, None, (), asked, f"../../{path.name}")
            rows = [row for row in cell_rows(part) if not row.cell.is_server]
            machine = machine_line(environment_of(part))
            told.append((label, f"{names[label]}/index.html", machine, lead(answers(rows))))
        facts = {
            "title": dataset.attrs["title"],
            "source": dataset.attrs["source"],
            "themes": THEMES,
            "along": dataset.attrs["merged_along"],
            "parts": told,
        }
        write_atomically(folder / "index.html", render("overview.html.j2", facts))
    return folder / "index.html"


def _folder_name(label: str) -> str:
    return re.sub(r"[^\w.-]+", "-", label).strip(".-") or "part"


def _written(
    folder: Path,
    dataset: "xr.Dataset",
    journal: Journal | None,
    traces: Sequence[PowerTrace],
    asked: Footprint,
    data_file: str,
) -> Path:
    every = cell_rows(dataset)
    page = page_facts(dataset, every, journal, traces, asked) | {"data_file": data_file}
    with written_into(folder, "tables", "figures"):
        rows = [row for row in every if not row.cell.is_server]
        for name, text in (
            ("cells", cells_csv(every)),
            ("comparison", comparison_csv(comparison_rows(rows))),
            ("best", best_csv(best_rows(rows))),
        ):
            write_atomically(folder / "tables" / f"{name}.csv", text)
        write_latex(folder / "tables", [page[name] for name in TABLES])
        page["parquet"] = _write_parquet(dataset, folder / "tables" / "repetitions.parquet")
        figures = write_figures(
            every, folder / "figures", page["standing"], page["networks"], page["rivals"]
        )
        page["figure_files"] = [f"figures/{path.name}" for path in figures if path.suffix == ".svg"]
        write_atomically(folder / "report.md", render("report.md.j2", page))
        write_atomically(folder / "index.html", render("report.html.j2", page | scripts(page)))
    return folder / "index.html"


TABLES = (
    "serving",
    "best",
    "front",
    "accuracy",
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
    journal: Journal | None,
    traces: Sequence[PowerTrace] = (),
    asked: Footprint | None = None,
) -> dict[str, Any]:
    """Gather what the templates show; no formatting beyond finished text.

    Args:
        dataset: Of one run.
        every: Its cells.
        journal: Of the run; ``None`` where there is the dataset alone.
        traces: Of the run.
        asked: What is to be told of a million images.
    """
    alone = journal is None
    servers = [row for row in every if row.cell.is_server]
    rows = [row for row in every if not row.cell.is_server]
    study, environment = study_of(dataset), environment_of(dataset)
    in_force = fairness(journal.repetitions if journal else (), (row.cell for row in every))
    found = caveats(dataset, every, in_force, alone=alone)
    answered = answers(rows)
    starts = start_ups(dataset, rows)
    compared = comparison_rows(rows)
    settings, mismatched = beside_ratios(compared, in_force)
    years = zip(dataset["model"].values, dataset["year"].values, strict=True)
    closed = offline(dataset)
    panels = serving_panels(servers)
    drawn = [*rows, *servers] if panels else rows
    models = list(dict.fromkeys(row.cell.model for row in drawn))
    looks = styles([*rows, *servers])
    standing, refused = standings(closed)
    rivals, weighed = accuracy_front(closed, rows)
    bends = turnings(closed)
    networks, left_out = timeline(dataset, rows)
    best = best_rows(rows)
    footprint, assumed = Table("footprint", "", (), (), ()), ""
    if asked and (asked.carbon_intensity is not None or asked.price is not None):
        footprint, assumed = footprint_table(closed, best, asked)
    turns = [*turning_sentences(answered, bends), *crossing_sentences(closed, bends)]
    sections = []
    if rows or not every:
        net_standing, _ = standings(closed, net=True)
        sections += batch_sections(rows, found, standing, turns, refused, net_standing)
    sections += serving_sections(panels, [style["name"] for style in looks])
    sections += accuracy_sections(rivals, weighed, [style["name"] for style in styles(rows)])
    sections += timeline_sections(networks, left_out)
    sections += power_sections(traces, [*rows, *servers], alone=alone)
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
        "net": any(section.net and section.charts for section in sections),
        "alone": alone,
        "themes": THEMES,
        "models": models,
        "many": len(models) > MOST_MODELS,
        "styles": looks,
        "variants": styles(drawn),
        "standing": standing,
        "networks": networks,
        "rivals": rivals,
        "accuracy": accuracy_table(rivals),
        "comparison": comparison_table(compared, settings),
        "mismatched": mismatched,
        "fairness": fairness_table(in_force),
        "unrecorded": []
        if alone
        else [factor_name(f) for f in FACTORS if f not in in_force.recorded],
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
        "most": max((row.ok for row in every), default=0),
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


def _write_parquet(dataset: "xr.Dataset", path: Path) -> bool:
    """Write every repetition as parquet where pyarrow is installed; say whether it is."""
    from importlib.util import find_spec

    path.unlink(missing_ok=True)
    if find_spec("pyarrow") is None:
        return False
    with draft(path) as unfinished:
        tidy(dataset).to_parquet(unfinished, engine="pyarrow", index=False)
    return True
