"""How many CPU cores this process may use."""

import math
import os
from pathlib import Path


def granted_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the cores that affinity and the cgroup's CPU quota leave to this process.

    Args:
        cgroup: Where the process's cgroup is mounted (version 2, or 1's ``cpu`` controller).

    Returns:
        Cores; a quota can make it a fraction.
    """
    if hasattr(os, "sched_getaffinity"):
        affinity = float(len(os.sched_getaffinity(0)))
    else:
        affinity = float(os.cpu_count() or 1)
    return min(affinity, _quota(cgroup))


def default_threads() -> int:
    """Return the thread count that every CPU backend uses unless told otherwise."""
    return max(1, math.floor(granted_cores()))


def _quota(cgroup: Path) -> float:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    if quota in ("max", "-1"):
        return math.inf
    return int(quota) / int(period)
