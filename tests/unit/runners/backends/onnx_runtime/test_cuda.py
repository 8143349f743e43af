"""ONNX Runtime on a GPU, up to the driver: what is asked of it, by a module that writes it down.

Nothing here has run on a GPU.
"""

import ctypes
import os
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from greenbatch.errors import BackendUnavailable, PlacementError, StudyError, UnsupportedCell
from greenbatch.records import FACTORS, Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.backends import spec as spec_module
from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from tests.fakes.onnx_runtime import FakeOrt, Session


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> FakeOrt:
    """Stands for onnxruntime, with a driver that pins."""
    fake = FakeOrt()
    monkeypatch.setitem(sys.modules, "onnxruntime", cast("Any", fake))
    monkeypatch.setattr(libraries, "missing_library", lambda *_: None)
    monkeypatch.setattr(cuda_driver, "pin", lambda *_: None)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    for provider in PROVIDERS.values():
        name = f"onnxruntime-{provider.name}"
        spec = spec_module.BackendSpec(name, "onnxruntime", provider.name, provider.device, "")
        monkeypatch.setitem(backends.BACKENDS, name, spec)
    return fake


def load(
    provider: str = "cuda",
    *,
    io: str = "host",
    precision: str = "fp32",
    allow_fallback: bool = False,
    cache: Path | None = None,
    **settings: backends.Setting,
) -> OnnxSession:
    task = backends.Task(
        cell=Cell("tiny", f"onnxruntime-{provider}", precision, io, batch_size=2),
        artifact=Path("tiny.onnx"),
        weights=Path("tiny.safetensors"),
        manifest=cast("Any", SimpleNamespace(outputs=[SimpleNamespace(dims=("batch", 4))])),
        threads=3,
        images=np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
        allow_fallback=allow_fallback,
        settings={name.replace("__", "."): value for name, value in settings.items()},
        cache=cache,
    )
    return OnnxSession(task)


def given(ort: FakeOrt) -> dict[str, str]:
    return dict(ort.sessions[-1].options_of_provider)


def test_libraries_are_loaded_before_the_session_is_made(ort: FakeOrt) -> None:
    load()
    assert ort.log[:2] == ["preload", "session"]


def test_cuda_starts_without_tf32_with_a_search_and_an_arena_that_does_not_double(
    ort: FakeOrt,
) -> None:
    load()
    assert given(ort) == {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
    }


def test_what_the_user_sets_on_the_provider_wins(ort: FakeOrt) -> None:
    backend = load(provider__cudnn_conv_algo_search="HEURISTIC", provider__use_tf32="1")
    assert given(ort)["cudnn_conv_algo_search"] == "HEURISTIC"
    assert given(ort)["arena_extend_strategy"] == "kSameAsRequested"
    assert backend.settings["autotuning"] == "cuDNN HEURISTIC"


