"""Rows for a program: CSV with SI units in the headers, every digit, empty where missing."""

from collections.abc import Iterable, Sequence

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.comparisons import BestRow, ComparisonRow
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.csv_text import csv_text
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
    factors = _Factors(row.cell for row in rows)
    header = [*factors.header, "energy_source"]
    for name, _ in figures:
        header += [name, f"{name}_low", f"{name}_high"]
    plain = (
        ("metering_error_ratio", "metering_error"),
        ("memory_host_bytes", "memory_host_bytes"),
        ("memory_device_bytes", "memory_device_bytes"),
        ("memory_children_bytes", "memory_children_bytes"),
        ("max_batch_size", "max_batch_size"),
        ("agreement_max_rel", "agreement_max_rel"),
        ("agreement_cosine", "agreement_cosine"),
        ("agreement_equal", "agreement_equal"),
    )
    header += [name for name, _ in plain]
    header += ["accuracy_top1_percent", "accuracy_source", "n_ok", "n_planned", "interval"]
    header += ["flags", "failures", "left", "left_reason"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*factors(row.cell), row.energy_source]
        for _, attribute in figures:
            line += _bounds(getattr(row, attribute))
        kind = row.throughput.kind if row.throughput else None
        line += [getattr(row, attribute) for _, attribute in plain]
        accuracy = row.accuracy
        line += [accuracy.top1, accuracy.source] if accuracy else [None, "missing"]
        line += [row.ok, row.planned, kind]
        line += [
            " ".join(f"{name}:{count}" for name, count in row.flags.items()),
            "; ".join(row.failures),
            row.left,
            row.left_reason,
        ]
        lines.append(line)
    return csv_text(lines)


def comparison_csv(rows: Sequence[ComparisonRow]) -> str:
    """Write the ratios for a program; a withheld one is empty, with its reason."""
    factors = _Factors(row.cell for row in rows)
    header = [*factors.header, "reference", "energy_source"]
    for name in ("energy", "latency_p50", "throughput"):
        header += [f"{name}_ratio", f"{name}_ratio_low", f"{name}_ratio_high"]
    header += ["energy_withheld", "n_energy", "n_latency", "interval"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*factors(row.cell), row.reference, row.energy_source]
        for ratio in (row.energy, row.latency, row.throughput):
            line += _bounds(ratio.interval)
        energy, latency = row.energy.interval, row.latency.interval
        line += [row.energy.reason, energy.n if energy else 0, latency.n if latency else 0]
        line.append(latency.kind if latency else None)
        lines.append(line)
    return csv_text(lines)


def best_csv(rows: Sequence[BestRow]) -> str:
    """Write the best batch sizes for a program."""
    factors = _Factors(row.cell for row in rows)
    header = [*factors.header, "energy_source"]
    for name in ("energy_per_image_J", "latency_p50_s", "throughput_images_per_s"):
        header += [name, f"{name}_low", f"{name}_high"]
    lines: list[Sequence[object]] = [header]
    for row in rows:
        line: list[object] = [*factors(row.cell), row.energy_source]
        for value in (row.energy_per_image_j, row.latency_p50_s, row.throughput):
            line += _bounds(value)
        lines.append(line)
    return csv_text(lines)


class _Factors:
    """The columns that name a cell; one for each setting, empty where it is not set."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        names = (name for cell in cells for name, _ in cell.settings)
        self._settings = tuple(dict.fromkeys(names))
        self.header = (*_CELL_HEADER, *(f"setting.{name}" for name in self._settings))

    def __call__(self, cell: Cell) -> list[object]:
        texts = dict(cell.settings)
        return [getattr(cell, f) for f in _CELL_HEADER] + [texts.get(n) for n in self._settings]


def _bounds(value: Interval | None) -> list[object]:
    return [value.centre, value.low, value.high] if value else [None, None, None]
