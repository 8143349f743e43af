"""The first step: interpreter, packages, driver, NVML, UUIDs, and each backend tried."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec

from benchmarks.gpu_check import children
from benchmarks.gpu_check.lines import Line, failed, not_run
from benchmarks.gpu_check.steps import BACKENDS_FIRST, Check

_NAME = re.compile(r"[\w.-]+")
_LEAST = re.compile(r">=\s*([\d.]+)")
_TRIAL_S = 60.0
_LOOK_S = 40.0
_OTHERS = {
    "pytest": "without it the tests of tests/gpu are not run",
    "zeus": "without it energy is not compared with that of zeus",
    "tensorrt": "without it TensorRT is not measured",
}
_DISTRIBUTIONS = {"onnxruntime-gpu": ("onnxruntime-gpu", "onnxruntime")}


def lines(check: Check, limit_s: float) -> Iterator[Line]:
    """Look at all that the other steps need."""
    end_s = time.monotonic() + limit_s
    version = ".".join(map(str, sys.version_info[:3]))
    yield Line("Python", values={"found": f"{version}, {sys.executable}"})
    missing = list(_missing())
    found = {"found": ", ".join(_versions(("torch", "onnxruntime-gpu", "numpy")))}
    reason = "; ".join(missing)
    yield not_run("packages", reason, values=found) if missing else Line("packages", values=found)
    for name, use in _OTHERS.items():
        if find_spec(name) is None:
            yield not_run(name, f"it is not installed; {use}")
    devices = _devices(check, min(_LOOK_S, limit_s))
    absent = str(devices["cuda_absent"])
    check.no_gpu = "there is no CUDA device, see the step Machine" if absent else ""
    yield from _listed("CUDA devices", devices["cuda"], absent, on_gpu=True)
    yield from _listed("NVML", devices["nvml"], str(devices["nvml_absent"]))
    yield same_uuids(devices["cuda"], devices["nvml"])
    yield from _backends(check, end_s)


def _missing() -> Iterator[str]:
    """Name the packages for measuring that are not there, or too old."""
    import tomllib

    pyproject = tomllib.loads((children.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["bench"]]:
        name = _NAME.match(requirement)[0]  # type: ignore[index]  # it begins with one
        least = _LEAST.search(requirement)
        if ";" in requirement and name == "onnxruntime":
            continue  # the same package for other processors
        version = _version(name)
        if version is None:
            yield f"{name} is not installed"
        elif least and _numbers(version) < _numbers(least[1]):
            yield f"{name} is {version}, wanted {least[1]} or newer"


def _version(name: str) -> str | None:
    for each in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return None


def _versions(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if version := _version(name):
            yield f"{name} {version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _devices(check: Check, limit_s: float) -> dict[str, object]:
    log = check.log("devices")
    ended = children.run(["-m", "benchmarks.gpu_check.devices"], log, limit_s)
    if not ended.reason:
        found = json.loads(children.last_line(log))
        if isinstance(found, dict):
            return found
    reason = f"the devices could not be listed: {ended.reason}"
    return {"cuda": [], "nvml": [], "cuda_absent": reason, "nvml_absent": reason}


def _listed(what: str, devices: object, absent: str, *, on_gpu: bool = False) -> Iterator[Line]:
    if absent or not isinstance(devices, list):
        yield not_run(what, absent, on_gpu=on_gpu)
        return
    for device in devices:
        about = {key: text for key, text in device.items() if key != "index" and text is not None}
        found = ", ".join(
            str(text) if key == "name" else f"{key} {text}" for key, text in about.items()
        )
        yield Line(f"{what}: device {device['index']}", values={"found": found}, on_gpu=on_gpu)


def same_uuids(cuda: object, nvml: object) -> Line:
    """Check that each device of CUDA is one that NVML lists: else another card is metered."""
    what = "UUIDs of CUDA and of NVML"
    computing, metered = (_uuids(devices) for devices in (cuda, nvml))
    if not computing or not metered:
        return not_run(what, f"{'NVML' if computing else 'CUDA'} lists no device")
    found = {"found": ", ".join(computing.values())}
    unknown = [uuid for key, uuid in computing.items() if key not in metered]
    if unknown:
        listed = ", ".join(metered.values())
        return failed(what, f"NVML does not list {', '.join(unknown)}, but {listed}", values=found)
    return Line(what, values=found)


def _uuids(devices: object) -> dict[str, str]:
    """Return the UUIDs that are known, by themselves in lower case and without their kind."""
    texts = [str(device["uuid"]) for device in devices] if isinstance(devices, list) else []
    return {text.lower().removeprefix("gpu-"): text for text in texts if text not in ("", "None")}


def _backends(check: Check, end_s: float) -> Iterator[Line]:
    """Try each backend on CUDA with a network of one node, in a process of its own."""
    from greenbatch.runners import backends
    from greenbatch.runners.doctor.backends import look

    known: Mapping[str, backends.BackendSpec] = backends.known()
    names = [name for name, spec in known.items() if spec.device == "cuda"]
    for name in sorted(names, key=lambda name: (name not in BACKENDS_FIRST, names.index(name))):
        left_s = end_s - time.monotonic()
        if check.no_gpu and name in backends.BACKENDS:
            yield not_run(name, check.no_gpu, on_gpu=True)
        elif left_s < 1.0:
            yield not_run(name, "the time of this step was used up", on_gpu=True)
        else:
            state = look(name, min(_TRIAL_S, left_s))
            found = f"{state.version}, tried in {state.trial_s or 0.0:.1f} s: {state.placement}"
            if state.usable:
                check.backends.append(name)
                yield Line(name, values={"found": found}, on_gpu=True)
            else:
                yield not_run(name, str(state.reason), on_gpu=True)
