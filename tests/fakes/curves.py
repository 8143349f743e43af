"""A run of one network whose energy per image and latency are given by backend and batch size."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.records import Cell, EnergySource, Record
from tests.fakes import runs

SIZES = (1, 2, 4, 8, 16, 32)
A, B = runs.BACKENDS
COUNTER = EnergySource.COUNTER

Energy = Callable[[str, int], float]


def measured(
    path: Path,
    energy: Energy,
    *,
    blocks: int = 3,
    spread: float = 0.0,
    sizes: tuple[int, ...] = SIZES,
    sources: tuple[EnergySource, EnergySource] = (COUNTER, COUNTER),
    latency: Energy = lambda backend, batch: 0.01 * batch,
    seed: int = 4,
) -> xr.Dataset:
    """A run of one network with this energy per image (J) and latency (s), by backend and batch.

    Blocks are 10 % apart, which is shared by all cells; ``spread`` is each cell's own.
    """
    random = np.random.default_rng(seed)
    records: list[Record] = [runs.idle(b, k) for b in (A, B) for k in range(blocks)]
    for block in range(blocks):
        for backend, source in zip((A, B), sources, strict=True):
            for batch in sizes:
                factor = (1 + 0.1 * block) * math.exp(random.normal(0, spread))
                total = energy(backend, batch) * batch * 100 * factor
                figure = (
                    runs.missing("package-0")
                    if source is EnergySource.MISSING
                    else runs.figure(total, source=source)
                )
                records.append(
                    runs.repetition(
                        Cell("alexnet", backend, batch_size=batch),
                        block,
                        energy=[figure],
                        latency_s=latency(backend, batch) * (1 + 0.1 * block),
                    )
                )
    study = runs.study(backends=(A, B), batch_sizes=sizes, repetitions=blocks)
    return compile_dataset(runs.write_run(path, records, study))


def crossing(backend: str, batch: int) -> float:
    """Curves whose logarithms are straight over log2(batch) and cross at 2^2.5."""
    return (
        0.1 * 2 ** (-0.1 * math.log2(batch))
        if backend == A
        else 0.1 * 2 ** (0.25 - 0.2 * math.log2(batch))
    )
