"""A run of two backends that are unlike: in settings, starts, memory."""

from dataclasses import replace
from pathlib import Path

from greenbatch.records import (
    FACTORS,
    Agreement,
    Capacity,
    Cell,
    OneOff,
    Record,
    Repetition,
)
from tests.fakes import runs


def unlike_run(path: Path) -> Path:
    """A run whose second backend spins, starts dearly, and fails at one batch size."""
    settings: dict[str, str | int | float | bool | None] = dict.fromkeys(FACTORS, "none")
    records: list[Record] = []
    for record in runs.realistic_records(models=("alexnet",), batch_sizes=(1, 4, 16)):
        if isinstance(record, Repetition):
            other = record.cell.backend == "torch-cpu"
            cold = other and record.block == 0
            load_s = 50.0 if cold else 5.0 if other else 0.3
            start = OneOff(duration_s=load_s, energy=(runs.figure(20 * load_s, window_s=load_s),))
            first = OneOff(duration_s=0.1, energy=(runs.figure(2.0, window_s=0.1),))
            record = replace(
                record,
                settings=settings | {"spinning": other, "layout": None, "torch": "2.15.0"},
                one_off={"load": start, "first": first},
                cache=("cold" if cold else "warm") if other else None,
                agreement=Agreement(images=8, max_rel=2.5e-6 if other else 1e-7, cosine=0.99999),
                memory_children_bytes=300_000_000 if other else 0,
            )
            if other and record.cell.batch_size == 16:
                record = runs.failed(record.cell, record.block)
        records.append(record)
    cell = Cell("alexnet", "torch-cpu", batch_size=13)
    records.append(Capacity(cell=cell, fits=True, smallest_failing=14, reason="no memory is left"))
    return runs.write_run(path, records, runs.study(("alexnet",), runs.BACKENDS, (1, 4, 16)))
