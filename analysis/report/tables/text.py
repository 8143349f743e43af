"""Rows as text: the tables that the report, Markdown and the terminal show."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import BestRow, ComparisonRow, Ratio
from greenbatch.analysis.findings.markdown import Markdown, escape
from greenbatch.analysis.statistics.summary import Summary
from greenbatch.records import Cell

DASH = "–"
"""Stands where a figure is missing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people: every entry is finished text.

    Attributes:
        name: For a file.
        title: For a person.
        columns: Headers, units included where the entries have none.
        rows: As many entries as columns.
        numeric: Whether a column is set flush right.
        wraps: Whether entries are prose that may be broken into lines.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    wraps: bool = False

    @property
    def groups(self) -> bool:
        """Whether lines with the same first entry belong together."""
        return self.name not in ("artifacts", "fairness", "parts")

    def markdown(self) -> Markdown:
        """Write a GitHub-flavoured Markdown table."""
        rule = ["--:" if right else ":--" for right in self.numeric]
        lines = [map(escape, self.columns), rule, *(map(escape, row) for row in self.rows)]
        return Markdown("".join("| " + " | ".join(line) + " |\n" for line in lines))


def cells_table(rows: Sequence[CellRow]) -> Table:
    """All cells."""
    factors, sources = _Factors([row.cell for row in rows]), _Sources(rows)
    columns = (
        *factors.columns,
        "batch",
        f"energy/image{sources.header}",
        *sources.column,
        "net energy",
        "power",
        "latency p50",
        "latency p99",
        "images/s",
        "ok",
        "flags and failures",
    )
    body = tuple(
        (
            *factors(row.cell),
            str(row.cell.batch_size),
            spread(row.energy_per_image_j, "J"),
            *sources(row),
            spread(row.energy_per_image_net_j, "J"),
            units.si(row.power_w.centre if row.power_w else None, "W"),
            spread(row.latency_p50_s, "s"),
            spread(row.latency_p99_s, "s"),
            spread(row.throughput, ""),
            f"{row.ok}/{row.planned}",
            notes(row),
        )
        for row in rows
    )
    return Table("cells", "All cells", columns, body, _numeric(columns))


def comparison_table(rows: Sequence[ComparisonRow], settings: Sequence[str] | None = None) -> Table:
    """Backends against the reference backend.

    Args:
        rows: As `greenbatch.analysis.comparison_rows` gives them.
        settings: For each row what to say of the two backends' settings.
    """
    factors, sources = _Factors([row.cell for row in rows]), _Sources(rows)
    reference = rows[0].reference if rows else "the reference"
    columns = (
        *factors.columns,
        "batch",
        f"energy{sources.header}",
        *sources.column,
        "latency p50",
        "throughput",
        *(("settings",) if settings else ()),
    )
    body = tuple(
        (
            *factors(row.cell),
            str(row.cell.batch_size),
            times(row.energy),
            *sources(row),
            times(row.latency),
            times(row.throughput),
            *((settings[place],) if settings else ()),
        )
        for place, row in enumerate(rows)
    )
    return Table("comparison", f"Ratios to {reference}", columns, body, _numeric(columns))


def best_table(rows: Sequence[BestRow]) -> Table:
    """The best batch size of each model and backend."""
    factors, sources = _Factors([row.cell for row in rows]), _Sources(rows)
    columns = (
        *factors.columns,
        "best batch",
        f"energy/image{sources.header}",
        *sources.column,
        "latency p50",
        "images/s",
    )
    body = tuple(
        (
            *factors(row.cell),
            str(row.cell.batch_size),
            spread(row.energy_per_image_j, "J"),
            *sources(row),
            spread(row.latency_p50_s, "s"),
            spread(row.throughput, ""),
        )
        for row in rows
    )
    title = "Batch size of least energy per image"
    return Table("best", title, columns, body, _numeric(columns))


def spread(value: Summary | None, unit: str) -> str:
    """Write a figure and the wider side of its interval: ``12.3 mJ ± 1.2 %``.

    Bounds stand instead where they are far from even, ``12.3 mJ (6.1 mJ … 25 mJ)``: on a
    logarithmic scale ± 200 % would suggest a figure below zero.
    """
    if value is None:
        return DASH
    centre = amount(value.centre, unit)
    if value.low is None or value.high is None or value.relative is None:
        return centre
    word = "" if value.kind == "t" else "range"
    if value.relative > 0.5:
        word = f"{word} " if word else ""
        return f"{centre} ({word}{amount(value.low, unit)} … {amount(value.high, unit)})"
    return f"{centre} ± {_percent(value.relative)}" + (f" ({word})" if word else "")


def amount(value: float, unit: str) -> str:
    """Write a number to three digits, with its unit where it has one."""
    return units.si(value, unit) if unit else plain(value)


def plain(value: float) -> str:
    """Write a number without a unit to three digits, whole from a thousand on."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def times(ratio: Ratio) -> str:
    """Write a ratio with its interval: ``1.24× (1.20 … 1.28)``."""
    value = ratio.interval
    if value is None:
        return f"withheld: {ratio.reason}" if ratio.reason else DASH
    text = f"{_factor(value.centre)}×"
    if value.low is None or value.high is None:
        return text
    word = "" if value.kind == "t" else "range "
    return f"{text} ({word}{_factor(value.low)} … {_factor(value.high)})"


def _factor(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 99.5 else plain(value)


def notes(row: CellRow) -> str:
    """Write what to know of a cell: flags and repetitions that are not ok."""
    flags = [f"{name.replace('_', ' ')} {count}×" for name, count in row.flags.items()]
    failed = [
        f"{name.replace('_', ' ')} {count}×" for name, count in row.statuses.items() if name != "ok"
    ]
    return ", ".join(flags + failed)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


_TEXT_COLUMNS = {
    "model",
    "backend",
    "precision",
    "io",
    "scenario",
    "source",
    "settings",
    "flags and failures",
}


def _numeric(columns: Sequence[str]) -> tuple[bool, ...]:
    return tuple(column not in _TEXT_COLUMNS for column in columns)


class _Sources:
    """The energies' source: once in the header where all rows share it, else a column."""

    def __init__(
        self, rows: Sequence[CellRow] | Sequence[ComparisonRow] | Sequence[BestRow]
    ) -> None:
        found = {row.energy_source for row in rows} - {"missing"}
        self._one = len(found) < 2
        self.header = f" ({found.pop()})" if len(found) == 1 else ""
        self.column: tuple[str, ...] = () if self._one else ("source",)

    def __call__(self, row: CellRow | ComparisonRow | BestRow) -> tuple[str, ...]:
        return () if self._one else (row.energy_source,)


class _Factors:
    """The columns that name a cell; a factor with one level everywhere is left out."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        varied = (
            name
            for name in ("precision", "io", "scenario")
            if len({getattr(cell, name) for cell in cells}) > 1
        )
        self.columns = ("model", "backend", *varied)

    def __call__(self, cell: Cell) -> tuple[str, ...]:
        return tuple(
            cell.variant if name == "backend" else str(getattr(cell, name)) for name in self.columns
        )
