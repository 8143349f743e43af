"""The meter of Arm servers' sockets against simulated ACPI meters and xgene-hwmon."""

import errno
import time
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.sources.hwmon_power import HwmonPowerMeter
from tests.fakes.hwmon import HwmonTree, failing
from tests.fakes.powercap import as_nobody, readable_by_others

pytestmark = pytest.mark.alone

W = 1_000_000  # µW
GRACE_HOPPER = {
    "Module Power Socket 0": 700,
    "Grace Power Socket 0": 180,
    "CPU Power Socket 0": 90,
    "SysIO Power Socket 0": 40,
}


@pytest.fixture
def tree(tmp_path: Path) -> HwmonTree:
    return HwmonTree(tmp_path / "sys")


def _open(tree: HwmonTree) -> HwmonPowerMeter:
    return HwmonPowerMeter.open(MeterOptions(environ=tree.environment()))


def _counted_w(tree: HwmonTree) -> float:
    """Return the mean power of all domains that count, over a window of the recorder."""
    with _open(tree) as meter, Recorder([meter]) as recorder:
        time.sleep(0.2)
        t0_s = time.perf_counter()
        time.sleep(0.3)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        figures = recorder.energy(t0_s, t1_s)
    counted = [figure for figure in figures if figure.counts]
    assert {figure.source for figure in counted} == {EnergySource.INTEGRATED}
    return sum(figure.energy_j or 0.0 for figure in counted) / (t1_s - t0_s)


def test_of_two_grace_sockets_no_part_is_added_to_its_whole(tree: HwmonTree) -> None:
    watts = {**GRACE_HOPPER, "Grace Power Socket 1": 210, "CPU Power Socket 1": 95}
    for number, (label, power_w) in enumerate(reversed(watts.items())):
        tree.grace(label, power_w * W, number)
    with _open(tree) as meter:
        domains = {domain.name: domain for domain in meter.domains}
    assert {name: d.part for name, d in domains.items() if d.counts} == {
        "socket-0": "cpu",
        "socket-1": "cpu",
    }
    assert {name for name, d in domains.items() if not d.counts} == {
        "module-0",
        "socket-0-cpu",
        "socket-0-sysio",
        "socket-1-cpu",
    }
    assert domains["module-0"].part == "machine"
    assert "GPU" in str(domains["module-0"].note)
    assert domains["socket-1"].device == "ACPI000D:01, Grace Power Socket 1"
    assert _counted_w(tree) == pytest.approx(390.0, rel=1e-6)


def test_newer_kernels_have_the_files_beside_the_link(tree: HwmonTree) -> None:
    """Then the readings are in hwmonN, and the firmware's texts there or at the owner."""
    for number, (label, where) in enumerate([("Grace", "label"), ("CPU", "oem_info")]):
        chip = tree.add("power_meter", f"ACPI000D:0{number}", power1_average=(100 - number) * W)
        place = chip.folder if where == "label" else chip.folder / "device"
        (place / f"power1_{where}").write_text(f"{label} Power Socket 0\n")
    assert _counted_w(tree) == pytest.approx(100.0, rel=1e-6)


def test_rails_count_where_their_socket_is_not_shown(tree: HwmonTree) -> None:
    tree.grace("CPU Power Socket 0", 90 * W, 0)
    tree.grace("SysIO Power Socket 0", 40 * W, 1)
    tree.grace("Grace Power Socket 1", 200 * W, 2)
    assert _counted_w(tree) == pytest.approx(330.0, rel=1e-6)
    with _open(tree) as meter:
        notes = {domain.name: domain.note for domain in meter.domains}
    assert "rail of the socket" in str(notes["socket-0-cpu"])
    assert notes["socket-1"] is None


def test_the_supplies_of_an_ampere_socket_are_added(tree: HwmonTree) -> None:
    for number in (1, 0):  # loaded in another order than they are numbered
        tree.add(
            "apm_xgene",
            f"platform/APMC0D8A:{number:02}",
            power1_input=(60 + number) * W,
            power1_label="CPU power",
            power2_input=20 * W,
            power2_label="IO power",
        )
    with _open(tree) as meter:
        found = [(d.name, d.device, d.counts) for d in meter.domains]
    assert found == [
        ("socket-0-cpu", "APMC0D8A:00, CPU power", True),
        ("socket-0-io", "APMC0D8A:00, IO power", True),
        ("socket-1-cpu", "APMC0D8A:01, CPU power", True),
        ("socket-1-io", "APMC0D8A:01, IO power", True),
    ]
    assert _counted_w(tree) == pytest.approx(161.0, rel=1e-6)


