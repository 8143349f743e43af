"""A simulated PMU of energy events: what sysfs states of it, and the counts behind.

pmu = PowerPmu(tmp_path / "sys", {0: (0, 0), 28: (1, 0)})       # CPU: its package and die
pmu.add("energy-pkg", 2, steps_j={0: 3.0, 28: 5.0})             # each read finds so much more
with pmu.installed():
    PerfMeter.open(...)
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from greenbatch.runners.metering.sources import perf_events

SCALE = "2.3283064365386962890625e-10"  # 2^-32, as the kernel writes it
TYPE = 18


class PowerPmu:
    """Writes the PMU's files, and answers in the place of the kernel.

    Attributes:
        refused: The error number that opening an event, or reading it, meets; by the event's
            number and CPU.
        opened: How many events are open.
    """

    def __init__(self, sysfs: Path, places: Mapping[int, tuple[int, int]]) -> None:
        self.sysfs = sysfs
        self.root = sysfs / "bus" / "event_source" / "devices" / "power"
        (self.root / "events").mkdir(parents=True)
        (self.root / "type").write_text(f"{TYPE}\n")
        (self.root / "cpumask").write_text(",".join(map(str, places)) + "\n")
        for cpu, (package, die) in places.items():
            topology = sysfs / f"devices/system/cpu/cpu{cpu}/topology"
            topology.mkdir(parents=True)
            (topology / "physical_package_id").write_text(f"{package}\n")
            (topology / "die_id").write_text(f"{die}\n")
        self.refused: dict[tuple[int, int], int] = {}
        self.opened = 0
        self._steps_j: dict[tuple[int, int], float] = {}

    def environment(self) -> dict[str, str]:
        """Return the variable that makes a process see this PMU."""
        return {"GB_SYSFS": str(self.sysfs)}

    def add(
        self,
        event: str,
        number: int,
        steps_j: Mapping[int, float],
        unit: str = "Joules",
        scale: str = SCALE,
    ) -> None:
        """Add an event; on each CPU every read finds it larger by a step."""
        file = self.root / "events" / event
        file.write_text(f"event=0x{number:02x}\n")
        file.with_name(f"{event}.unit").write_text(f"{unit}\n")
        file.with_name(f"{event}.scale").write_text(f"{scale}\n")
        self._steps_j |= {(number, cpu): step_j for cpu, step_j in steps_j.items()}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Answer for the kernel."""
        machine = self

        class Event:
            def __init__(self, pmu: int, config: int, cpu: int) -> None:
                assert pmu == TYPE
                self._key = (config, cpu)
                self._count = 0
                machine.check(self._key)
                machine.opened += 1

            def count(self) -> int:
                machine.check(self._key)
                self._count += int(machine._steps_j[self._key] / float(SCALE))
                return self._count

            def close(self) -> None:
                machine.opened -= 1

        with mock.patch.object(perf_events, "PerfEvent", Event):
            yield

    def check(self, key: tuple[int, int]) -> None:
        """Refuse an event as it is set."""
        if code := self.refused.get(key):
            raise OSError(code, os.strerror(code))
