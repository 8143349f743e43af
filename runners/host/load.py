"""The machine's own state: CPU load by others, and temperatures."""

import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import psutil


class _Load(NamedTuple):
    t_s: float
    busy_s: float
    own_s: float


class HostSampler:
    """Samples how busy the machine is, in a thread of its own, while it is open.

    Args:
        clock: Monotonic, in s; shared with the children.
        interval_s: Between samples.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, interval_s: float = 0.2
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._samples: list[_Load] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="host", daemon=True)
        self._own = psutil.Process()

    def __enter__(self) -> Self:
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._read()

    def _read(self) -> None:
        times = psutil.cpu_times()
        waiting = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
        waiting += getattr(times, "guest_nice", 0.0)  # guests are counted in user and nice too
        own = self._own.cpu_times()
        self._samples.append(_Load(self._clock(), sum(times) - waiting, own.user + own.system))

    def foreign_load(
        self, start_s: float, end_s: float, measured_cpu_s: float, cores: float
    ) -> float | None:
        """Return the CPU time of others, stolen time included, over what the cores offer.

        Args:
            start_s, end_s: The window, on the clock.
            measured_cpu_s: CPU time of the measured process in the window, in s.
            cores: Cores granted to this run.

        Returns:
            A ratio, 0 when nobody else ran; ``None`` when the samples do not cover the window.
        """
        self._read()
        stamps = [sample.t_s for sample in self._samples]
        first, last = bisect_right(stamps, start_s) - 1, bisect_left(stamps, end_s)
        if first < 0 or last >= len(stamps) or end_s <= start_s:
            return None
        before, after = self._samples[first], self._samples[last]
        span_s = after.t_s - before.t_s
        others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
        # The samples reach a little beyond the window: what the machine did is scaled to it.
        others_s = others_s * (end_s - start_s) / span_s - measured_cpu_s
        return max(0.0, others_s) / ((end_s - start_s) * cores)


def cpu_temperatures_c(sysfs: Path | None = None) -> dict[str, float]:
    """Return the temperature of each CPU package that hwmon reports, in degrees Celsius.

    Args:
        sysfs: Root of sysfs; by default ``$GB_SYSFS``, else ``/sys``.
    """
    root = sysfs or Path(os.environ.get("GB_SYSFS", "/sys"))
    found: dict[str, float] = {}
    for chip in sorted((root / "class/hwmon").glob("hwmon*")):
        try:
            name = (chip / "name").read_text().strip()
            if name not in ("coretemp", "k10temp", "zenpower", "cpu_thermal"):
                continue
            value = int((chip / "temp1_input").read_text())
        except (OSError, ValueError):
            continue
        found[f"cpu-{len(found)}"] = value / 1000
    return found


# Beyond these a repetition is flagged: a tenth of the cores lost to others, and counter and
# integrated power further apart than the 5 % that NVML states for its power reading.
DISTURBED_ABOVE = 0.10
