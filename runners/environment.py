"""What a run was measured on: hardware, versions, meters and why a meter is absent."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from greenbatch.runners import backends
from greenbatch.runners.doctor import gpus, machine
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
    this_machine = machine.look()
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
        "machine": asdict(this_machine),
        "gpus": [asdict(gpu) for gpu in gpus.look().devices],
        "versions": versions,
        "meters": meters,
        "meters_absent": dict(metering.absent),
        "backends": {name: _backend(name) for name in study.backends},
        "threads": study.thread_count,
        "window_s": study.rules.window_for(metering.slowest_period_s),
        "matters": {
            "cpu": this_machine.cpu or this_machine.architecture,
            "cores_granted": this_machine.cores_granted,
            "threads": study.thread_count,
            "domains": domains,
            **{f"version of {name}": version for name, version in versions.items()},
        },
    }


def _backend(name: str) -> Mapping[str, str]:
    spec = backends.find(name)
    return {"runtime": spec.runtime, "provider": spec.provider, "device": spec.device}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *_ONNXRUNTIMES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
