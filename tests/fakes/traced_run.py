"""A run whose repetitions have power traces, as counters and as sensors leave them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from greenbatch.records import EnergySource, Repetition
from tests.fakes import runs


def traced_run(path: Path, source: EnergySource = EnergySource.COUNTER, **more: Any) -> Path:
    """Write a run of `runs.realistic_run` with a trace of 25 readings for each repetition.

    Estimates and counters leave energies; an ``integrated`` source leaves powers.
    """
    import numpy as np

    traces: dict[str, tuple[Repetition, str]] = {}

    def name(record: Repetition) -> Repetition:
        file = f"{record.cell.slug}_r{record.block}.npz"
        traces[file] = (record, record.energy[0].domain)
        return replace(record, trace=file)

    run = runs.realistic_run(path, source, spoil=name, **more)
    (run / "traces").mkdir()
    for file, (record, domain) in traces.items():
        t_s = np.linspace(-0.05, (record.duration_s or 0.0) + 0.05, 25)
        power_w = 20.0 + 5.0 * np.sin(t_s)
        energy_j = np.concatenate([[0.0], np.cumsum(np.diff(t_s) * power_w[1:])])
        read = "power_w" if source is EnergySource.INTEGRATED else "energy_j"
        readings = power_w if source is EnergySource.INTEGRATED else energy_j
        arrays: dict[str, Any] = {f"{domain}_t_s": t_s, f"{domain}_{read}": readings}
        np.savez(run / "traces" / file, **arrays)
    return run
