"""Servers: response time and energy of a request, by policy and rate, as tables."""

from collections.abc import Collection, Mapping, Sequence

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving_answers import ServingAnswer, in_order
from greenbatch.analysis.findings.wording import DASH, Table, notes, spread
from greenbatch.analysis.statistics.intervals import Interval

_FEW_ANSWERS = 3


def serving_table(rows: Sequence[CellRow], *, short: bool = False) -> Table:
    """Show every server cell: a line for each model, backend, precision, arrivals, rate and policy.

    What is the same in all of them stands in the title.

    Args:
        rows: As `cell_rows` gives them.
        short: Only what fits a terminal.
    """
    servers = in_order(rows)
    factors = {
        "model": [row.cell.model for row in servers],
        "backend": [row.cell.variant for row in servers],
        "precision": [row.cell.precision for row in servers],
        "arrivals": [row.cell.served.arrivals for row in servers],
        "requests/s": [row.cell.served.rate for row in servers],
        "policy": [row.cell.served.policy for row in servers],
    }
    always = ("model", "policy")
    shown = {
        name: texts for name, texts in factors.items() if name in always or len(set(texts)) > 1
    }
    energy, energies = _energies(servers)
    figures = {
        energy: energies,
        "as published": [_joules(row.as_published_j) for row in servers],
        "net of idle": [_joules(row.energy_per_image_net_j) for row in servers],
        "waiting's share": [_percent(row.waiting_share) for row in servers],
        "mean power": [_watts(row.power_w) for row in servers],
        "while a batch runs": [_watts(row.power_busy_w) for row in servers],
        "response, mean": [_seconds(row.response_mean_s) for row in servers],
        "p99": [_seconds(row.response_p99_s) for row in servers],
        "maximum": [_seconds(row.response_max_s) for row in servers],
        "busy": [_percent(row.busy) for row in servers],
        "mean batch": [_number(row.batch_size_mean) for row in servers],
        "ok": [f"{row.ok}/{row.planned}" for row in servers],
    }
    left_out = (
        {"net of idle", "waiting's share", "mean power", "while a batch runs", "mean batch"}
        if short
        else set()
    )
    if not any(row.power_busy_w for row in servers):
        left_out.add("while a batch runs")
    if not any(row.as_published_j for row in servers):
        left_out.add("as published")
    figures = {name: texts for name, texts in figures.items() if name not in left_out}
    columns = shown | figures | {"flags and failures": [notes(row) for row in servers]}
    return Table(
        "serving",
        _title(factors, shown),
        tuple(columns),
        tuple(zip(*columns.values(), strict=True)),
        (*(name == "requests/s" for name in shown), *(True for _ in figures), False),
    )


def _title(factors: Mapping[str, Sequence[str]], shown: Collection[str]) -> str:
    """Name what all lines have in common, but for what goes without saying."""
    same = {name: texts[0] for name, texts in factors.items() if texts and name not in shown}
    if same.get("precision") == "fp32":
        del same["precision"]
    if "requests/s" in same:
        same["requests/s"] += " requests/s"
    common = ", ".join(same.values())
    return "Energy per request and response time of servers" + (f" ({common})" if common else "")


def side_by_side(found: Sequence[ServingAnswer]) -> Table | None:
    """Return the table of answers where they are too many for a sentence each."""
    return serving_answer_table(found) if len(found) > _FEW_ANSWERS else None


def serving_answer_table(found: Sequence[ServingAnswer]) -> Table:
    """Show the answers side by side: a line for each model and traffic.

    Args:
        found: As `serving_answers` gives them.
    """
    best = [answer.best for answer in found]
    energy, energies = _energies(best)
    factors = {
        "model": [answer.model for answer in found],
        "arrivals": [answer.arrivals for answer in found],
        "requests/s": [answer.rate for answer in found],
    }
    if len(set(factors["arrivals"])) == 1:
        del factors["arrivals"]
    columns = factors | {
        "policy": [answer.policy for answer in found],
        "backend": [row.cell.variant if row else DASH for row in best],
        energy: energies,
        "response, mean": [_seconds(row.response_mean_s) if row else DASH for row in best],
        "p99": [_seconds(row.response_p99_s) if row else DASH for row in best],
        "no significant difference from": [
            answer.ties or "none" if answer.best else DASH for answer in found
        ],
    }
    figures = ("requests/s", energy, "response, mean", "p99")
    return Table(
        "serving-answers",
        "Least energy per request of the policies that sustained the rate",
        tuple(columns),
        tuple(zip(*columns.values(), strict=True)),
        tuple(name in figures for name in columns),
    )


def _percent(share: Interval | None) -> str:
    return DASH if share is None else f"{100 * share.centre:.0f} %"


def _energies(rows: Sequence[CellRow | None]) -> tuple[str, list[str]]:
    """Return heading and entries of a column; how an energy was obtained is in one of them."""
    sources = {row.energy_source for row in rows if row} - {"missing"}
    same = next(iter(sources)) if len(sources) == 1 else ""
    heading = "energy/request" + (f" ({same})" if same and same != "measured" else "")

    def entry(row: CellRow | None) -> str:
        if row is None:
            return DASH
        own = "" if same or row.energy_source in ("measured", "missing") else row.energy_source
        return _joules(row.energy_per_image_j) + (f" ({own})" if own else "")

    return heading, [*map(entry, rows)]


def _joules(energy: Interval | None) -> str:
    return spread(energy, "J")


def _watts(power: Interval | None) -> str:
    return spread(power, "W")


def _seconds(time: Interval | None) -> str:
    return spread(time, "s")


def _number(value: Interval | None) -> str:
    return DASH if value is None else f"{value.centre:.3g}"
