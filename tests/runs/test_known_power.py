"""A run's energy against the truth: a simulated node of eight GPUs, whose powers are known."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import greenbatch.analysis.accessor  # noqa: F401 - registers `gb`
from greenbatch.records import Flag, parse
from tests.conftest import Gb
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve
from tests.thorough import examples

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler for the simulated NVML"),
]

CPU, CUDA = "onnxruntime-cpu", "pretending-cuda"
GPU_W = 60.0  # of GPU 0; GPU n draws n + 1 times as much
PACKAGE_W = 50.0
# The windows of the standard profile; what comes before them may be short. GPU 5 is never quiet.
STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu, pretending-cuda]
batch_sizes: [4]
repetitions: REPETITIONS
weights: random
meters: [METERS]
profile: standard
wait_quiet: 0
protocol: {warm_up_min_s: 0.2, warm_up_max_s: 0.5, rest_min_s: 0.1, rest_max_s: 20}
"""


def _run(
    gb: Gb, artifacts: Path, folder: Path, meters: str, repetitions: int, **gpu: float
) -> xr.Dataset:
    """Measure with these meters on a node whose GPU 5 is heated and slowed by another's job."""
    study = folder / "study.yaml"
    text = STUDY.replace("METERS", meters).replace("REPETITIONS", str(repetitions))
    study.write_text(text + f"artifacts_dir: {artifacts}\n")
    fake = nvml.FakeNvml(folder / "gpu", nvml.build(folder / "lib"), low_w=GPU_W, **gpu)
    fake.set(own_pid_5=4242, own_reasons_5=0x40, own_temperature_c_5=88, reasons=0x4)
    powercap = Powercap(folder / "sys")
    powercap.add("intel-rapl:0", "package-0")
    backends = {"PYTHONPATH": str(Path(__file__).parents[1] / "fakes/backends")}
    with powercap.running({"intel-rapl:0": PowerCurve(PACKAGE_W)}):
        gb(
            *("bench", "--study", study, "--trust", "--out", folder / "run"),
            env=fake.environment() | powercap.environment() | backends,
        )
    with xr.open_dataset(folder / "run/dataset.nc") as dataset:
        return dataset.load()


def test_each_cell_has_the_energy_of_its_own_device_and_the_host(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    dataset = _run(gb, artifacts, tmp_path, "nvml, rapl", examples(1, 2), devices=8)
    gpus = [f"gpu-{n}" for n in range(8)]
    assert set(dataset["domain"].to_numpy()) == {*gpus, "package-0"}
    for backend, power_w in ((CPU, PACKAGE_W), (CUDA, PACKAGE_W + GPU_W)):
        cells = dataset.gb.sel(backend=backend)
        per_image = power_w * cells["duration"] / cells["images"]
        assert (abs(cells["energy_per_image"] / per_image - 1) < 0.005).all(), backend
        # The machine draws the same when it idles: net of idle, next to nothing is left.
        assert (abs(cells["energy_per_image_net"] / per_image) < 0.02).all()
    own = dataset.gb.sel(backend=CUDA)
    for domain, power_w in (("gpu-0", GPU_W), ("package-0", PACKAGE_W)):
        truth_j = power_w * own["duration"]
        apart_j = abs(own["energy"].sel(domain=domain) - truth_j)
        assert (apart_j <= own["energy_uncertainty"].sel(domain=domain)).all()
    for number, domain in enumerate(gpus):  # the others are shown
        truth_j = GPU_W * (number + 1) * dataset["duration"]
        apart_j = abs(dataset["energy"].sel(domain=domain) - truth_j)
        assert (apart_j <= dataset["energy_uncertainty"].sel(domain=domain)).all(), domain
        assert (apart_j / truth_j).median() < 0.02, domain
    journal = parse((tmp_path / "run/journal.jsonl").read_bytes())
    assert journal.idles
    assert all(idle.settled for idle in journal.idles)
    assert len(journal.repetitions) >= examples(2, 4)
    for repetition in journal.repetitions:
        assert "throttled" not in repetition.flags
        assert repetition.conditions.foreign_processes == ()
    capped = (dataset["flags"] & int(Flag.POWER_CAPPED)) > 0
    assert capped[:, capped["backend"] == CUDA].all()
    assert not capped[:, capped["backend"] == CPU].any()
    assert np.allclose(own["power_capped"].sel(domain="gpu-0"), 1.0)
    assert (dataset["rest"] < 15).all(), "the heat of GPU 5 prolongs no rest"


def test_without_a_meter_of_its_device_a_cell_has_no_total(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    dataset = _run(gb, artifacts, tmp_path, "auto", repetitions=1, init_error=9)
    assert dataset.gb.sel(backend=CPU)["energy_per_image"].notnull().all()
    lacking = dataset.gb.sel(backend=CUDA)
    assert lacking["energy_per_image"].isnull().all()
    (reason,) = np.unique(lacking["energy_reason"].sel(domain="gpu"))
    assert "the meter nvml was not used: cannot read NVML: Driver Not Loaded" in reason
