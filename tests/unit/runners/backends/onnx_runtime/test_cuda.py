"""ONNX Runtime on a GPU, up to the driver: what is asked of it, by a module that writes it down.

Nothing here has run on a GPU.
"""

import itertools
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from greenbatch.errors import BackendUnavailable, PlacementError, StudyError, UnsupportedCell
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import FACTORS, Cell, InputSpec, TensorSpec
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.backends import spec as spec_module
from greenbatch.runners.backends.onnx_runtime import libraries
from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.scenarios.batches import Batches
from greenbatch.testing.outputs import only_output
from tests.fakes.onnx_runtime import NODES, FakeOrt, Session, write_network


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeOrt:
    """Stands for onnxruntime, with a driver that pins and a network in the folder."""
    fake = FakeOrt()
    monkeypatch.chdir(tmp_path)
    write_network(Path("tiny.onnx"))
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
    batch_size: int = 2,
    **settings: backends.Setting,
) -> OnnxSession:
    return OnnxSession(
        task(
            provider,
            io=io,
            precision=precision,
            allow_fallback=allow_fallback,
            cache=cache,
            batch_size=batch_size,
            **settings,
        )
    )


def task(
    provider: str = "cuda",
    *,
    io: str = "host",
    precision: str = "fp32",
    allow_fallback: bool = False,
    cache: Path | None = None,
    batch_size: int = 2,
    **settings: backends.Setting,
) -> backends.Task:
    images = InputSpec(name="images", shape=(3, 2, 2))
    logits = TensorSpec(name="logits", dtype="float32", dims=("batch", 4))
    return backends.Task(
        cell=Cell("tiny", f"onnxruntime-{provider}", precision, io, batch_size=batch_size),
        artifact=Path("tiny.onnx"),
        weights=Path("tiny.safetensors"),
        manifest=cast("Any", SimpleNamespace(input=images, outputs=[logits])),
        threads=3,
        images=np.arange(12 * batch_size, dtype=np.float32).reshape(batch_size, 3, 2, 2),
        allow_fallback=allow_fallback,
        settings={name.replace("__", "."): value for name, value in settings.items()},
        cache=cache,
    )


def given(ort: FakeOrt) -> dict[str, str]:
    return dict(ort.sessions[-1].options_of_provider)


def test_libraries_are_loaded_before_the_session_is_made(ort: FakeOrt) -> None:
    load()
    assert ort.log[:2] == ["preload", "session"]


