"""What counts in powercap trees as real machines have them, and that the total is right."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions
from greenbatch.runners.metering.sources.rapl import RaplMeter, find_zones
from tests.fakes.powercap import Layout, Powercap
from tests.fakes.powercap_curve import PowerCurve

SECONDS = 10


@dataclass(frozen=True)
class Machine:
    """A machine's zones: ``name`` and power in W by path; and what is right, put down by hand."""

    zones: dict[str, tuple[str, int]]
    counted: dict[str, str]
    total_w: int
    shown: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


MACHINES = {
    # Intel laptop, Tiger Lake: psys beside the package, whose MMIO interface is a second door to it
    "client laptop": Machine(
        zones={
            "intel-rapl:0": ("package-0", 15),
            "intel-rapl:0:0": ("core", 9),
            "intel-rapl:0:1": ("uncore", 2),
            "intel-rapl:1": ("psys", 28),
            "intel-rapl-mmio:0": ("package-0", 15),
        },
        counted={"package-0": "intel-rapl:0"},
        shown={"core-0": "intel-rapl:0:0", "uncore-0": "intel-rapl:0:1", "psys": "intel-rapl:1"},
        total_w=15,
        parts={"psys": "machine", "uncore-0": "cpu"},
    ),
    # Intel desktop, Haswell: the memory has a counter of its own, the platform has none
    "desktop without psys": Machine(
        zones={
            "intel-rapl:0": ("package-0", 65),
            "intel-rapl:0:0": ("core", 50),
            "intel-rapl:0:1": ("uncore", 3),
            "intel-rapl:0:2": ("dram", 4),
        },
        counted={"package-0": "intel-rapl:0", "dram-0": "intel-rapl:0:2"},
        shown={"core-0": "intel-rapl:0:0", "uncore-0": "intel-rapl:0:1"},
        total_w=69,
        parts={"dram-0": "memory"},
    ),
    # Intel server with one socket, Skylake-SP
    "server with one socket": Machine(
        zones={"intel-rapl:0": ("package-0", 120), "intel-rapl:0:0": ("dram", 18)},
        counted={"package-0": "intel-rapl:0", "dram-0": "intel-rapl:0:0"},
        total_w=138,
    ),
    # Intel server with two sockets, Broadwell-EP, where the second came first
    "two sockets, numbered the other way": Machine(
        zones={
            "intel-rapl:0": ("package-1", 140),
            "intel-rapl:0:0": ("dram", 21),
            "intel-rapl:1": ("package-0", 110),
            "intel-rapl:1:0": ("dram", 17),
        },
        counted={
            "package-0": "intel-rapl:1",
            "dram-0": "intel-rapl:1:0",
            "package-1": "intel-rapl:0",
            "dram-1": "intel-rapl:0:0",
        },
        total_w=288,
    ),
    # Intel Xeon Platinum 9242, Cascade Lake-AP: two dies in each package
    "two dies in a package": Machine(
        zones={
            "intel-rapl:0": ("package-0-die-0", 100),
            "intel-rapl:0:0": ("dram", 11),
            "intel-rapl:1": ("package-0-die-1", 90),
            "intel-rapl:1:0": ("dram", 9),
        },
        counted={
            "package-0-die-0": "intel-rapl:0",
            "dram-0-die-0": "intel-rapl:0:0",
            "package-0-die-1": "intel-rapl:1",
            "dram-0-die-1": "intel-rapl:1:0",
        },
        total_w=210,
    ),
    # AMD EPYC server with two sockets, Zen 2 and later: the same driver, cores below, no memory
    "two AMD sockets": Machine(
        zones={
            "intel-rapl:0": ("package-0", 155),
            "intel-rapl:0:0": ("core", 60),
            "intel-rapl:1": ("package-1", 145),
            "intel-rapl:1:0": ("core", 55),
        },
        counted={"package-0": "intel-rapl:0", "package-1": "intel-rapl:1"},
        shown={"core-0": "intel-rapl:0:0", "core-1": "intel-rapl:1:0"},
        total_w=300,
    ),
    # AMD Ryzen desktop, Zen 3
    "AMD desktop": Machine(
        zones={"intel-rapl:0": ("package-0", 88), "intel-rapl:0:0": ("core", 61)},
        counted={"package-0": "intel-rapl:0"},
        shown={"core-0": "intel-rapl:0:0"},
        total_w=88,
    ),
    # Intel laptop whose platform zone came up before the package
    "psys first": Machine(
        zones={
            "intel-rapl:0": ("psys", 31),
            "intel-rapl:1": ("package-0", 12),
            "intel-rapl:1:0": ("core", 7),
            "intel-rapl:1:1": ("uncore", 1),
        },
        counted={"package-0": "intel-rapl:1"},
        shown={"psys": "intel-rapl:0", "core-0": "intel-rapl:1:0", "uncore-0": "intel-rapl:1:1"},
        total_w=12,
    ),
    # Intel server with two sockets, Sapphire Rapids: a platform zone for each, between the packages
    "psys between the packages": Machine(
        zones={
            "intel-rapl:0": ("package-0", 200),
            "intel-rapl:0:0": ("dram", 25),
            "intel-rapl:1": ("psys", 420),
            "intel-rapl:2": ("package-1", 190),
            "intel-rapl:2:0": ("dram", 23),
            "intel-rapl:3": ("psys-1", 400),
        },
        counted={
            "package-0": "intel-rapl:0",
            "dram-0": "intel-rapl:0:0",
            "package-1": "intel-rapl:2",
            "dram-1": "intel-rapl:2:0",
        },
        shown={"psys": "intel-rapl:1", "psys-1": "intel-rapl:3"},
        total_w=438,
        parts={"psys": "machine", "psys-1": "machine"},
    ),
    # Intel tablet whose firmware locks the MSRs: only the MMIO interface is there
    "MMIO alone": Machine(
        zones={"intel-rapl-mmio:0": ("package-0", 6), "intel-rapl-mmio:0:0": ("uncore", 1)},
        counted={"package-0": "intel-rapl-mmio:0"},
        shown={"uncore-0": "intel-rapl-mmio:0:0"},
        total_w=6,
    ),
}


