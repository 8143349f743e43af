"""A run's energy against the truth: simulated hardware whose power is known."""

import json
from pathlib import Path

import pytest
import xarray as xr

from tests.conftest import Gb
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


GPU_W = 200.0
PACKAGE_W = 50.0
# The windows of the standard profile; what comes before them may be short.
STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu]
batch_sizes: [1, 4]
repetitions: 2
weights: random
meters: [nvml, rapl]
profile: standard
protocol: {warm_up_min_s: 0.2, warm_up_max_s: 0.5, rest_min_s: 0.1}
"""


@pytest.mark.slow
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler to build the simulated NVML")
def test_energy_is_power_times_duration(gb: Gb, artifacts: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY + f"artifacts_dir: {artifacts}\n")
    gpu = nvml.FakeNvml(tmp_path / "gpu", nvml.build(tmp_path / "lib"), low_w=GPU_W)
    powercap = Powercap(tmp_path / "sys")
    powercap.add("intel-rapl:0", "package-0")
    with powercap.running({"intel-rapl:0": PowerCurve(PACKAGE_W)}):
        gb(
            *("bench", "--study", study, "--out", tmp_path / "run"),
            env=gpu.environment() | powercap.environment(),
        )
    journal = (tmp_path / "run/journal.jsonl").read_text()
    lines = [json.loads(line) for line in journal.splitlines()]
    idle = [line for line in lines if line["kind"] == "idle"]
    assert idle
    assert all(line["settled"] for line in idle)
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert set(dataset["domain"].to_numpy()) == {"gpu-0", "package-0"}
        for domain, power_w in (("gpu-0", GPU_W), ("package-0", PACKAGE_W)):
            energy = dataset["energy"].sel(domain=domain)
            relative = (energy / (power_w * dataset["duration"]) - 1).to_numpy()
            assert abs(relative).max() < 0.005, (domain, relative)
            truth = abs(energy - power_w * dataset["duration"])
            assert (truth <= dataset["energy_uncertainty"].sel(domain=domain)).all()
        per_image = (GPU_W + PACKAGE_W) * dataset["duration"] / dataset["images"]
        assert (abs(dataset["energy_per_image"] / per_image - 1) < 0.005).all()
        # The machine draws the same when it idles: net of idle, next to nothing is left.
        assert (abs(dataset["energy_per_image_net"] / per_image) < 0.02).all()
