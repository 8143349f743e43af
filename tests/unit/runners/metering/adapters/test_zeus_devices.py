"""The meters that go through the package zeus, against a simulated one."""

import dataclasses
import gc
import inspect
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import EnergyMeter, MeterLost, MeterOptions, Recorder
from greenbatch.runners.metering.adapters import zeus_devices
from greenbatch.runners.metering.adapters.zeus_devices import AmdMeter, AppleMeter, JetsonMeter
from tests.fakes import zeus
from tests.fakes.zeus import AMDGPU, AppleSiliconMeasurement, Rail

pytestmark = pytest.mark.alone


METERS = (AmdMeter, AppleMeter, JetsonMeter)
_REAL = pytest.mark.skipif(find_spec("zeus") is None, reason="zeus is not installed")


@pytest.fixture
def options(tmp_path: Path) -> MeterOptions:
    """A machine with traces of an AMD GPU."""
    (tmp_path / "class" / "kfd").mkdir(parents=True)
    return MeterOptions(environ={"GB_SYSFS": str(tmp_path)})


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeus_devices, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(zeus_devices, "platform", SimpleNamespace(machine=lambda: "arm64"))


@pytest.fixture
def tegra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nv_tegra_release").touch()
    monkeypatch.setattr(zeus_devices, "_TEGRA", (tmp_path / "nv_tegra_release",))


def _gpu(index: int, power_w: float, **changes: object) -> AMDGPU:
    gpu = AMDGPU(index)
    gpu.power_w = power_w
    vars(gpu).update(changes)
    return gpu


def _measured(meter: EnergyMeter) -> tuple[dict[str, EnergyFigure], float]:
    with Recorder([meter]) as recorder:
        time.sleep(0.2)
        t0_s = time.perf_counter()
        time.sleep(0.5)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        figures = recorder.energy(t0_s, t1_s)
    return {figure.domain: figure for figure in figures}, t1_s - t0_s


def test_each_amd_gpu_is_measured_by_counter_and_by_power(options: MeterOptions) -> None:
    with zeus.amd([_gpu(0, 150.0), _gpu(2, 300.0)]), AmdMeter.open(options) as meter:
        figures, window_s = _measured(meter)
    assert list(figures) == ["amd-gpu-0", "amd-gpu-2"]
    assert {domain.part for domain in meter.domains} == {"gpu"}
    for figure, power_w in zip(figures.values(), (150.0, 300.0), strict=True):
        assert figure.source is EnergySource.COUNTER
        assert figure.energy_j == pytest.approx(power_w * window_s, rel=0.1)
        assert figure.other_energy_j == pytest.approx(power_w * window_s, rel=0.01)


def test_an_amd_gpu_without_a_counter_is_integrated_from_the_power_it_has(
    options: MeterOptions,
) -> None:
    gpu = _gpu(0, 150.0, counter=False, instant=False)
    with zeus.amd([gpu]), AmdMeter.open(options) as meter:
        figures, window_s = _measured(meter)
    assert figures["amd-gpu-0"].source is EnergySource.INTEGRATED
    assert figures["amd-gpu-0"].energy_j == pytest.approx(150.0 * window_s, rel=1e-3)


def test_the_second_chip_of_an_mi250_is_silent_and_not_counted(options: MeterOptions) -> None:
    silent = {"counter": False, "instant": False, "average": False}
    first = _gpu(0, 150.0, model="AMD Instinct MI250X")
    second = _gpu(1, 0.0, model="AMD Instinct MI250X", **silent)
    with zeus.amd([first, second]), AmdMeter.open(options) as meter:
        assert [domain.counts for domain in meter.domains] == [True, False]
        assert "amd-gpu-0 holds the energy of both" in str(meter.read()["amd-gpu-1"].reason)
    with (
        zeus.amd([_gpu(0, 150.0), _gpu(1, 0.0, **silent)]),
        pytest.raises(MeterUnavailable, match=r"amd-gpu-1 .* neither energy nor power"),
    ):
        AmdMeter.open(options)


def test_a_lost_amd_gpu_is_missing_with_zeus_own_words_and_the_other_goes_on(
    options: MeterOptions,
) -> None:
    lost, fine = _gpu(0, 150.0), _gpu(1, 150.0)
    with zeus.amd([lost, fine]), AmdMeter.open(options) as meter:
        lost.fault = RuntimeError("the device is gone")
        readings = meter.read()
    assert readings["amd-gpu-0"].reason == (
        "cannot read amd-gpu-0 through zeus: the device is gone"
    )
    assert readings["amd-gpu-1"].power_w == 150.0


def test_amd_smi_is_shut_down_when_the_meter_is_closed(options: MeterOptions) -> None:
    with zeus.amd([_gpu(0, 150.0)]) as events:
        with AmdMeter.open(options) as meter:
            gc.collect()
            assert events == ["init"]
        gc.collect()
        assert events == ["init", "shut down"]
        assert not meter.read()


