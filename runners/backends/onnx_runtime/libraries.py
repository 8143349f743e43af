"""What an execution provider needs besides ONNX Runtime: shared libraries and plugins."""

import ctypes
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from greenbatch.errors import BackendUnavailable
from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.backends.onnx_runtime.interface import Device
from greenbatch.runners.backends.onnx_runtime.providers import Provider

_LIBRARY = "onnxruntime_providers_{}.dll" if os.name == "nt" else "libonnxruntime_providers_{}.so"
_BUILT_IN = ("cuda", "tensorrt")  # those that have a library of their own
# In the order in which each needs the one before.
_TENSORRT = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
# Of these the CUDA provider opens what a node needs only when it runs: loading it proves nothing.
_CUDNN = "cudnn64_9.dll" if os.name == "nt" else "libcudnn.so.9"


def unavailable(ort: ModuleType, provider: Provider) -> str | None:
    """Say in one sentence, cure included, why a provider cannot run here; ``None`` if it can."""
    built_in = provider.execution_provider in ort.get_available_providers()
    if not built_in and not _has_plugin(provider):
        return (
            f"the installed onnxruntime {ort.__version__} was built without "
            f"{provider.execution_provider}; install {provider.install} in its place"
        )
    if provider.device == "cuda" and (reason := cuda_driver.unavailable()):
        return reason
    try:
        load(ort, provider)
    except BackendUnavailable as error:
        return str(error)
    return missing_library(ort, provider)


def load(ort: ModuleType, provider: Provider) -> list[Device]:
    """Load what the provider needs, and return the devices of its plugin (none if built in).

    Call it once before a session is made.

    Raises:
        BackendUnavailable: Its plugin finds no device, or ONNX Runtime is too old.
    """
    if provider.name in ("tensorrt", "tensorrt-rtx"):
        # They have no option to do without TF32; NVIDIA's libraries read this when loaded.
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    if provider.execution_provider in ort.get_available_providers():
        if provider.name in _BUILT_IN:
            _preload(ort, provider)
        return []
    return _plugin_devices(ort, provider)


def missing_library(ort: ModuleType, provider: Provider) -> str | None:
    """Say which shared library a built-in NVIDIA provider lacks; ``None`` when it loads.

    ONNX Runtime itself only logs this and goes on with the CPU, so its provider library is loaded
    here by hand. Call `load` before.
    """
    if provider.name not in _BUILT_IN:
        return None
    library = _library(ort, provider)
    try:
        ctypes.CDLL(str(library.with_name(_LIBRARY.format("shared"))), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        return (
            f"the library of {provider.execution_provider} cannot be loaded ({error}); "
            f"{_cure(provider, library)}"
        )
    try:
        ctypes.CDLL(_CUDNN)
    except OSError as error:
        return (
            f"{provider.execution_provider} computes convolutions with cuDNN, which cannot be "
            f"loaded ({error}); {_cure(provider, library)}"
        )
    return None


def _cure(provider: Provider, library: Path) -> str:
    packages = provider.install.split()
    major = tensorrt_major(library) if provider.name == "tensorrt" else None
    if major is not None:  # the installed ONNX Runtime's own need, whatever the table says
        packages = [_of_major(package, major) for package in packages]
    return f"install what is missing, NVIDIA's own libraries by: pip install {shlex.join(packages)}"


def _of_major(package: str, major: int) -> str:
    name = re.split("[<>=]", package)[0]
    return f"{name}>={major},<{major + 1}" if name.startswith("tensorrt") else package


def tensorrt_major(library: Path) -> int | None:
    """Return the major version of TensorRT that a provider's library was linked with.

    Args:
        library: Holds the names of the libraries that it needs: ``libnvinfer.so.10``.

    Returns:
        ``None`` where the library is missing or its names say nothing.
    """
    try:
        found = re.search(rb"nvinfer(?:\.so\.|_)(\d+)\b", library.read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


def _library(ort: ModuleType, provider: Provider) -> Path:
    return Path(str(ort.__file__)).parent / "capi" / _LIBRARY.format(provider.name)


def _preload(ort: ModuleType, provider: Provider) -> None:
    """Load CUDA, cuDNN and TensorRT from their wheels: the provider does not look there itself."""
    if not hasattr(ort, "preload_dlls"):
        raise BackendUnavailable(
            f"onnxruntime {ort.__version__} has no preload_dlls; wanted 1.24 or later, upgrade it"
        )
    ort.preload_dlls()
    found = find_spec("tensorrt_libs") if provider.name == "tensorrt" else None
    if found is None or found.origin is None:
        return  # it may be where the system looks; `missing_library` tells if it is not
    folder = Path(found.origin).parent
    major = tensorrt_major(_library(ort, provider)) or "*"
    for name in _TENSORRT:
        pattern = f"{name}_{major}.dll" if os.name == "nt" else f"lib{name}.so.{major}"
        for library in sorted(folder.glob(pattern))[:1]:
            with suppress(OSError):  # again for `missing_library` to tell
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def _has_plugin(provider: Provider) -> bool:
    return provider.plugin is not None and find_spec(provider.plugin) is not None


def _plugin_devices(ort: ModuleType, provider: Provider) -> list[Device]:
    from importlib import import_module

    if not _has_plugin(provider) or not hasattr(ort, "register_execution_provider_library"):
        raise BackendUnavailable(
            f"onnxruntime {ort.__version__} has neither {provider.execution_provider} nor a plugin "
            f"for it; install {provider.install}"
        )
    wanted = provider.execution_provider
    devices = _devices_of(ort, wanted)
    if not devices:
        library = import_module(str(provider.plugin)).get_library_path()
        try:
            ort.register_execution_provider_library(provider.name, library)
        except Exception as error:  # ONNX Runtime's errors have no common root
            raise BackendUnavailable(
                f"the plugin {library} cannot be loaded ({' '.join(str(error).split())}); install "
                f"{provider.install} in versions that go together"
            ) from error
        devices = _devices_of(ort, wanted)
    if not devices:
        raise BackendUnavailable(
            f"{wanted} finds no device on this machine that it can use; check the device's driver, "
            "or choose another --provider"
        )
    return devices[:1]


def _devices_of(ort: ModuleType, wanted: str) -> list[Device]:
    devices: Sequence[Device] = ort.get_ep_devices()
    return [device for device in devices if device.ep_name == wanted]
