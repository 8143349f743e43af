"""Calls to the CUDA driver itself: whether there is a device, which one, and to pin memory."""

import ctypes
import os
import uuid

_NO_DRIVER = (
    "the NVIDIA driver's library libcuda.so.1 is not on this machine, so no CUDA device can be "
    "used; run it where 'nvidia-smi' lists a GPU (a container must be started with the GPU passed "
    "through), or choose --provider cpu"
)
_LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_PORTABLE = 1  # CU_MEMHOSTREGISTER_PORTABLE: pinned for every context of the process
_ALREADY_REGISTERED = 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, also of a part of the range
_MEMORY_TYPE, _OF_HOST = 2, 1  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_MEMORYTYPE_HOST


def unavailable() -> str | None:
    """Say why no CUDA device can be used, in one sentence with the cure; ``None`` if one can.

    The driver is called before any runtime is loaded: it answers in milliseconds. Call it in a
    process of its own, for ``cuInit`` opens the devices.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return _NO_DRIVER
    if code := driver.cuInit(0):
        return (
            f"the CUDA driver refuses to start (cuInit returned {code}); check that 'nvidia-smi' "
            "lists a GPU and that CUDA_VISIBLE_DEVICES names one, or choose --provider cpu"
        )
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return (
            "the CUDA driver lists no device; check that CUDA_VISIBLE_DEVICES "
            f"({os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}) names one, "
            "or choose --provider cpu"
        )
    return None


def current_uuid() -> str | None:
    """Return the UUID of the device that this thread computes on.

    It is the device of the thread's CUDA context, and the first visible one where the runtime
    keeps its contexts to threads of its own.

    Returns:
        ``GPU-`` and 32 hex digits as ``nvidia-smi -L`` has them, of a MIG instance its own;
        ``None`` where the driver does not report it.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
        ask = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
    except (OSError, AttributeError):
        return None
    device, found = ctypes.c_int(0), ctypes.create_string_buffer(16)
    if driver.cuInit(0):
        return None
    if driver.cuCtxGetDevice(ctypes.byref(device)) and driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if ask(found, device):
        return None
    return f"GPU-{uuid.UUID(bytes=found.raw)}"


def pin(address: int, size_bytes: int) -> str | None:
    """Lock host memory for copies to the first CUDA device, until the process ends.

    A copy from memory that is not locked goes through a buffer of the driver's, by the CPU. Any
    runtime that uses the device in this process profits, for all share its primary context. Memory
    that is locked already, by an earlier call for a larger batch, stays so.

    Args:
        address: Where the memory begins.
        size_bytes: Its length.

    Returns:
        ``None``, or ``pageable`` with the reason in brackets.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return "pageable (no CUDA driver)"
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    for name, arguments in (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDevicePrimaryCtxRetain", (ctypes.byref(context), device)),
        ("cuCtxSetCurrent", (context,)),
        (
            "cuMemHostRegister_v2",
            (ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), _PORTABLE),
        ),
    ):
        code = getattr(driver, name)(*arguments)
        if code == _ALREADY_REGISTERED and _is_locked(driver, (address, address + size_bytes - 1)):
            return None
        if code:
            return f"pageable ({name} returned {code})"
    return None


def _is_locked(driver: ctypes.CDLL, addresses: tuple[int, ...]) -> bool:
    """Whether the driver knows each of these addresses as locked memory of the host."""
    for address in addresses:
        kind = ctypes.c_uint(0)
        pointer = ctypes.c_void_p(address)
        if driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, pointer):
            return False
        if kind.value != _OF_HOST:
            return False
    return True
