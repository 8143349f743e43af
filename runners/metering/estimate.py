"""CPU power estimated from CPU time, for machines whose hardware does not tell.

The model and its numbers are those of the Cloud Carbon Footprint methodology (its constants for
AWS, averages over processors in the SPECpower_ssj2008 results): each hardware thread draws a
minimum at rest and a maximum at full load, linear between.
"""

import threading
from collections.abc import Mapping
from typing import Self

from greenbatch.errors import UsageError
from greenbatch.records import EnergySource
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, MeterOptions, Reading
from greenbatch.runners.metering.process_tree import ProcessTree

_INTERVAL_S = 0.05
_TICK_S = 0.01  # the kernel states CPU time in steps of 1 / USER_HZ

MIN_POWER_W = 0.74
MAX_POWER_W = 3.5
# Over the processors of that data set since 2013 the power of a thread is 0.47 to 1.64 W (EPYC,
# second generation) up to 1.90 to 5.99 W (Haswell): the upper side is further from the average.
_WIDEST_MIN = 1.90 / MIN_POWER_W - 1
_WIDEST_MAX = 5.99 / MAX_POWER_W - 1


class EstimateMeter(EnergyMeter):
    """Estimates the energy of the granted hardware threads from the CPU time of a process tree.

    ``power = cores x (p_min + u x (p_max - p_min))`` with ``u`` the share of the cores' time that
    the followed processes use. The band is that of the data set, upper side, for the same
    utilisation; it is linear in time and energy: ``a x time + b x energy``.

    Args:
        clock: Tells the time in s.
        cores: Hardware threads granted to the process; may be a fraction under a quota.
        min_power_w, max_power_w: Power of one such thread at rest and at full load, in W.

    Raises:
        UsageError: ``cores`` or a power is not positive, or the two are in the wrong order.
    """

    name = "estimate"
    interval_s = _INTERVAL_S

    def __init__(
        self,
        clock: Clock,
        cores: float,
        min_power_w: float = MIN_POWER_W,
        max_power_w: float = MAX_POWER_W,
    ) -> None:
        if not cores > 0:
            raise UsageError(f"cores is {cores}; the estimate needs more than 0")
        if not 0 < min_power_w < max_power_w:
            raise UsageError(
                f"the power of a core is {min_power_w} W at rest and {max_power_w} W at full "
                "load; the estimate needs 0 < rest < full: give a higher cpu_tdp_w"
            )
        self._clock = clock
        self._floor_w = cores * min_power_w
        self._per_cpu_s_j = max_power_w - min_power_w
        self._lock = threading.Lock()  # `follow` is called while another thread reads
        self._tree: ProcessTree | None = None
        self._earlier_cpu_s = 0.0
        self._origin_s = clock()
        rest_w = min_power_w * _WIDEST_MIN
        slope = (max_power_w * _WIDEST_MAX - rest_w) / self._per_cpu_s_j
        self.domains = (
            Domain(
                name="cpu-estimate",
                source=EnergySource.ESTIMATED,
                tick_s=_TICK_S,
                part="cpu",
                device=f"{cores:g} hardware threads",
                band_relative=max(slope, 0.0),
                band_power_w=cores * max(rest_w - max(slope, 0.0) * min_power_w, 0.0),
                note=f"estimated, not measured: {cores:g} hardware threads at {min_power_w:.3g} W "
                f"each, up to {max_power_w:.3g} W with their CPU time (Cloud Carbon Footprint, "
                f"averages of servers), of which real ones differ by up to {_WIDEST_MAX:.0%} at "
                f"full load and {_WIDEST_MIN:.0%} at rest",
            ),
        )

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Make the meter; ``options.cpu_tdp_w`` takes the place of the cores' maximum power.

        Raises:
            UsageError: The options do not go together.
        """
        if options.cpu_tdp_w is None:
            return cls(options.clock, options.cores)
        return cls(
            options.clock, options.cores, max_power_w=options.cpu_tdp_w / max(options.cores, 1e-9)
        )

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
