"""What a run found, on the terminal: caveats, the table, the answer, where the report is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from greenbatch import units
from greenbatch.analysis.findings.wording import margin
from greenbatch.cli.output.console import TextConsole, open_console
from greenbatch.cli.output.tables import fitting, plus_minus

if TYPE_CHECKING:
    from greenbatch.analysis.findings.cells import CellRow
    from greenbatch.analysis.findings.plausibility import EnergyWorth
    from greenbatch.analysis.report.findings import InferenceFindings
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.records import Cell

_GOING = ("maximum", "ok", "busy", "response, mean")  # columns of servers that may be left out
_NO_INTERVALS = Text("Left out for the width of the terminal: intervals.", "dim")
ROOMY = 100  # columns from which on a table may show more than the essential


def show_run(found: "InferenceFindings", page: Path) -> None:
    """Print a run's caveats, table and answers, and the path of its report."""
    from greenbatch.analysis.findings.serving_answers import serving_answers
    from greenbatch.analysis.report.tables.serving import serving_table, side_by_side
    from greenbatch.analysis.report.tables.startup import slow_starts

    console = open_console()
    every, rows = found.cells, found.loop
    if found.disturbed:
        console.print(Text(found.disturbed, style="bold red"))
    for caveat in found.caveats:
        if caveat.severity != "note":
            console.print(Text(caveat.sentence, style="yellow"))
    console.print()
    if rows:
        for laid in cell_tables(rows, console.width):
            console.print(laid)
        console.print()
    if len(rows) < len(every):
        servers = serving_table(every, short=True)
        console.print(Text(servers.title, style="bold"))
        for laid in fitting(servers, console.width, _GOING):
            console.print(laid)
        console.print()
        served = serving_answers(every)
        if answered := side_by_side(served):
            console.print(Text(answered.title, style="bold"))
            for laid in fitting(answered, console.width, _GOING):
                console.print(laid)
            console.print()
        else:
            for one in served:
                console.print(Text(one.sentence))
    for sentence in found.decided:
        console.print(Text(sentence))
    for answer in found.answers:
        if answer.best is None:
            console.print(Text(f"{answer.model}: {answer.certainty}"))
            continue
        estimated = " (estimated)" if answer.energy_source.in_part_estimated else ""
        best = f"{answer.best.how}, {answer.value}{estimated}"
        console.print(Text(f"{answer.model}: {best}. {answer.certainty}"))
    for worth in found.worths:
        console.print(Text(worth.sentence))
    for sentence in slow_starts(found.answers, found.starts, found.break_evens):
        console.print(Text(sentence))
    console.print()
    # On a line of its own and never wrapped: a terminal makes it a link.
    console.print(Text(f"report: {page}"), soft_wrap=True)


def run_as_json(run: Path, found: "InferenceFindings", page: Path) -> str:
    """Write where a run's files are and, for each model, the answer, for a script to read.

    ``low`` and ``high`` bound an interval of 95 % where ``interval`` is ``t``; of two repetitions
    they are their ``range``. ``adjusted_for_blocks`` is what the best was ranked by, where that is
    another figure.
    """
    paths = {"run": run, "dataset": run / "dataset.nc", "report": page}
    facts = {
        **{name: str(path) for name, path in paths.items()},
        "answers": [
            {
                "model": answer.model,
                "criterion": answer.criterion,
                "backend": answer.best.backend if answer.best else None,
                "settings": dict(answer.best.settings) if answer.best else {},
                "precision": answer.best.precision if answer.best else None,
                "batch_size": answer.best.batch_size if answer.best else None,
                "value": answer.figure.centre if answer.figure else None,
                "unit": "J/image" if answer.criterion == "energy" else "images/s",
                "low": answer.figure.low if answer.figure else None,
                "high": answer.figure.high if answer.figure else None,
                "interval": answer.figure.kind if answer.figure else "none",
                "repetitions": answer.figure.n if answer.figure else 0,
                "adjusted_for_blocks": answer.adjusted_figure,
                "energy_source": answer.energy_source,
                "clear": answer.clear,
                "no_significant_difference": [_cell(cell) for cell in answer.alike],
                "not_comparable": [_cell(cell) for cell in answer.apart],
                "certainty": answer.certainty,
                "decided": answer.outcome or None,
            }
            for answer in found.answers
        ],
        "decided": list(found.decided),
        "plausibility": [_worth(worth) for worth in found.worths],
        "servers": [_server(row) for row in found.cells if row.cell.is_server],
    }
    return json.dumps(facts, indent=2)


def _worth(worth: "EnergyWorth") -> dict[str, object]:
    """Say what an energy is worth, in J of a multiply-add."""
    return {
        "device_class": worth.device_class,
        "boundary": worth.boundary,
        "best_j_per_mac": [worth.best.low, worth.best.high],
        "published_j_per_mac": worth.published and [worth.published.low, worth.published.high],
        "times_the_peak": worth.roofline and [worth.roofline.low, worth.roofline.high],
        "implausible": worth.doubt or None,
    }


