"""A meter for the supply of a laptop, as Linux shows it below /sys/class/power_supply."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import Domain, EnergyMeter, MeterOptions, Reading


class SupplyMeter(EnergyMeter):
    """Reads the power of the supply that `--meter supply:NAME` names."""

    name = "supply"
    interval_s = 0.05

    def __init__(self, file: Path) -> None:
        self._file = file
        self.domains = (
            Domain(name="supply", source=EnergySource.INTEGRATED, tick_s=0.1, part="machine"),
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        name = options.argument or "BAT0"
        file = options.sysfs / "class" / "power_supply" / name / "power_now"
        if not file.is_file():
            raise MeterUnavailable(f"no supply at {file}; name it, as in --meter supply:BAT1")
        return cls(file)

    def read(self) -> Mapping[str, Reading]:
        try:
            return {"supply": Reading(power_w=int(self._file.read_text()) * 1e-6)}
        except (OSError, ValueError) as error:
            return {"supply": Reading(reason=f"cannot read {self._file}: {error}")}
