"""What a run was measured on: hardware, versions, meters and why a meter is absent."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from greenbatch.runners import backends
from greenbatch.runners.cores import granted_cores
from greenbatch.runners.metering import Metering
from greenbatch.runners.study import Study

PACKAGES = ("greenbatch", "torch", "torchvision", "onnx", "numpy", "nvidia-ml-py")
# Either distribution provides the module onnxruntime.
_ONNXRUNTIMES = ("onnxruntime-gpu", "onnxruntime")


def describe(study: Study, metering: Metering) -> dict[str, Any]:
    """Return the members of ``environment.json``.

    ``matters`` holds what a resumed run must share with its beginning.

    Args:
        study: Its backends, threads and protocol apply.
        metering: The open meters, and the reasons of the absent ones.
    """
    machine = _machine()
    versions = _versions()
    meters = [
        {
            "name": meter.name,
            "tick_s": meter.tick_s,
            "interval_s": meter.interval_s,
            "domains": [
                {
                    "name": domain.name,
                    "source": str(domain.source),
                    "counts": domain.counts,
                    "device": domain.device,
                    "note": domain.note,
                }
                for domain in meter.domains
            ],
        }
        for meter in metering.meters
    ]
    domains = [
        f"{meter.name}: {domain.name} ({domain.device})"
        for meter in metering.meters
        for domain in meter.domains
    ]
    return {
        "machine": machine,
        "versions": versions,
        "meters": meters,
        "meters_absent": dict(metering.absent),
        "backends": {name: _backend(name) for name in study.backends},
        "threads": study.thread_count,
        "window_s": study.rules.window_for(metering.slowest_period_s),
        "matters": {
            "cpu": machine["cpu"],
            "cores_granted": machine["cores_granted"],
            "threads": study.thread_count,
            "domains": domains,
            **{f"version of {name}": version for name, version in versions.items()},
        },
    }


def _backend(name: str) -> Mapping[str, str]:
    spec = backends.find(name)
    return {"runtime": spec.runtime, "provider": spec.provider, "device": spec.device}


def _machine() -> dict[str, Any]:
    return {
        "hostname": platform.node(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "hardware_threads": psutil.cpu_count(logical=True),
        "cores_granted": granted_cores(),
        "governor": _governor(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": platform.platform(),
        "architecture": platform.machine(),
        "virtualized": _virtualized(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *_ONNXRUNTIMES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _governor() -> str | None:
    """Return the first core's frequency governor; ``None`` where the kernel has none to tell."""
    root = Path(os.environ.get("GB_SYSFS", "/sys"))
    try:
        return (root / "devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def _virtualized() -> bool | None:
    """Tell whether a hypervisor is under this machine, as its CPU flags say; ``None`` unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    flags = next((line for line in lines if line.startswith("flags")), "")
    return "hypervisor" in flags.split() if flags else None
