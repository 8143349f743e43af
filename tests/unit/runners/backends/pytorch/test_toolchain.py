"""What is missing to compile is said before a cell fails for it, with the compiler's own words."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.backends.pytorch import toolchain
from greenbatch.runners.backends.pytorch.aot import TorchAot
from greenbatch.runners.backends.pytorch.base import TorchBackend
from greenbatch.runners.backends.pytorch.compiled import TorchCompiled

HEADERS = ("cuda.h", "cuda_runtime_api.h", "crt/host_defines.h")


def toolkit(folder: Path, *headers: str) -> Path:
    for name in headers:
        file = folder / "include" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (folder / "lib64").mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def no_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has named none, torch has found none, and there are no wheels."""
    for name in ("CUDA_HOME", "CUDA_PATH", "LIBRARY_PATH"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    monkeypatch.setattr(toolchain, "SYSTEM_TOOLKIT", "/nowhere")


def test_without_a_toolkit_the_cure_is_named() -> None:
    reason = str(toolchain.toolkit_missing())
    assert "finds none (CUDA_HOME environment variable is not set" in reason
    assert "set CUDA_HOME" in reason
    assert "nvidia-cuda-crt" in reason


def test_a_toolkit_that_lacks_headers_is_named_by_the_compilers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path, "cuda.h")))
    reason = str(toolchain.toolkit_missing())
    assert "cuda_runtime_api.h: No such file or directory" in reason
    assert "\n" not in reason


@pytest.mark.slow
def test_a_driver_without_its_link_library_is_named_before_a_cell_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers get libcuda.so.1 from the host, but -lcuda wants libcuda.so."""
    if torch.version.cuda is None:
        pytest.skip("this torch has no library for CUDA to link with")
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path, *HEADERS)))
    monkeypatch.setenv("LIBRARY_PATH", str(tmp_path / "links"))
    reason = str(toolchain.toolkit_missing())
    assert "cannot find -lcuda" in reason
    assert "LIBRARY_PATH" in reason
    (tmp_path / "links").mkdir()
    stub = ["g++", "-shared", "-x", "c++", "/dev/null", "-o", str(tmp_path / "links/libcuda.so")]
    subprocess.run(stub, check=True)
    assert toolchain.toolkit_missing() is None


def test_the_headers_of_wheels_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.machinery import ModuleSpec

    nvidia = ModuleSpec("nvidia", None, is_package=True)
    nvidia.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(toolchain, "find_spec", lambda name: nvidia)
    toolkit(tmp_path / "cu12", "cuda.h")
    whole = toolkit(tmp_path / "cu13", *HEADERS)
    # torch takes the folder above that of a script called nvcc.
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(tmp_path / "usr"))
    toolchain.find_toolkit()
    assert str(whole) == cpp_extension.CUDA_HOME


def test_what_the_user_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "SYSTEM_TOOLKIT", str(toolkit(tmp_path / "cuda", *HEADERS)))
    toolchain.find_toolkit()
    assert cpp_extension.CUDA_HOME is None


def test_aot_on_cuda_is_unavailable_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "unavailable", lambda: None)
    monkeypatch.setattr(TorchBackend, "unavailable", lambda provider: None)
    assert "finds none (CUDA_HOME" in str(TorchAot.unavailable("cuda"))
    assert TorchAot.unavailable("cpu") is None


@pytest.mark.parametrize(
    ("backend", "provider"), [(TorchCompiled, "cpu"), (TorchCompiled, "cuda"), (TorchAot, "cuda")]
)
def test_a_python_without_headers_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backend: type[TorchCompiled | TorchAot],
    provider: str,
) -> None:
    monkeypatch.setattr(TorchBackend, "unavailable", lambda provider: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    reason = str(backend.unavailable(provider))
    assert f"{tmp_path} has no Python.h; install" in reason
    assert TorchAot.unavailable("cpu") is None  # its package is not bound to Python