def test_amd_smi_that_does_not_work_or_lists_nothing_is_unavailable(
    options: MeterOptions,
) -> None:
    with zeus.amd([], available=False), pytest.raises(MeterUnavailable, match="install ROCm 6"):
        AmdMeter.open(options)
    with zeus.amd([]), pytest.raises(MeterUnavailable, match="lists no GPU"):
        AmdMeter.open(options)


def _apple(t_s: float, **fields: Any) -> AppleSiliconMeasurement:
    """A chip: efficiency cluster 2 W, performance clusters 3 + 4 W, GPU 5 W, DRAM 1 W."""
    seen = AppleSiliconMeasurement(
        cpu_total_mj=int(9e3 * t_s),
        efficiency_cluster_mj=[int(2e3 * t_s)],
        performance_cluster_mj=[int(3e3 * t_s), int(4e3 * t_s)],
        efficiency_cores_mj=[int(5e2 * t_s)] * 4,
        dram_mj=int(1e3 * t_s),
        gpu_mj=int(5e3 * t_s),
        ane_mj=0,
    )
    return dataclasses.replace(seen, **fields)


@pytest.mark.usefixtures("mac")
def test_apple_silicon_is_counted_once_though_its_parts_overlap() -> None:
    with zeus.apple(lambda: _apple(time.perf_counter())):
        meter = AppleMeter.open(MeterOptions())
        figures, window_s = _measured(meter)
    assert [figure.domain for figure in figures.values() if figure.counts] == ["apple-soc"]
    powers_w = {
        "apple-soc": 15.0,
        "apple-cpu": 9.0,
        "apple-cpu-efficiency": 2.0,
        "apple-cpu-performance": 7.0,
        "apple-gpu": 5.0,
        "apple-dram": 1.0,
    }
    for domain, power_w in powers_w.items():
        assert figures[domain].source is EnergySource.COUNTER
        assert figures[domain].energy_j == pytest.approx(power_w * window_s, rel=0.1), domain
    assert {d.name: d.part for d in meter.domains}["apple-dram"] == "memory"
    assert "apple-gpu-sram" not in figures, "this chip does not tell it"


@pytest.mark.usefixtures("mac")
def test_a_part_that_is_switched_off_does_not_take_the_total_with_it() -> None:
    with zeus.apple(lambda: _apple(time.perf_counter())):
        figures, _ = _measured(AppleMeter.open(MeterOptions()))
    assert figures["apple-ane"].source is EnergySource.MISSING
    assert figures["apple-ane"].reason
    assert figures["apple-soc"].energy_j is not None


@pytest.mark.usefixtures("mac")
def test_what_zeus_says_is_missing_has_a_reason() -> None:
    state: dict[str, Any] = {}
    with zeus.apple(lambda: _apple(time.perf_counter(), **state)):
        meter = AppleMeter.open(MeterOptions())
        state["dram_mj"] = None
        readings = meter.read()
    assert "dram_mj" in str(readings["apple-dram"].reason)
    assert "dram_mj" in str(readings["apple-soc"].reason)
    assert readings["apple-cpu"].energy_j is not None


@pytest.mark.usefixtures("mac")
def test_apple_silicon_that_fails_says_so() -> None:
    state = {"broken": False}

    def measure() -> AppleSiliconMeasurement:
        if state["broken"]:
            raise RuntimeError("IOReport is closed")
        return _apple(time.perf_counter())

    with zeus.apple(measure):
        meter = AppleMeter.open(MeterOptions())
        state["broken"] = True
        with pytest.raises(MeterLost, match=r"cannot read Apple silicon .*: IOReport is closed"):
            meter.read()
        with pytest.raises(MeterUnavailable, match="IOReport is closed"):
            AppleMeter.open(MeterOptions())
    with (
        zeus.apple(AppleSiliconMeasurement),
        pytest.raises(MeterUnavailable, match="no energy of this chip's CPU"),
    ):
        AppleMeter.open(MeterOptions())


@pytest.mark.usefixtures("tegra")
def test_a_jetsons_total_counts_and_its_parts_are_shown() -> None:
    rails = {"cpu_power_mw": Rail(4.0), "gpu_power_mw": Rail(9.0), "total_power_mw": Rail(20.0)}
    with zeus.jetson(rails) as events, JetsonMeter.open(MeterOptions()) as meter:
        figures, window_s = _measured(meter)
    assert events == ["terminated", "joined"], "zeus' own polling goes on beside ours"
    assert {f.domain: f.counts for f in figures.values()} == {
        "jetson-total": True,
        "jetson-cpu": False,
        "jetson-gpu": False,
    }
    assert figures["jetson-total"].source is EnergySource.INTEGRATED
    assert figures["jetson-total"].energy_j == pytest.approx(20.0 * window_s, rel=1e-3)
    assert figures["jetson-cpu"].energy_j == pytest.approx(4.0 * window_s, rel=1e-3)


