"""Print the GPUs as CUDA and as NVML list them, as one line of JSON; a process of its own.

``cuInit`` opens the devices, and a broken driver may hang.
"""

import ctypes
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias

Device: TypeAlias = Mapping[str, object]


def main() -> None:
    """Print them."""
    from greenbatch.runners.backends import cuda_driver

    absent = cuda_driver.unavailable() or ""
    cuda = [] if absent else cuda_devices(ctypes.CDLL(cuda_driver._LIBRARY))
    nvml, nvml_absent = nvml_devices()
    found = {"cuda": cuda, "cuda_absent": absent, "nvml": nvml, "nvml_absent": nvml_absent}
    print(json.dumps(found))


def cuda_devices(driver: ctypes.CDLL) -> Sequence[Device]:
    """Return index, name and UUID of each visible device of a driver that has started."""
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    return [_cuda_device(driver, index) for index in range(count.value)]


def _cuda_device(driver: ctypes.CDLL, index: int) -> Device:
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    found = ctypes.create_string_buffer(16)
    known = not driver.cuDeviceGetUuid(found, device)
    return {
        "index": index,
        "name": name.value.decode(errors="replace"),
        "uuid": f"GPU-{uuid.UUID(bytes=found.raw)}" if known else "",
    }


def nvml_devices() -> tuple[Sequence[Device], str]:
    """Return what NVML has of each device, and why it lists none."""
    try:
        from greenbatch.runners.doctor import gpus
    except ImportError as error:
        return [], f"NVML cannot be read: {error}"
    found = gpus.look()
    kept = ("index", "name", "uuid", "compute_capability", "mig", "power_limit_w")
    devices = [
        {key: value for key, value in asdict(gpu).items() if key in kept} | {"driver": found.driver}
        for gpu in found.devices
    ]
    return devices, found.absent or ""


if __name__ == "__main__":
    main()