def test_a_meter_without_a_known_label_is_shown_and_a_battery_is_not(tree: HwmonTree) -> None:
    tree.grace("", 350 * W, 0, power1_average_interval="1000")
    tree.grace("Grace Power Socket 0", 20 * W, 1, power1_is_battery="1")
    tree.grace("NVSwitch Power Socket 0", 90 * W, 2)
    options = MeterOptions(environ=tree.environment())
    with open_meters(["auto"], options) as metering:
        (meter,) = (meter for meter in metering.meters if meter.name == "hwmon-power")
        assert "estimate" in [meter.name for meter in metering.meters]
    assert [(d.name, d.counts, d.part) for d in meter.domains] == [
        ("acpi-0", False, "machine"),
        ("socket-0-nvswitch", False, "machine"),
    ]
    assert all("does not state what" in str(domain.note) for domain in meter.domains)


def test_a_reading_is_as_old_as_its_mean_is_long(tree: HwmonTree) -> None:
    tree.grace("Grace Power Socket 0", 200 * W, 0, power1_average_interval="1000")
    with _open(tree) as meter:
        (domain,) = meter.domains
    assert domain.lag_s == pytest.approx(2.0)  # a mean over 1 s that may be renewed as rarely


@pytest.mark.parametrize(
    ("accuracy", "band"),
    [("100.0%", 0.0), ("99.50%", 0.0095), ("99.500%", 0.005), ("0.0%", 0.0), ("unknown", 0.0)],
)
def test_the_stated_accuracy_is_in_the_band(tree: HwmonTree, accuracy: str, band: float) -> None:
    """The kernel writes thousandths of a percent without their zeros: 99.50% is 99.050 %."""
    tree.grace("Grace Power Socket 0", 200 * W, 0, power1_accuracy=accuracy)
    with _open(tree) as meter:
        assert meter.domains[0].band_relative == pytest.approx(band)


@pytest.mark.parametrize("value", [4_294_967_295_000, 0, "", "unknown", "-5"])
def test_a_value_that_is_no_power_is_missing_and_never_0(tree: HwmonTree, value: int | str) -> None:
    meter_file = tree.grace("Grace Power Socket 0", 200 * W)
    with _open(tree) as meter:
        meter_file.set("power1_average", value)
        reading = meter.read()["socket-0"]
    assert reading.power_w is None
    assert str(reading.reason).startswith("cannot read ")
    with pytest.raises(MeterUnavailable):
        _open(tree)


@pytest.mark.parametrize("number", [errno.ENODATA, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT])
def test_firmware_that_has_no_value_for_once_is_asked_again(tree: HwmonTree, number: int) -> None:
    file = tree.grace("Grace Power Socket 0", 200 * W).file("power1_average")
    with failing(file, number, times=2):
        meter = _open(tree)
    with meter:
        with failing(file, number):
            assert meter.read()["socket-0"].power_w is None
        assert meter.read()["socket-0"].power_w == 200.0
    with failing(file, errno.ENODEV), pytest.raises(MeterUnavailable, match="no such device"):
        _open(tree)


def test_a_rail_that_cannot_be_read_is_left_out(tree: HwmonTree) -> None:
    tree.grace("Grace Power Socket 0", 200 * W, 0)
    file = tree.grace("CPU Power Socket 0", 90 * W, 1).file("power1_average")
    with failing(file, errno.ENODATA):
        meter = _open(tree)
    with meter:
        assert [domain.name for domain in meter.domains] == ["socket-0"]


def test_one_label_twice_counts_once(tree: HwmonTree) -> None:
    tree.grace("Grace Power Socket 0", 200 * W, 0)
    tree.grace("Grace Power Socket 0", 200 * W, 1)
    with _open(tree) as meter:
        assert [(d.name, d.counts) for d in meter.domains] == [
            ("socket-0", True),
            ("socket-0-1", False),
        ]
    assert _counted_w(tree) == pytest.approx(200.0, rel=1e-6)


def test_a_sensor_that_vanishes_is_read_again_when_it_is_back(tree: HwmonTree) -> None:
    chip = tree.grace("Grace Power Socket 0", 200 * W)
    with _open(tree) as meter:
        chip.file("power1_average").unlink()
        assert "no such file" in str(meter.read()["socket-0"].reason)
        chip.set("power1_average", 150 * W)
        assert meter.read()["socket-0"].power_w == 150.0


def test_a_missing_right_is_named_with_its_cure() -> None:
    with readable_by_others() as folder:
        file = HwmonTree(folder / "sys").grace("Grace Power Socket 0", 9).file("power1_average")
        file.chmod(0o400)
        with as_nobody(), pytest.raises(MeterUnavailable, match="run 'sudo chmod a\\+r"):
            HwmonPowerMeter.open(MeterOptions(environ={"GB_SYSFS": str(folder / "sys")}))


def test_elsewhere_the_drivers_are_named(tree: HwmonTree) -> None:
    with pytest.raises(MeterUnavailable, match="modprobe acpi_power_meter"):
        _open(tree)


def test_auto_takes_it_where_no_counter_reads_the_cpu(tree: HwmonTree) -> None:
    tree.grace("Grace Power Socket 0", 200 * W)
    with open_meters(["auto"], MeterOptions(environ=tree.environment())) as metering:
        assert "hwmon-power" in [meter.name for meter in metering.meters]
        assert "hwmon-power reads the CPU" in metering.absent["estimate"]
