"""The check of a real GPU's meters, run up to the driver: on a simulated one."""

import time
from pathlib import Path

import pytest

from benchmarks.gpu_metering import report
from tests.fakes import nvml

pytestmark = pytest.mark.alone


@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_the_table_tells_period_idle_and_how_counter_and_power_agree(tmp_path: Path) -> None:
    gpu = nvml.FakeNvml(tmp_path, nvml.build(tmp_path / "lib"), low_w=120, tick_s=0.02)
    with gpu.installed():
        lines = list(report(1, lambda: time.sleep(0.001), window_s=0.5, idle_s=1.0))
    assert lines[0].startswith("Simulated GPU GPU-00000000")
    assert lines[0].endswith("driver 999.00")
    for way in ("the counter", "samples at this instant"):
        idle = next(line for line in lines if f"idle power by {way}" in line)
        assert float(idle.split("|")[2].removesuffix(" W ")) == pytest.approx(120, rel=0.005)
    period = next(line for line in lines if "period, as probed" in line)
    assert float(period.split("|")[2].removesuffix(" ms ")) == pytest.approx(20, rel=0.2)
    costs = [line for line in lines if line.startswith("| time of a call for ")]
    assert len(costs) == 5
    assert all(float(line.split("|")[2].removesuffix(" us ")) > 0 for line in costs)
    (rate,) = (line for line in lines if line.startswith("| rate of the load while it is read"))
    assert 50 < float(rate.split("|")[2].removesuffix("% ")) < 150
    rows = [line for line in lines if line.startswith(("| 50 ms", "| 200 ms", "| 1000 ms"))]
    assert len(rows) == 3
    for row in rows:
        assert float(row.split("|")[2].removesuffix(" W ")) == pytest.approx(120, rel=0.02)
        assert "| not there |" in row  # zeus
