"""The check of a real GPU's meters, run up to the driver: on a simulated one."""

import re
from pathlib import Path

import pytest

from benchmarks.gpu_load import Load, LoadFailed
from benchmarks.gpu_metering import Lengths, Row, _apart, report
from tests.fakes import nvml

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler"),
]
SHORT = Lengths(windows=1, window_s=0.5, idle_s=1.0, rate_s=0.1)


def watts(row: Row) -> float:
    found = re.match(r"([\d.]+) W", row.value)
    assert found, row
    return float(found[1])


@pytest.mark.parametrize("devices", [1, 2])
def test_the_table_has_period_idle_costs_and_how_counter_and_power_agree(
    tmp_path: Path, devices: int
) -> None:
    library = nvml.build(tmp_path / "lib")
    gpu = nvml.FakeNvml(tmp_path, library, low_w=120, tick_s=0.02, devices=devices)
    load = Load(pause_s=0.001)
    load_uuid = f"GPU-{devices - 1:08d}-0000-0000-0000-000000000000"
    with gpu.installed(), load:
        load.uuid = load_uuid  # as the process of a load on the last device reports
        rows = {row.what: row for row in report(load, SHORT)}
    power_w = 120.0 * devices  # of the last one
    assert rows["device"].value.startswith(f"Simulated GPU {load_uuid}")
    assert rows["device"].value.endswith("driver 999.00")
    for way in ("the counter", "samples at this instant"):
        assert watts(rows[f"idle power by {way}"]) == pytest.approx(power_w, rel=0.005)
    period = rows["energy counter's period, as probed"].value
    assert float(period.removesuffix(" ms")) == pytest.approx(20, rel=0.2)
    costs = [row for what, row in rows.items() if what.startswith("time of a call for ")]
    assert len(costs) == 5
    assert all(float(row.value.removesuffix(" us")) > 0 for row in costs)
    rate = rows["rate of the load while it is read, at a window's end"].value
    share, rate_hz = re.findall(r"[\d.]+", rate)
    assert 50 < float(share) < 150
    assert 100 < float(rate_hz) <= 1000
    waves = [row for what, row in rows.items() if what.startswith("square-wave load of ")]
    assert len(waves) == 3
    for row in waves:
        assert watts(row) == pytest.approx(power_w, rel=0.02)
        assert "zeus not measured" in row.value
        assert not row.fault


def test_without_a_load_the_device_is_metered_and_the_rest_has_the_reason(tmp_path: Path) -> None:
    library = nvml.build(tmp_path / "lib")
    load = Load(pause_s=0.001)
    gpu = nvml.FakeNvml(tmp_path, library, low_w=120, tick_s=0.02, devices=2)
    with gpu.installed(), load:
        load.missing = "torch lists no CUDA device"
        rows = {row.what: row for row in report(load, SHORT)}
    assert "the first of 2" in rows["device"].value
    assert watts(rows["idle power by the counter"]) == pytest.approx(120, rel=0.005)
    lacking = [row for row in rows.values() if row.missing]
    assert len(lacking) == 4
    assert {row.missing for row in lacking} == {"torch lists no CUDA device"}
    assert all(row.of_load for row in lacking)


def test_a_machine_without_nvml_has_one_row_with_the_reason() -> None:
    with nvml.no_library(), Load(pause_s=0.001) as load:
        (row,) = report(load, SHORT)
    assert "NVML" in row.missing
    assert row.markdown.startswith("| meter | - | not run: cannot read NVML")


def test_a_load_that_dies_is_a_row_and_no_traceback(tmp_path: Path) -> None:
    library = nvml.build(tmp_path / "lib")
    gpu = nvml.FakeNvml(tmp_path, library, low_w=120, tick_s=0.02)
    with gpu.installed(), Load(pause_s=0.001) as load:
        assert load._process is not None
        load._process.kill()
        rows = list(report(load, SHORT))
    assert rows[-1].what == "load"
    assert "its process failed: it ended with -9" in rows[-1].fault


def test_the_load_runs_in_a_process_of_its_own_and_ends_with_its_context() -> None:
    with Load(pause_s=0.002) as load:
        assert 50 < load.rate_hz(0.2) <= 500
        load.wave(0.02)
        load.rest()
        assert load.rate_hz(0.1) > 50
    assert load._process is not None
    assert load._process.returncode == 0
    with pytest.raises(LoadFailed):
        load.rest()


def test_counter_and_power_are_apart_beyond_what_is_stated() -> None:
    assert _apart([], []) == ""
    assert _apart([0.04, 0.04, 0.9], [0.01]) == ""
    assert _apart([0.08], [0.10]) == ""
    assert _apart([-0.08], [0.01]) == "counter and power differ by -8.0%, wanted within ±5.0%"
