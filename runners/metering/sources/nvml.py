"""NVIDIA GPUs through NVML: the energy counter, power, and the state of each device.

``nvmlDeviceGetTotalEnergyConsumption`` (Volta and newer) counts mJ since the driver was loaded. The
field ``NVML_FI_DEV_POWER_INSTANT`` states power at once, in mW, where the driver knows it; else
``nvmlDeviceGetPowerUsage``, of which NVML's documentation says: at once on GA100 and older,
averaged over 1 s on the other Ampere cards and all newer ones. What a device can do is found by
asking it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Self

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering.conditions import DeviceState
from greenbatch.runners.metering.meter import Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.processes import Processes
from greenbatch.runners.metering.sources.nvml_devices import Device, discover
from greenbatch.runners.metering.sources.nvml_library import close_library, explain, open_library
from greenbatch.runners.metering.sources.nvml_power import power_w
from greenbatch.runners.metering.sources.nvml_processes import processes_of
from greenbatch.runners.metering.sources.nvml_state import device_state
from greenbatch.units import MILLIJOULE_J

# No whole fraction of a counter's period (20, 50, 100 ms): each tick is then seen with another
# delay, and the delays average out.
_INTERVAL_S = 0.0679
_POWER_INTERVAL_S = 0.0191  # where power samples are all there is
_NO_POWER = (
    "the driver states a power of 0 W, which no GPU that runs draws; update the driver, or leave "
    "nvml out"
)
_STANDS_STILL = f"its energy counter stands still, and {_NO_POWER}"


class NvmlMeter(EnergyMeter):
    """Reads every GPU that ``CUDA_VISIBLE_DEVICES`` leaves visible; made by `open`."""

    name = "nvml"
    focus_interval_s = 0.001

    def __init__(self, devices: Sequence[Device], domains: Sequence[Domain]) -> None:
        self._devices = tuple(devices)
        self.domains = tuple(domains)
        blind = any(not device.counter and not device.reason for device in devices)
        self.interval_s = _POWER_INTERVAL_S if blind else _INTERVAL_S
        self._open = True

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Initialise NVML, find what each device can report and how often its counter ticks.

        Raises:
            MeterUnavailable: No library, driver, permission or visible device, or none of the
                devices reports its energy or power.
        """
        import pynvml

        open_library()
        try:
            return cls(*discover(options))
        except pynvml.NVMLError as error:
            close_library()
            raise MeterUnavailable(explain(error)) from error
        except BaseException:
            close_library()
            raise

    def read(self) -> Mapping[str, Reading]:
        """Read energy and power of each device; one that fails has a reading with the reason."""
        return {device.name: _read(device) for device in self._devices}

    def conditions(self) -> Mapping[str, DeviceState]:
        """Look at temperature, clock, throttling and memory of each device."""
        return {
            device.name: device_state(device.handle) for device in self._devices if device.handle
        }

    def processes(self) -> Mapping[str, Processes]:
        """List the processes on each device."""
        return {
            device.name: processes_of(device.handle) for device in self._devices if device.handle
        }

    def part(self, names: Collection[str]) -> "NvmlMeter":
        """Return a meter of the devices of these names; closing it closes nothing."""
        some = NvmlMeter(
            [device for device in self._devices if device.name in names],
            [domain for domain in self.domains if domain.name in names],
        )
        some._open = False
        return some

    def close(self) -> None:
        """Shut NVML down."""
        if self._open:
            self._open = False
            close_library()


def _read(device: Device) -> Reading:
    import pynvml

    if device.reason:
        return Reading(reason=device.reason)
    energy_mj = stated_w = reason = None
    if device.counter:
        try:
            energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)
        except pynvml.NVMLError as error:
            reason = explain(error)
    try:
        stated_w = power_w(device.handle, instant=device.instant, module=device.module)
    except pynvml.NVMLError as error:
        reason = reason or explain(error)
    if stated_w == 0.0:  # a GPU that runs draws power: the driver has no reading
        stated_w = None
        if energy_mj is None:
            reason = reason or _NO_POWER
        elif energy_mj == device.still_mj:
            energy_mj, reason = None, _STANDS_STILL
    energy_j = None if energy_mj is None else energy_mj * MILLIJOULE_J
    if energy_j is None and stated_w is None and reason is None:
        reason = "its power could not be read"
    return Reading(energy_j=energy_j, power_w=stated_w, reason=reason)
