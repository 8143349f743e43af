"""The driver and NVML mean the same device, and a lack of its memory is recognised."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_check.lines import Verdict
from benchmarks.gpu_check.machine import same_uuids
from greenbatch.runners.child.memory_errors import is_memory, printed_here
from tests.gpu.gating import MARKS, Wanted, load, need

pytestmark = MARKS
_LEFT_BYTES = 16 << 20


def test_each_device_of_cuda_is_one_that_nvml_lists() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check.devices"]
    root = Path(__file__).parents[2]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    found = json.loads(printed.splitlines()[-1])
    if found["nvml_absent"]:
        pytest.skip(found["nvml_absent"])
    line = same_uuids(found["cuda"], found["nvml"])
    assert line.verdict is not Verdict.FAILED, line.reason


@pytest.mark.parametrize("backend", ["torch-cuda", "onnxruntime-cuda"])
def test_a_lack_of_device_memory_is_recognised_by_its_text(artifacts: Path, backend: str) -> None:
    need(backend)
    torch = pytest.importorskip("torch")
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(0, free - _LEFT_BYTES), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # each runtime has its own
            load(artifacts, Wanted(backend=backend, batch_size=512)).run()
        assert is_memory(str(caught.value), printed_here), str(caught.value)
    finally:
        del hog
        torch.cuda.empty_cache()
