"""What a server asks of a CUDA device: batches of every size, and memory that does not grow."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.backends import cuda_driver
from greenbatch.runners.scenarios.batches import Batches

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(cuda_driver.unavailable()), reason="no CUDA device on this machine"),
    pytest.mark.alone,
]
MODEL = "shufflenet_v2_x0_5"
LARGEST = 6


def task(artifacts: Path, backend: str, batch_size: int = LARGEST) -> backends.Task:
    if reason := backends.resolve(backends.find(backend)).unavailable(backend.split("-")[-1]):
        pytest.skip(reason)
    artifact = load_artifact(artifacts, MODEL, "fp32")
    return backends.Task(
        cell=Cell(MODEL, backend, batch_size=batch_size),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=2,
        images=inputs.synthetic_images(registry.find(MODEL).input, batch_size, seed=0),
    )


@pytest.mark.parametrize(
    ("backend", "padding"), [("onnxruntime-cuda", "1, 2, 3, 4, 6"), ("torch-cuda", "none")]
)
def test_batches_of_every_size_compute_what_the_cpu_computes(
    artifacts: Path, backend: str, padding: str
) -> None:
    cpu = backends.resolve(backends.find("onnxruntime-cpu"))(task(artifacts, "onnxruntime-cpu"))
    cpu.run()
    expected = cpu.outputs()
    order = task(artifacts, backend)
    largest = backends.resolve(backends.find(backend))(order)
    largest.run()
    batches = Batches(largest, order, range(1, LARGEST + 1))
    assert batches.warm(2, lambda: 0.0, most_s=1.0) == len(batches.each())
    assert batches.padding == padding
    for size in range(1, LARGEST + 1):
        batches.run(size)
    for size, each in batches._backends.items():
        tolerance = 2e-3 * abs(expected).max()
        np.testing.assert_allclose(each.outputs(), expected[:size], atol=tolerance)
        if "host_memory" in each.settings:
            assert each.settings["host_memory"] == "pinned"  # a part of what is pinned already


def test_a_second_run_takes_no_more_memory_than_the_first(artifacts: Path) -> None:
    import torch

    order = task(artifacts, "onnxruntime-cuda", batch_size=64)
    before, _ = torch.cuda.mem_get_info()
    backend = backends.resolve(backends.find("onnxruntime-cuda"))(order)
    backend.run()
    first, _ = torch.cuda.mem_get_info()
    backend.run()
    second, _ = torch.cuda.mem_get_info()
    assert before - second <= 1.2 * (before - first)
