"""Our own meters pass the suite that every meter must pass, each on its simulated hardware."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from greenbatch.runners.metering import MeterOptions, opening
from greenbatch.runners.metering.adapters import zeus_devices
from greenbatch.testing.meter_observation import observe
from tests.fakes import nvml, zeus
from tests.fakes.amd_energy import AmdEnergy
from tests.fakes.hwmon import HwmonTree
from tests.fakes.plug import FakePlug, pdu
from tests.fakes.power_pmu import PowerPmu
from tests.fakes.powercap import Powercap, counting
from tests.fakes.powercap_curve import PowerCurve
from tests.unit.testing.test_meter_conformance import failed

pytestmark = pytest.mark.alone

W = 1_000_000  # µW
POWER_W = 50.0


@contextmanager
def _nvml(folder: Path) -> Iterator[MeterOptions]:
    if not nvml.has_compiler():
        pytest.skip("no C compiler")
    fake = nvml.FakeNvml(folder / "gpu", nvml.build(folder / "lib"), tick_s=0.02)
    with fake.installed():
        yield MeterOptions(environ={})


@contextmanager
def _rapl(folder: Path) -> Iterator[MeterOptions]:
    tree = Powercap(folder / "sys")
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    tree.add("intel-rapl:0:1", "core")
    with tree.running({"intel-rapl:0": PowerCurve(70.0), "intel-rapl:0:0": PowerCurve(8.0)}):
        yield MeterOptions(environ=tree.environment())


@contextmanager
def _perf(folder: Path) -> Iterator[MeterOptions]:
    pmu = PowerPmu(folder / "sys", {0: (0, 0)})
    pmu.add("energy-pkg", 2, steps_j={0: 0.02})
    with pmu.installed():
        yield MeterOptions(environ=pmu.environment())


@contextmanager
def _hwmon(folder: Path) -> Iterator[MeterOptions]:
    device = AmdEnergy(folder / "sys")
    file = device.add(1, "Esocket0")
    with counting({file: (PowerCurve(90.0), 0)}):
        yield MeterOptions(environ=device.environment())


@contextmanager
def _hwmon_power(folder: Path) -> Iterator[MeterOptions]:
    tree = HwmonTree(folder / "sys")
    for number, (label, power_w) in enumerate({"Module": 700, "Grace": 180, "CPU": 90}.items()):
        tree.grace(f"{label} Power Socket 0", power_w * W, number)
    yield MeterOptions(environ=tree.environment())


@contextmanager
def _intel_gpu(folder: Path) -> Iterator[MeterOptions]:
    tree = HwmonTree(folder / "sys")
    card = tree.add("xe", "pci0000:00/0000:03:00.0", energy1_input=0, energy2_input=0)
    files = {card.file("energy1_input"): 180.0, card.file("energy2_input"): 150.0}
    with counting({file: (PowerCurve(power_w), 0) for file, power_w in files.items()}):
        yield MeterOptions(environ=tree.environment())


@contextmanager
def _estimate(folder: Path) -> Iterator[MeterOptions]:
    yield MeterOptions(environ={"GB_SYSFS": str(folder)})


@contextmanager
def _wall(folder: Path) -> Iterator[MeterOptions]:
    pytest.importorskip("jmespath")
    with FakePlug(lambda t_s: pdu(POWER_W, POWER_W * t_s), refresh_s=0.1) as plug:
        words = "energy_j=outlets[1].joules&power=to_number(outlets[1].watts)&interval=0.03"
        yield MeterOptions(argument=f"{plug.url}#{words}&counts=yes", environ={})


@contextmanager
def _amd(folder: Path) -> Iterator[MeterOptions]:
    (folder / "class" / "kfd").mkdir(parents=True)
    gpu = zeus.AMDGPU(0)
    gpu.power_w = 400.0
    with zeus.amd([gpu]):
        yield MeterOptions(environ={"GB_SYSFS": str(folder)})


@contextmanager
def _apple(folder: Path) -> Iterator[MeterOptions]:
    def measure() -> zeus.AppleSiliconMeasurement:
        t_s = time.perf_counter()
        return zeus.AppleSiliconMeasurement(
            cpu_total_mj=int(8e3 * t_s),
            gpu_mj=int(12e3 * t_s),
            dram_mj=int(2e3 * t_s),
            ane_mj=int(1e3 * t_s),
        )

    arm = SimpleNamespace(machine=lambda: "arm64")
    with (
        zeus.apple(measure),
        mock.patch.object(zeus_devices, "sys", SimpleNamespace(platform="darwin")),
        mock.patch.object(zeus_devices, "platform", arm),
    ):
        yield MeterOptions(environ={"GB_SYSFS": str(folder)})


@contextmanager
def _jetson(folder: Path) -> Iterator[MeterOptions]:
    watts = {"cpu": 6.0, "gpu": 14.0, "total": 30.0}
    rails = {f"{name}_power_mw": zeus.Rail(w) for name, w in watts.items()}
    with zeus.jetson(rails), mock.patch.object(zeus_devices, "_TEGRA", (folder,)):
        yield MeterOptions(environ={"GB_SYSFS": str(folder)})


OWN = {
    "nvml": _nvml,
    "rapl": _rapl,
    "perf": _perf,
    "hwmon": _hwmon,
    "hwmon-power": _hwmon_power,
    "intel-gpu": _intel_gpu,
    "estimate": _estimate,
    "wall": _wall,
    "amd": _amd,
    "apple": _apple,
    "jetson": _jetson,
}
UNREADABLE = {"npu"}  # no machine has it


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_our_own_meters_pass_on_simulated_hardware(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        options = stack.enter_context(OWN[name](tmp_path))
        seen = observe(name, opening.load(name).open, options, most_w=1000.0)
    assert failed(seen) == {}


def test_each_of_our_own_meters_is_checked() -> None:
    assert OWN.keys() | UNREADABLE == {
        name for name, target in opening.targets().items() if target.startswith("greenbatch.")
    }
