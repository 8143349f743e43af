"""What a server asks of a CUDA device: batches of every size, and memory that does not grow."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.runners.scenarios.batches import Batches
from greenbatch.testing.outputs import only_output
from tests.gpu.gating import MARKS, Wanted, need, reference, task

pytestmark = MARKS
LARGEST = 6


@pytest.mark.parametrize(
    ("backend", "padding"), [("onnxruntime-cuda", "1, 2, 3, 4, 6"), ("torch-cuda", "none")]
)
def test_batches_of_every_size_compute_what_the_cpu_computes(
    artifacts: Path, backend: str, padding: str
) -> None:
    kind = need(backend)
    expected = reference(artifacts, batch_size=LARGEST)
    order = task(artifacts, Wanted(backend=backend, batch_size=LARGEST))
    largest = kind(order)
    largest.run()
    batches = Batches(largest, order, range(1, LARGEST + 1))
    assert batches.warm(2, lambda: 0.0, most_s=1.0) == len(batches.each())
    assert batches.padding == padding
    for size in range(1, LARGEST + 1):
        batches.run(size)
    for size, each in batches._backends.items():
        tolerance = 2e-3 * abs(expected).max()
        np.testing.assert_allclose(only_output(each), expected[:size], atol=tolerance)
        if "host_memory" in each.settings:
            assert each.settings["host_memory"] == "pinned"  # a part of what is pinned already


def test_a_second_run_takes_no_more_memory_than_the_first(artifacts: Path) -> None:
    kind = need("onnxruntime-cuda")
    torch = pytest.importorskip("torch")
    order = task(artifacts, Wanted(backend="onnxruntime-cuda", batch_size=64))
    before, _ = torch.cuda.mem_get_info()
    backend = kind(order)
    backend.run()
    first, _ = torch.cuda.mem_get_info()
    backend.run()
    second, _ = torch.cuda.mem_get_info()
    assert before - second <= 1.2 * (before - first)
