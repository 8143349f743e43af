"""PyTorch's backends compute the artifact's network, with the settings that they report."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from greenbatch.errors import PlacementError, UnsupportedCell, WeightsError
from greenbatch.models.agreement import difference, fault
from greenbatch.records import FACTORS, Cell, InputSpec, Manifest, TensorSpec, WeightsRecord
from greenbatch.runners.backends import Setting, Task, parse_settings
from greenbatch.runners.backends.planning import Planning
from greenbatch.runners.backends.pytorch import base
from greenbatch.runners.backends.pytorch.aot import TorchAot
from greenbatch.runners.backends.pytorch.base import Buffers, TorchBackend
from greenbatch.runners.backends.pytorch.compiled import TorchCompiled
from greenbatch.runners.backends.pytorch.eager import TorchEager
from greenbatch.runners.backends.pytorch.network import with_ends
from greenbatch.testing.outputs import only_output
from tests.fakes import own_networks
from tests.fakes.networks import BriefBeside

BATCH = 3
SOURCE = "tests.fakes.own_networks:build"
FLIPPED: dict[str, Any] = {"allow_tf32": True, "cudnn_benchmark": True}


@dataclass(frozen=True, slots=True)
class Sourced(Task):
    """A task that says where a user's own network came from."""

    source: str = SOURCE


@pytest.fixture
def truth() -> nn.Module:
    """The network whose weights the artifact holds: not those that its source makes."""
    module = own_networks.build()
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(1.5)
    return module


@pytest.fixture
def task(tmp_path: Path, truth: nn.Module) -> Sourced:
    """A small network of a user's own, in three images."""
    weights = tmp_path / "small-0123.safetensors"
    save_file(truth.state_dict(), weights)
    side = own_networks.SIDE
    form = InputSpec(shape=(3, side, side), resize=side, crop=side)
    manifest = Manifest(
        model="small",
        precision="fp32",
        file="small-fp32.onnx",
        sha256="0" * 64,
        size_bytes=1,
        opset=18,
        nodes=1,
        parameters=1,
        inputs=(TensorSpec(name="input", dtype="float32", dims=("batch", *form.shape)),),
        outputs=(TensorSpec(name="logits", dtype="float32", dims=("batch", own_networks.CLASSES)),),
        weights=WeightsRecord(kind="own", detail=SOURCE, file=weights.name, sha256="0" * 64),
        parity=(),
        recipe="",
        exported_at="2026-11-21T00:00:00+00:00",
        export_s=1.0,
        input=form,
        source="python",
    )
    images = np.random.default_rng(0).standard_normal((BATCH, *form.shape), dtype=np.float32)
    return Sourced(
        cell=Cell("small", "torch-cpu", batch_size=BATCH),
        artifact=tmp_path / manifest.file,
        weights=weights,
        manifest=manifest,
        threads=1,
        images=images,
    )


def wanted(truth: nn.Module, task: Task) -> np.ndarray:
    with torch.no_grad():
        logits: np.ndarray = truth(torch.from_numpy(task.images)).numpy()
    return logits


def in_force(task: Task, **settings: Setting) -> dict[str, Setting]:
    return dict(TorchEager(replace(task, settings=settings)).settings)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_it_computes_with_the_artifacts_weights_in_each_precision(
    task: Sourced, truth: nn.Module, precision: str, channels_last: bool
) -> None:
    cell = replace(task.cell, precision=precision)
    backend = TorchEager(replace(task, cell=cell, settings={"channels_last": channels_last}))
    backend.run()
    logits = only_output(backend)
    assert logits.dtype == np.float32
    found = difference(wanted(truth, task), logits)
    assert fault(found, precision) is None
    # What is called lower precision is: fp32 would be a thousand times nearer.
    assert (found.max_rel > 1e-4) == (precision != "fp32")
    assert backend.placement == {"cpu": 6}
    assert backend.settings["arithmetic"] == precision
    assert backend.settings["layout"] == ("channels_last" if channels_last else "channels_first")


