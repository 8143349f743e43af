"""The CUDA libraries that came with the install are complete, seen without a GPU.

ONNX Runtime goes on with the CPU when its CUDA provider lacks a library. Its provider library is
loaded here after CUDA's: on a machine without a GPU all that may be missing is the driver.
"""

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS

CODE = """
import onnxruntime
from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
libraries.load(onnxruntime, PROVIDERS["cuda"])
print(libraries.missing_library(onnxruntime, PROVIDERS["cuda"]))
"""


@pytest.mark.slow
def test_all_that_the_cuda_provider_lacks_is_the_driver() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this platform has no onnxruntime-gpu wheel")
    printed = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert printed == "None" or "(libcuda.so.1: cannot open shared object file" in printed


def test_the_table_installs_the_tensorrt_that_the_provider_was_linked_with() -> None:
    import onnxruntime

    library = Path(onnxruntime.__file__).parent / "capi/libonnxruntime_providers_tensorrt.so"
    if not library.is_file():
        pytest.skip("this platform has no onnxruntime-gpu wheel")
    needed = re.search(rb"libnvinfer\.so\.(\d+)\0", library.read_bytes())
    cuda = re.search(rb"libcudart\.so\.(\d+)\0", library.read_bytes())
    assert needed is not None
    assert cuda is not None
    major = int(needed[1])
    assert libraries.tensorrt_major(library) == major
    assert PROVIDERS["tensorrt"].install.endswith(
        f" tensorrt-cu{int(cuda[1])}>={major},<{major + 1}"
    )


@pytest.fixture
def ort(tmp_path: Path) -> ModuleType:
    """An onnxruntime whose TensorRT provider was linked with version 12."""
    (tmp_path / "capi").mkdir()
    for name in ("cuda", "tensorrt"):
        (tmp_path / f"capi/libonnxruntime_providers_{name}.so").write_bytes(
            b"\0N8nvinfer17ILoggerE\0libnvinfer_plugin.so.1\0libnvinfer.so.12\0"
        )
    found = SimpleNamespace(
        __file__=str(tmp_path / "__init__.py"), __version__="9.9.9", preload_dlls=lambda: None
    )
    return cast("ModuleType", found)


def test_the_cure_names_the_tensorrt_that_the_installed_provider_needs(
    ort: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, mode: int = 0) -> None:
        if name.endswith("_tensorrt.so"):
            raise OSError("libnvinfer.so.12: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    reason = libraries.missing_library(ort, PROVIDERS["tensorrt"])
    assert reason == (
        "the library of TensorrtExecutionProvider cannot be loaded (libnvinfer.so.12: cannot open "
        "shared object file); install what is missing, NVIDIA's own libraries by: "
        "pip install 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13>=12,<13'"
    )


def test_of_several_versions_of_tensorrt_the_one_that_fits_is_loaded(
    ort: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tensorrt_libs"
    folder.mkdir()
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        for version in ("11", "12"):
            (folder / f"lib{name}.so.{version}").touch()
    (folder / "libnvinfer_builder_resource.so.12.1.0").touch()
    found = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(libraries, "find_spec", lambda name: found)
    loaded: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name, mode=0: loaded.append(Path(name).name))
    libraries._preload(ort, PROVIDERS["tensorrt"])
    assert loaded == ["libnvinfer.so.12", "libnvinfer_plugin.so.12", "libnvonnxparser.so.12"]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_cudnn_is_looked_for_although_the_provider_loads_without_it(
    ort: ModuleType, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    def absent(name: str, mode: int = 0) -> None:
        if Path(name).name.startswith("libcudnn"):
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    reason = str(libraries.missing_library(ort, PROVIDERS[provider]))
    assert "computes convolutions with cuDNN, which cannot be loaded (libcudnn.so.9" in reason
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in reason
    monkeypatch.setattr(ctypes, "CDLL", lambda name, mode=0: None)
    assert libraries.missing_library(ort, PROVIDERS[provider]) is None
