"""Meters of energy, sampled beside what they measure, and E(t), which answers for a window.

with open_meters(["auto"]) as metering, Recorder(metering.meters) as recorder:
    metering.follow(child_pid)
    ...                                  # the child reports when its window began and ended
    recorder.settle(t1_s)
    figures = recorder.energy(t0_s, t1_s)
"""

from greenbatch.runners.metering.conditions import Conditioned, DeviceConditions, DeviceState
from greenbatch.runners.metering.energy.energy_function import (
    EnergyFunction,
    PowerFunction,
    Refusal,
    Stretch,
)
from greenbatch.runners.metering.meter import (
    BY_BUS,
    Clock,
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
)
from greenbatch.runners.metering.opening import Metering, open_meters
from greenbatch.runners.metering.sampling.sampler import Recorder

__all__ = [
    "BY_BUS",
    "Clock",
    "Conditioned",
    "DeviceConditions",
    "DeviceState",
    "Domain",
    "EnergyFunction",
    "EnergyMeter",
    "MeterLost",
    "MeterOptions",
    "Metering",
    "PowerFunction",
    "Reading",
    "Recorder",
    "Refusal",
    "Stretch",
    "open_meters",
]
