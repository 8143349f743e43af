"""Rows for a program: CSV with SI units in the headers, every digit, empty where missing."""

import csv
import io
from collections.abc import Sequence

from greenbatch.analysis.comparisons import BestRow, ComparisonRow
from greenbatch.analysis.statistics import Interval
from greenbatch.analysis.tables import CellRow
from greenbatch.records import Cell

_CELL_HEADER = ("model", "backend", "precision", "io", "scenario", "batch_size")


def cells_csv(rows: Sequence[CellRow]) -> str:
    """Write all cells for a program: SI units in the headers, every digit, empty where missing."""
    figures = (
        ("energy_per_image_J", "energy_per_image_j"),
        ("energy_per_image_net_J", "energy_per_image_net_j"),
        ("power_W", "power_w"),
        ("latency_p50_s", "latency_p50_s"),
        ("latency_p99_s", "latency_p99_s"),
        ("throughput_images_per_s", "throughput"),
    )
    header = [*_CELL_HEADER, "energy_source"]
    for name, _ in figures:
        header += [name, f"{name}_low", f"{name}_high"]
    header += ["metering_error_ratio", "memory_host_bytes", "n_ok", "n_planned", "interval"]
    header += ["flags", "failures"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*_cell(row.cell), row.energy_source]
        for _, attribute in figures:
            line += _bounds(getattr(row, attribute))
        kind = row.throughput.kind if row.throughput else None
        line += [row.metering_error, row.memory_host_bytes, row.ok, row.planned, kind]
        line += [
            " ".join(f"{name}:{count}" for name, count in row.flags.items()),
            "; ".join(row.failures),
        ]
        lines.append(line)
    return _csv(lines)


def comparison_csv(rows: Sequence[ComparisonRow]) -> str:
    """Write the ratios for a program; a withheld one is empty, with its reason."""
    header = [*_CELL_HEADER, "reference", "energy_source"]
    for name in ("energy", "latency_p50", "throughput"):
        header += [f"{name}_ratio", f"{name}_ratio_low", f"{name}_ratio_high"]
    header += ["energy_withheld", "n_energy", "n_latency", "interval"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*_cell(row.cell), row.reference, row.energy_source]
        for ratio in (row.energy, row.latency, row.throughput):
            line += _bounds(ratio.interval)
        energy, latency = row.energy.interval, row.latency.interval
        line += [row.energy.reason, energy.n if energy else 0, latency.n if latency else 0]
        line.append(latency.kind if latency else None)
        lines.append(line)
    return _csv(lines)


def best_csv(rows: Sequence[BestRow]) -> str:
    """Write the best batch sizes for a program."""
    header = [*_CELL_HEADER, "energy_source"]
    for name in ("energy_per_image_J", "latency_p50_s", "throughput_images_per_s"):
        header += [name, f"{name}_low", f"{name}_high"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*_cell(row.cell), row.energy_source]
        for value in (row.energy_per_image_j, row.latency_p50_s, row.throughput):
            line += _bounds(value)
        lines.append(line)
    return _csv(lines)


def _cell(cell: Cell) -> list[object]:
    return [getattr(cell, name) for name in _CELL_HEADER]


def _bounds(value: Interval | None) -> list[object]:
    return [value.centre, value.low, value.high] if value else [None, None, None]


def _csv(lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