def test_channels_last_reaches_the_first_convolution(
    task: Sourced, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = own_networks.Small.forward

    def watched(self: nn.Module, images: torch.Tensor) -> torch.Tensor:
        seen.append(images.is_contiguous(memory_format=torch.channels_last))
        return forward(self, images)  # type: ignore[arg-type]

    backend = TorchEager(replace(task, settings={"channels_last": True}))
    monkeypatch.setattr(own_networks.Small, "forward", watched)
    backend.run()
    assert seen == [True]


@pytest.mark.parametrize("backend", [TorchEager, TorchCompiled, TorchAot])
def test_every_backend_refuses_int8_in_a_sentence(
    task: Sourced, backend: type[TorchBackend]
) -> None:
    with pytest.raises(UnsupportedCell, match=r"int8 .*remove the backend"):
        backend(replace(task, cell=replace(task.cell, precision="int8")))


@pytest.mark.parametrize("name", ["cudnn_benchmark", "allow_tf32", "cuda_graph"])
def test_what_only_a_gpu_has_is_refused_on_the_cpu(task: Sourced, name: str) -> None:
    with pytest.raises(UnsupportedCell, match=f"no use for {name}"):
        in_force(task, **{name: True})


@pytest.mark.parametrize("change", [{"source": ""}, {"kind": "onnx"}])
def test_a_network_that_cannot_be_built_again_is_unsupported(
    task: Sourced, change: dict[str, str]
) -> None:
    manifest = replace(task.manifest, source=change.get("kind", "python"))
    with pytest.raises(UnsupportedCell, match="measure it with --runtime onnxruntime"):
        TorchEager(replace(task, manifest=manifest, source=change.get("source", SOURCE)))


def test_weights_of_another_network_are_refused(task: Sourced) -> None:
    save_file({"other": torch.zeros(1)}, task.weights)
    with pytest.raises(WeightsError, match="does not fit the small"):
        TorchEager(task)


@pytest.mark.slow
def test_an_exported_program_is_built_again_with_the_artifacts_weights(
    task: Sourced, truth: nn.Module, tmp_path: Path
) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        own_networks.build(), (torch.from_numpy(task.images),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, tmp_path / "small.pt2")
    backend = TorchEager(
        replace(
            task,
            manifest=replace(task.manifest, source="pt2"),
            source=str(tmp_path / "small.pt2"),
        )
    )
    backend.run()
    np.testing.assert_allclose(only_output(backend), wanted(truth, task), atol=1e-5)


def test_every_factor_is_told_but_those_of_the_process(task: Sourced) -> None:
    settings = in_force(task)
    assert set(FACTORS) - set(settings) == {"affinity", "transfers"}
    assert settings["graph_capture"] == settings["autotuning"] == settings["optimization"] == "none"
    assert settings["torch"] == torch.__version__


def test_threads_are_those_of_the_study_unless_they_are_set(task: Sourced) -> None:
    assert in_force(task)["threads"] == 1
    assert in_force(task, num_threads=2)["threads"] == 2
    assert torch.get_num_threads() == 2


def test_one_thread_does_not_spin_and_several_do_as_openmp_was_told(
    task: Sourced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert in_force(task)["spinning"] == "none"
    assert in_force(task, num_threads=2)["spinning"] == "OMP_WAIT_POLICY=passive"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert (
        in_force(task, num_threads=2)["spinning"]
        == "for a while, as OpenMP does unless told otherwise"
    )


def test_arithmetic_is_asked_of_the_runtime(task: Sourced) -> None:
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        assert in_force(task)["arithmetic"] == "bf16"
    finally:
        products.fp32_precision = before
    assert in_force(task)["arithmetic"] == "fp32"


def test_logits_that_come_from_elsewhere_are_a_misplacement(task: Sourced) -> None:
    backend = TorchEager(task)
    backend.run()
    backend._returned = torch.empty(BATCH, 5, device="meta")
    with pytest.raises(PlacementError, match="its outputs are on meta"):
        only_output(backend)


def test_tf32_is_off_and_cudnn_searches_unless_it_is_set(
    task: Sourced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked of CUDA's libraries can be seen without a GPU."""
    monkeypatch.setattr(base, "_ON_CUDA", ())  # let a CPU backend take one
    for settings, tf32, search in (({}, False, False), (FLIPPED, True, True), ({}, False, False)):
        in_force(task, **settings)
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert torch.backends.cudnn.benchmark is search


def test_settings_are_read_as_a_user_writes_them() -> None:
    asked = {"num_threads": "2", "channels_last": "1", "mode": "max-autotune", "freezing": "on"}
    assert parse_settings("torch-compile-cpu", TorchCompiled.options, asked) == {
        "num_threads": 2,
        "channels_last": True,
        "mode": "max-autotune",
        "freezing": True,
    }


def test_host_io_copies_in_and_out_of_buffers_made_once(task: Sourced, truth: nn.Module) -> None:
    """The way of a GPU's run, with buffers of the CPU for those of the device."""
    backend = TorchEager(task)
    images, pinned = backend._buffers.inputs, torch.empty(BATCH, own_networks.CLASSES)
    backend._buffers = Buffers([torch.zeros_like(images[0])], images, {"logits": pinned})
    backend.run()
    np.testing.assert_allclose(pinned, wanted(truth, task), atol=1e-5)
    logits = only_output(backend)
    pinned.zero_()
    assert logits.any()  # a copy


def test_logits_with_axes_of_one_behind_the_classes_are_rows(
    task: Sourced, truth: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own network may end in (N, classes, 1, 1)."""

    class WithAxes(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = truth(images)[..., None, None]
            return logits

    monkeypatch.setattr(base, "build_network", lambda task, device: WithAxes())
    monkeypatch.setattr(TorchEager, "_prove", lambda *_: None)
    (logits,) = task.manifest.outputs
    manifest = replace(task.manifest, outputs=(replace(logits, dims=(*logits.dims, 1, 1)),))
    backend = TorchEager(replace(task, manifest=manifest))
    backend.run()
    assert only_output(backend).shape == (BATCH, own_networks.CLASSES)
    np.testing.assert_allclose(only_output(backend), wanted(truth, task), atol=1e-5)


def test_such_logits_fit_the_pinned_buffer_that_they_are_copied_to(
    task: Sourced, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []
    empty = torch.empty

    def pinned(dims: tuple[int, ...], pin_memory: bool = False, **more: Any) -> torch.Tensor:
        made.extend([dims] if pin_memory else [])
        return empty(dims, **more)

    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch, "device", lambda name: SimpleNamespace(type="cuda"))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_: self)
    monkeypatch.setattr(TorchEager, "_ready", lambda self, task: lambda images: images)
    monkeypatch.setattr(TorchEager, "_prove", lambda *_: None)
    (logits,) = task.manifest.outputs
    manifest = replace(task.manifest, outputs=(replace(logits, dims=(*logits.dims, 1, 1)),))
    backend = TorchEager(replace(task, manifest=manifest))
    assert made == [(BATCH, own_networks.CLASSES, 1, 1)]
    assert backend.planning is Planning.ONCE


def test_when_a_size_is_planned(task: Sourced, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TorchEager(task).planning is Planning.NEVER
    backend = TorchEager(task)
    assert backend.is_rebatchable
    monkeypatch.setattr(TorchEager, "_captures", True)
    assert backend.planning is Planning.CHANGE  # a graph is of one size
    assert not backend.is_rebatchable


def test_a_captured_graph_is_replayed_over_the_same_buffer_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Warm-up beside the main stream, then one recorded pass; later runs only replay it."""
    from contextlib import contextmanager

    log: list[str] = []

    class Graph:
        def replay(self) -> None:
            log.append("replay")

    @contextmanager
    def within(name: str) -> Any:
        log.append(f"{name} begins")
        yield
        log.append(f"{name} ends")

    stream = SimpleNamespace(wait_stream=lambda other: log.append("wait"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: within("stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: within("capture"))
    images = torch.ones(1)

    def forward(batch: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        log.append("forward")
        return batch * 2

    replayed = base._capture(forward, [images])
    warm_up = ["wait", "stream begins", *["forward"] * 3, "stream ends", "wait"]
    assert log == [*warm_up, "capture begins", "forward", "capture ends"]
    assert replayed(images) is replayed(images)
    assert log[-2:] == ["replay", "replay"]
    with pytest.raises(AssertionError, match="captured with"):
        replayed(torch.ones(1))


def test_a_network_that_gives_bfloat16_gives_float32_as_its_artifact_does() -> None:
    images = torch.rand(2, 3, 4, 4)
    network = BriefBeside().eval()
    wanted = network(images)
    got = with_ends(network, "fp32", channels_last=False, cast=True)(images)
    assert {name: value.dtype for name, value in got.items()} == {
        "logits": torch.float32,
        "embedding": torch.float32,
    }
    assert torch.equal(got["embedding"], wanted["embedding"].float())
    assert torch.equal(got["logits"], wanted["logits"])
