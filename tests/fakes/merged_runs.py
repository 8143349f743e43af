"""Runs of several cells, on this machine or another, that can be merged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from greenbatch.records import EnergySource, Record, Repetition
from tests.fakes import runs

BATCHES = (1, 4)


def run_of(
    path: Path,
    factor: float = 1.0,
    *,
    environment: dict[str, Any] | None = None,
    source: EnergySource = EnergySource.COUNTER,
    models: tuple[str, ...] = ("alexnet", "vit_b_16"),
    batch_sizes: tuple[int, ...] = BATCHES,
    blocks: int = 2,
    **study: Any,
) -> Path:
    """A run whose windows are ``factor`` times as long as the base's."""
    records: list[Record] = [
        replace(record, duration_s=(record.duration_s or 0) * factor)
        if isinstance(record, Repetition)
        else record
        for record in runs.realistic_records(
            source, models=models, batch_sizes=batch_sizes, blocks=blocks
        )
    ]
    members = runs.study(models, runs.BACKENDS, batch_sizes, blocks) | study
    return runs.write_run(path, records, members, environment)


def on(hostname: str, cpu: str = "Example CPU 9000", **more: Any) -> dict[str, Any]:
    """An environment of another machine."""
    machine = runs.environment()["machine"] | {"hostname": hostname, "cpu": cpu}
    return runs.environment(machine=machine, **more)
