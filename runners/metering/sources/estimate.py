"""CPU power estimated from CPU time, for machines whose hardware does not report it.

The model is that of the Cloud Carbon Footprint methodology: each hardware thread draws a minimum
at rest and a maximum at full load, linear between. The numbers are in `cpu_models`.
"""

import threading
from collections.abc import Mapping
from typing import Self

from greenbatch.errors import UsageError
from greenbatch.records import EnergySource
from greenbatch.records.estimate import EstimateFacts, estimate_note
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.sources.cpu_models import (
    AVERAGE,
    ThreadPower,
    cpu_name,
    thread_power,
    with_full_power,
)
from greenbatch.runners.metering.sources.process_tree import ProcessTree

_INTERVAL_S = 0.2
_TICK_S = 0.01  # the kernel states CPU time in steps of 1 / USER_HZ


class EstimateMeter(EnergyMeter):
    """Estimates the energy of the granted hardware threads from the CPU time of a process tree.

    ``power = cores x (rest + u x (full - rest))`` with ``u`` the share of the cores' time that
    the followed processes use. The band goes from that at rest to that at full load with the same
    ``u``; so it is linear in time and energy: ``a x time + b x energy``.

    Args:
        clock: Returns the time in s.
        cores: Hardware threads granted to the process; may be a fraction under a quota.
        power: What one such thread draws.

    Raises:
        UsageError: ``cores`` or a power is not positive, or the two are in the wrong order.
    """

    name = "estimate"
    interval_s = _INTERVAL_S
    focus_interval_s = 0.02

    def __init__(self, clock: Clock, cores: float, power: ThreadPower = AVERAGE) -> None:
        if not cores > 0:
            raise UsageError(f"cores is {cores}; the estimate needs more than 0")
        if not 0 < power.rest_w < power.full_w:
            raise UsageError(
                f"the power of a hardware thread is {power.rest_w:.3g} W at rest and "
                f"{power.full_w:.3g} W at full load; the estimate needs 0 < rest < full: give a "
                "higher cpu_tdp_w"
            )
        self._clock = clock
        self._floor_w = cores * power.rest_w
        self._per_cpu_s_j = power.full_w - power.rest_w
        self._lock = threading.Lock()  # `follow` is called while another thread reads
        self._tree: ProcessTree | None = None
        self._earlier_cpu_s = 0.0
        self._origin_s = clock()
        relative, constant_w = _band(power)
        self.domains = (
            Domain(
                name="cpu-estimate",
                source=EnergySource.ESTIMATED,
                tick_s=_TICK_S,
                part="cpu",
                device=f"{cores:g} hardware threads",
                band_relative=relative,
                band_power_w=cores * constant_w,
                note=estimate_note(
                    f"{EstimateFacts(cores, power.rest_w, power.full_w)} with their CPU time "
                    f"({power.origin}); they may be wrong "
                    f"by {power.rest_band_w / power.rest_w:.0%} at rest and "
                    f"{power.full_band_w / power.full_w:.0%} at full load"
                ),
            ),
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Make the meter for this machine's CPU.

        ``options.cpu_tdp_w`` takes the place of the granted threads' power at full load.

        Raises:
            UsageError: The options do not go together.
        """
        power = thread_power(cpu_name())
        if options.cpu_tdp_w is not None and options.cores > 0:
            power = with_full_power(power, options.cpu_tdp_w / options.cores)
        return cls(options.clock, options.cores, power)

    def read(self) -> Mapping[str, Reading]:
        """Return the energy since the meter was made."""
        with self._lock:
            cpu_s = self._earlier_cpu_s + (self._tree.cpu_s() if self._tree else 0.0)
            elapsed_s = self._clock() - self._origin_s
        energy_j = self._floor_w * elapsed_s + self._per_cpu_s_j * cpu_s
        return {self.domains[0].name: Reading(energy_j=energy_j)}

    def follow(self, pid: int | None) -> None:
        """Count the CPU time of this process and its descendants from now on; ``None``: of none."""
        tree = ProcessTree(pid, self._clock) if pid is not None else None
        with self._lock:
            if self._tree:
                self._earlier_cpu_s += self._tree.cpu_s()
            self._tree = tree

    def close(self) -> None:
        """Follow nothing any more."""
        self.follow(None)


def _band(power: ThreadPower) -> tuple[float, float]:
    """Return the line of a band over power: its slope, and its value in W at none.

    It goes through the bands at rest and at full load, or above them where it would slope down or
    start below 0.
    """
    slope = (power.full_band_w - power.rest_band_w) / (power.full_w - power.rest_w)
    start_w = power.rest_band_w - slope * power.rest_w
    if slope < 0:
        return 0.0, power.rest_band_w
    if start_w < 0:
        return power.full_band_w / power.full_w, 0.0
    return slope, start_w
