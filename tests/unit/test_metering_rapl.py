"""The RAPL meter against simulated powercap trees."""

import re
import time
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.rapl import RaplMeter, find_zones
from tests.fakes.powercap import Powercap, as_nobody, readable_by_others
from tests.fakes.powercap_curve import PowerCurve


@pytest.fixture
def tree(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "sys")


def _options(tree: Powercap) -> MeterOptions:
    return MeterOptions(environ=tree.environment())


def test_a_constant_50_w_is_measured_within_half_a_percent(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    curves = {"intel-rapl:0": PowerCurve(50.0)}
    with tree.running(curves), RaplMeter.open(_options(tree)) as meter, Recorder([meter]) as seen:
        time.sleep(0.1)
        t0_s = time.perf_counter()
        time.sleep(2.0)
        t1_s = time.perf_counter()
        seen.settle(t1_s)
        (figure,) = seen.energy(t0_s, t1_s)
    truth_j = 50.0 * (t1_s - t0_s)
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j


def test_wraps_are_counted_while_the_counter_runs(tree: Powercap) -> None:
    # 50 W through a range of 8 J: it wraps every 160 ms
    tree.add("intel-rapl:0", "package-0", energy_uj=7_900_000, range_uj=8_000_000)
    curves = {"intel-rapl:0": PowerCurve(50.0)}
    with tree.running(curves), RaplMeter.open(_options(tree)) as meter, Recorder([meter]) as seen:
        time.sleep(0.1)
        t0_s = time.perf_counter()
        time.sleep(1.0)
        t1_s = time.perf_counter()
        seen.settle(t1_s)
        (figure,) = seen.energy(t0_s, t1_s)
    assert figure.energy_j == pytest.approx(50.0 * (t1_s - t0_s), rel=0.03)


def test_zones_are_known_by_name_and_only_separate_energy_counts(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-1")
    tree.add("intel-rapl:0:0", "core")
    tree.add("intel-rapl:0:1", "dram")
    tree.add("intel-rapl:1", "psys")
    tree.add("intel-rapl:2", "package-0-die-1")
    tree.add("intel-rapl:2:0", "uncore")
    tree.add("intel-rapl:2:1", "dram")
    tree.add("intel-rapl-mmio:0", "package-1")
    counts = {zone.domain: zone.counts for zone in find_zones(tree.sysfs)}
    assert counts == {
        "package-1": True,
        "dram-1": True,
        "package-0-die-1": True,
        "dram-0-die-1": True,
        "core-1": False,
        "uncore-0-die-1": False,
        "psys": False,
    }
    paths = {zone.domain: zone.path.name for zone in find_zones(tree.sysfs)}
    assert paths["package-1"] == "intel-rapl:0", "the MMIO twin was taken"


def test_the_kernels_flat_links_do_not_double_a_zone(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    nested = tree.add("intel-rapl:0:0", "dram")
    (tree.root / "intel-rapl:0:0").symlink_to(nested)
    (tree.root / "intel-rapl").mkdir()
    assert [zone.domain for zone in find_zones(tree.sysfs)] == ["dram-0", "package-0"]


def test_an_mmio_zone_alone_is_read(tree: Powercap) -> None:
    tree.add("intel-rapl-mmio:0", "package-0")
    assert [zone.domain for zone in find_zones(tree.sysfs)] == ["package-0"]


def test_psys_is_measured_but_does_not_count(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:1", "psys")
    curves = {"intel-rapl:0": PowerCurve(50.0), "intel-rapl:1": PowerCurve(90.0)}
    with tree.running(curves), RaplMeter.open(_options(tree)) as meter, Recorder([meter]) as seen:
        time.sleep(0.1)
        t0_s = time.perf_counter()
        time.sleep(0.3)
        t1_s = time.perf_counter()
        seen.settle(t1_s)
        figures = {figure.domain: figure for figure in seen.energy(t0_s, t1_s)}
    assert figures["package-0"].counts
    assert not figures["psys"].counts
    assert figures["psys"].power_mean_w == pytest.approx(90.0, rel=0.1)


def test_permission_denied_says_which_file_and_what_to_do() -> None:
    with readable_by_others() as folder:
        tree = Powercap(folder / "sys")
        file = tree.add("intel-rapl:0", "package-0") / "energy_uj"
        file.chmod(0o400 if Path(file).owner() == "root" else 0o000)
        with as_nobody(), pytest.raises(MeterUnavailable) as caught:
            RaplMeter.open(_options(tree))
        every = tree.root / "*" / "energy_uj"
        assert str(caught.value) == (
            f"cannot read {file}: permission denied; run 'sudo chmod a+r {every}' "
            "or pass --meter estimate"
        )
        import pynvml  # noqa: F401  # while it can still be read

        with as_nobody(), open_meters(["auto"], _options(tree)) as metering:
            assert "permission denied" in metering.absent["rapl"]
            assert "estimate" in [meter.name for meter in metering.meters]


def test_a_zone_that_does_not_count_may_be_unreadable_and_is_missing(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    (tree.add("intel-rapl:0:0", "core") / "energy_uj").write_text("none\n")
    with tree.running({"intel-rapl:0": PowerCurve(50.0)}), RaplMeter.open(_options(tree)) as meter:
        readings = meter.read()
    assert readings["package-0"].energy_j is not None
    assert "it holds no number" in str(readings["core-0"].reason)


def test_no_zone_and_a_counter_that_stands_still_are_unavailable(tree: Powercap) -> None:
    with pytest.raises(MeterUnavailable, match=re.escape(f"no RAPL package under {tree.root}")):
        RaplMeter.open(_options(tree))
    tree.add("intel-rapl:0", "package-0", energy_uj=5)
    with pytest.raises(MeterUnavailable, match="stands still"):
        RaplMeter.open(_options(tree))
