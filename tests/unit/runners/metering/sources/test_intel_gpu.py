"""The meter of Intel's cards against simulated hwmon devices."""

import errno
import time
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Reading, Recorder, open_meters
from greenbatch.runners.metering.sampling.unwrapping import Series
from greenbatch.runners.metering.sources.intel_gpu import IntelGpuMeter
from tests.fakes.hwmon import HwmonTree, failing
from tests.fakes.powercap import as_nobody, counting, readable_by_others
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone

A770, B580 = "pci0000:00/0000:03:00.0", "pci0000:80/0000:8a:00.0"
RANGE_J = 2.0**32 / 2**14


@pytest.fixture
def tree(tmp_path: Path) -> HwmonTree:
    return HwmonTree(tmp_path / "sys")


def _options(tree: HwmonTree) -> MeterOptions:
    return MeterOptions(environ=tree.environment())


def test_of_two_cards_each_card_counts_and_its_package_is_shown(tree: HwmonTree) -> None:
    tree.add("nvme", "pci0000:00/0000:01:00.0", energy1_input=7)
    second = tree.add("xe", B580, energy1_input=5, energy1_label="card", energy2_label="pkg")
    second.set("energy2_input", 3)
    first = tree.add("xe", A770, energy2_input=9, energy2_label="pkg")  # no counter of the card
    watts = {
        second.file("energy1_input"): 190.0,
        second.file("energy2_input"): 150.0,
        first.file("energy2_input"): 210.0,
    }
    with (
        counting({file: (PowerCurve(power_w), 0) for file, power_w in watts.items()}),
        IntelGpuMeter.open(_options(tree)) as meter,
        Recorder([meter]) as recorder,
    ):
        time.sleep(0.5)
        t0_s = time.perf_counter()
        time.sleep(0.6)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        figures = recorder.energy(t0_s, t1_s)
    assert [f.reason for f in figures if f.source is EnergySource.MISSING] == []
    assert [(f.domain, f.counts, f.source) for f in figures] == [
        ("intel-gpu-0-pkg", True, EnergySource.COUNTER),
        ("intel-gpu-1", True, EnergySource.COUNTER),
        ("intel-gpu-1-pkg", False, EnergySource.COUNTER),
    ]
    for figure, power_w in zip(figures, (210.0, 190.0, 150.0), strict=True):
        assert figure.energy_j == pytest.approx(power_w * (t1_s - t0_s), rel=0.01)
    total_j = sum(figure.energy_j or 0.0 for figure in figures if figure.counts)
    assert total_j == pytest.approx(400.0 * (t1_s - t0_s), rel=0.01)
    first_card, second_card, _ = meter.domains
    assert {domain.part for domain in meter.domains} == {"gpu"}
    assert "0000:03:00.0" in first_card.device
    assert "0000:8a:00.0" in second_card.device
    assert "without the memory" in str(first_card.note)
    assert second_card.note is None


@pytest.mark.parametrize("name", ["xe", "i915"])
def test_a_counter_without_a_label_is_the_cards(tree: HwmonTree, name: str) -> None:
    card = tree.add(name, A770, energy1_input=1)
    tile = tree.add("i915_gt0", A770, energy1_input=1) if name == "i915" else None
    files = {chip.file("energy1_input"): (PowerCurve(80.0), 0) for chip in (card, tile) if chip}
    with counting(files):
        meter = IntelGpuMeter.open(_options(tree))
    meter.close()
    assert [d.name for d in meter.domains if d.counts] == ["intel-gpu-0"]
    if tile:
        assert [d.name for d in meter.domains if not d.counts] == ["intel-gpu-0-gt0"]


def test_where_the_cards_counter_shows_0_for_ever_the_package_counts(tree: HwmonTree) -> None:
    card = tree.add("xe", B580, energy1_input=0, energy1_label="card", energy2_label="pkg")
    card.set("energy2_input", 1)
    with counting({card.file("energy2_input"): (PowerCurve(80.0), 0)}):
        meter = IntelGpuMeter.open(_options(tree))
    meter.close()
    counted, shown = meter.domains
    assert (counted.name, counted.counts) == ("intel-gpu-0-pkg", True)
    assert (shown.name, shown.counts) == ("intel-gpu-0", False)
    assert "energy1_input stands still" in str(shown.note)
    assert "energy1_input stands still" in str(counted.note)


