"""The meter of the kernel's energy events: against a simulated PMU, and the real system call."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, open_meters
from greenbatch.runners.metering.sources.perf_events import PerfEvent, PerfMeter
from tests.fakes.power_pmu import PowerPmu

pytestmark = pytest.mark.alone


PKG, RAM, CORES, GPU, PSYS = 2, 3, 1, 4, 5
CPU_CLOCK = (1, 0)  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK: counts ns on a CPU


@pytest.fixture
def pmu(tmp_path: Path) -> Iterator[PowerPmu]:
    pmu = PowerPmu(tmp_path / "sys", {0: (0, 0)})
    with pmu.installed():
        yield pmu
    assert pmu.opened == 0, "events were left open"


def _options(pmu: PowerPmu) -> MeterOptions:
    return MeterOptions(environ=pmu.environment())


def _energy_j(meter: PerfMeter) -> dict[str, float]:
    """Return by how much each domain rises from one read to the next."""
    before, after = meter.read(), meter.read()
    return {
        name: (reading.energy_j or 0.0) - (before[name].energy_j or 0.0)
        for name, reading in after.items()
    }


def test_every_event_is_a_domain_with_powercaps_name(pmu: PowerPmu) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    pmu.add("energy-ram", RAM, {0: 3.5})
    pmu.add("energy-cores", CORES, {0: 9.0})
    pmu.add("energy-gpu", GPU, {0: 2.0})
    pmu.add("energy-psys", PSYS, {0: 28.0})
    with PerfMeter.open(_options(pmu)) as meter:
        assert [(d.name, d.part, d.counts) for d in meter.domains] == [
            ("dram-0", "memory", True),
            ("package-0", "cpu", True),
            ("core-0", "cpu", False),
            ("psys", "machine", False),
            ("uncore-0", "cpu", False),
        ]
        assert {(d.source, d.range_j) for d in meter.domains} == {(EnergySource.COUNTER, None)}
        assert _energy_j(meter) == {
            "package-0": 15.0,
            "dram-0": 3.5,
            "core-0": 9.0,
            "psys": 28.0,
            "uncore-0": 2.0,
        }


def test_packages_are_numbered_as_the_topology_says(tmp_path: Path) -> None:
    pmu = PowerPmu(tmp_path / "sys", {0: (1, 0), 28: (0, 0)})
    pmu.add("energy-pkg", PKG, {0: 5.0, 28: 7.0})
    pmu.add("energy-psys", PSYS, {0: 9.0, 28: 11.0})
    with pmu.installed(), PerfMeter.open(_options(pmu)) as meter:
        energy_j = _energy_j(meter)
    assert energy_j == {"package-1": 5.0, "package-0": 7.0, "psys-1": 9.0, "psys-0": 11.0}


def test_dies_are_told_apart_where_a_package_has_several(tmp_path: Path) -> None:
    pmu = PowerPmu(tmp_path / "sys", {0: (0, 0), 1: (0, 1), 2: (0, 2), 9: (1, 0)})
    (pmu.root / "cpumask").write_text("0-2,9\n")
    pmu.add("energy-pkg", PKG, {0: 1.0, 1: 2.0, 2: 4.0, 9: 8.0})
    with pmu.installed(), PerfMeter.open(_options(pmu)) as meter:
        energy_j = _energy_j(meter)
    assert energy_j == {
        "package-0-die-0": 1.0,
        "package-0-die-1": 2.0,
        "package-0-die-2": 4.0,
        "package-1": 8.0,
    }


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_permission_denied_says_which_event_and_what_to_do(pmu: PowerPmu, code: int) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    pmu.refused[PKG, 0] = code
    with pytest.raises(MeterUnavailable) as caught:
        PerfMeter.open(_options(pmu))
    cause = "permission denied" if code == errno.EACCES else "operation not permitted"
    assert str(caught.value) == (
        f"cannot read perf event power/energy-pkg/ on CPU 0: {cause}; run 'sudo sysctl "
        "kernel.perf_event_paranoid=0' or pass --meter estimate"
    )


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENODEV])
def test_an_event_that_the_kernel_does_not_have_is_missing_or_fatal_if_it_counts(
    pmu: PowerPmu, code: int
) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    pmu.add("energy-gpu", GPU, {0: 2.0})
    pmu.refused[GPU, 0] = code
    with PerfMeter.open(_options(pmu)) as meter:
        assert meter.read()["package-0"].energy_j
        assert "CPU 0: no such" in str(meter.read()["uncore-0"].reason)
    pmu.refused[PKG, 0] = code
    with pytest.raises(MeterUnavailable, match="energy-pkg/ on CPU 0: no such"):
        PerfMeter.open(_options(pmu))


def test_an_event_that_fails_in_mid_run_is_a_reason_and_comes_back(pmu: PowerPmu) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    pmu.add("energy-ram", RAM, {0: 3.5})
    with PerfMeter.open(_options(pmu)) as meter:
        pmu.refused[RAM, 0] = errno.ENODEV
        readings = meter.read()
        assert "power/energy-ram/ on CPU 0: no such device" in str(readings["dram-0"].reason)
        assert readings["package-0"].energy_j
        del pmu.refused[RAM, 0]
        assert meter.read()["dram-0"].energy_j == 3.5, "it starts at 0 again"


def test_a_counter_that_stands_still_is_unavailable(pmu: PowerPmu) -> None:
    pmu.add("energy-pkg", PKG, {0: 0.0})
    with pytest.raises(MeterUnavailable, match="energy-pkg/ on CPU 0 stands still"):
        PerfMeter.open(_options(pmu))


def test_no_pmu_and_no_event_that_counts_are_unavailable(pmu: PowerPmu, tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailable, match="sudo modprobe rapl"):
        PerfMeter.open(MeterOptions(environ={"GB_SYSFS": str(tmp_path / "none")}))
    pmu.add("energy-cores", CORES, {0: 9.0})
    with pytest.raises(MeterUnavailable, match="neither energy-pkg nor energy-ram"):
        PerfMeter.open(_options(pmu))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("cpumask", "all\n", "'all'"),
        ("type", "", "''"),
        ("events/energy-pkg", "umask=0x2\n", "wanted event=0x"),
        ("events/energy-pkg.unit", "Watts\n", "'Watts', wanted Joules"),
        ("events/energy-pkg.scale", None, "No such file"),
        ("../../../../devices/system/cpu/cpu0/topology/physical_package_id", None, "No such file"),
    ],
)
def test_what_cannot_be_understood_is_said(
    pmu: PowerPmu, file: str, text: str | None, said: str
) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    if text is None:
        (pmu.root / file).unlink()
    else:
        (pmu.root / file).write_text(text)
    with pytest.raises(MeterUnavailable, match="cannot understand the energy events") as caught:
        PerfMeter.open(_options(pmu))
    assert said in str(caught.value)


def test_auto_takes_it_where_powercap_is_closed(pmu: PowerPmu) -> None:
    pmu.add("energy-pkg", PKG, {0: 15.0})
    with open_meters(["auto"], _options(pmu)) as metering:
        assert "perf" in [meter.name for meter in metering.meters]
        assert "no RAPL package" in metering.absent["rapl"]
        assert "perf reads the CPU" in metering.absent["hwmon"]


def _kernel_refuses() -> str | None:
    try:
        PerfEvent(*CPU_CLOCK, cpu=0).close()
    except PermissionError as error:
        return f"the kernel refuses perf events: {error}"
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return f"the kernel has no perf events: {error}"
    return None


def test_the_kernel_counts_a_clock_as_1_w(tmp_path: Path) -> None:
    if refusal := _kernel_refuses():
        pytest.skip(refusal)
    pmu = PowerPmu(tmp_path / "sys", {0: (0, 0)})
    pmu.add("energy-pkg", CPU_CLOCK[1], {}, scale="1e-9")
    (pmu.root / "type").write_text(f"{CPU_CLOCK[0]}\n")
    with PerfMeter.open(_options(pmu)) as meter:
        instants_s, energy_j = [], []
        for _ in range(2):
            instants_s.append(time.perf_counter())
            energy_j.append(meter.read()["package-0"].energy_j)
            instants_s.append(time.perf_counter())
            time.sleep(0.2)
    first_j, last_j = energy_j
    assert first_j is not None
    assert last_j is not None
    within_s, around_s = instants_s[2] - instants_s[1], instants_s[3] - instants_s[0]
    assert within_s * 0.999 <= last_j - first_j <= around_s * 1.001  # two clocks' rates


def test_the_kernel_has_no_such_pmu_and_no_such_cpu() -> None:
    if refusal := _kernel_refuses():
        pytest.skip(refusal)
    with pytest.raises(FileNotFoundError):
        PerfEvent(2**31 - 1, 0, cpu=0)
    with pytest.raises(OSError, match=r"Invalid argument|No such device"):
        PerfEvent(*CPU_CLOCK, cpu=100_000)