@pytest.mark.usefixtures("tegra")
def test_a_jetson_without_a_total_counts_its_parts() -> None:
    rails = {"cpu_power_mw": Rail(4.0), "gpu_power_mw": Rail(9.0)}
    with zeus.jetson(rails), JetsonMeter.open(MeterOptions()) as meter:
        assert {d.name: d.counts for d in meter.domains} == {
            "jetson-cpu": True,
            "jetson-gpu": True,
        }
        rails["cpu_power_mw"].fault = OSError("no such device")
        readings = meter.read()
    assert readings["jetson-cpu"].reason == "cannot read jetson-cpu through zeus: no such device"
    assert readings["jetson-gpu"].power_w == 9.0


@pytest.mark.usefixtures("tegra")
def test_a_jetson_without_rails_is_unavailable() -> None:
    with zeus.jetson({}), pytest.raises(MeterUnavailable, match="no power rail"):
        JetsonMeter.open(MeterOptions())


@pytest.mark.usefixtures("mac", "tegra")
@pytest.mark.parametrize("meter", METERS)
def test_hardware_without_the_package_says_how_to_install_it(
    meter: type[EnergyMeter], options: MeterOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zeus_devices, "find_spec", lambda _: None)
    with pytest.raises(MeterUnavailable, match=re.escape("run pip install 'greenbatch[zeus]'")):
        meter.open(options)


@pytest.mark.usefixtures("mac", "tegra")
@pytest.mark.parametrize("meter", METERS)
def test_another_package_of_that_name_is_unavailable(
    meter: type[EnergyMeter], options: MeterOptions
) -> None:
    with (
        zeus._installed("zeus"),
        zeus._installed("zeus_apple_silicon"),
        pytest.raises(MeterUnavailable, match=r"through zeus: No module named 'zeus\.device"),
    ):
        meter.open(options)


def test_without_the_hardware_zeus_is_not_even_imported(tmp_path: Path) -> None:
    (tmp_path / "zeus.py").write_text("raise SystemExit('zeus was imported')\n")
    program = (
        "import sys\n"
        "from greenbatch.errors import MeterUnavailable\n"
        "from greenbatch.runners.metering import MeterOptions\n"
        "from greenbatch.runners.metering.adapters import zeus_devices as z\n"
        "for meter in (z.AmdMeter, z.AppleMeter, z.JetsonMeter):\n"
        "    try: meter.open(MeterOptions(environ={'GB_SYSFS': '/nowhere'}))\n"
        "    except MeterUnavailable as error: print(error)\n"
    )
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    amd, apple, jetson = run.stdout.splitlines()
    assert amd.startswith("no AMD GPU that can compute: /nowhere/class/kfd is not there"), (
        run.stderr
    )
    assert apple == "no Apple silicon: this is not macOS on arm64; leave apple out"
    assert jetson == "no Jetson: /etc/nv_tegra_release is not there; leave jetson out"


@_REAL
def test_the_simulated_amd_gpu_has_the_real_ones_names() -> None:
    from zeus.device.gpu import amd

    for name in (
        "get_name",
        "supports_get_total_energy_consumption",
        "get_total_energy_consumption",
        "get_instant_power_usage",
        "get_average_power_usage",
    ):
        real = inspect.unwrap(getattr(amd.AMDGPU, name))
        assert list(inspect.signature(real).parameters) == ["self"], name
        assert list(inspect.signature(getattr(AMDGPU, name)).parameters) == ["self"], name
    assert "self.gpu_index" in inspect.getsource(amd.AMDGPU.__mro__[1].__init__)
    assert isinstance(inspect.getattr_static(amd.AMDGPUs, "gpus"), property)
    assert list(inspect.signature(amd.AMDGPUs).parameters) == ["ensure_homogeneous"]
    assert amd.amdsmi_is_available() in (False, True)
    for name in ("get_total_energy_consumption", "get_instant_power_usage"):
        unit = str(inspect.unwrap(getattr(amd.AMDGPU, name)).__doc__)
        assert ("mJ" if "energy" in name else "mW") in unit


@_REAL
def test_the_simulated_chips_have_the_real_ones_names() -> None:
    from zeus.device.soc import apple, jetson

    real = {field.name for field in dataclasses.fields(apple.AppleSiliconMeasurement)}
    assert real == {field.name for field in dataclasses.fields(AppleSiliconMeasurement)}
    assert {"cpu_total_mj", "gpu_mj", "dram_mj", "ane_mj"} <= real
    parameters = inspect.signature(apple.AppleSilicon.get_total_energy_consumption).parameters
    assert list(parameters) == ["self"]
    assert not inspect.signature(apple.AppleSilicon).parameters
    assert not inspect.signature(jetson.Jetson).parameters
    made = inspect.getsource(jetson.Jetson.__init__)
    assert "self.power_measurement = " in made
    assert "self.process = context.Process(" in made
    assert {rail for _, _, rail in zeus_devices._JETSON_RAILS} == set(
        jetson.DeviceMap.__annotations__
    )
    assert "mW" in str(jetson.PowerMeasurementStrategy.measure_power.__doc__)
    assert list(inspect.signature(jetson.DirectPower.measure_power).parameters) == ["self"]
