"""What an evaluation asks of ONNX Runtime."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from PIL import Image

from greenbatch.errors import PlacementError, UsageError
from greenbatch.models.artifacts import Artifact
from greenbatch.models.image_folder import find_labelled
from greenbatch.records import TensorSpec
from greenbatch.runners import evaluation
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.evaluation import classes_of, evaluate
from tests.fakes import onnx_networks

OVERRIDE = "NVIDIA_TF32_OVERRIDE"


@pytest.mark.parametrize(
    ("precision", "forbidden"), [("fp32", True), ("int8", True), ("fp16", False), ("bf16", False)]
)
def test_an_evaluation_on_cuda_computes_as_a_measurement_does(
    monkeypatch: pytest.MonkeyPatch, precision: str, forbidden: bool
) -> None:
    monkeypatch.setenv(OVERRIDE, "0")  # so that it is restored at the end
    monkeypatch.delenv(OVERRIDE)
    found: list[str | None] = []

    def available(provider: str) -> None:
        """Load libraries, which read it then."""
        found.append(os.environ.get(OVERRIDE))

    given: dict[str, Any] = {}

    def refuse(path: Path, **keywords: Any) -> None:
        given.update(keywords)
        raise RuntimeError("no GPU")

    monkeypatch.setattr(OnnxSession, "unavailable", available)
    monkeypatch.setattr(evaluation, "open_session", refuse)
    manifest = SimpleNamespace(precision=precision, file="tiny.onnx")
    photographs = SimpleNamespace(paths=[Path("a.png")], labels=np.zeros(1))
    with pytest.raises(PlacementError, match=r"does not take tiny\.onnx: no GPU"):
        evaluate(
            Artifact(Path(), cast("Any", manifest)),
            cast("Any", photographs),
            "data",
            provider="cuda",
        )
    assert given["provider"] == "CUDAExecutionProvider"
    assert ("use_tf32" in given["settings"]) == forbidden
    assert found == (["0"] if forbidden else [None])
    assert OVERRIDE not in os.environ  # a later measurement takes it for the user's


@pytest.mark.parametrize(
    "outputs",
    [
        [TensorSpec(name="out", dtype="float32", dims=("batch", 21, 8, 8))],
        [TensorSpec(name="boxes", dtype="float32", dims=("count", 4))],
        [TensorSpec(name="seq", dtype="float32", dims=(4, "batch"))],
        [TensorSpec(name=name, dtype="float32", dims=("batch", 4)) for name in ("a", "b")],
    ],
)
def test_what_is_no_classifier_is_referred_to_its_fidelity(outputs: list[TensorSpec]) -> None:
    manifest = SimpleNamespace(model="net", outputs=tuple(outputs))
    with pytest.raises(UsageError, match=r"net is no classifier.*fidelity to fp32") as caught:
        classes_of(Artifact(Path("made"), cast("Any", manifest)))
    assert "'gb export net --precision int8 --out made'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_classifier_with_axes_of_length_1_and_a_further_input_is_evaluated(
    tmp_path: Path,
) -> None:
    """It puts out the mean of each channel, times a factor that is given beside the image."""

    def means() -> onnx.ModelProto:
        return onnx_networks.model(
            [
                onnx_networks.node("ReduceMean", "x", "m", axes=[2, 3], keepdims=1),
                onnx_networks.node("Mul", "m factor", "scores"),
            ],
            [("scores", onnx_networks.FLOAT, ["N", 3, 1, 1])],
            [],
            [onnx_networks.IMAGE, ("factor", onnx_networks.FLOAT, [1])],
        )

    means.__name__ = "further_inputs"  # its inputs are given like that one's
    given = {"further_inputs": ["x=3x16x16", "factor=1:float32:2"]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(onnx_networks, "INPUTS", given)
        artifact = onnx_networks.artifact(tmp_path, means)
    for label, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        Image.new("RGB", (20, 20), colour).save(tmp_path / "data" / str(label) / "a.png")
    assert classes_of(artifact) == 3
    found = evaluate(artifact, find_labelled(tmp_path / "data", 3), "colours", batch_size=2)
    assert found.top1.value == 1
    assert found.images == 3
