"""What ``gb layers`` prints: tables on the terminal, JSON, CSV, a page."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import files, units
from greenbatch.analysis.findings.wording import margin
from greenbatch.csv_text import csv_text

if TYPE_CHECKING:
    from rich.table import Table

    from greenbatch.analysis.findings import wording
    from greenbatch.analysis.findings.layer_attribution import Attribution, Check, PartShare, Row
    from greenbatch.analysis.report.page import TableSection
    from greenbatch.analysis.statistics.intervals import Interval
    from greenbatch.records.layers import Part

SCHEMA = 1
_MOST_LAYERS = 20  # that a person reads; --csv and --json have all
_CHART_LAYERS = 40


def show(found: "Attribution", depth: int | None) -> None:
    """Print the tables, and sentences on how they were obtained."""
    from rich.text import Text

    from greenbatch.cli.output.console import open_console

    console = open_console()
    console.print()
    console.print(Text(headline(found), style="bold"))
    console.print()
    console.print(_table(found, found.by_operator(), "operator"))
    console.print()
    rows = found.by_layer(depth)
    console.print(_table(found, _shown(rows), "layer"))
    if (left := len(rows) - 1 - _MOST_LAYERS) > 0:
        share = sum(row.share.centre for row in rows[_MOST_LAYERS:-1])
        console.print(f"and {left} more layers: {share:.1%}; --csv and --json have them all")
    if found.check:
        console.print()
        console.print(_parts_table(found.check))
    console.print()
    for sentence in sentences(found):
        console.print(Text(sentence))


def headline(found: "Attribution") -> str:
    """Say what was measured, and its time and net energy."""
    run, net = found.run, found.net
    energy = (
        f"{units.si(net.energy_j, 'J')} net of idle{_spread(found.net_interval)} ({net.source})"
        if net.energy_j is not None
        else f"net energy not known: {net.reason}"
    )
    return (
        f"{run.model} on {run.backend}, {run.precision}, batch {run.batch_size}: per image "
        f"{units.si(found.time_s.centre, 's')}{_spread(found.time_s)}, {energy}; "
        f"{units.count(len(run.blocks), 'repetition')}"
    )


def sentences(found: "Attribution") -> list[str]:
    """Say what the profiler costs, how energy was attributed, and what the check shows."""
    result = [
        f"with the profiler a batch takes {_ratio(found.profiler_time)} of its time without it"
    ]
    if found.profiler_energy:
        result[0] += f", and {_ratio(found.profiler_energy)} of its net energy"
    result[0] += "; times and energies above are those without it"
    if found.net.energy_j is not None:
        result.append(_attributed(found))
    if found.check:
        result += _checked(found)
    elif found.run.uncut:
        result.append(f"{found.run.model} was not checked by parts: {found.run.uncut}")
    else:
        result.append("it was not checked by parts (--check 0, or a runtime without an ONNX graph)")
    unsettled = {w.what for block in found.run.blocks for w in block.windows if not w.settled}
    if unsettled:
        result.append(f"not steady before a window: {', '.join(sorted(unsettled))}")
    return [*result, *found.run.failed]


def _attributed(found: "Attribution") -> str:
    how = "energy of operators and layers is attributed by their share of the time, not measured"
    if found.net.source == "estimated":
        return f"{how}, and its total is an estimate; --json has its band"
    beside = ", and how far the shares of the parts are from it" if found.check else ""
    return f"{how}: ± is what metering leaves{beside}"


def _checked(found: "Attribution") -> list[str]:
    check = found.check
    assert check is not None
    estimated = " (estimated)" if found.net.source == "estimated" else ""
    energy = (
        f" and {_ratio(check.energy)} of its net energy{estimated}"
        if check.energy
        else f"; no ratio of energies: {check.reason}"
    )
    worst = max(check.parts, key=lambda each: each.deviation)
    of_what = "net energy" if worst.energy_share else "time"
    together = (
        f"{len(check.parts)} parts, cut from the network and measured by themselves, take together "
        f"{_ratio(check.time)} of its time{energy}"
    )
    apart = (
        f"the attributed share is at most {worst.deviation:.1%} from the measured share of "
        f"{of_what}, in part {worst.part.number}"
    )
    return [together, apart]


def _table(found: "Attribution", rows: Sequence["Row"], heading: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    estimated = ", est." if found.net.source == "estimated" else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(heading, overflow="fold")
    for name in ("calls", "share", "time/image", f"net J/image, attributed{estimated}"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.name),
            f"{row.calls:.4g}" if row.calls else "",
            f"{row.share.centre:.1%}",
            units.si(row.time_s, "s"),
            _joules(row, bool(estimated)),
        )
    total = math.fsum(row.share.centre for row in found.operators)
    table.add_row(
        "the window",
        "",
        f"{total:.1%}",
        units.si(found.time_s.centre, "s"),
        units.si(found.net.energy_j, "J"),
        style="bold",
    )
    return table


def _shown(rows: Sequence["Row"]) -> Sequence["Row"]:
    return rows if len(rows) - 1 <= _MOST_LAYERS else [*rows[:_MOST_LAYERS], rows[-1]]


def _joules(row: "Row", estimated: bool) -> str:
    """Write a row's energy; the band of an estimate, its model's, would drown it: JSON has it."""
    if row.energy_j is None or row.energy_uncertainty_j is None:
        return "–"
    if estimated:
        return units.si(row.energy_j, "J")
    return f"{units.si(row.energy_j, 'J')} ± {units.si(row.energy_uncertainty_j, 'J')}"


def _parts(check: "Check") -> "wording.Table":
    """Set what was measured of each part beside what was attributed to it."""
    from greenbatch.analysis.findings.wording import Table

    rows = [
        (
            str(each.part.number),
            _ends(each.part),
            f"{each.attributed_share.centre:.1%}",
            f"{each.time_share.centre:.1%}",
            f"{each.energy_share.centre:.1%}" if each.energy_share else "–",
        )
        for each in check.parts
    ]
    shares = ("operators' share, attributed", "share of time, measured", "of net energy")
    return Table(
        name="parts",
        title="Validation: parts measured by themselves",
        columns=("part", "from .. to", *shares),
        rows=tuple(rows),
        numeric=(False, False, True, True, True),
    )


def _ends(part: "Part") -> str:
    return f"{part.first_layer or part.reads} .. {part.last_layer or part.writes}"


def _parts_table(check: "Check") -> "Table":
    from rich.table import Table
    from rich.text import Text

    parts = _parts(check)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, numeric in zip(parts.columns, parts.numeric, strict=True):
        table.add_column(
            name,
            justify="right" if numeric else "left",
            no_wrap=name != "from .. to",
            overflow="fold",
        )
    for row in parts.rows:
        table.add_row(*map(Text, row))
    return table


def _spread(summary: "Interval | None") -> str:
    return "" if summary is None else margin(summary, 1)


def _ratio(summary: "Interval") -> str:
    text = f"{summary.centre:.1%}"
    if summary.low is None or summary.high is None:
        return text
    return f"{text} ({summary.low:.1%} to {summary.high:.1%})"


def layers_as_json(found: "Attribution", depth: int | None) -> str:
    """Write all that was found as JSON; energies in J and times in s are per image."""
    run = found.run
    result = {
        "schema_version": SCHEMA,
        "model": run.model,
        "backend": run.backend,
        "precision": run.precision,
        "batch_size": run.batch_size,
        "repetitions": len(run.blocks),
        "failed": list(run.failed),
        "settings": run.settings,
        "time_s": _summary(found.time_s),
        "energy_net_j": found.net.energy_j,
        "energy_net_uncertainty_j": found.net.uncertainty_j,
        "energy_net_interval_j": _summary(found.net_interval),
        "energy_source": found.net.source,
        "energy_reason": found.net.reason,
        "energy_of_rows": "attributed by share of the time",
        "profiler_time_ratio": _summary(found.profiler_time),
        "profiler_energy_ratio": _summary(found.profiler_energy),
        "operators": [_row(row) for row in found.operators],
        "by_operator": [_row(row) for row in found.by_operator()],
        "by_layer": [_row(row) for row in found.by_layer(depth)],
        "check": _check(found.check) if found.check else None,
        "unchecked_because": run.uncut,
    }
    return json.dumps(result, indent=2)


def _check(check: "Check") -> dict[str, object]:
    return {
        "time_ratio": _summary(check.time),
        "energy_ratio": _summary(check.energy),
        "energy_reason": check.reason,
        "parts": [_part(each) for each in check.parts],
    }


def _part(each: "PartShare") -> dict[str, object]:
    part = each.part
    return {
        "part": part.number,
        "reads": part.reads,
        "writes": part.writes,
        "first_layer": part.first_layer,
        "last_layer": part.last_layer,
        "nodes": part.nodes,
        "time_s": each.time_s,
        "time_share": _summary(each.time_share),
        "energy_share": _summary(each.energy_share),
        "attributed_share": _summary(each.attributed_share),
        "deviation": each.deviation if math.isfinite(each.deviation) else None,
    }


def _row(row: "Row") -> dict[str, object]:
    return {
        "name": row.name,
        "operator": row.operator,
        "layer": row.layer,
        "origin": row.origin,
        "part": row.part,
        "calls": row.calls,
        "share": row.share.centre,
        "share_low": row.share.low,
        "share_high": row.share.high,
        "time_s": row.time_s,
        "energy_j": row.energy_j,
        "energy_uncertainty_j": row.energy_uncertainty_j,
    }


def _summary(summary: "Interval | None") -> dict[str, object] | None:
    if summary is None:
        return None
    return {
        "value": summary.centre,
        "low": summary.low,
        "high": summary.high,
        "repetitions": summary.n,
        "kind": summary.kind,
    }


def write_csv(found: "Attribution", path: Path) -> None:
    """Write a row for each operator, with the source of the energy that is shared out."""
    rows = [_row(row) | {"energy_source": found.net.source} for row in found.operators]
    files.write_output(path, csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: its width in percent of the widest, and its figures as text."""

    name: str
    width: float
    share: str
    time: str
    energy: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """A bar for each layer or operator, with what is left out."""

    name: str
    title: str
    rows: Sequence[Bar]
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersPage:
    """What the page shows.

    Attributes:
        where: Backend, precision and batch size.
        estimated: Whether the energy that is attributed is an estimate.
    """

    title: str
    where: str
    summary: str
    sentences: Sequence[str]
    charts: Sequence[BarChart]
    parts: Sequence["TableSection"]
    estimated: bool
    source: str


