"""Runs of one cell whose figures are those of a base, times a factor."""

from pathlib import Path
from typing import Any

from greenbatch.records import Cell, EnergySource, Record
from tests.fakes import runs

QUIET = (1.0, 1.002, 0.998, 1.001)


def run_of(
    path: Path,
    factor: float = 1.0,
    *,
    mode: str = "",
    batch_sizes: tuple[int, ...] = (1, 4),
    source: EnergySource = EnergySource.COUNTER,
    environment: dict[str, Any] | None = None,
    **study: Any,
) -> Path:
    """A run whose energies and latencies are those of the base, times ``factor``."""
    settings = (("mode", mode),) if mode else ()
    records: list[Record] = [
        runs.repetition(
            Cell("alexnet", "onnxruntime-cpu", batch_size=batch, settings=settings),
            block,
            energy=[runs.figure(40.0 * factor * noise, source=source)],
            latency_s=0.01 * factor * noise,
            duration_s=runs.WINDOW_S * factor * noise,
        )
        for batch in batch_sizes
        for block, noise in enumerate(QUIET)
    ]
    members = runs.study(batch_sizes=batch_sizes, repetitions=len(QUIET)) | study
    if mode:
        members["settings"] = {"onnxruntime-cpu.mode": [mode]}
    return runs.write_run(path, records, members, environment)
