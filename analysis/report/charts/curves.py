"""What the figures draw: one curve for each model, variant and figure, over the batch size."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.records import Cell


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one variant in one model's panel, by rising batch size.

    Attributes:
        variant: The backend with what was set on it.
        label: The variant, with the factors that differ within the run.
        estimated: Whether the energies rest on an estimate, in part or whole.
    """

    backend: str
    variant: str
    label: str
    batch_sizes: tuple[int, ...]
    values: tuple[Interval, ...]
    estimated: bool = False


_QUANTITIES = {
    "energy": "energy_per_image_j",
    "latency_p50": "latency_p50_s",
    "latency_p99": "latency_p99_s",
}


def curves(rows: Iterable[CellRow], quantity: str) -> dict[str, list[Curve]]:
    """Gather the curves of a quantity by model; a cell without the figure has no point.

    Args:
        rows: As `cell_rows` gives them.
        quantity: ``energy`` (J per image), ``latency_p50`` or ``latency_p99`` (s).
    """
    rows = list(rows)
    labels = curve_labels(rows)
    grouped: dict[tuple[str, str, str, str, bool], list[tuple[int, Interval]]] = {}
    for row in rows:
        value: Interval | None = getattr(row, _QUANTITIES[quantity])
        if value is None or value.centre <= 0:  # nothing at or below zero on a log axis
            continue
        label = labels[row.cell]
        estimated = quantity == "energy" and row.energy_source in ("estimated", "mixed")
        key = (row.cell.model, row.cell.backend, row.cell.variant, label, estimated)
        grouped.setdefault(key, []).append((row.cell.batch_size, value))
    found: dict[str, list[Curve]] = {
        model: [] for model in dict.fromkeys(r.cell.model for r in rows)
    }
    for (model, backend, variant, label, estimated), points in grouped.items():
        points.sort(key=lambda point: point[0])
        batch_sizes, values = zip(*points, strict=True)
        found[model].append(Curve(backend, variant, label, batch_sizes, values, estimated))
    return found


def curve_labels(rows: Iterable[CellRow]) -> dict[Cell, str]:
    """Name the curve of each cell: its variant, with the factors that differ within the run."""
    cells = [row.cell for row in rows]
    varied = [
        name
        for name in ("precision", "io", "scenario")
        if len({getattr(cell, name) for cell in cells}) > 1
    ]
    return {
        cell: " ".join([cell.variant, *(str(getattr(cell, name)) for name in varied)])
        for cell in cells
    }


def log_range(values: Sequence[float]) -> tuple[float, float]:
    """Give a log axis its ends: a margin around the data, never less than a factor of three.

    So that a difference of two percent does not fill a panel.
    """
    low, high = min(values) / 1.12, max(values) * 1.12
    if high / low < 3:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(3), middle * math.sqrt(3)
    return low, high


def log_ticks(low: float, high: float, unit: str, most: int = 7) -> tuple[list[float], list[str]]:
    """Place labelled ticks on a log axis, at round numbers; at most ``most`` where that can be."""
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [
            float(f"{step}e{decade}")
            for decade in decades
            for step in steps
            if low <= float(f"{step}e{decade}") <= high
        ]
        if len(ticks) <= most:
            break
    return ticks, [units.si(tick, unit) for tick in ticks]
