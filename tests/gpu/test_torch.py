"""PyTorch on a CUDA device: eager, compiled and ahead of time compute what the CPU computes."""

from pathlib import Path

import pytest

from greenbatch.models.agreement import difference, fault
from greenbatch.runners.backends import Setting
from greenbatch.runners.backends.pytorch.base import TorchBackend
from tests.gpu.gating import MARKS, Wanted, load, logits

pytestmark = MARKS
RUNS = 4  # inductor warms up, records and replays


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        ("torch-cuda", {}),
        ("torch-cuda", {"cuda_graph": True, "channels_last": True}),
        ("torch-compile-cuda", {}),
        ("torch-compile-cuda", {"mode": "reduce-overhead"}),
        ("torch-aot-cuda", {}),
        ("torch-aot-cuda", {"cuda_graph": True}),
    ],
)
def test_torch_on_the_gpu_computes_what_it_computes_on_the_cpu(
    artifacts: Path,
    tmp_path: Path,
    backend: str,
    settings: dict[str, Setting],
    io: str,
    precision: str,
) -> None:
    wanted = Wanted(
        backend=backend,
        precision=precision,
        artifact_precision="fp32",
        io=io,
        settings=settings,
        cache=tmp_path,
    )
    loaded = load(artifacts, wanted)
    assert isinstance(loaded, TorchBackend)
    found = logits(loaded, RUNS)
    expected = logits(load(artifacts, Wanted(backend="torch-cpu")), RUNS)
    assert fault(difference(expected, found), precision) is None
    assert set(loaded.placement) == {"cuda"}
    effective = loaded.settings
    captured = "cuda_graph" in settings or "mode" in settings
    assert str(effective["graph_capture"]).startswith("CUDA graph" if captured else "none")
    assert effective["arithmetic"] == precision
    sources = loaded._buffers.sources
    assert (loaded._buffers.results is not None) == (sources is not None) == (io == "host")
    assert all(source.is_pinned() for source in sources or ())
