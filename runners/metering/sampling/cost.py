"""What reading the meters costs: the CPU time of the recorder's own threads."""

import time
from collections.abc import Sequence

from greenbatch.runners.metering.meter import EnergyMeter
from greenbatch.runners.metering.sampling.sampler import Recorder


def sampler_cost(
    meters: Sequence[EnergyMeter], seconds: float, interval_s: float | None = None
) -> float:
    """Read meters for a while and return the share of one core that it took.

    Args:
        meters: Open; they stay the caller's to close.
        seconds: How long, in s.
        interval_s: How often, in s; ``None``: as often as each meter asks for.
    """
    with Recorder(meters, interval_s=interval_s) as recorder:
        began_s, before_s = time.perf_counter(), recorder.cpu_s
        time.sleep(seconds)
        return (recorder.cpu_s - before_s) / (time.perf_counter() - began_s)