def _tree(sysfs: Path, machine: Machine, layout: Layout) -> Powercap:
    tree = Powercap(sysfs, layout)
    for zone, (name, _) in machine.zones.items():
        tree.add(zone, name)
    return tree


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
def test_the_total_is_that_of_the_packages_and_the_memory(machine: Machine, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "sys", machine, "kernel")
    curves = {zone: PowerCurve(float(power_w)) for zone, (_, power_w) in machine.zones.items()}
    with tree.running(curves):
        meter = RaplMeter.open(MeterOptions(environ=tree.environment()))
    with meter:
        for zone in machine.zones:
            tree.set(zone, 1_000_000)
        before = meter.read()
        for zone, (_, power_w) in machine.zones.items():
            tree.set(zone, 1_000_000 + power_w * SECONDS * 1_000_000)
        after = meter.read()
    energy_j = {
        domain.name: (after[domain.name].energy_j or 0.0) - (before[domain.name].energy_j or 0.0)
        for domain in meter.domains
    }
    for domain, zone in (machine.counted | machine.shown).items():
        assert energy_j[domain] == machine.zones[zone][1] * SECONDS, domain
    total_j = sum(energy_j[domain.name] for domain in meter.domains if domain.counts)
    assert total_j == machine.total_w * SECONDS
    assert {domain.source for domain in meter.domains} == {EnergySource.COUNTER}


@pytest.mark.parametrize("layout", ["kernel", "flat", "nested", "plain"])
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
def test_zones_are_found_by_name_however_they_are_reached(
    machine: Machine, layout: Layout, tmp_path: Path
) -> None:
    zones = find_zones(_tree(tmp_path / "sys", machine, layout).sysfs)
    counted = {zone.domain: zone.path.name for zone in zones if zone.counts}
    shown = {zone.domain: zone.path.name for zone in zones if not zone.counts}
    assert (counted, shown) == (machine.counted, machine.shown)
    parts = {zone.domain: zone.part for zone in zones}
    assert {name: parts[name] for name in machine.parts} == machine.parts
