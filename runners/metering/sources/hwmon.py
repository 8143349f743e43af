"""CPU packages through hwmon's energy counters, as the driver ``amd_energy`` shows them.

Documentation/hwmon/amd_energy in the kernel tree (5.8 to 5.12; kept outside it since): a device
whose ``name`` is ``amd_energy``, with ``energyN_input`` (a 64-bit sum in µJ that the driver keeps
from the hardware's RAPL registers) and ``energyN_label``: ``Esocket0`` for a socket, ``Ecore000``
for a core, which lies in a socket and is left out. The driver ``zenergy``
(github.com/BoukeHaarsma23/zenergy), which lives on outside the kernel tree, has the same files.
"""

import re
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Domain, MeterOptions
from greenbatch.runners.metering.sources.counters import (
    RAPL_TICK_S,
    CounterFile,
    CounterMeter,
    Part,
)

_DRIVERS = ("amd_energy", "zenergy")
_SOCKET = re.compile(r"Esocket(\d+)")


class HwmonMeter(CounterMeter):
    """Reads the energy of each socket; made by `open`."""

    name = "hwmon"

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Find the sockets below ``$GB_SYSFS`` (default ``/sys``) and how often they tick.

        Raises:
            MeterUnavailable: There is none, or one cannot be read or stands still.
        """
        root = options.sysfs / "class" / "hwmon"
        inputs: dict[int, Path] = {}
        for label in sorted(root.glob("hwmon*/energy*_label")):
            socket = _SOCKET.fullmatch(_text(label))
            if socket and _text(label.parent / "name") in _DRIVERS:
                energy_file = label.with_name(label.name.replace("_label", "_input"))
                inputs.setdefault(int(socket[1]), energy_file)
        if not inputs:
            raise MeterUnavailable(
                f"no socket of a device {_DRIVERS[0]} under {root}; on an AMD EPYC load its driver "
                f"by 'sudo modprobe {_DRIVERS[0]}', or pass --meter estimate"
            )
        return cls._probed([_part(n, inputs[n]) for n in sorted(inputs)], options.clock)


def _part(socket: int, energy_file: Path) -> Part:
    domain = Domain(
        name=f"package-{socket}",
        source=EnergySource.COUNTER,
        tick_s=RAPL_TICK_S,
        part="cpu",
        device=str(energy_file),
    )
    every = energy_file.parent / "energy*_input"
    return domain, CounterFile(energy_file, f"run 'sudo chmod a+r {every}'")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
