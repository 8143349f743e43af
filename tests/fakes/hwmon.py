"""Simulated hwmon devices below a folder that stands for ``/sys``, linked as the kernel does.

tree = HwmonTree(tmp_path / "sys")
card = tree.add("xe", "pci0000:00/0000:03:00.0", energy1_label="card", energy1_input=0)
card.set("energy1_input", 5_000_000)
with failing(card.file("energy1_input"), errno.EBUSY, times=1):     # as a driver that is busy
    ...
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fakes.powercap import write_counter


class HwmonChip:
    """One device: its files, and the folder that they are in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        """Return where a file is."""
        return self.folder / name

    def set(self, name: str, value: int | str) -> Path:
        """Write a file: a number as a counter that an open descriptor follows, or a text."""
        path = self.file(name)
        if isinstance(value, int):
            write_counter(path, value)
        else:
            path.write_text(f"{value}\n")
        return path


class HwmonTree:
    """Writes devices below ``sysfs``/devices and the links of ``sysfs``/class/hwmon."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.root = sysfs / "class" / "hwmon"
        self.root.mkdir(parents=True)
        self._number = 0

    def environment(self) -> dict[str, str]:
        """Return the variable that makes a process see this tree."""
        return {"GB_SYSFS": str(self.sysfs)}

    def add(
        self, name: str, owner: str, *, files_at_owner: bool = False, **files: int | str
    ) -> HwmonChip:
        """Add a device.

        Args:
            name: What its driver calls it.
            owner: Where the device behind it is, below ``sysfs``/devices.
            files_at_owner: The files lie at the owner, as those of ACPI meters do, not beside
                the link to it.
            files: Names and contents.
        """
        behind = self.sysfs / "devices" / owner
        chip = behind / "hwmon" / f"hwmon{self._number}"
        chip.mkdir(parents=True)
        (chip / "power").mkdir()  # runtime power management: every device of the kernel has it
        (chip / "device").symlink_to(behind)
        (self.root / chip.name).symlink_to(chip)
        self._number += 1
        made = HwmonChip(behind if files_at_owner else chip)
        made.set("name", name)
        for file, value in files.items():
            made.set(file, value)
        return made

    def grace(self, label: str, power_uw: int, number: int = 0, **files: int | str) -> HwmonChip:
        """Add an ACPI meter as NVIDIA's firmware has them: 50 ms, 100 % accurate."""
        return self.add(
            "power_meter",
            f"LNXSYSTM:00/LNXSYBUS:00/ACPI000D:{number:02X}",
            files_at_owner=True,
            power1_average=power_uw,
            **{
                "power1_oem_info": label,
                "power1_average_interval": "50",
                "power1_is_battery": "0",
                "power1_accuracy": "100.0%",
                **files,
            },
        )


@contextmanager
def failing(path: Path, number: int, times: int | None = None) -> Iterator[None]:
    """Let reads of a file fail with an error number, as a driver that answers so; the first few."""
    left = [times]
    pread, opened = os.pread, io.open

    def check() -> None:
        if left[0] is None or left[0] > 0:
            left[0] = left[0] and left[0] - 1
            raise OSError(number, os.strerror(number), str(path))

    def read(descriptor: int, *args: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == path.resolve():
            check()
        return pread(descriptor, *args)

    def open_file(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, str | Path) and Path(file).resolve() == path.resolve():
            check()
        return opened(file, *args, **options)

    with mock.patch.object(os, "pread", read), mock.patch.object(io, "open", open_file):
        yield
