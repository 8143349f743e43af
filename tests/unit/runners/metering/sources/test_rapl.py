"""The RAPL meter against simulated powercap trees."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource, total_energy
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.sources.rapl import RaplMeter, find_zones
from tests.fakes.powercap import Powercap, as_nobody, counting, readable_by_others
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


# The kernel answers a read of the first page of a process's memory by EIO.
UNREADABLE = Path("/proc/self/mem")


@pytest.fixture
def tree(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "sys")


@pytest.fixture
def meter(tree: Powercap) -> Iterator[RaplMeter]:
    """Two zones that stand at 5 J and 7 J, once the meter has seen them run."""
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    with tree.running({"intel-rapl:0": PowerCurve(50.0), "intel-rapl:0:0": PowerCurve(5.0)}):
        meter = RaplMeter.open(_options(tree))
    tree.set("intel-rapl:0", 5_000_000)
    tree.set("intel-rapl:0:0", 7_000_000)
    with meter:
        yield meter


def _energies_j(meter: RaplMeter) -> dict[str, float | None]:
    return {name: reading.energy_j for name, reading in meter.read().items()}


def _reason(meter: RaplMeter, domain: str) -> str:
    return str(meter.read()[domain].reason)


def _options(tree: Powercap) -> MeterOptions:
    return MeterOptions(environ=tree.environment())


def test_a_constant_50_w_is_measured_within_half_a_percent(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    curves = {"intel-rapl:0": PowerCurve(50.0)}
    with tree.running(curves), RaplMeter.open(_options(tree)) as meter, Recorder([meter]) as seen:
        t0_s = seen.begin()
        time.sleep(2.0)
        t1_s = seen.end()
        (figure,) = seen.energy(t0_s, t1_s)
    truth_j = 50.0 * (t1_s - t0_s)
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j


def test_wraps_are_counted_while_the_counter_runs(tree: Powercap) -> None:
    # 50 W through a range of 50 J: it wraps every second
    tree.add("intel-rapl:0", "package-0", energy_uj=49_900_000, range_uj=50_000_000)
    curves = {"intel-rapl:0": PowerCurve(50.0)}
    with tree.running(curves), RaplMeter.open(_options(tree)) as meter, Recorder([meter]) as seen:
        t0_s = seen.begin()
        time.sleep(2.5)
        t1_s = seen.end()
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
        t0_s = seen.begin()
        time.sleep(0.3)
        t1_s = seen.end()
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
        assert str(caught.value) == (
            f"cannot read {file}: permission denied; run 'gb doctor --fix-permissions' "
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


def test_counters_stay_open_between_reads_and_are_closed_with_the_meter(
    tree: Powercap, meter: RaplMeter
) -> None:
    def opened() -> list[str]:
        links = list(Path("/proc/self/fd").iterdir())  # one is that of this listing, and has gone
        targets = [str(link.readlink()) for link in links if link.is_symlink()]
        return sorted(target for target in targets if target.startswith(str(tree.root)))

    both = sorted(str(tree.path(zone) / "energy_uj") for zone in ("intel-rapl:0", "intel-rapl:0:0"))
    assert opened() == both
    assert _energies_j(meter) == {"package-0": 5.0, "dram-0": 7.0}
    tree.set("intel-rapl:0", 6_000_000)
    assert _energies_j(meter) == {"package-0": 6.0, "dram-0": 7.0}
    assert opened() == both
    meter.close()
    meter.close()
    assert opened() == []


def test_a_zone_whose_counter_comes_after_the_start_is_measured_from_then_on(
    tree: Powercap,
) -> None:
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "core")
    tree.remove("intel-rapl:0:0")
    with tree.running({"intel-rapl:0": PowerCurve(50.0)}), RaplMeter.open(_options(tree)) as meter:
        assert "no such file" in _reason(meter, "core-0")
        tree.set("intel-rapl:0:0", 3_000_000)
        assert _energies_j(meter)["core-0"] == 3.0


def test_a_zone_that_goes_away_is_missing_until_it_comes_back(
    tree: Powercap, meter: RaplMeter
) -> None:
    tree.remove("intel-rapl:0:0")
    for _ in range(2):
        assert _energies_j(meter) == {"package-0": 5.0, "dram-0": None}
        file = tree.path("intel-rapl:0:0") / "energy_uj"
        assert _reason(meter, "dram-0") == (
            f"cannot read {file}: no such file or directory; pass --meter estimate"
        )
    tree.set("intel-rapl:0:0", 8_000_000)
    assert _energies_j(meter) == {"package-0": 5.0, "dram-0": 8.0}


def test_a_read_error_and_garbage_are_reasons_of_their_zone_alone(
    tree: Powercap, meter: RaplMeter
) -> None:
    file = tree.path("intel-rapl:0:0") / "energy_uj"
    tree.remove("intel-rapl:0:0")
    file.symlink_to(UNREADABLE)
    assert _energies_j(meter) == {"package-0": 5.0, "dram-0": None}
    assert "input/output error" in _reason(meter, "dram-0")
    file.unlink()
    for garbage in ("none\n", "-5\n", "1_0\n", ""):
        file.write_text(garbage)
        assert _energies_j(meter) == {"package-0": 5.0, "dram-0": None}
        assert "it holds no number" in _reason(meter, "dram-0")
    file.write_text("9000000\n")
    assert _energies_j(meter) == {"package-0": 5.0, "dram-0": 9.0}


def test_permission_lost_in_mid_run_is_a_reason_with_the_cure() -> None:
    with readable_by_others() as folder:
        tree = Powercap(folder / "sys")
        file = tree.add("intel-rapl:0", "package-0") / "energy_uj"
        tree.add("intel-rapl:0:0", "dram")
        both = {"intel-rapl:0": PowerCurve(50.0), "intel-rapl:0:0": PowerCurve(5.0)}
        with tree.running(both):
            meter = RaplMeter.open(_options(tree))
        tree.set("intel-rapl:0:0", 7_000_000)
        with meter:
            # a driver that is loaded again: its files are new, and root's alone
            tree.remove("intel-rapl:0")
            tree.set("intel-rapl:0", 1_000_000)
            file.chmod(0o000)
            with as_nobody():
                assert _reason(meter, "package-0") == (
                    f"cannot read {file}: permission denied; run 'gb doctor --fix-permissions' "
                    "or pass --meter estimate"
                )
                assert _energies_j(meter)["dram-0"] == 7.0
            file.chmod(0o444)
            with as_nobody():
                assert _energies_j(meter)["package-0"] == 1.0


@pytest.mark.parametrize("stated", ["262143328850\n", "0\n", "much\n", None])
def test_where_a_counter_wraps_is_known_only_where_the_zone_states_it(
    tree: Powercap, stated: str | None
) -> None:
    path = tree.add("intel-rapl:0", "package-0", range_uj=None)
    if stated is not None:
        (path / "max_energy_range_uj").write_text(stated)
    (zone,) = find_zones(tree.sysfs)
    assert zone.range_j == (pytest.approx(262143.32885) if stated == "262143328850\n" else None)


def test_a_range_that_may_not_be_read_leaves_the_zone_readable() -> None:
    with readable_by_others() as folder:
        tree = Powercap(folder / "sys")
        (tree.add("intel-rapl:0", "package-0") / "max_energy_range_uj").chmod(0o000)
        with (
            tree.running({"intel-rapl:0": PowerCurve(50.0)}),
            as_nobody(),
            RaplMeter.open(_options(tree)) as meter,
        ):
            assert meter.domains[0].range_j is None
            assert _energies_j(meter)["package-0"] is not None


@pytest.mark.parametrize(
    ("content", "words"),
    [("0", "stands still"), ("777000000", "stands still"), ("", "it holds no number")],
)
def test_memory_that_does_not_count_when_the_meter_is_opened_is_left_out_with_a_note(
    tree: Powercap, content: str, words: str
) -> None:
    tree.add("intel-rapl:0", "package-0")
    file = tree.add("intel-rapl:0:0", "dram") / "energy_uj"
    file.write_text(content)
    with (
        tree.running({"intel-rapl:0": PowerCurve(50.0)}),
        RaplMeter.open(_options(tree)) as meter,
        Recorder([meter]) as recorder,
    ):
        notes = {domain.name: domain.note for domain in meter.domains}
        start_s = recorder.begin()
        recorder.settle(start_s + 0.5, 2.0)
        end_s = recorder.end()
        figures = {figure.domain: figure for figure in recorder.energy(start_s, end_s)}
    dram, total = figures["dram-0"], total_energy(figures.values())
    assert (dram.source, dram.energy_j, dram.counts) == (EnergySource.MISSING, None, False)
    assert words in str(dram.reason)
    assert "the total leaves dram-0 out" in str(notes["dram-0"])
    assert total.energy_j == pytest.approx(50.0 * (end_s - start_s), rel=5e-3)


def test_memory_that_ticks_slowly_counts(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    slow = {tree.path("intel-rapl:0:0") / "energy_uj": (PowerCurve(5.0), 0)}
    with (
        tree.running({"intel-rapl:0": PowerCurve(50.0)}),
        counting(slow, tick_s=0.4),
        RaplMeter.open(_options(tree)) as meter,
    ):
        assert [domain.counts for domain in meter.domains] == [True, True]


def test_memory_that_fails_in_mid_run_takes_the_total_away(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    both = {"intel-rapl:0": PowerCurve(50.0), "intel-rapl:0:0": PowerCurve(5.0)}
    with (
        tree.running(both),
        RaplMeter.open(_options(tree)) as meter,
        Recorder([meter]) as recorder,
    ):
        start_s = recorder.begin()
        tree.remove("intel-rapl:0:0")
        recorder.settle(start_s + 0.8, 2.0)
        end_s = recorder.end()
        total = total_energy(recorder.energy(start_s, end_s))
    assert total.energy_j is None
    assert "dram-0" in str(total.reason)


def test_dies_that_show_one_counter_are_counted_once(tree: Powercap) -> None:
    tree.add("intel-rapl:0", "package-0-die-0", energy_uj=1_000_000)
    tree.add("intel-rapl:1", "package-0-die-1", energy_uj=1_000_000)
    tree.add("intel-rapl:0:0", "dram", energy_uj=50)
    tree.add("intel-rapl:1:0", "dram", energy_uj=70)
    curves = {"intel-rapl:0": PowerCurve(68.0), "intel-rapl:0:0": PowerCurve(5.0)}
    mirrors = {"intel-rapl:1": "intel-rapl:0", "intel-rapl:1:0": "intel-rapl:0:0"}
    with (
        tree.running(curves, tick_s=0.001, mirrors=mirrors),
        RaplMeter.open(_options(tree)) as meter,
        Recorder([meter]) as recorder,
    ):
        notes = {domain.name: domain.note for domain in meter.domains}
        start_s = recorder.begin()
        recorder.settle(start_s + 0.5, 2.0)
        end_s = recorder.end()
        figures = recorder.energy(start_s, end_s)
    counted = [figure.domain for figure in figures if figure.counts]
    assert counted == ["dram-0-die-0", "package-0-die-0"]
    truth_j = 73.0 * (end_s - start_s)
    assert total_energy(figures).energy_j == pytest.approx(truth_j, rel=5e-3)
    assert notes["package-0-die-1"] == (
        "it shows the counter of package-0-die-0 once more, and is not added"
    )


@pytest.mark.parametrize("second_w", [68.0, 67.0])
def test_dies_of_their_own_are_both_counted_however_alike(tree: Powercap, second_w: float) -> None:
    tree.add("intel-rapl:0", "package-0-die-0", energy_uj=1_000_000)
    tree.add("intel-rapl:1", "package-0-die-1", energy_uj=1_000_000)
    curves = {"intel-rapl:0": PowerCurve(68.0), "intel-rapl:1": PowerCurve(second_w)}
    with tree.running(curves, tick_s=0.001), RaplMeter.open(_options(tree)) as meter:
        assert [domain.counts for domain in meter.domains] == [True, True]
