"""Devices below ``/sys/class/hwmon``: which driver each is of, and where its files are.

Documentation/hwmon/sysfs-interface.rst in the kernel tree. The number in ``hwmonN`` follows the
order in which drivers were loaded, so a device is known by what it belongs to: a PCI address, an
ACPI name.
"""

import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_Value = TypeVar("_Value")

_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NUMBERS = re.compile(r"(\d+)")
_PASSING = (errno.EAGAIN, errno.EBUSY, errno.ENODATA, errno.ETIMEDOUT, errno.EINTR)
_TRIES, _PAUSE_S = 3, 0.02


@dataclass(frozen=True, slots=True)
class HwmonDevice:
    """A device.

    Attributes:
        name: Its driver's name for it.
        folder: ``hwmonN``, or the ``device`` in it where the driver keeps its files there.
        owner: What it belongs to: the name of the device behind it, such as ``ACPI000D:01``;
            ``hwmonN`` where no link leads to one.
        pci: Its PCI address; ``None`` where it has none.
    """

    name: str
    folder: Path
    owner: str
    pci: str | None


def find_devices(sysfs: Path, *names: str) -> list[HwmonDevice]:
    """List the devices whose driver calls them so, by owner.

    Args:
        sysfs: Root of sysfs.
        names: Names of devices; each is a regular expression that must match the whole name.
    """
    found = []
    for chip in (sysfs / "class" / "hwmon").glob("hwmon*"):
        inner = chip / "device"
        name = text_of(chip / "name") or text_of(inner / "name") or ""
        if not any(re.fullmatch(pattern, name) for pattern in names):
            continue
        real = inner.resolve() if inner.is_symlink() else chip.resolve()
        pci = _PCI.findall(str(real))
        owner = inner.resolve().name if inner.is_symlink() else chip.name
        outside = any(any(chip.glob(files)) for files in ("energy[0-9]*", "power[0-9]*"))
        folder = chip if outside else inner
        found.append(HwmonDevice(name, folder, owner, pci[-1] if pci else None))
    return sorted(found, key=lambda device: (in_order(device.owner), str(device.folder)))


def in_order(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: ``hwmon10`` after ``hwmon9``."""
    parts = _NUMBERS.split(name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def text_of(path: Path) -> str | None:
    """Return what a file holds, stripped; ``None`` where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def first_value(read: Callable[[], _Value]) -> _Value:
    """Read for the first time; try again where a driver is busy or has no value yet.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds no number.
    """
    for _ in range(_TRIES - 1):
        try:
            return read()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            time.sleep(_PAUSE_S)
    return read()