def _cell(cell: "Cell") -> dict[str, object]:
    return {
        "backend": cell.backend,
        "settings": dict(cell.settings),
        "precision": cell.precision,
        "batch_size": cell.batch_size,
    }


def _server(row: "CellRow") -> dict[str, object]:
    """Say of a server what a script would read; its answers are those of its traffic alone."""
    served, energy, response = row.cell.served, row.energy_per_image_j, row.response_p99_s
    return {
        "model": row.cell.model,
        "backend": row.cell.backend,
        "settings": dict(row.cell.settings),
        "precision": row.cell.precision,
        "arrivals": served.arrivals,
        "rate": served.rate,
        "policy": served.policy,
        "energy_per_request_j": energy.centre if energy else None,
        "energy_source": row.energy_source,
        "response_p99_s": response.centre if response else None,
        "repetitions": row.ok,
        "planned": row.planned,
        "overloaded": row.flags.get("overloaded", 0),
    }


def cell_tables(rows: Sequence["CellRow"], width: int) -> list[Table | Text]:
    """Lay out a row for each cell in ``width`` columns; a failed one says how it ended.

    Where that is too wide, energy net of idle is left out; then each model has a table below its
    name; then the intervals are left out, and a line says so. Nothing else is shortened.
    """
    figures = ((row.energy_per_image_j, row.latency_p50_s) for row in rows)
    meaning = plus_minus(figure for both in figures for figure in both)
    whole = _cell_table(rows, with_net=True)
    if width >= ROOMY and TextConsole(width=1000).measure(whole).maximum <= width:
        return [whole, *meaning]
    table = _cell_table(rows)
    if _narrowest(table) <= width:
        return [table, *meaning]
    models = dict.fromkeys(row.cell.model for row in rows)
    by_model = {m: [row for row in rows if row.cell.model == m] for m in models}
    apart = {m: _cell_table(each, with_model=False) for m, each in by_model.items()}
    below = meaning
    if max(map(_narrowest, apart.values())) > width:
        below = [_NO_INTERVALS]
        apart = {
            m: _cell_table(each, with_model=False, with_intervals=False)
            for m, each in by_model.items()
        }
    return [*(part for m, laid in apart.items() for part in (Text(m, "bold"), laid)), *below]


def _narrowest(table: Table) -> int:
    """Return the columns that a table takes if the last one, of flags, has a word in a line."""
    words = [word for cell in table.columns[-1].cells for word in str(cell).split()]
    others = [
        max(len(str(cell)) for cell in (column.header, *column.cells))
        for column in table.columns[:-1]
    ]
    return sum(others) + 2 * len(others) + max(map(len, [*words, "flags"]))


def _cell_table(
    rows: Sequence["CellRow"],
    *,
    with_net: bool = False,
    with_model: bool = True,
    with_intervals: bool = True,
) -> Table:
    estimated = any(row.energy_source.in_part_estimated for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    if with_model:
        table.add_column("model", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("backend", no_wrap=True)
    several = len({row.cell.precision for row in rows}) > 1
    if several:
        table.add_column("precision", no_wrap=True)
    headings = ["J/image, est." if estimated else "J/image", "net of idle", "median latency"]
    for heading in headings if with_net else headings[::2]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("images/s", justify="right", no_wrap=True)
    table.add_column("flags", overflow="fold")
    order = {name: place for place, name in enumerate(dict.fromkeys(r.cell.model for r in rows))}
    last = None
    for row in sorted(rows, key=lambda r: (order[r.cell.model], r.cell.batch_size)):
        cell, net = row.cell, row.energy_per_image_net_j
        figures = [
            _spread(row.energy_per_image_j, "J", with_intervals),
            units.si(net.centre, "J") if net else "–",
            _spread(row.latency_p50_s, "s", with_intervals),
        ]
        table.add_row(
            *([cell.model if cell.model != last else ""] if with_model else []),
            str(cell.batch_size),
            cell.variant,
            *([cell.precision] if several else []),
            *(figures if with_net else figures[::2]),
            f"{row.throughput.centre:.4g}" if row.throughput else "–",
            _flags(row),
        )
        last = cell.model
    return table


def _spread(interval: "Interval | None", unit: str, with_interval: bool = True) -> str:
    if interval is None:
        return "–"
    return units.si(interval.centre, unit) + (margin(interval) if with_interval else "")


def _flags(row: "CellRow") -> str:
    """Say how many repetitions failed or carry a flag, of how many, and why a budget left it."""
    failed = {name: count for name, count in row.statuses.items() if name != "ok"}
    counts = {**failed, **row.flags}
    parts = [f"{name} {count}/{row.planned}" for name, count in counts.items()]
    return ", ".join([*parts, *filter(None, [row.left])])
