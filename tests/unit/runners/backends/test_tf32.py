"""fp32 means fp32: every process that computes in it on CUDA is started without TF32."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.models.artifacts import Artifact
from greenbatch.records import Cell, Conditions, Journal, Repetition, TrainingCell
from greenbatch.runners import backends
from greenbatch.runners.child import handle
from greenbatch.runners.child.environment import variables_of
from greenbatch.runners.host.load import HostSampler
from greenbatch.runners.metering import Metering
from greenbatch.runners.run.capacity import find_capacity
from greenbatch.runners.run.repetition import RunContext, measure
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.training.parent.ledger import Ledger
from greenbatch.runners.training.parent.session import TrainingContext, TrainingSlot, train

if TYPE_CHECKING:
    from greenbatch.records import Manifest

ON_CUDA = sorted(spec.name for spec in backends.BACKENDS.values() if spec.device == "cuda")
FORBIDDEN = {"NVIDIA_TF32_OVERRIDE": "0"}


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)


def test_every_cuda_backend_is_among_them() -> None:
    assert {"onnxruntime-cuda", "onnxruntime-tensorrt", "torch-cuda", "torch-compile-cuda"} <= set(
        ON_CUDA
    )


@pytest.mark.parametrize("backend", ON_CUDA)
def test_tf32_is_forbidden_where_products_are_of_float32(backend: str) -> None:
    assert variables_of(Cell("alexnet", backend, "fp32")) == FORBIDDEN
    assert variables_of(Cell("alexnet", backend, "int8")) == FORBIDDEN
    assert variables_of(Cell("alexnet", backend, "fp16")) == {}
    assert variables_of(Cell("alexnet", backend, "bf16")) == {}


def test_a_training_in_fp32_is_one_of_them() -> None:
    assert variables_of(TrainingCell("alexnet", "fake", "torch-cuda")) == FORBIDDEN
    assert variables_of(TrainingCell("alexnet", "fake", "torch-cpu")) == {}


@pytest.mark.parametrize("backend", ["onnxruntime-cpu", "torch-cpu", "openvino-gpu"])
def test_other_devices_know_no_tf32(backend: str) -> None:
    assert variables_of(Cell("alexnet", backend)) == {}


@pytest.mark.parametrize(
    "setting", [("allow_tf32", "1"), ("allow_tf32", "true"), ("provider.use_tf32", "1")]
)
def test_a_cell_that_asks_for_tf32_gets_it(setting: tuple[str, str]) -> None:
    assert variables_of(Cell("alexnet", "torch-cuda", settings=(setting,))) == {}
    off = (setting[0], "0")
    assert variables_of(Cell("alexnet", "torch-cuda", settings=(off,))) == FORBIDDEN


def test_what_the_user_set_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert variables_of(Cell("alexnet", "torch-cuda")) == {}


# Its last words are what it finds in its environment.
LOOKS = "import os, sys; sys.exit(os.environ.get('NVIDIA_TF32_OVERRIDE', 'unset'))"


@pytest.mark.parametrize(("precision", "found"), [("fp32", "0"), ("fp16", "unset")])
def test_whatever_measures_a_cell_starts_its_process_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, found: str
) -> None:
    monkeypatch.setattr(handle, "python_command", lambda *_: [sys.executable, "-S", "-c", LOOKS])
    cell = Cell("alexnet", "torch-cuda", precision, batch_size=4)
    study = make_study(
        {
            "models": ["alexnet"],
            "backends": [cell.backend],
            "batch_sizes": [4],
            "probe_max_batch": 2,
        }
    )
    manifest = SimpleNamespace(file="a.onnx", weights=SimpleNamespace(file="a.safetensors"))
    artifact = Artifact(tmp_path, cast("Manifest", manifest))
    (tmp_path / "traces").mkdir()
    with HostSampler() as host:
        context = RunContext(
            study=study,
            artifacts={"alexnet": artifact, "alexnet@fp16": artifact},
            metering=Metering(),
            host=host,
            cores=1.0,
            traces=tmp_path / "traces",
            references={"alexnet": tmp_path / "alexnet.npy"},
            cache=tmp_path / "cache",
        )
        *_, record = measure(Slot(cell, block=0, position=0), context, Conditions)
        assert isinstance(record, Repetition)
        assert str(record.reason).endswith(f"its last words: {found}")

        searching = find_capacity(cell, artifact, study, {})
        assert searching.ended.endswith(f"its last words: {found}")

        if precision == "fp32":
            training = TrainingContext(
                study=make_training_study({"models": ["dense"], "backends": ["torch-cuda"]}),
                metering=Metering(),
                host=host,
                cores=1.0,
                run=tmp_path,
                ledger=Ledger(Journal((), (), 0)),
                append=lambda records: None,
                on_step=lambda sentence: None,
                on_epoch=lambda epoch: None,
            )
            slot = TrainingSlot(TrainingCell("dense", "digits", "torch-cuda"), block=0, position=0)
            assert str(train(slot, training, Conditions).reason).endswith("its last words: 0")


@pytest.mark.parametrize(("value", "arithmetic"), [("0", "fp32"), ("1", None), ("", None)])
def test_a_value_that_nvidia_does_not_document_leaves_the_arithmetic_unknown(
    monkeypatch: pytest.MonkeyPatch, value: str, arithmetic: str | None
) -> None:
    from greenbatch.runners.backends.onnx_runtime.providers import PROVIDERS
    from greenbatch.runners.backends.onnx_runtime.settings import _arithmetic as of_onnxruntime
    from greenbatch.runners.backends.pytorch.base import _arithmetic as of_torch

    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    assert of_torch("fp32", "cuda") == arithmetic
    assert of_torch("fp16", "cuda") == "fp16"
    assert of_onnxruntime(PROVIDERS["cuda"], "fp32", {"use_tf32": "0"}) == arithmetic
    assert of_onnxruntime(PROVIDERS["tensorrt"], "fp32", {}) == arithmetic
    assert of_onnxruntime(PROVIDERS["cuda"], "fp16", {}) == "fp16"
