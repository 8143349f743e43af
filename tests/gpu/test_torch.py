"""PyTorch on a CUDA device: eager, compiled and ahead of time compute what the CPU computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from greenbatch.models import inputs, registry
from greenbatch.models.agreement import difference, fault
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners.backends import Setting, Task, cuda_driver
from greenbatch.runners.backends.pytorch.aot import TorchAot
from greenbatch.runners.backends.pytorch.base import TorchBackend
from greenbatch.runners.backends.pytorch.compiled import TorchCompiled
from greenbatch.runners.backends.pytorch.eager import TorchEager

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(cuda_driver.unavailable()), reason="no CUDA device on this machine"),
    pytest.mark.alone,
]
MODEL = "shufflenet_v2_x0_5"
BATCH = 4


def task(artifacts: Path, backend: str, io: str, precision: str, cache: Path | None) -> Task:
    artifact = load_artifact(artifacts, MODEL, "fp32")
    return Task(
        cell=Cell(MODEL, backend, precision=precision, io=io, batch_size=BATCH),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=2,
        images=inputs.synthetic_images(registry.find(MODEL).input, BATCH, seed=0),
        cache=cache,
    )


def run(backend: TorchBackend) -> np.ndarray:
    for _ in range(4):  # inductor warms up, records and replays
        backend.run()
    return backend.outputs()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        (TorchEager, {}),
        (TorchEager, {"cuda_graph": True, "channels_last": True}),
        (TorchCompiled, {}),
        (TorchCompiled, {"mode": "reduce-overhead"}),
        (TorchAot, {}),
        (TorchAot, {"cuda_graph": True}),
    ],
)
def test_torch_on_the_gpu_computes_what_it_computes_on_the_cpu(
    artifacts: Path,
    tmp_path: Path,
    backend: type[TorchBackend],
    settings: dict[str, Setting],
    io: str,
    precision: str,
) -> None:
    expected = run(TorchEager(task(artifacts, "torch-cpu", "host", "fp32", None)))
    asked = task(artifacts, "torch-cuda", io, precision, tmp_path)
    loaded = backend(replace(asked, settings=settings))
    assert fault(difference(expected, run(loaded)), precision) is None
    assert set(loaded.placement) == {"cuda"}
    told = loaded.settings
    captured = "cuda_graph" in settings or "mode" in settings
    assert str(told["graph_capture"]).startswith("CUDA graph" if captured else "none")
    assert told["arithmetic"] == precision
    assert (loaded._result is not None) == (io == "host")
    if io == "host":
        assert loaded._source is not None
        assert loaded._source.is_pinned()
