"""Neural processors: found, so that their energy is missing with a reason.

Documentation/accel in the kernel tree: an accelerator is a device below ``/sys/class/accel``. None
of the drivers in the kernel gives an NPU's energy by itself. Intel's (``intel_vpu``) shows busy
time, frequency and memory (Documentation/ABI/testing/sysfs-driver-intel_vpu); no RAPL domain is
the NPU's alone (github.com/intel/pcm, issue 944). AMD's (``amdxdna``) answers for the power of some
chips to its own ioctl, and with 2^32 - 1 on others (github.com/amd/xdna-driver, issue 713).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering.meter import EnergyMeter, MeterOptions, Reading

_DRIVERS = {
    "intel_vpu": "Intel NPU",
    "amdxdna": "AMD NPU",
    "rocket": "Rockchip NPU",
    "ethosu": "Arm Ethos-U NPU",
}


class NpuMeter(EnergyMeter):
    """A meter that no machine has yet: `open` gives the reason."""

    name = "npu"

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Look for an NPU.

        Raises:
            MeterUnavailable: Always: there is none, or its driver gives no energy.
        """
        folder = options.sysfs / "class" / "accel"
        found = [_described(device) for device in sorted(folder.glob("accel*"))]
        if not found:
            raise MeterUnavailable(f"no NPU under {folder}")
        raise MeterUnavailable(
            f"{', '.join(found)}: its driver gives no energy of the NPU by itself; a meter of the "
            "package that it lies in, or a wall plug, shows it together with the rest"
        )

    def read(self) -> Mapping[str, Reading]:
        """Read nothing: there are no domains."""
        return {}


def _described(device: Path) -> str:
    link = device / "device" / "driver"
    driver = link.resolve().name if link.is_symlink() else "not known"
    return f"{device.name}, {_DRIVERS.get(driver, 'an accelerator')} (driver {driver})"
