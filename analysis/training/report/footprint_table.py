"""Carbon footprint and cost of a training, or of a search."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from greenbatch.analysis.findings.wording import DASH, NOT_KNOWN, Table, amount
from greenbatch.analysis.published.studies import PublishedStudy
from greenbatch.analysis.report.page import TableSection
from greenbatch.analysis.report.tables.tradeoffs import Footprint, assumed
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.tradeoffs.footprint import KILOWATT_HOUR_J, rates_of
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.findings.searches import SearchRow


def footprint_sections(
    rows: Sequence[TrainingRow],
    searches: Sequence[SearchRow],
    footprint: Footprint,
    published: PublishedStudy | None = None,
) -> list[TableSection]:
    """Say what each training emits and costs; of a search, each strategy's whole search.

    Args:
        rows: The cells of a run without a search.
        searches: The strategies of a search; empty where there is none.
        footprint: Intensity, price, or both; none is asked for where it is empty.
        published: The study that is repeated: its intensity counts where no other is asked for.

    Raises:
        UsageError: A number is not positive, or codecarbon is missing for a place.
        UnknownNameError: The place is not known.
    """
    given = ""
    if footprint.carbon_intensity is None and published and published.carbon_intensity:
        footprint = replace(footprint, carbon_intensity=published.carbon_intensity)
        given = " The intensity is that of the study; --carbon-intensity gives another."
    if footprint.carbon_intensity is None and footprint.price is None:
        return []
    rates = rates_of(footprint.carbon_intensity, footprint.price)
    energies: Iterable[tuple[str, Interval | None, bool]]
    if searches:
        what = "search"
        energies = (
            (_searched(row), row.total_j, row.curve.source.in_part_estimated) for row in searches
        )
    else:
        what = "training"
        several = len({row.cell.data for row in rows}) > 1
        energies = (
            (
                f"{row.label}, on {row.cell.data}" if several else row.label,
                row.summary("energy"),
                row.estimated,
            )
            for row in rows
        )
    per_kwh = [
        (rates.carbon_g, "CO₂e", "g"),
        (rates.price, f"electricity, {footprint.currency}".rstrip(", "), ""),
    ]
    wanted = [(rate, title, unit) for rate, title, unit in per_kwh if rate is not None]
    body = [
        (
            name,
            *(_scaled(energy_j, rate / KILOWATT_HOUR_J, unit) for rate, _, unit in wanted),
            "estimated" if estimated else "measured",
        )
        for name, energy_j, estimated in energies
        if energy_j is not None
    ]
    table = Table(
        "footprint",
        f"Carbon footprint and cost of a {what}",
        (what, *(title for _, title, _ in wanted), "energy"),
        tuple(body),
        (False, *(True for _ in wanted), False),
    )
    return [TableSection(table, assumed(rates, footprint.currency) + given)]


def _searched(row: SearchRow) -> str:
    name = row.curve.context.name
    return f"{row.strategy}, {name}" if name else row.strategy


def _scaled(energy_j: Interval, factor: float, unit: str) -> str:
    centre = amount(energy_j.centre * factor, unit)
    if energy_j.low is None or energy_j.high is None:
        return f"{centre} (no interval)" if energy_j.n == 1 else centre or DASH
    if not energy_j.known:
        return f"{centre} ({NOT_KNOWN})"
    low, high = (amount(end * factor, unit) for end in (energy_j.low, energy_j.high))
    word = "" if energy_j.kind == "t" else "range "
    return f"{centre} ({word}{low} … {high})"
