"""ONNX Runtime and PyTorch on a CUDA device compute what the CPU computes."""

from pathlib import Path

import numpy as np
import pytest

from tests.gpu.gating import MARKS, Wanted, load, logits, reference

pytestmark = MARKS


@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "torch-cuda"])
def test_a_cuda_backend_computes_what_the_cpu_computes(
    artifacts: Path, backend: str, io: str
) -> None:
    loaded = load(artifacts, Wanted(backend=backend, io=io))
    found = logits(loaded)
    assert not loaded.fell_back
    expected = reference(artifacts)
    np.testing.assert_allclose(found, expected, atol=2e-3 * abs(expected).max())


@pytest.mark.parametrize("io", ["host", "device"])
def test_a_cuda_graph_of_onnxruntime_computes_the_same(artifacts: Path, io: str) -> None:
    def found(**settings: bool) -> np.ndarray:
        loaded = load(artifacts, Wanted(backend="onnxruntime-cuda", io=io, settings=settings))
        result = logits(loaded, runs=3)  # it is captured in the first, replayed in the others
        assert loaded.settings["graph_capture"] is bool(settings)
        assert loaded.settings["arithmetic"] == "fp32"
        if io == "host":
            assert loaded.settings["host_memory"] == "pinned"
        return result

    np.testing.assert_allclose(found(enable_cuda_graph=True), found(), rtol=1e-4, atol=1e-4)
