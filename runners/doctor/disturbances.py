"""What would disturb a measurement that began now."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from greenbatch.runners.doctor.gpus import Gpus
from greenbatch.runners.doctor.machine import Machine, text_of
from greenbatch.runners.host.cores import affine_cores, granted_cores, quota_cores
from greenbatch.runners.host.load import DISTURBED_ABOVE, HostSampler

_LOOK_S = 1.0
_HOT_WITHIN_C = 10.0
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """One thing that was looked at.

    Attributes:
        code: ``load``, ``governor``, ``temperature``, ``gpu``, ``swap``,
            ``power_source``, ``limits``.
        disturbs: Whether it would disturb; ``None`` where that is not known.
        text: What was found, and what mends it.
    """

    code: str
    disturbs: bool | None
    text: str


def look(
    machine: Machine, gpus: Gpus, sysfs: Path, look_s: float = _LOOK_S
) -> tuple[Disturbance, ...]:
    """Watch the machine for a while, and judge what was found.

    Args:
        machine: What is known of it.
        gpus: As they are now.
        sysfs: Root of sysfs.
        look_s: How long it is watched, in s.
    """
    return (
        *_load_and_swap(machine, look_s),
        _governor(machine),
        _temperature(gpus, sysfs),
        *_gpus(gpus),
        _power(sysfs),
        *_limits(machine),
    )


def _load_and_swap(machine: Machine, look_s: float) -> tuple[Disturbance, Disturbance]:
    import psutil

    swap = psutil.swap_memory()
    with HostSampler() as host:
        start_s = time.perf_counter()
        time.sleep(look_s)
        share = host.foreign_load(start_s, time.perf_counter(), 0.0, granted_cores())
    later = psutil.swap_memory()
    moved = later.sin - swap.sin + later.sout - swap.sout
    return _load(share, machine), _swap(later.used, moved)


def _load(share: float | None, machine: Machine) -> Disturbance:
    mean = f"load average {os.getloadavg()[0]:.2f} over the last minute"
    if share is None:
        return Disturbance(code="load", disturbs=None, text=f"CPU use of others not known; {mean}")
    what = f"others use {share:.0%} of the granted {machine.cores_granted:g} cores; {mean}"
    if share <= DISTURBED_ABOVE:
        return Disturbance(code="load", disturbs=False, text=what)
    return Disturbance(
        code="load",
        disturbs=True,
        text=f"{what}; above {DISTURBED_ABOVE:.0%} a repetition is flagged: end what else runs",
    )


def _swap(used_bytes: int, moved_bytes: int) -> Disturbance:
    if moved_bytes:
        text = f"{_gib(moved_bytes)} moved to or from swap within a second; free some memory"
        return Disturbance(code="swap", disturbs=True, text=text)
    text = f"{_gib(used_bytes)} in use, none moves" if used_bytes else "not in use"
    return Disturbance(code="swap", disturbs=False, text=text)


def _governor(machine: Machine) -> Disturbance:
    if machine.governor is None:
        return Disturbance(code="governor", disturbs=None, text="not reported by the kernel")
    if machine.governor == "performance":
        return Disturbance(code="governor", disturbs=False, text="performance")
    return Disturbance(
        code="governor",
        disturbs=True,
        text=f"{machine.governor}: the frequency follows the load, so that short batches run "
        "slower; run 'sudo cpupower frequency-set --governor performance'",
    )


def _temperature(gpus: Gpus, sysfs: Path) -> Disturbance:
    """Judge every sensor by its distance to where the clock is lowered."""
    known = [
        *((f"gpu-{gpu.index}", gpu.temperature_c, gpu.headroom_c) for gpu in gpus.devices),
        *_cpu_sensors(sysfs),
    ]
    reported = [(name, now_c, headroom_c) for name, now_c, headroom_c in known if now_c is not None]
    if not reported:
        return Disturbance(code="temperature", disturbs=None, text="not reported by any sensor")
    hot = [
        name
        for name, _, headroom_c in reported
        if headroom_c is not None and headroom_c < _HOT_WITHIN_C
    ]
    text = ", ".join(
        f"{name} {now_c:.0f} °C"
        + ("" if headroom_c is None else f" ({headroom_c:.0f} °C below its limit)")
        for name, now_c, headroom_c in reported
    )
    if hot:
        return Disturbance(
            code="temperature",
            disturbs=True,
            text=f"{text}; {', '.join(hot)} is close to being slowed down: let it cool",
        )
    limits_known = all(headroom_c is not None for _, _, headroom_c in reported)
    return Disturbance(code="temperature", disturbs=False if limits_known else None, text=text)


def _cpu_sensors(sysfs: Path) -> list[tuple[str, float, float | None]]:
    """Return name, degrees and degrees left of each CPU package that hwmon reports."""
    found: list[tuple[str, float, float | None]] = []
    for chip in sorted((sysfs / "class/hwmon").glob("hwmon*")):
        now_c = _degrees(chip / "temp1_input")
        if text_of(chip / "name") in _CPU_CHIPS and now_c is not None:
            limit_c = _degrees(chip / "temp1_crit")
            headroom_c = None if limit_c is None else limit_c - now_c
            found.append((f"cpu-{len(found)}", now_c, headroom_c))
    return found


def _degrees(path: Path) -> float | None:
    try:
        return int(path.read_text()) / 1000  # hwmon states thousandths
    except (OSError, ValueError):
        return None


def _gpus(gpus: Gpus) -> list[Disturbance]:
    found = []
    for gpu in gpus.devices:
        causes = [f"slowed down by {', '.join(gpu.throttle_reasons)}"] * bool(gpu.throttle_reasons)
        if gpu.pids:
            pids = ", ".join(map(str, gpu.pids))
            causes.append(f"other processes compute on it ({pids}): end them")
        text = f"gpu-{gpu.index}: {'; '.join(causes) or 'no other process, not throttled'}"
        disturbs: bool | None = bool(causes)
        if gpu.processes_unknown:
            disturbs = disturbs or None
            text = f"gpu-{gpu.index}: {'; '.join([*causes, gpu.processes_unknown])}"
        found.append(Disturbance(code="gpu", disturbs=disturbs, text=text))
    return found


def _power(sysfs: Path) -> Disturbance:
    """Return whether a battery drives the machine (Documentation/ABI/testing/sysfs-class-power)."""
    supplies = sorted((sysfs / "class/power_supply").glob("*"))
    own = [path for path in supplies if text_of(path / "scope") != "Device"]  # a mouse has one too
    if any(text_of(path / "status") == "Discharging" for path in own):
        text = "a battery drives the machine, which may save power: plug it in"
        return Disturbance(code="power_source", disturbs=True, text=text)
    return Disturbance(code="power_source", disturbs=False, text="no battery drives the machine")


def _limits(machine: Machine) -> list[Disturbance]:
    found = []
    affine, quota = affine_cores(), quota_cores()
    if quota < affine:
        text = (
            f"the cgroup's quota of {quota:g} cores on {affine:g} stops all threads when it is "
            "used up; bind the process to whole cores (cpuset) in its place"
        )
        found.append(Disturbance(code="limits", disturbs=True, text=text))
    elif machine.hardware_threads and affine < machine.hardware_threads:
        text = f"bound to {affine:g} of {machine.hardware_threads} hardware threads"
        found.append(Disturbance(code="limits", disturbs=False, text=text))
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness > 0:
        text = f"niceness {niceness}: others go first; start gb without 'nice'"
        found.append(Disturbance(code="limits", disturbs=True, text=text))
    return found or [Disturbance(code="limits", disturbs=False, text="none")]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.2g} GiB"
