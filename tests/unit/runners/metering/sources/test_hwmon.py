"""The meter of hwmon's energy counters against simulated devices."""

import re
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, open_meters
from greenbatch.runners.metering.sources.hwmon import HwmonMeter
from tests.fakes.amd_energy import AmdEnergy
from tests.fakes.powercap import as_nobody, counting, readable_by_others, write_counter
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


def _options(device: AmdEnergy) -> MeterOptions:
    return MeterOptions(environ=device.environment())


@pytest.fixture
def device(tmp_path: Path) -> AmdEnergy:
    return AmdEnergy(tmp_path / "sys")


def test_each_socket_is_a_package_and_cores_are_left_out(device: AmdEnergy) -> None:
    AmdEnergy(device.sysfs, "hwmon1", "k10temp").add(1, "Esocket7")
    device.add(1, "Ecore000")
    second = device.add(10, "Esocket1", energy_uj=4)
    first = device.add(9, "Esocket0", energy_uj=3)
    curves = {first: (PowerCurve(90.0), 0), second: (PowerCurve(70.0), 0)}
    with counting(curves):
        meter = HwmonMeter.open(_options(device))
    with meter:
        assert [(d.name, d.device, d.part, d.counts, d.source) for d in meter.domains] == [
            ("package-0", str(first), "cpu", True, EnergySource.COUNTER),
            ("package-1", str(second), "cpu", True, EnergySource.COUNTER),
        ]
        write_counter(first, 12_000_000)
        write_counter(second, 2**63)
        assert meter.read()["package-0"].energy_j == 12.0
        assert meter.read()["package-1"].energy_j == pytest.approx(2**63 * 1e-6, rel=1e-15)


def test_the_driver_outside_the_kernel_tree_has_the_same_files(tmp_path: Path) -> None:
    device = AmdEnergy(tmp_path / "sys", name="zenergy")
    with counting({device.add(1, "Esocket0"): (PowerCurve(90.0), 0)}):
        meter = HwmonMeter.open(_options(device))
    meter.close()
    assert [domain.name for domain in meter.domains] == ["package-0"]


def test_without_a_socket_the_driver_is_named(device: AmdEnergy) -> None:
    device.add(1, "Ecore000")
    with pytest.raises(MeterUnavailable, match="sudo modprobe amd_energy"):
        HwmonMeter.open(_options(device))


def test_a_counter_that_stands_still_is_unavailable(device: AmdEnergy) -> None:
    file = device.add(1, "Esocket0", energy_uj=5)
    with pytest.raises(MeterUnavailable, match=f"{re.escape(str(file))} stands still"):
        HwmonMeter.open(_options(device))


def test_permission_denied_says_which_file_and_what_to_do() -> None:
    with readable_by_others() as folder:
        device = AmdEnergy(folder / "sys")
        file = device.add(1, "Esocket0")
        file.chmod(0o000)
        with as_nobody(), pytest.raises(MeterUnavailable) as caught:
            HwmonMeter.open(_options(device))
        assert str(caught.value) == (
            f"cannot read {file}: permission denied; run 'sudo chmod a+r "
            f"{device.root}/energy*_input' or pass --meter estimate"
        )


def test_a_device_that_goes_away_in_mid_run_is_a_reason_until_it_is_back(device: AmdEnergy) -> None:
    file = device.add(1, "Esocket0")
    with counting({file: (PowerCurve(90.0), 0)}):
        meter = HwmonMeter.open(_options(device))
    with meter:
        file.write_text("")
        file.unlink()
        assert "no such file" in str(meter.read()["package-0"].reason)
        write_counter(file, 1_000_000)
        assert meter.read()["package-0"].energy_j == 1.0


def test_auto_takes_it_where_powercap_has_nothing(device: AmdEnergy) -> None:
    file = device.add(1, "Esocket0")
    with (
        counting({file: (PowerCurve(90.0), 0)}),
        open_meters(["auto"], _options(device)) as metering,
    ):
        assert "hwmon" in [meter.name for meter in metering.meters]
        assert "no RAPL package" in metering.absent["rapl"]
        assert "hwmon reads the CPU" in metering.absent["estimate"]
