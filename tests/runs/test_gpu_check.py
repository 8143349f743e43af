"""`make gpu-check`: it ends with the reasons without a GPU; a simulated one is checked whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenbatch.runners.backends import cuda_driver as cuda
from tests.fakes import cuda_driver, nvml
from tests.thorough import needs_thorough

pytestmark = [pytest.mark.alone, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
UUID = "GPU-00000000-0000-0000-0000-000000000000"


def checked(out: Path, *arguments: str, **env: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Run the check; return its exit code, and each line by what it is of."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--out", str(out), *arguments]
    environment = {**os.environ, **env}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    data = json.loads((out / "gpu-check.json").read_text())
    assert data["complete"]
    assert data["exit_code"] == ended.returncode
    return ended.returncode, {
        line["what"]: line for step in data["steps"] for line in step["lines"]
    }


@pytest.mark.skipif(not cuda.unavailable(), reason="this machine has a GPU")
def test_without_a_gpu_nothing_fails_and_each_line_has_its_reason(tmp_path: Path) -> None:
    code, lines = checked(tmp_path / "check", "--seconds", "120")
    assert code == 3
    assert "libcuda.so.1" in str(lines["CUDA devices"]["reason"])
    for what in ("torch-cuda", "onnxruntime-cuda", "vit_b_16 in fp16", "tests/gpu"):
        assert lines[what]["verdict"] == "not run"
        assert lines[what]["reason"]
    text = (tmp_path / "check/README.md").read_text()
    assert "**Nothing could run on a GPU.**" in text


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "holds something else than a check" in ended.stdout
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@needs_thorough
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_a_simulated_gpu_is_checked_up_to_the_driver(tmp_path: Path) -> None:
    gpu = nvml.FakeNvml(tmp_path, nvml.build(tmp_path / "lib"), devices=2, low_w=120, tick_s=0.02)
    driver = cuda_driver.build(tmp_path / "driver", [UUID])
    env = gpu.environment()
    env["LD_LIBRARY_PATH"] += f":{driver}"
    env["PYTHONPATH"] = str(ROOT / "tests/fakes/cuda_backend")
    model = "shufflenet_v2_x0_5"
    code, lines = checked(tmp_path / "check", "--model", model, "--seconds", "400", **env)
    failures = {what: line["reason"] for what, line in lines.items() if line["verdict"] == "failed"}
    assert failures == {}
    assert code == 0
    ok = {what for what, line in lines.items() if line["verdict"] == "ok"}
    assert {"CUDA devices: device 0", "NVML: device 1", "UUIDs of CUDA and of NVML"} <= ok
    assert {"simulated-cuda", f"{model} in fp16", "idle power by the counter"} <= ok
    for precision in ("fp32", "fp16"):
        for batch_size in (1, 32):
            cell = lines[f"{model} on simulated-cuda in {precision} at batch {batch_size}"]
            assert cell["verdict"] == "ok"
            values = cell["values"]
            assert isinstance(values, dict)
            assert "(counter)" in values["GPU mJ/image"]
            assert float(values["idle W"]) == pytest.approx(120, rel=0.1)
            assert values["GPU"] == "GPU-00000000"
            assert "CUDAExecutionProvider" in values["placement"]
    # What needs more than a list of devices has its reason, in the tests as in the backends.
    assert lines["torch-cuda"]["verdict"] == "not run"
    tests = [line for what, line in lines.items() if what.startswith("tests/gpu/")]
    assert len(tests) > 40
    assert {line["verdict"] for line in tests} <= {"ok", "not run"}
    assert all("/root" not in str(line) for line in lines.values())
    assert not list((tmp_path / "check").glob("scratch-*"))
