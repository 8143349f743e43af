"""Rows as text: the tables that the report, Markdown and the terminal show."""

from collections.abc import Sequence

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import BestRow, ComparisonRow
from greenbatch.analysis.findings.wording import DASH, Table, notes, spread, times
from greenbatch.records import Cell


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
    tied = any(row.alike and row.energy_per_image_j.kind == "t" for row in rows)
    columns = (
        *factors.columns,
        "best batch",
        *(["no significant difference from"] if tied else []),
        f"energy/image{sources.header}",
        *sources.column,
        "latency p50",
        "images/s",
    )
    body = tuple(
        (
            *factors(row.cell),
            str(row.cell.batch_size),
            *([", ".join(map(str, sorted(row.alike))) or DASH] if tied else []),
            spread(row.energy_per_image_j, "J"),
            *sources(row),
            spread(row.latency_p50_s, "s"),
            spread(row.throughput, ""),
        )
        for row in rows
    )
    title = "Batch size of least energy per image"
    return Table("best", title, columns, body, _numeric(columns))


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
