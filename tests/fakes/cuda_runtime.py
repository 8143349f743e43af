"""A CUDA runtime without a device: ONNX Runtime's real CUDA provider starts on it.

The provider's libraries load, sessions start and nodes are assigned as on a GPU, which is all that
is wanted of it: device memory is host memory, and every launch does nothing. Tested with
onnxruntime-gpu 1.31.1 (CUDA 13, cuDNN 9, x86-64 Linux).

folder = build(tmp_path)
env = os.environ | {"LD_LIBRARY_PATH": str(folder)}    # for a child process
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_PROVIDER = "capi/libonnxruntime_providers_cuda.so"
_PROPERTIES = {"size": 1008, "major": 360, "minor": 364, "memory": 288, "processors": 384}
"""Of CUDA 13's ``cudaDeviceProp``: its size and places in it, in bytes."""

_HANDLE = "int {}(void **made) {{ *made = malloc(64); return 0; }}"
_MEMORY = "int {}(void **made, size_t n) {{ *made = malloc(n + 256); return *made ? 0 : 2; }}"
_FREE = "int {}(void *memory) {{ free(memory); return 0; }}"
_COPY = "int {}(void *to, const void *from, size_t n) {{ memcpy(to, from, n); return 0; }}"
_TEXT = 'const char *{}(int error) {{ return "simulated"; }}'
_ONE = "int {}(int *found) {{ *found = 1; return 0; }}"
_VERSION = "int {}(int *found) {{ *found = 13020; return 0; }}"
_NOTHING = "int {}(void) {{ return 0; }}"
_DOING = {
    "cublasCreate_v2": _HANDLE,
    "cublasLtCreate": _HANDLE,
    "cudnnCreate": _HANDLE,
    "cudaStreamCreate": _HANDLE,
    "cudaStreamCreateWithFlags": _HANDLE,
    "cudaEventCreate": _HANDLE,
    "cudaEventCreateWithFlags": _HANDLE,
    "cudaMalloc": _MEMORY,
    "cudaMallocHost": _MEMORY,
    "cudaHostAlloc": _MEMORY,
    "cudaFree": _FREE,
    "cudaFreeHost": _FREE,
    "cudaMemcpy": _COPY,
    "cudaMemcpyAsync": _COPY,
    "cudaGetErrorString": _TEXT,
    "cudaGetErrorName": _TEXT,
    "cudaGetDeviceCount": _ONE,
    "cudaGetDevice": "int {}(int *found) {{ *found = 0; return 0; }}",
    "cudaRuntimeGetVersion": _VERSION,
    "cudaDriverGetVersion": _VERSION,
    "cudnnGetVersion": "size_t {}(void) {{ return 92600; }}",
    "cudaMemset": "int {}(void *to, int c, size_t n) {{ memset(to, c, n); return 0; }}",
    "cudaMemsetAsync": "int {}(void *to, int c, size_t n) {{ memset(to, c, n); return 0; }}",
    "cudaMemGetInfo": (
        "int {}(size_t *left, size_t *all) {{ *left = *all = 1ull << 36; return 0; }}"
    ),
    "cudaStreamIsCapturing": "int {}(void *s, int *found) {{ *found = 0; return 0; }}",
    "cudaDeviceGetAttribute": (
        "int {}(int *found, int which) {{ *found = which == 75 ? 9 : which == 16 ? 132 : 0; "
        "return 0; }}"
    ),
    "cudaGetDeviceProperties": (
        "int {}(char *to) {{ memset(to, 0, SIZE); *(int *)(to + MAJOR) = 9; "
        "*(size_t *)(to + MEMORY) = 1ull << 36; *(int *)(to + PROCESSORS) = 132; return 0; }}"
    ),
    "__cudaRegisterFatBinary": "void **{}(void) {{ static void *handle[4]; return handle; }}",
}


def unavailable() -> str | None:
    """Say why the libraries cannot be built or used here."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the layout of cudaDeviceProp is that of x86-64 Linux"
    if not all(map(shutil.which, ("cc", "nm"))):
        return "no C compiler with nm"
    try:
        found = version("onnxruntime-gpu")
    except PackageNotFoundError:
        return "onnxruntime-gpu is not installed"
    return None if provider().exists() else f"onnxruntime-gpu {found} holds no {_PROVIDER}"


def provider() -> Path:
    """Return the library of the installed CUDA provider."""
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / _PROVIDER


def build(folder: Path) -> Path:
    """Make a library for each that the provider needs, with the functions that it calls."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(provider())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    functions: dict[str, list[str]] = {
        "libcuda.so.1": ["cuInit", "cuTensorMapEncodeTiled"],
        "libcudnn.so.9": _called(r"\b(cudnn[A-Z]\w+)"),
        "libcurand.so.10": ["curandCreateGenerator"],
    }
    for name, library in re.findall(r"U (\w+)@(libcu\S+)", listed):
        functions.setdefault(library, []).append(name)
    for library, names in functions.items():
        _compile(folder, library, sorted(set(names)))
    return folder


def _called(pattern: str) -> list[str]:
    """Return the functions that the provider looks up by name while it runs."""
    text = provider().read_bytes()
    return sorted({found.decode() for found in re.findall(pattern.encode(), text)})


def _compile(folder: Path, library: str, names: list[str]) -> None:
    offsets = [f"-D{key.upper()}={value}" for key, value in _PROPERTIES.items()]
    source, exports = folder / f"{library}.c", folder / f"{library}.map"
    bodies = "\n".join(_DOING.get(name, _NOTHING).format(name) for name in names)
    source.write_text(f"#include <stdlib.h>\n#include <string.h>\n{bodies}\n", encoding="utf-8")
    exports.write_text(f"{library} {{ global: *; }};\n", encoding="utf-8")
    link = [f"-Wl,-soname,{library}", f"-Wl,--version-script={exports}"]
    command = ["cc", "-w", "-shared", "-fPIC", *offsets, *link, "-o", str(folder / library)]
    subprocess.run([*command, str(source)], check=True)
