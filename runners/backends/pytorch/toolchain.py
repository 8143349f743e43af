"""What inductor compiles with: a C++ compiler, Python's headers, Triton, CUDA's headers."""

import os
import subprocess
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from greenbatch.errors import first_line

_HEADERS = ("cuda.h", "cuda_runtime_api.h", "crt/host_defines.h")  # the last is of another wheel
SYSTEM_TOOLKIT = "/usr/local/cuda"
_USES_CUDA = "#include <cuda.h>\n#include <cuda_runtime_api.h>\n"


@cache
def compiler_found() -> str | None:
    """Return the first line that inductor's C++ compiler says of itself."""
    from torch._inductor import cpp_builder

    try:
        result = subprocess.run(
            [cpp_builder.get_cpp_compiler(), "--version"], capture_output=True, text=True
        )
    except (OSError, RuntimeError):
        return None
    return result.stdout.partition("\n")[0] or None


def compiler_missing(provider: str) -> str | None:
    """Say what inductor lacks for a device, in one sentence with the cure; ``None`` if nothing."""
    from torch._inductor import config, cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton_package

    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler:
        tried = [name for name in config.cpp.cxx if name]
        return (
            f"inductor compiles with a C++ compiler and finds none (tried {', '.join(tried)}); "
            "install g++, or name a compiler in the environment variable CXX"
        )
    if provider == "cuda" and not has_triton_package():
        return "inductor writes CUDA kernels with Triton, which is missing; pip install triton"
    return None


def headers_missing() -> str | None:
    """Say that Python's headers are missing; ``None`` if they are there.

    torch.compile binds its kernels to Python with them, and Triton what launches its own. A package
    of AOTInductor for the CPU needs none.
    """
    folder = Path(sysconfig.get_path("include"))
    if (folder / "Python.h").is_file():
        return None
    return (
        f"inductor compiles against Python's headers, and {folder} has no Python.h; install them "
        "(python3-dev or python3-devel of the system), or use a Python that has them"
    )


def toolkit_missing() -> str | None:
    """Say what AOTInductor lacks of CUDA to compile a package; ``None`` if nothing.

    Two lines are compiled and linked as it would: where headers and libraries lie, and which of
    them are needed, differs between toolkits and wheels.
    """
    from torch._inductor import cpp_builder

    find_toolkit()
    try:
        options = cpp_builder.get_cpp_torch_device_options("cuda", aot_mode=True)
    except OSError as error:
        return f"AOTInductor compiles against CUDA's headers and finds none ({error}); {_CURE}"
    _, includes, _, _, folders, libraries, _ = options
    paths = [*(f"-I{each}" for each in includes), *(f"-L{each}" for each in folders)]
    if fault := _compile(*paths):
        return f"AOTInductor compiles against CUDA's headers, and that fails ({fault}); {_CURE}"
    if fault := _compile(*paths, *(f"-l{each}" for each in libraries)):
        return (
            f"AOTInductor links its package with CUDA's libraries, and that fails ({fault}); "
            "install a CUDA toolkit and set CUDA_HOME to it, or make a link libcuda.so to the "
            "driver's libcuda.so.1 in a folder that the environment variable LIBRARY_PATH names"
        )
    return None


_CURE = (
    "install a CUDA toolkit and set CUDA_HOME to it, or pip install nvidia-cuda-runtime and "
    "nvidia-cuda-crt of torch's CUDA version"
)


def find_toolkit() -> None:
    """Set ``CUDA_HOME`` to where CUDA's headers are, unless the user set it.

    torch takes the folder above that of ``nvcc``, which may be a script that lies elsewhere, and
    does not look into NVIDIA's wheels.
    """
    from torch.utils import cpp_extension

    if os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH"):
        return
    wheels = find_spec("nvidia")
    parts = (wheels.submodule_search_locations or []) if wheels else []
    places = [cpp_extension.CUDA_HOME or "", SYSTEM_TOOLKIT]
    places += [str(place) for part in parts for place in sorted(Path(part).glob("cu[0-9]*"))]
    for place in places:
        if place and all(Path(place, "include", name).is_file() for name in _HEADERS):
            os.environ["CUDA_HOME"] = cpp_extension.CUDA_HOME = place
            return


def _compile(*arguments: str) -> str | None:
    """Compile and link two lines that use CUDA; return the first error."""
    from torch._inductor import cpp_builder

    with TemporaryDirectory(prefix="greenbatch-probe-") as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(_USES_CUDA)
        command = [cpp_builder.get_cpp_compiler(), "-shared", "-fPIC", str(source)]
        result = subprocess.run(
            [*command, "-o", str(Path(folder, "probe.so")), *arguments],
            capture_output=True,
            text=True,
        )
    if result.returncode == 0:
        return None
    lines = result.stderr.splitlines()
    found = [line for line in lines if "error" in line or "cannot find" in line]
    return first_line("\n".join(found) or result.stderr)
