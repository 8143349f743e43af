"""An NPU has no meter: the reason says which one it is."""

from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering import MeterOptions, open_meters


def test_an_npu_is_missing_with_the_reason(tmp_path: Path) -> None:
    device = tmp_path / "class" / "accel" / "accel0" / "device"
    device.mkdir(parents=True)
    (device / "npu_busy_time_us").write_text("120\n")
    (tmp_path / "intel_vpu").mkdir()
    (device / "driver").symlink_to(tmp_path / "intel_vpu")
    with pytest.raises(MeterUnavailable) as caught:
        open_meters(["npu"], MeterOptions(environ={"GB_SYSFS": str(tmp_path)}))
    assert "accel0, Intel NPU (driver intel_vpu)" in str(caught.value)
    assert "gives no energy" in str(caught.value)


def test_a_machine_without_an_npu_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="no NPU under"):
        open_meters(["npu"], MeterOptions(environ={"GB_SYSFS": str(tmp_path)}))
