"""What an evaluation asks of ONNX Runtime."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenbatch.errors import PlacementError
from greenbatch.models.artifacts import Artifact
from greenbatch.runners import evaluation
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession


@pytest.mark.parametrize(
    ("precision", "forbidden"), [("fp32", True), ("int8", True), ("fp16", False), ("bf16", False)]
)
def test_an_evaluation_on_cuda_computes_as_a_measurement_does(
    monkeypatch: pytest.MonkeyPatch, precision: str, forbidden: bool
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # so that it is restored at the end
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    monkeypatch.setattr(OnnxSession, "unavailable", lambda provider: None)
    given: dict[str, Any] = {}

    def refuse(path: Path, **keywords: Any) -> None:
        given.update(keywords)
        raise RuntimeError("no GPU")

    monkeypatch.setattr(evaluation, "open_session", refuse)
    manifest = SimpleNamespace(precision=precision, file="tiny.onnx")
    with pytest.raises(PlacementError, match=r"does not take tiny\.onnx: no GPU"):
        evaluation._open(Artifact(Path(), cast("Any", manifest)), "cuda", 1)
    assert given["provider"] == "CUDAExecutionProvider"
    assert ("use_tf32" in given["settings"]) == forbidden
    assert ("NVIDIA_TF32_OVERRIDE" in os.environ) == forbidden
