"""``gb doctor`` as a whole, on a simulated machine.

On this one it is looked at in a folder of somebody else: `tests/security/test_processes.py`.
"""

import json
from pathlib import Path

import pytest

from tests.conftest import Gb
from tests.fakes.nvml import FakeNvml, build, has_compiler
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve
from tests.thorough import needs_thorough


@needs_thorough
@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C compiler")
def test_a_machine_with_a_gpu_and_rapl_is_told_whole(gb: Gb, tmp_path: Path) -> None:
    gpu = FakeNvml(tmp_path / "gpu", build(tmp_path / "library"), pid=[4711], low_w=300)
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    env = gpu.environment() | tree.environment() | {"CXX": str(tmp_path / "no-compiler")}
    with tree.running({"intel-rapl:0": PowerCurve(50.0)}):
        ran = gb("doctor", "--json", env=env)
    data = json.loads(ran.stdout)
    assert data["measurable"]
    assert data["domains"] == {"gpu-0": "counter", "package-0": "counter"}
    assert {"onnxruntime-cpu", "torch-cpu"} <= set(data["working_backends"])
    (compiled,) = [b for b in data["backends"] if b["name"] == "torch-compile-cpu"]
    assert not compiled["usable"]
    assert "finds none (tried " in compiled["reason"]
    placements = {b["name"]: b["placement"] for b in data["backends"] if b["usable"]}
    assert placements["torch-cpu"] == {"cpu": 1}
    assert 0 < data["sampler_cost"]["share"] < 1
    (gpus,) = [d for d in data["disturbances"] if d["code"] == "gpu"]
    assert "4711" in gpus["text"]
    assert ran.stderr == ""
