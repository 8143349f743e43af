"""How many CPU cores this process may use."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def granted_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """Return the cores that affinity and the cgroup's CPU quota leave to this process.

    Args:
        cgroups: Where cgroups are mounted (version 2, or 1's ``cpu`` controller below it).
        membership: The file that says which cgroup this process is in.

    Returns:
        Cores; a quota can make it a fraction.
    """
    return min(affine_cores(), quota_cores(cgroups, membership))


def affine_cores() -> float:
    """Return the cores that this process may be scheduled on (affinity and cpuset)."""
    return float(len(affine_cpus()) or os.cpu_count() or 1)


def affine_cpus() -> list[int]:
    """Return the numbers of those cores, in order; empty where the system does not report them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def default_threads() -> int:
    """Return the thread count that every CPU backend uses unless set otherwise."""
    return max(1, math.floor(granted_cores()))


def thread_count(requested: int) -> int:
    """Return the threads of CPU backends: as a study asks, for 0 as many as the cores granted."""
    return requested or default_threads()


def quota_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """Return the smallest CPU quota of this process's cgroup and those above it; ``inf``: none."""
    quotas = [
        _ratio(*_words(folder, "cpu.max")) for folder in cgroup_folders("", cgroups, membership)
    ]
    quotas += [
        _ratio(*_words(folder, "cpu.cfs_quota_us"), *_words(folder, "cpu.cfs_period_us"))
        for folder in cgroup_folders("cpu", cgroups, membership)
    ]
    return min(quotas, default=math.inf)


def memory_limit_bytes(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Return the smallest memory limit of this process's cgroup and those above it, if any.

    Version 1 states no limit as a number near 2^63, which is left out.
    """
    texts = [
        text
        for controller, file in (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
        for folder in cgroup_folders(controller, cgroups, membership)
        for text in _words(folder, file)
    ]
    limits = [int(text) for text in texts if text.isdecimal() and int(text) < 1 << 60]
    return min(limits, default=None)


def cgroup_folders(controller: str, cgroups: Path, membership: Path) -> list[Path]:
    """Return the folders of this process's cgroup and of those above it, innermost first.

    Args:
        controller: Of version 1, as ``cpu``; empty: the one hierarchy of version 2.
        cgroups, membership: As for `granted_cores`. A container may see its own cgroup as the
            root while the file names the path outside, so the root is always among them.
    """
    root = cgroups / controller
    inside = Path()
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inside = Path(path.lstrip("/"))
    return [root / part for part in (inside, *inside.parents)] if inside.parts else [root]


def _words(folder: Path, file: str) -> list[str]:
    try:
        return (folder / file).read_text().split()
    except OSError:
        return []


def _ratio(quota: str = "max", period: str = "") -> float:
    if quota in ("max", "-1") or not period:
        return math.inf
    return int(quota) / int(period)
