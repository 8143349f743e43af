"""Whether this process could use a CUDA device, asked of the driver itself."""

import ctypes
import os

_NO_DRIVER = (
    "the NVIDIA driver's library libcuda.so.1 is not on this machine, so no CUDA device can be "
    "used; run it where 'nvidia-smi' lists a GPU (a container must be started with the GPU passed "
    "through), or choose --provider cpu"
)


def unavailable() -> str | None:
    """Say why no CUDA device can be used, in one sentence with the cure; ``None`` if one can.

    The driver is asked before any runtime is loaded: it answers in milliseconds. Call it in a
    process of its own, for ``cuInit`` opens the devices.
    """
    name = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
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