def write_page(found: "Attribution", path: Path, depth: int | None) -> None:
    """Write one page that works offline: layers and operators as bars, the check, the sentences."""
    from greenbatch import __version__
    from greenbatch.analysis.report.page import TableSection
    from greenbatch.analysis.report.render import render

    layers = found.by_layer(depth)
    left = len(layers) - 1 - _CHART_LAYERS
    shown = layers if left <= 0 else [*layers[:_CHART_LAYERS], layers[-1]]
    more = f"{left} layers that take less are in --csv and --json." if left > 0 else ""
    run = found.run
    page = LayersPage(
        title=f"{run.model}: time and energy by layer and operator",
        where=f"{run.backend} · {run.precision} · batch {run.batch_size}",
        summary=headline(found),
        sentences=sentences(found),
        charts=[
            BarChart("layer", "Time and energy by layer", _bars(found, shown), more),
            BarChart("operator", "Time and energy by operator", _bars(found, found.by_operator())),
        ],
        parts=[TableSection(_parts(found.check), _PARTS)] if found.check else [],
        estimated=found.net.source == "estimated",
        source=f"greenbatch {__version__}",
    )
    files.write_output(path, render("layers.html.j2", page=page))


_PARTS = (
    "Parts of the network, cut out and measured by themselves, beside the share that the "
    "attribution gives their operators."
)


def _bars(found: "Attribution", rows: Sequence["Row"]) -> list[Bar]:
    widest = max(row.share.centre for row in rows)
    return [
        Bar(
            name=row.name,
            width=100 * row.share.centre / widest,
            share=f"{row.share.centre:.1%}",
            time=units.si(row.time_s, "s"),
            energy=_joules(row, found.net.source == "estimated"),
        )
        for row in rows
    ]
