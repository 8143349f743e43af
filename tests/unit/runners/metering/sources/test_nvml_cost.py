"""What a call of NVML costs is found quickly, also where calls are slow."""

from pathlib import Path

import pytest

from greenbatch.runners.metering.sources import nvml_cost
from greenbatch.runners.metering.sources.nvml_library import close_library, open_library
from tests.fakes import nvml


@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
@pytest.mark.parametrize(("call_s", "times"), [(0.0, 9), (0.12, 1)])
def test_a_slow_call_is_timed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call_s: float, times: int
) -> None:
    import pynvml

    real, calls = pynvml.nvmlDeviceGetTotalEnergyConsumption, []

    def counted(handle: object) -> int:
        calls.append(handle)
        return int(real(handle))

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", counted)
    for name in ("device_state", "processes_of", "instant_power_w", "power_w"):
        monkeypatch.setattr(nvml_cost, name, lambda *_, **__: None)
    gpu = nvml.FakeNvml(tmp_path / "gpu", nvml.build(tmp_path / "lib"), call_s=call_s)
    with gpu.installed():
        open_library()
        try:
            costs_s = nvml_cost.call_costs_s(0)
        finally:
            close_library()
    assert len(calls) == times
    assert costs_s["energy"] >= call_s
