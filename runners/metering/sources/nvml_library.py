"""NVML, NVIDIA's management library: opened, closed, and its errors in one sentence each."""

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from greenbatch.errors import MeterUnavailable, UsageError

_T = TypeVar("_T")

Handle: TypeAlias = object
"""NVML's of a device: a pointer that NVML alone reads."""

_INDEX = re.compile(r"[+]?[0-9]+")
_CURES = {
    "LibraryNotFound": "install the NVIDIA driver, or give the container access to the GPU",
    "DriverNotLoaded": "load the NVIDIA driver ('nvidia-smi' must work)",
    "LibRmVersionMismatch": "restart the machine: the driver was updated under a running kernel",
    "NoPermission": "give this user access to /dev/nvidia*",
    "GpuIsLost": "the GPU fell off its bus: restart the machine",
    "ResetRequired": "reset the GPU ('nvidia-smi --gpu-reset')",
}


def open_library() -> None:
    """Load and initialise NVML; every success needs one `close_library`.

    Raises:
        MeterUnavailable: There is no library, no driver or no permission.
    """
    try:
        import pynvml
    except ImportError as error:
        raise MeterUnavailable(
            "cannot read NVML: the Python package nvidia-ml-py is not installed; "
            "run 'pip install nvidia-ml-py' or pass --meter estimate"
        ) from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise MeterUnavailable(f"{explain(error)}, or pass --meter estimate") from error


def close_library() -> None:
    """Shut NVML down; a driver that is gone by then has nothing left to give back."""
    import pynvml

    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return


def explain(error: Exception) -> str:
    """Say an NVML error in one sentence, with the cure where one is known."""
    kind = type(error).__name__.removeprefix("NVMLError_")
    cure = _CURES.get(kind)
    return f"cannot read NVML: {str(error).rstrip('.')}" + (f"; {cure}" if cure else "")


def ask(query: Callable[..., _T], *args: object) -> _T | None:
    """Call an NVML query; ``None`` where the device or the driver does not know it."""
    import pynvml

    try:
        return query(*args)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return None


def visible_devices(
    spec: str | None,
    uuids: Sequence[str],
    names: Sequence[str] = (),
    order: str | None = "PCI_BUS_ID",
) -> list[int | str]:
    """Choose the devices that CUDA would: by ``CUDA_VISIBLE_DEVICES``.

    Args:
        spec: The variable's value; ``None`` where it is not set.
        uuids: The UUID of each device, by NVML's index.
        names: The model of each device, by NVML's index.
        order: The value of ``CUDA_DEVICE_ORDER``; ``None`` where it is not set, which means
            ``FASTEST_FIRST``. NVML numbers by bus, as ``PCI_BUS_ID`` does.

    Returns:
        NVML's indices, and the names of MIG instances as they stand in ``spec``. As in CUDA, an
        entry that names no device hides all that follow it, a device that is named twice hides
        all, and of an index the digits that it begins with are read (torch's
        ``_parse_visible_devices`` does the same).

    Raises:
        UsageError: An index does not say which device is meant: CUDA numbers the fastest first,
            and the devices differ.
    """
    if spec is None:
        return list(range(len(uuids)))
    chosen: list[int | str] = []
    for entry in (part.strip() for part in spec.split(",")):
        if entry.upper().startswith("MIG-"):
            device: int | str = entry
        elif index := _INDEX.match(entry):
            device = int(index[0])
        else:
            found = [i for i, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
            device = found[0] if len(found) == 1 else len(uuids)
        if isinstance(device, int) and device >= len(uuids):
            break
        if device in chosen:
            return []
        chosen.append(device)
    models = set(names)
    by_index = any(_INDEX.match(part.strip()) for part in spec.split(","))
    if order != "PCI_BUS_ID" and by_index and len(models) > 1 and len(chosen) < len(uuids):
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={spec!r} names GPUs by an index, which CUDA counts from the "
            f"fastest GPU and NVML by bus, and the GPUs differ ({', '.join(sorted(models))}); set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPU by the UUID that 'nvidia-smi -L' shows"
        )
    return chosen


def mig_parent(name: str) -> int:
    """Return NVML's index of the GPU that a MIG instance is a part of.

    Args:
        name: ``MIG-<UUID>``, or the older ``MIG-GPU-<UUID of the GPU>/<instance>/<compute>``.

    Raises:
        pynvml.NVMLError: There is no such instance.
    """
    import pynvml

    gpu, slash, _ = name.removeprefix("MIG-").partition("/")
    if slash:
        return int(pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(gpu)))
    instance = pynvml.nvmlDeviceGetHandleByUUID(name)
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
    return int(pynvml.nvmlDeviceGetIndex(parent))
