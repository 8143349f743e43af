"""Backends against each other, and the batch size at which each is best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch.analysis.statistics import Interval, ratio
from greenbatch.analysis.tables import CellRow
from greenbatch.records import Cell


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of one cell over that of another; withheld (``None``) with a reason."""

    interval: Interval | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A backend against the reference backend in the same model and batch size."""

    cell: Cell
    reference: str
    energy_source: str
    energy: Ratio
    latency: Ratio
    throughput: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRow:
    """The batch size at which a backend needs least energy per image, and what that costs."""

    cell: Cell
    energy_source: str
    energy_per_image_j: Interval
    latency_p50_s: Interval | None
    throughput: Interval | None


def comparison_rows(rows: Sequence[CellRow], reference: str | None = None) -> list[ComparisonRow]:
    """Compare every backend with a reference backend, cell by cell, paired by block.

    Args:
        rows: As `cell_rows` gives them.
        reference: A backend of the study; its first one by default.
    """
    if not rows:
        return []
    reference = reference or rows[0].cell.backend
    references = {_without_backend(r.cell): r for r in rows if r.cell.backend == reference}
    compared = []
    for row in rows:
        against = references.get(_without_backend(row.cell))
        if against is None or row.cell.backend == reference:
            continue
        compared.append(
            ComparisonRow(
                cell=row.cell,
                reference=reference,
                energy_source=row.energy_source,
                energy=energy_ratio(row, against),
                latency=_ratio(row, against, "latency_p50"),
                throughput=_ratio(row, against, "throughput"),
            )
        )
    return compared


def energy_ratio(over: CellRow, under: CellRow) -> Ratio:
    """Compare energies per image; an estimate is never compared with a measurement."""
    sources = (over.energy_source, under.energy_source)
    if "missing" in sources:
        return Ratio(None, "energy is missing")
    if sources[0] != sources[1]:
        return Ratio(None, f"{sources[0]} against {sources[1]}")
    return _ratio(over, under, "energy")


def _ratio(over: CellRow, under: CellRow, name: str) -> Ratio:
    found = ratio(over.series[name].by_block, under.series[name].by_block)
    if found is None:
        return Ratio(None, "no block has both")
    return Ratio(found)


def best_rows(rows: Iterable[CellRow]) -> list[BestRow]:
    """Find the batch size of least energy per image for each model and backend.

    Among the batch sizes of one backend whose energies have the same kind of source as its
    first one that has any.
    """
    best: dict[tuple[object, ...], BestRow] = {}
    for row in rows:
        energy = row.energy_per_image_j
        if energy is None:
            continue
        cell = row.cell
        key = (cell.model, cell.backend, cell.precision, cell.io, cell.scenario)
        known = best.get(key)
        if known and (
            known.energy_source != row.energy_source
            or known.energy_per_image_j.centre <= energy.centre
        ):
            continue
        best[key] = BestRow(
            cell=cell,
            energy_source=row.energy_source,
            energy_per_image_j=energy,
            latency_p50_s=row.latency_p50_s,
            throughput=row.throughput,
        )
    return list(best.values())


def _without_backend(cell: Cell) -> tuple[object, ...]:
    return (cell.model, cell.precision, cell.io, cell.scenario, cell.batch_size)
