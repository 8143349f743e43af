"""Power traces: thinned without losing energy, named for what they are, absent where they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.report.charts import power_traces as module
from greenbatch.analysis.report.charts.power_traces import power_traces
from greenbatch.records import Cell, EnergySource, Repetition
from tests.fakes import runs
from tests.fakes.traced_run import traced_run

CELL = Cell("alexnet", "torch-cpu")


def written(run: Path, **arrays: Any) -> Repetition:
    """A repetition with the trace ``t.npz``."""
    (run / "traces").mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {name.replace("__", "-"): array for name, array in arrays.items()}
    np.savez(run / "traces" / "t.npz", **named)
    return runs.repetition(CELL, energy=[runs.figure(40.0)], trace="t.npz")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (EnergySource.COUNTER, "counter"),
        (EnergySource.ESTIMATED, "estimated"),
        (EnergySource.INTEGRATED, "sampled"),
    ],
)
def test_a_trace_says_how_it_was_obtained(tmp_path: Path, source: EnergySource, kind: str) -> None:
    run = traced_run(tmp_path, source, models=("alexnet",), batch_sizes=(1,))
    found = power_traces(run, read_run(run).journal.repetitions)
    assert len(found) == 2 * 3
    assert {trace.kind for trace in found} == {kind}
    assert all(len(trace.edges_s) == len(trace.power_w) + 1 for trace in found)
    assert all(15.0 <= power <= 25.5 for trace in found for power in trace.power_w)


def test_thinning_keeps_the_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_POINTS", 20)
    t_s = np.linspace(0.0, 2.0, 1001)
    energy_j = 20.0 * t_s + np.sin(40 * t_s) + 0.1 * t_s**2
    repetition = written(tmp_path, package__0_t_s=t_s, package__0_energy_j=energy_j)
    (trace,) = power_traces(tmp_path, [repetition])
    assert len(trace.power_w) <= 20
    area_j = np.dot(np.diff(trace.edges_s), trace.power_w)
    assert area_j == pytest.approx(energy_j[-1] - energy_j[0], rel=1e-9)


def test_a_counter_that_stands_between_ticks_draws_no_zero(tmp_path: Path) -> None:
    repetition = written(
        tmp_path,
        package__0_t_s=[0.0, 0.1, 0.2, 0.3, 0.4],
        package__0_energy_j=[0.0, 0.0, 4.0, 4.0, 8.0],
    )
    (trace,) = power_traces(tmp_path, [repetition])
    assert trace.power_w == pytest.approx((20.0, 20.0))


def test_samples_that_are_missing_are_left_out(tmp_path: Path) -> None:
    repetition = written(
        tmp_path, package__0_t_s=[0.0, 1.0, 2.0], package__0_power_w=[10.0, float("nan"), 20.0]
    )
    (trace,) = power_traces(tmp_path, [repetition])
    assert trace.edges_s == (0.0, 2.0)
    assert trace.power_w == (15.0,)


def test_without_power_there_is_no_trace(tmp_path: Path) -> None:
    repetition = written(tmp_path, latency_s=[0.1, 0.1])
    lost = replace(repetition, trace="gone.npz")
    outside = replace(repetition, trace="../../etc/passwd")
    damaged = replace(repetition, trace="damaged.npz")
    (tmp_path / "traces" / "damaged.npz").write_bytes(b"PK\x03\x04 not a zip")
    failed = runs.failed(CELL)
    with pytest.warns(UserWarning, match=r"1 of 4 power traces is not shown: .*damaged\.npz"):
        found = power_traces(tmp_path, [repetition, lost, outside, damaged, failed])
    assert found == []
