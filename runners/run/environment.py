"""What a run was measured on: hardware, versions, meters and why a meter is absent."""

import platform
from collections.abc import Collection, Mapping
from dataclasses import asdict
from importlib import metadata
from typing import NotRequired, TypedDict

from greenbatch.design.study import Study
from greenbatch.design.training_study import TrainingStudy
from greenbatch.privacy import masked_members
from greenbatch.runners import backends
from greenbatch.runners.doctor import gpus, machine
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.metering import Metering
from greenbatch.runners.run.cell_metering import counted_domains

PACKAGES = ("greenbatch", "numpy", "onnx", "openvino", "torch", "torchvision", "triton")
TRAINING_PACKAGES = ("optuna", "scikit-learn", "timm")
# Several distributions provide the module onnxruntime, and CUDA's libraries are named by version.
_FAMILIES = (
    "onnxruntime",
    "nvidia-cublas",
    "nvidia-cuda-runtime",
    "nvidia-cudnn",
    "nvidia-ml-py",
    "tensorrt",
)


class Environment(TypedDict):
    """The members of ``environment.json``; the last three are known with open meters.

    Attributes:
        matters: What a resumed run must share with its beginning.
    """

    machine: dict[str, object]
    gpus: list[dict[str, object]]
    versions: dict[str, str]
    backends: dict[str, Mapping[str, str]]
    threads: int
    matters: dict[str, object]
    window_s: NotRequired[float]
    meters: NotRequired[list[dict[str, object]]]
    meters_absent: NotRequired[dict[str, str]]


def describe(study: Study | TrainingStudy, metering: Metering) -> Environment:
    """Return the members of ``environment.json``.

    Runs are published, so home folders, secrets and most of a GPU's UUID are masked, see
    `greenbatch.privacy`.

    Args:
        study: Its backends, threads and protocol apply.
        metering: The open meters, and the reasons of the absent ones.
    """
    about = describe_without_meters(study)
    counted = counted_domains(metering, study.backends)
    meters = [
        {
            "name": meter.name,
            "tick_s": meter.tick_s,
            "interval_s": meter.interval_s,
            "domains": [
                {
                    "name": domain.name,
                    "source": str(domain.source),
                    "counts": domain.name in counted,
                    "device": domain.device,
                    "note": domain.note,
                    "sensor": asdict(domain.sensor) if domain.sensor else None,
                    "refresh_s": domain.refresh_s,
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
    if isinstance(study, Study):
        about["window_s"] = study.rules.window_for(metering.slowest_period_s)
    found: Environment = masked_members(
        {
            **about,
            "meters": meters,
            "meters_absent": dict(metering.absent),
            "matters": {**about["matters"], "domains": domains},
        }
    )
    return found


def describe_without_meters(study: Study | TrainingStudy) -> Environment:
    """Return those members that are known before a meter is opened; nothing is masked."""
    this_machine = machine.look()
    trains = isinstance(study, TrainingStudy)
    found = versions((*PACKAGES, *(TRAINING_PACKAGES if trains else ())))
    return {
        "machine": asdict(this_machine),
        "gpus": [asdict(gpu) for gpu in gpus.look().devices],
        "versions": found,
        "backends": {name: _backend(name) for name in study.backends},
        "threads": thread_count(study.threads),
        "matters": {
            "cpu": this_machine.cpu or this_machine.architecture,
            "cores_granted": this_machine.cores_granted,
            "threads": thread_count(study.threads),
            **_modes(this_machine),
            **{f"version of {name}": version for name, version in found.items()},
        },
    }


def _modes(of: machine.Machine) -> dict[str, str]:
    """Return the modes that bound the machine's power, where it has them."""
    modes = {"power mode": of.power_mode, "platform profile": of.platform_profile}
    return {name: mode for name, mode in modes.items() if mode}


def _backend(name: str) -> Mapping[str, str]:
    spec = backends.find(name)
    return {"runtime": spec.runtime, "provider": spec.provider, "device": spec.device}


def versions(packages: Collection[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of what is measured and of what measures, by distribution."""
    found = {
        distribution.name: distribution.version
        for distribution in metadata.distributions()
        if distribution.name in packages or distribution.name.startswith(_FAMILIES)
    }
    return {"python": platform.python_version(), **dict(sorted(found.items()))}
