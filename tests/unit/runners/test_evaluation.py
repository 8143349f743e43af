"""What an evaluation asks of ONNX Runtime."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from greenbatch.errors import PlacementError
from greenbatch.models.artifacts import Artifact
from greenbatch.runners import evaluation
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.evaluation import evaluate

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
