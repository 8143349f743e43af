"""Servers: response time and energy of a request, by policy and rate, as a table and a sentence."""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.wording import DASH, Table, notes, spread
from greenbatch.analysis.statistics.claims import by_block, least
from greenbatch.analysis.statistics.intervals import LEAST, Interval
from greenbatch.queueing.policies import parse_policy

_MOST_NAMED = 3


def serving_table(rows: Sequence[CellRow], *, short: bool = False) -> Table:
    """Show every server cell: a line for each model, backend, precision, arrivals, rate and policy.

    What is the same in all of them stands in the title.

    Args:
        rows: As `cell_rows` gives them.
        short: Only what fits a terminal.
    """
    servers = sorted((row for row in rows if row.cell.is_server), key=_traffic)
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
    figures = {
        f"energy/request{_source(servers)}": [_joules(row.energy_per_image_j) for row in servers],
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


def serving_answers(rows: Sequence[CellRow]) -> list[str]:
    """Say for each model and traffic which policy takes least energy per request, if that is shown.

    Only policies that sustained the rate in every repetition, and energies of one kind of source,
    are compared.
    """
    servers = sorted((row for row in rows if row.cell.is_server), key=_traffic)
    sentences = []
    for (model, arrivals, rate), members in groupby(servers, key=_load):
        of_traffic = list(members)
        sustained = [row for row in of_traffic if row.ok and not row.flags.get("overloaded")]
        known = [(row, row.energy_per_image_j) for row in sustained]
        able = [(row, energy) for row, energy in known if energy is not None]
        where = f"{model} at {rate} requests/s ({arrivals})"
        if not sustained and any(row.ok for row in of_traffic):
            sentences.append(f"{where}: no policy sustained the rate.")
        elif able and not all_unlike(row.basis for row, _ in able):
            sentences.append(f"{where}: {_answer([row for row, _ in able])}")
    return sentences


def _answer(rows: Sequence[CellRow]) -> str:
    found = least(by_block([row.series["energy"].by_block for row in rows]))
    row = rows[found.best if found else 0]
    source = "" if row.energy_source == "measured" else f" ({row.energy_source})"
    few = "" if row.ok >= LEAST else ": too few repetitions to be sure"
    tie = ""
    if found and found.alike:
        others = [rows[place] for place in found.alike]
        names = ", ".join(_named(other) for other in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        tie = f" (no significant difference from {names}{more}{few})"
    return (
        f"least energy per request{source} with {_named(row)}{tie}, "
        f"{spread(row.energy_per_image_j, 'J')}, mean response "
        f"{spread(row.response_mean_s, 's')}, 99th percentile {spread(row.response_p99_s, 's')}."
    )


def _named(row: CellRow) -> str:
    return f"{row.cell.served.policy} on {row.cell.variant}"


def _percent(share: Interval | None) -> str:
    return DASH if share is None else f"{100 * share.centre:.0f} %"


def _source(rows: Sequence[CellRow]) -> str:
    sources = {row.energy_source for row in rows} - {"missing"}
    return f" ({sources.pop()})" if len(sources) == 1 and sources != {"measured"} else ""


def _joules(energy: Interval | None) -> str:
    return spread(energy, "J")


def _watts(power: Interval | None) -> str:
    return spread(power, "W")


def _seconds(time: Interval | None) -> str:
    return spread(time, "s")


def _number(value: Interval | None) -> str:
    return DASH if value is None else f"{value.centre:.3g}"


def _load(row: CellRow) -> tuple[str, str, str]:
    return row.cell.model, row.cell.served.arrivals, row.cell.served.rate


def _traffic(row: CellRow) -> tuple[str, str, float, str, str, int]:
    traffic = row.cell.served
    policy = parse_policy(traffic.policy)
    rate_hz = traffic.rate_hz or 0.0
    variant = row.cell.variant
    return row.cell.model, traffic.arrivals, rate_hz, variant, policy.kind, policy.largest
