"""What needs a CUDA device: run by ``make gpu-check`` where there is one."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from tests.conftest import Gb

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(cuda_driver.unavailable()), reason="no CUDA device on this machine"),
    pytest.mark.alone,
]
MODEL = "shufflenet_v2_x0_5"


@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "torch-cuda"])
def test_a_cuda_backend_computes_what_the_cpu_computes(
    artifacts: Path, backend: str, io: str
) -> None:
    artifact = load_artifact(artifacts, MODEL, "fp32")
    images = inputs.synthetic_images(registry.find(MODEL), 4, seed=0)

    def logits(name: str) -> np.ndarray:
        spec = backends.find(name)
        task = backends.Task(
            cell=Cell(MODEL, name, io=io, batch_size=4),
            artifact=artifact.path,
            weights=artifact.weights_path,
            manifest=artifact.manifest,
            threads=2,
            images=images,
        )
        loaded = backends.resolve(spec)(task)
        loaded.run()
        assert not loaded.fell_back
        return loaded.outputs()

    expected = logits("onnxruntime-cpu")
    np.testing.assert_allclose(logits(backend), expected, atol=2e-3 * abs(expected).max())


@pytest.mark.parametrize("io", ["host", "device"])
def test_a_cuda_graph_of_onnxruntime_computes_the_same(artifacts: Path, io: str) -> None:
    artifact = load_artifact(artifacts, MODEL, "fp32")

    def logits(**settings: backends.Setting) -> np.ndarray:
        task = backends.Task(
            cell=Cell(MODEL, "onnxruntime-cuda", io=io, batch_size=4),
            artifact=artifact.path,
            weights=artifact.weights_path,
            manifest=artifact.manifest,
            threads=2,
            images=inputs.synthetic_images(registry.find(MODEL), 4, seed=0),
            settings=settings,
        )
        loaded = backends.resolve(backends.find("onnxruntime-cuda"))(task)
        for _ in range(3):  # it is captured in the first, replayed in the others
            loaded.run()
        assert loaded.settings["graph_capture"] is bool(settings)
        assert loaded.settings["arithmetic"] == "fp32"
        if io == "host":
            assert loaded.settings["host_memory"] == "pinned"
        return loaded.outputs()

    np.testing.assert_allclose(logits(enable_cuda_graph=True), logits(), rtol=1e-4, atol=1e-4)


def test_a_run_on_the_gpu_has_measured_energy(gb: Gb, artifacts: Path, tmp_path: Path) -> None:
    gb(
        *("bench", MODEL, "--provider", "cuda", "--batch-sizes", "1,32", "--repetitions", 2),
        *("--weights", "random", "--artifacts", artifacts, "--out", tmp_path / "run"),
    )
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert (dataset["status"] == 0).all()
        energy = dataset["energy"].sel(domain="gpu-0")
        assert (energy > 0).all()
        idle = dataset["idle_power"].sel(domain="gpu-0")
        assert (energy >= 0.8 * idle * dataset["duration"]).all()
        assert (dataset["energy_source"].sel(domain="gpu-0") == 1).all()
