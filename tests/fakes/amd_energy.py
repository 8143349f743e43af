"""A simulated hwmon device of the driver ``amd_energy`` below a folder that stands for ``/sys``."""

from pathlib import Path

from tests.fakes.powercap import write_counter


class AmdEnergy:
    """Writes a device's name and its counters."""

    def __init__(self, sysfs: Path, device: str = "hwmon0", name: str = "amd_energy") -> None:
        self.sysfs = sysfs
        self.root = sysfs / "class" / "hwmon" / device
        self.root.mkdir(parents=True)
        (self.root / "name").write_text(f"{name}\n")

    def environment(self) -> dict[str, str]:
        """Return the variable that makes a process see this device."""
        return {"GB_SYSFS": str(self.sysfs)}

    def add(self, number: int, label: str, energy_uj: int = 0) -> Path:
        """Add a counter; return its file."""
        (self.root / f"energy{number}_label").write_text(f"{label}\n")
        file = self.root / f"energy{number}_input"
        write_counter(file, energy_uj)
        return file