def test_tf32_is_told_where_nothing_forbids_it(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(provider__use_tf32="1")
    assert backend.settings["arithmetic"] == "fp32"  # the libraries are told not to
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert backend.settings["arithmetic"] == "tf32"
    assert load().settings["arithmetic"] == "fp32"


@pytest.mark.parametrize(("provider", "forbidden"), [("cuda", None), ("tensorrt", "0")])
def test_tf32_is_forbidden_to_libraries_only_where_no_option_does(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, provider: str, forbidden: str | None
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    backend = load(provider)
    assert os.environ.get("NVIDIA_TF32_OVERRIDE") == forbidden
    assert backend.settings["arithmetic"] == "fp32"


def test_with_host_io_each_run_copies_in_and_out(ort: FakeOrt) -> None:
    backend = load(io="host")
    assert {value.device for value in ort.sessions[0].bound.values()} == {"cuda"}
    del ort.log[:]
    backend.run()
    backend.run()
    assert ort.log == ["to cuda", "run", "to cpu"] * 2
    assert backend.outputs().tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert backend.settings["host_memory"] == "pinned"


def test_with_device_io_no_run_copies(ort: FakeOrt) -> None:
    backend = load(io="device")
    del ort.log[:]
    backend.run()
    assert ort.log == ["run", "wait"]
    assert backend.outputs().tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert "host_memory" not in backend.settings


@pytest.mark.parametrize(
    ("provider", "option"), [("cuda", "enable_cuda_graph"), ("tensorrt", "trt_cuda_graph_enable")]
)
def test_a_cuda_graph_has_fixed_addresses_and_the_copies_outside(
    ort: FakeOrt, provider: str, option: str
) -> None:
    backend = load(provider, enable_cuda_graph=True)
    assert given(ort)[option] == "1"
    before = {name: id(value) for name, value in ort.sessions[0].bound.items()}
    backend.run()
    backend.run()
    assert {name: id(value) for name, value in ort.sessions[0].bound.items()} == before
    assert backend.settings["graph_capture"] is True
    assert load(provider).settings["graph_capture"] is False


def test_tensorrt_is_told_the_precision_and_keeps_its_engines(ort: FakeOrt, tmp_path: Path) -> None:
    load("tensorrt", precision="fp16", cache=tmp_path)
    assert given(ort)["trt_fp16_enable"] == "1"
    assert given(ort)["trt_engine_cache_path"] == str(tmp_path)
    load("tensorrt")
    assert given(ort) == {}


def test_tensorrt_leaves_what_it_cannot_to_cuda_when_it_may(ort: FakeOrt) -> None:
    load("tensorrt", allow_fallback=True)
    assert [name for name, _ in ort.sessions[-1].providers] == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
    ]


def test_nodes_that_the_provider_cannot_run_are_refused_by_name(ort: FakeOrt) -> None:
    ort.on_cpu = ("node_a", "node_b", "node_d", "node_e")
    with pytest.raises(PlacementError) as told:
        load()
    assert str(told.value) == (
        "CUDAExecutionProvider left nodes of tiny.onnx (4 of 5 to CPUExecutionProvider: "
        "Conv 'node_a', Conv 'node_b', Conv 'node_d' and 1 more); "
        "pass --allow-fallback to measure the mixture and record it"
    )


def test_a_graph_is_refused_even_where_onnxruntime_does_not_refuse_it(ort: FakeOrt) -> None:
    ort.on_cpu, ort.refuses = ("node_c",), False
    with pytest.raises(PlacementError, match=r"1 of 5 to CPUExecutionProvider: Conv 'node_c'\)"):
        load()


def test_an_option_that_is_taken_but_not_listed_is_refused(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"CUDAExecutionProvider": {"use_tf32": "0", "device_id": "0"}}
    monkeypatch.setattr(Session, "get_provider_options", lambda self: listed)
    with pytest.raises(StudyError) as told:
        load(provider__nonsense="7")
    assert str(told.value) == (
        "CUDAExecutionProvider has no option 'nonsense'; it has device_id, use_tf32"
    )
    load(provider__use_tf32="0")


def test_a_library_that_is_missing_is_told_when_the_session_does_not_start(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort.known = ()
    monkeypatch.setattr(libraries, "missing_library", lambda *_: "libnvinfer is not there")
    with pytest.raises(BackendUnavailable, match="libnvinfer is not there"):
        load("tensorrt", precision="fp16")


def test_with_a_fallback_allowed_they_run_and_it_is_recorded(ort: FakeOrt) -> None:
    ort.on_cpu = ("node_d",)
    backend = load(allow_fallback=True)
    backend.run()
    assert backend.fell_back
    assert backend.placement == {"CUDAExecutionProvider": 4, "CPUExecutionProvider": 1}


def test_an_option_that_the_provider_refuses_is_told_with_a_cure(ort: FakeOrt) -> None:
    ort.known = tuple(PROVIDERS["cuda"].options)
    with pytest.raises(StudyError) as told:
        load(provider__nonsense="7")
    assert str(told.value) == (
        "CUDAExecutionProvider refuses nonsense=7: Unknown option: nonsense; see its page under "
        "https://onnxruntime.ai/docs/execution-providers for names and values"
    )


def test_an_error_that_is_not_of_an_option_stays_as_it_is(ort: FakeOrt) -> None:
    ort.known = ()
    with pytest.raises(RuntimeError, match="Unknown option: use_tf32"):
        load(provider__nonsense="7")


def test_a_provider_with_memory_of_its_own_is_copied_to_in_each_run(
    ort: FakeOrt,
) -> None:
    ort.available = ("DmlExecutionProvider", "CPUExecutionProvider")
    backend = load("dml")
    backend.run()
    assert ort.log == ["session", "run with copies"]
    assert backend.outputs().tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    with pytest.raises(UnsupportedCell, match=r"onnxruntime-dml .* measure it with --io host"):
        load("dml", io="device")


def test_a_plugin_is_registered_once_and_its_device_chosen(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = SimpleNamespace(get_library_path=lambda: "/a/plugin.so", __spec__=object())
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_webgpu", cast("Any", plugin))
    with pytest.raises(BackendUnavailable, match="WebGpuExecutionProvider finds no device"):
        load("webgpu")
    ort.registered.clear()
    device = SimpleNamespace(ep_name="WebGpuExecutionProvider")
    ort.plugin_devices = [SimpleNamespace(ep_name="CPUExecutionProvider"), device, device]
    backend = load("webgpu")
    load("webgpu")
    assert ort.registered == [("webgpu", "/a/plugin.so")]
    assert ort.sessions[-1].options.devices == [([device], {})]
    assert backend.placement == {"WebGpuExecutionProvider": 5}


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_provider_tells_every_factor(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    ort.available = [PROVIDERS[provider].execution_provider, "CPUExecutionProvider"]
    settings = load(provider).settings
    assert set(FACTORS) - set(settings) == {"affinity", "transfers"}


class Driver:
    """Stands for libcuda; ``failing`` returns 801."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, *arguments))
            return 801 if name == self.failing else 0

        return call


def test_memory_is_pinned_in_the_context_that_runtimes_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda_driver.pin(4096, 100) is None
    names = [call[0] for call in driver.calls]
    assert names.index("cuCtxSetCurrent") < names.index("cuMemHostRegister_v2")
    _, address, size, _flags = driver.calls[-1]
    assert (address.value, size.value) == (4096, 100)


def test_memory_that_cannot_be_pinned_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver("cuMemHostRegister_v2"))
    assert cuda_driver.pin(4096, 100) == "pageable (cuMemHostRegister_v2 returned 801)"


UUID = uuid.UUID("1a2b3c4d-0000-1111-2222-333344445555")


class UuidDriver(Driver):
    """Stands for a libcuda with two devices; the thread's context is on ``current``."""

    def __init__(self, current: int | None) -> None:
        super().__init__()
        self.current = current

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802  # the driver's name
        if self.current is None:
            return 201  # CUDA_ERROR_INVALID_CONTEXT
        device._obj.value = self.current
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetUuid_v2(self, found: Any, device: Any) -> int:  # noqa: N802
        found.raw = uuid.UUID(int=UUID.int + device.value).bytes
        return 0


@pytest.mark.parametrize(("current", "offset"), [(None, 0), (0, 0), (1, 1)])
def test_the_uuid_is_that_of_the_device_that_computes(
    monkeypatch: pytest.MonkeyPatch, current: int | None, offset: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: UuidDriver(current))
    assert cuda_driver.current_uuid() == f"GPU-{uuid.UUID(int=UUID.int + offset)}"


def test_a_driver_that_does_not_say_has_no_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver("cuDeviceGetUuid_v2"))
    assert cuda_driver.current_uuid() is None

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert cuda_driver.current_uuid() is None
