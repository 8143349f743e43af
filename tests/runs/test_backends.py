"""Every backend that this machine has computes the same, from the same weights."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.testing.outputs import only_output
from tests.conftest import SMALL_MODELS
from tests.thorough import needs_thorough


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [pytest.param(SMALL_MODELS[0], marks=needs_thorough), SMALL_MODELS[1]]
)
def test_torch_and_onnxruntime_agree_on_the_logits(artifacts: Path, model: str) -> None:
    artifact = load_artifact(artifacts, model)
    images = inputs.synthetic_images(registry.find(model), 3, seed=7)

    def logits(name: str) -> np.ndarray:
        task = backends.Task(
            cell=Cell(model, name, batch_size=3),
            artifact=artifact.path,
            weights=artifact.weights_path,
            manifest=artifact.manifest,
            threads=1,
            images=images,
        )
        backend = backends.resolve(backends.find(name))(task)
        backend.run()
        assert not backend.fell_back
        return only_output(backend)

    expected = logits("onnxruntime-cpu")
    assert expected.std() > 0.1
    np.testing.assert_allclose(logits("torch-cpu"), expected, atol=1e-4)
