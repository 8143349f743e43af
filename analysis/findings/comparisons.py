"""Variants (backends, as set) against each other, and the batch size at which each is best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch.analysis.dataset.energy_basis import unlike
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.statistics.claims import by_block, least
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.errors import UnknownNameError
from greenbatch.records import Cell, Provenance


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of one cell over that of another; withheld (``None``) with a reason."""

    interval: Interval | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A variant (a backend, as set) against the reference variant, the other factors equal.

    Attributes:
        reference: The reference variant.
        reference_cell: Its cell.
    """

    cell: Cell
    reference: str
    reference_cell: Cell
    energy_source: Provenance
    energy: Ratio
    latency: Ratio
    throughput: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRow:
    """The batch size at which a variant needs least energy per image, and what that costs.

    Attributes:
        alike: Batch sizes with no significant difference from it.
    """

    cell: Cell
    energy_source: Provenance
    energy_per_image_j: Interval
    latency_p50_s: Interval | None
    throughput: Interval | None
    alike: tuple[int, ...] = ()


def comparison_rows(rows: Sequence[CellRow], reference: str | None = None) -> list[ComparisonRow]:
    """Compare every variant with a reference variant, cell by cell, paired by block.

    Args:
        rows: As `cell_rows` gives them.
        reference: A variant of the study, or a backend whose first variant is meant; that of the
            first cell by default.

    Raises:
        UnknownNameError: The study has no such variant.
    """
    return [
        ComparisonRow(
            cell=row.cell,
            reference=against.cell.variant,
            reference_cell=against.cell,
            energy_source=row.energy_source,
            energy=energy_ratio(row, against),
            latency=_ratio(row, against, "latency_p50"),
            throughput=_ratio(row, against, "throughput"),
        )
        for row, against in with_reference(rows, reference)
    ]


def with_reference(
    rows: Sequence[CellRow], reference: str | None = None
) -> list[tuple[CellRow, CellRow]]:
    """Pair every row with that of the reference variant in the same model, batch size, ...

    Args:
        rows: As `cell_rows` gives them.
        reference: As for `comparison_rows`.

    Raises:
        UnknownNameError: The study has no such variant.
    """
    if not rows:
        return []
    chosen = _reference(rows, reference or rows[0].cell.variant)
    references = {_without_variant(r.cell): r for r in rows if r.cell.variant == chosen}
    pairs = ((row, references.get(_without_variant(row.cell))) for row in rows)
    return [(r, against) for r, against in pairs if against and r.cell.variant != chosen]


def _reference(rows: Sequence[CellRow], name: str) -> str:
    variants = {row.cell.variant: row.cell.backend for row in rows}
    if name in variants:
        return name
    for variant, backend in variants.items():
        if backend == name:
            return variant
    raise UnknownNameError("reference", name, variants)


def energy_ratio(over: CellRow, under: CellRow) -> Ratio:
    """Compare energies per image; see `greenbatch.analysis.dataset.energy_basis.unlike`."""
    reason = unlike(over.basis, under.basis)
    return Ratio(None, reason) if reason else _ratio(over, under, "energy")


def _ratio(over: CellRow, under: CellRow, name: str) -> Ratio:
    found = ratio(over.series[name].by_block, under.series[name].by_block)
    if found is None:
        return Ratio(None, "no block has both")
    return Ratio(found)


def best_rows(rows: Iterable[CellRow]) -> list[BestRow]:
    """Find the batch size of least energy per image for each model and variant.

    Among the batch sizes of one variant whose energies may be divided by that of its first one
    that has any.
    """
    curves: dict[tuple[object, ...], list[CellRow]] = {}
    for row in rows:
        cell = row.cell
        key = (cell.model, cell.variant, cell.precision, cell.io, cell.scenario)
        curve = curves.setdefault(key, [])
        if row.energy_per_image_j and not (curve and unlike(curve[0].basis, row.basis)):
            curve.append(row)
    return [_best_row(curve) for curve in curves.values() if curve]


def _best_row(curve: Sequence[CellRow]) -> BestRow:
    found = least(by_block([row.series["energy"].by_block for row in curve]))
    row = curve[found.best if found else 0]
    assert row.energy_per_image_j is not None
    return BestRow(
        cell=row.cell,
        energy_source=row.energy_source,
        energy_per_image_j=row.energy_per_image_j,
        latency_p50_s=row.latency_p50_s,
        throughput=row.throughput,
        alike=tuple(curve[place].cell.batch_size for place in found.alike) if found else (),
    )


def _without_variant(cell: Cell) -> tuple[object, ...]:
    return (cell.model, cell.precision, cell.io, cell.scenario, cell.batch_size)
