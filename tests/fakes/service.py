"""Runs and service curves of a simple server, of which everything is known."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from greenbatch.analysis import (
    Limits,
    Recommendation,
    open_run,
    read_service_curves,
    recommend,
)
from greenbatch.analysis.recommendation.service_curves import POINTS, Repeated, ServiceCurve
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.records import Cell, EnergySource, Provenance, Record
from tests.fakes import runs

POISSON = parse_arrivals("poisson")
NOISE = (1.0, 1.01, 0.99, 1.005)
IDLE_W = 2.0


def batch_s(size: int) -> float:
    """Time of a batch: a part that it shares and a part for each image."""
    return 0.005 + 0.001 * size


def server_run(
    path: Path,
    backends: dict[str, float] | None = None,
    *,
    sizes: Sequence[int] = (1, 4, 16),
    blocks: int = 4,
    model: str = "alexnet",
    source: EnergySource | dict[str, EnergySource] = EnergySource.COUNTER,
    idle_w: float | None = IDLE_W,
    spoil: Callable[[Record], Record] = lambda record: record,
) -> Path:
    """A run whose batches take `batch_s` and draw the power (W) that each backend is given."""
    backends = backends or {"onnxruntime-cpu": 20.0}
    records: list[Record] = []
    for backend, power_w in backends.items():
        its = source if isinstance(source, EnergySource) else source[backend]
        for block in range(blocks):
            if idle_w is not None:
                records.append(runs.idle(backend, block, idle_w, source=its))
            for size in sizes:
                window_s = 100 * batch_s(size) * NOISE[block]
                energy = (
                    runs.missing("package-0")
                    if its is EnergySource.MISSING
                    else runs.figure(power_w * window_s, source=its, window_s=window_s)
                )
                records.append(
                    spoil(
                        runs.repetition(
                            Cell(model, backend, batch_size=size),
                            block,
                            energy=[energy],
                            latency_s=window_s / 100,
                            duration_s=window_s,
                            iterations=100,
                        )
                    )
                )
    return runs.write_run(path, records, runs.study((model,), tuple(backends), sizes, blocks))


def curves_of(run: Path) -> list[ServiceCurve]:
    with open_run(run) as dataset:
        return read_service_curves(dataset)


def asked(run: Path, rate_hz: float, **limits: float) -> Recommendation:
    return recommend(curves_of(run), POISSON, rate_hz, Limits(**limits))


def constant(time_s: float, energy_j: float | None = None, idle_w: float | None = None) -> Any:
    """A curve of batch 1 alone, whose batches all take as long."""
    times_s = np.full((1, POINTS), time_s)
    energies_j = None if energy_j is None else np.array([energy_j])
    one = Repeated(times_s, energies_j, idle_w)
    source = Provenance.MISSING if energy_j is None else Provenance.MEASURED
    return ServiceCurve(Cell("alexnet", "torch-cpu"), (1,), dict.fromkeys(range(8), one), 0, source)