def test_cuda_starts_without_tf32_with_a_heuristic_and_an_arena_that_does_not_double(
    ort: FakeOrt,
) -> None:
    backend = load()
    assert given(ort) == {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert backend.settings["autotuning"] == "none: cuDNN's heuristic, mode A"


def test_what_the_user_sets_on_the_provider_wins(ort: FakeOrt) -> None:
    backend = load(provider__cudnn_conv_algo_search="EXHAUSTIVE", provider__use_tf32="1")
    assert given(ort)["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert given(ort)["arena_extend_strategy"] == "kSameAsRequested"
    assert backend.settings["autotuning"] == "none: cuDNN's heuristic, mode B"


@pytest.mark.parametrize("search", ["EXHAUSTIVE", "HEURISTIC", "DEFAULT"])
def test_a_search_is_named_by_what_it_does_in_that_version(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    for version, timed in (("1.19.2", ["EXHAUSTIVE"]), ("1.20.0", []), ("1.31.1", [])):
        monkeypatch.setattr(FakeOrt, "__version__", version)
        found = load(provider__cudnn_conv_algo_search=search).settings["autotuning"]
        assert ("in the warm-up" in str(found)) == (search in timed)
        assert str(found).startswith("none") == (search not in timed)


def test_on_cuda_the_memory_of_a_run_is_not_taken_twice(ort: FakeOrt) -> None:
    """The arena would keep what the first run took beside the block that the second one takes."""
    assert load().settings["memory_pattern"] is False
    assert load("tensorrt").settings["memory_pattern"] is False
    assert load(enable_mem_pattern=True).settings["memory_pattern"] is True
    assert load("cpu").settings["memory_pattern"] is True


@pytest.mark.parametrize(
    "settings", [{"enable_cuda_graph": True}, {"provider__enable_cuda_graph": "1"}]
)
def test_a_capture_finds_memory_in_the_arena(ort: FakeOrt, settings: dict[str, Any]) -> None:
    load(**settings)
    assert given(ort)["arena_extend_strategy"] == "kNextPowerOfTwo"
    load(provider__arena_extend_strategy="kSameAsRequested", **settings)
    assert given(ort)["arena_extend_strategy"] == "kSameAsRequested"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_lower_precisions_keep_the_tensor_cores(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    backend = load(precision=precision)
    assert "use_tf32" not in given(ort)
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    assert backend.settings["arithmetic"] == precision


def test_int8_on_cuda_is_named_by_what_multiplies_it(ort: FakeOrt) -> None:
    backend = load(precision="int8")
    assert given(ort)["use_tf32"] == "0"
    assert backend.settings["arithmetic"] == "fp32"


def test_arithmetic_is_what_cudnn_may_do(ort: FakeOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    requested, fp32, int8 = load(provider__use_tf32="1"), load(), load(precision="int8")
    for backend in (requested, fp32, int8):  # the libraries are forbidden to use TF32
        assert backend.settings["arithmetic"] == "fp32"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")  # reserved: what it does is not documented
    assert requested.settings["arithmetic"] is None
    assert requested.settings["NVIDIA_TF32_OVERRIDE"] == "1"
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    assert requested.settings["arithmetic"] == "tf32"
    assert fp32.settings["arithmetic"] == "fp32, tf32 where cuDNN needs it"
    assert int8.settings["arithmetic"] == "fp32, tf32 where cuDNN needs it"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_fp32_forbids_tf32_to_nvidias_libraries_before_they_are_loaded(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    seen = []
    monkeypatch.setattr(
        FakeOrt, "preload_dlls", lambda self: seen.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))
    )
    backend = load(provider)
    assert seen == ["0"]
    assert backend.settings["arithmetic"] == "fp32"
    assert backend.settings["NVIDIA_TF32_OVERRIDE"] == "0"


def test_a_cell_that_asks_for_tf32_is_not_forbidden_it(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    backend = load(provider__use_tf32="1")
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    assert backend.settings["arithmetic"] == "tf32"


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_what_tensorrt_computes_in_is_its_own_choice(ort: FakeOrt, precision: str) -> None:
    assert load("tensorrt", precision=precision).settings["arithmetic"] is None


def test_with_host_io_each_run_copies_in_and_out(ort: FakeOrt) -> None:
    backend = load(io="host")
    assert {value.device for value in ort.sessions[0].bound.values()} == {"cuda"}
    del ort.log[:]
    backend.run()
    backend.run()
    assert ort.log == ["to cuda", "run", "to cpu"] * 2
    assert only_output(backend).tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert backend.settings["host_memory"] == "pinned"
    assert backend.settings["copies"] == "inputs pinned, outputs pageable; waits 3 times"


def test_with_device_io_no_run_copies(ort: FakeOrt) -> None:
    backend = load(io="device")
    del ort.log[:]
    backend.run()
    assert ort.log == ["run", "wait"]
    assert only_output(backend).tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert "host_memory" not in backend.settings
    assert "copies" not in backend.settings


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
    assert {name for name in given(ort) if not name.startswith("trt_profile_")} == set()


@pytest.mark.parametrize(("provider", "prefix"), [("tensorrt", "trt"), ("tensorrt-rtx", "nv")])
def test_an_engine_is_built_for_the_cells_batch_when_it_is_loaded(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, provider: str, prefix: str
) -> None:
    ort.available = [PROVIDERS[provider].execution_provider, "CPUExecutionProvider"]
    names = [f"{prefix}_profile_{end}_shapes" for end in ("min", "opt", "max")]
    load(provider)
    assert [given(ort)[name] for name in names] == ["images:2x3x2x2"] * 3
    requested: dict[str, Any] = {f"provider__{names[0]}": "images:1x3x2x2"}
    load(provider, **requested)  # ONNX Runtime wants all three or none
    assert [given(ort).get(name) for name in names] == ["images:1x3x2x2", None, None]


def test_tensorrt_leaves_what_it_cannot_to_cuda_when_it_may(ort: FakeOrt) -> None:
    load("tensorrt", allow_fallback=True)
    assert [name for name, _ in ort.sessions[-1].providers] == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
    ]


def test_nodes_that_the_provider_cannot_run_are_refused_by_name(ort: FakeOrt) -> None:
    ort.on_cpu = ("conv", "relu", "flat", "scaled")
    with pytest.raises(PlacementError) as caught:
        load()
    assert str(caught.value) == (
        "CUDAExecutionProvider left nodes of tiny.onnx (4 of 9 to CPUExecutionProvider: "
        "Conv 'conv', Relu 'relu', Reshape 'flat' and 1 more); "
        "pass --allow-fallback to measure the mixture and record it"
    )


def test_nodes_that_compute_sizes_alone_may_be_on_the_cpu_and_are_named(ort: FakeOrt) -> None:
    ort.on_cpu = ("first", "sizes")
    backend = load()
    assert not backend.fell_back
    assert backend.placement == {"CUDAExecutionProvider": 7}
    assert backend.settings["shape_nodes"] == "2 on the CPU: Slice 'first', Concat 'sizes'"
    ort.on_cpu = ()
    assert "shape_nodes" not in load().settings


def test_a_node_that_no_provider_has_a_kernel_for_is_named(ort: FakeOrt) -> None:
    ort.nowhere = "relu"
    with pytest.raises(PlacementError) as caught:
        load(precision="bf16")
    assert str(caught.value) == (
        "neither CUDAExecutionProvider nor the CPU has a kernel for Relu 'relu' of tiny.onnx; "
        "choose another precision, or measure this one with torch"
    )


def test_int8_that_is_for_the_cpu_is_refused_with_the_way_to_one_for_gpus(ort: FakeOrt) -> None:
    write_network(Path("tiny.onnx"), bias="int32")
    ort.on_cpu = ("bias",)
    with pytest.raises(PlacementError, match=r"DequantizeLinear 'bias'\).*--int8-for gpu"):
        load(precision="int8")


def test_whole_numbers_on_their_way_into_the_logits_are_no_sizes(ort: FakeOrt) -> None:
    ort.on_cpu = ("first", "sizes", "count")
    with pytest.raises(PlacementError, match=r"1 of 9 to CPUExecutionProvider: Gather 'count'\)"):
        load()


def test_nodes_that_compute_sizes_belong_to_the_cpu_alone(ort: FakeOrt) -> None:
    ort.elsewhere = {"CUDAExecutionProvider": ("first",)}
    with pytest.raises(PlacementError, match=r"1 of 9 to CUDAExecutionProvider: Slice 'first'"):
        load("tensorrt")


def test_an_option_that_is_taken_but_not_listed_is_refused(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"CUDAExecutionProvider": {"use_tf32": "0", "device_id": "0"}}
    monkeypatch.setattr(Session, "get_provider_options", lambda self: listed)
    with pytest.raises(StudyError) as caught:
        load(provider__nonsense="7")
    assert str(caught.value) == (
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
    ort.on_cpu = ("relu", "sizes")
    backend = load(allow_fallback=True)
    backend.run()
    assert backend.fell_back
    assert backend.placement == {"CUDAExecutionProvider": 7, "CPUExecutionProvider": 1}
    assert backend.settings["shape_nodes"] == "1 on the CPU: Concat 'sizes'"


def test_an_option_that_the_provider_refuses_is_told_with_a_cure(ort: FakeOrt) -> None:
    ort.known = tuple(PROVIDERS["cuda"].defaults("fp32", 1, None))
    with pytest.raises(StudyError) as caught:
        load(provider__nonsense="7")
    assert str(caught.value) == (
        "CUDAExecutionProvider refuses nonsense=7: Unknown option: nonsense; see its page under "
        "https://onnxruntime.ai/docs/execution-providers for names and values"
    )


def test_an_error_that_is_not_of_an_option_stays_as_it_is(ort: FakeOrt) -> None:
    ort.known = ()
    with pytest.raises(RuntimeError, match="Unknown option: cudnn_conv_algo_search"):
        load(provider__nonsense="7")


def test_a_provider_with_memory_of_its_own_is_copied_to_in_each_run(
    ort: FakeOrt,
) -> None:
    ort.available = ("DmlExecutionProvider", "CPUExecutionProvider")
    backend = load("dml")
    backend.run()
    assert ort.log == ["session", "run with copies"]
    assert only_output(backend).tolist() == [[0, 1, 2, 3], [12, 13, 14, 15]]
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
    assert backend.placement == {"WebGpuExecutionProvider": len(NODES)}


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_provider_tells_every_factor(
    ort: FakeOrt, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    ort.available = [PROVIDERS[provider].execution_provider, "CPUExecutionProvider"]
    settings = load(provider).settings
    assert set(FACTORS) - set(settings) == {"affinity", "transfers"}


@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "dml"])
@pytest.mark.parametrize(
    "policy", ["fixed:1", "fixed:12", "greedy:1", "greedy:12", "dynamic:12:5ms", "greedy:64"]
)
def test_a_server_plans_nothing_once_it_is_warm(
    ort: FakeOrt, provider: str, io: str, policy: str
) -> None:
    """CuDNN's plans are those of the last shape: a size of its own has a session of its own."""
    if provider == "dml" and io == "device":
        pytest.skip("it takes host memory only")
    ort.available = [PROVIDERS[provider].execution_provider, "CPUExecutionProvider"]
    wanted = parse_policy(policy)
    order = task(provider, io=io, batch_size=wanted.largest)
    backend = OnnxSession(order)
    backend.run()
    batches = Batches(backend, order, wanted.batch_sizes())
    batches.warm(2, itertools.count().__next__, most_s=0.0)  # however little time there is
    del ort.plans[:]
    sizes = random.Random(policy)
    for _ in range(200):
        batches.run(sizes.choice(wanted.batch_sizes()))
    batches.run(sizes.randint(1, wanted.largest))  # what is left at the end is flushed
    assert ort.plans == []
    assert len(ort.sessions) == batches.loaded == len(batches.each())


def test_each_size_of_a_server_computes_its_own_images(ort: FakeOrt) -> None:
    order = task(batch_size=6)
    batches = Batches(OnnxSession(order), order, range(1, 7))
    assert batches.padding == "1, 2, 3, 4, 6"
    for size, padded in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6)):
        del ort.log[:]
        batches.run(size)
        assert ort.log == ["to cuda", "run", "to cpu"]
        assert ort.ran[-1] == padded
        ran = next(s for s in ort.sessions if len(s.bound["images"].array) == padded)
        np.testing.assert_array_equal(ran.bound["images"].array, order.images[:padded])


def test_a_server_replays_a_cuda_graph_of_each_size(ort: FakeOrt) -> None:
    order = task(batch_size=4, enable_cuda_graph=True)
    batches = Batches(OnnxSession(order), order, range(1, 5))
    assert [s.options_of_provider["enable_cuda_graph"] for s in ort.sessions] == ["1"] * 4
    batches.run(3)


def test_what_is_compiled_for_a_size_has_the_fewest_of_them(ort: FakeOrt) -> None:
    order = task("tensorrt", batch_size=12)
    batches = Batches(OnnxSession(order), order, range(1, 13))
    assert batches.padding == "1, 2, 4, 8, 12"
    shapes = [s.options_of_provider["trt_profile_opt_shapes"] for s in ort.sessions]
    assert shapes == [f"images:{size}x3x2x2" for size in (12, 1, 2, 4, 8)]


def test_on_the_cpu_one_session_runs_every_size(ort: FakeOrt) -> None:
    order = task("cpu", batch_size=6)
    batches = Batches(OnnxSession(order), order, range(1, 7))
    assert (batches.padding, batches.loaded) == ("none", 1)