def test_cards_none_of_which_ticks_are_no_meter(tree: HwmonTree) -> None:
    tree.add("xe", A770, energy1_input=0)
    with pytest.raises(MeterUnavailable, match="energy1_input stands still"):
        IntelGpuMeter.open(_options(tree))


def test_an_unknown_label_is_shown_and_never_counts(tree: HwmonTree) -> None:
    card = tree.add("xe", A770, energy3_input=0, energy3_label="vram")
    with (
        counting({card.file("energy3_input"): (PowerCurve(20.0), 0)}),
        pytest.raises(MeterUnavailable),
    ):
        IntelGpuMeter.open(_options(tree))


def test_without_a_card_the_drivers_are_named(tree: HwmonTree) -> None:
    with pytest.raises(MeterUnavailable, match="drivers xe and i915"):
        IntelGpuMeter.open(_options(tree))


def test_a_missing_right_is_named_with_its_cure() -> None:
    with readable_by_others() as folder:
        tree = HwmonTree(folder / "sys")
        file = tree.add("xe", A770, energy1_input=0).file("energy1_input")
        file.chmod(0o400)
        with as_nobody(), pytest.raises(MeterUnavailable) as caught:
            IntelGpuMeter.open(_options(tree))
    assert "permission denied; run 'sudo chmod a+r" in str(caught.value)
    assert "energy*_input'" in str(caught.value)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.ENODATA])
def test_a_driver_that_is_busy_for_once_is_asked_again(tree: HwmonTree, number: int) -> None:
    file = tree.add("xe", A770, energy1_input=5).file("energy1_input")
    with counting({file: (PowerCurve(90.0), 0)}), failing(file, number, times=1):
        meter = IntelGpuMeter.open(_options(tree))
    with meter:
        with failing(file, number):
            reading = meter.read()["intel-gpu-0"]
        assert reading.energy_j is None
        assert "energy1_input: " in str(reading.reason)
        assert "estimate" not in str(reading.reason), "it estimates no GPU"
        assert meter.read()["intel-gpu-0"].energy_j is not None


def test_a_card_that_vanishes_is_a_reason_and_counts_again_when_it_is_back(tree: HwmonTree) -> None:
    card = tree.add("xe", A770, energy1_input=5)
    file = card.file("energy1_input")
    with counting({file: (PowerCurve(90.0), 0)}):
        meter = IntelGpuMeter.open(_options(tree))
    with meter:
        file.write_text("")
        file.unlink()
        assert "no such file" in str(meter.read()["intel-gpu-0"].reason)
        card.set("energy1_input", 2_000_000)
        assert meter.read()["intel-gpu-0"].energy_j == 2.0


def _series(*counts_j: float) -> Series:
    """Return what is kept of a card's counter that is read every 0.2 s."""
    series = Series(RANGE_J, 0.01, power_most_w=2000.0)
    for number, count_j in enumerate(counts_j):
        series.append(0.2 * number, 0.2 * number + 0.001, Reading(energy_j=count_j))
    return series


def test_a_register_of_32_bits_that_wraps_loses_nothing() -> None:
    history = _series(RANGE_J - 60.0, RANGE_J - 20.0, 20.0, 60.0).history()
    assert history.energy_j - history.energy_j[0] == pytest.approx([0, 40, 80, 120])
    assert not history.faults


@pytest.mark.parametrize("then_j", [0.5, 150_000.0 + RANGE_J])
def test_a_reset_of_the_chip_is_no_energy(then_j: float) -> None:
    """The driver takes the register's fall for a wrap: the sum jumps by up to 2^18 J."""
    history = _series(150_000.0, 150_040.0, then_j, then_j + 40.0).history()
    assert history.energy_j - history.energy_j[0] == pytest.approx([0, 40, 40, 80])
    (fault,) = history.faults
    assert fault.broken
    assert "reset" in fault.reason or "set anew" in fault.reason


def test_auto_takes_it_beside_the_meter_of_the_cpu(tree: HwmonTree) -> None:
    file = tree.add("xe", A770, energy1_input=5).file("energy1_input")
    with (
        counting({file: (PowerCurve(90.0), 0)}),
        open_meters(["auto"], _options(tree)) as metering,
    ):
        names = [meter.name for meter in metering.meters]
    assert "intel-gpu" in names
    assert "estimate" in names
