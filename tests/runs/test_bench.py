"""Whole runs on this machine's CPU, as a user types them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.records import Status, parse
from tests.conftest import SMALL_MODELS, Gb

pytestmark = pytest.mark.slow

DIMENSIONS = {"model": 2, "variant": 2, "batch_size": 2, "repetition": 1}
UNITS = {
    "energy": "J",
    "energy_uncertainty": "J",
    "idle_power": "W",
    "energy_per_image": "J",
    "energy_per_image_net": "J",
    "duration": "s",
    "images": "1",
    "iterations": "1",
    "throughput": "s-1",
    "latency": "s",
    "power_mean": "W",
    "power_max": "W",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, gb: Gb, artifacts: Path) -> Path:
    """A run of two models on two runtimes."""
    path = tmp_path_factory.mktemp("runs") / "a"
    options = "--provider cpu --runtime onnxruntime --runtime torch --batch-sizes 1,8"
    ran = gb(
        "bench",
        *SMALL_MODELS,
        *options.split(),
        *("--repetitions", 1, "--profile", "quick", "--weights", "random"),
        *("--artifacts", artifacts, "--out", path),
    )
    assert str(path / "report/index.html") in ran.stdout.replace("\n", "")
    return path


def test_in_a_session_a_network_is_loaded_once_and_warmed_up_for_longer_once(
    tmp_path: Path, gb: Gb, artifacts: Path
) -> None:
    study = tmp_path / "study.yaml"
    members = {
        "models": [SMALL_MODELS[0]],
        "backends": ["onnxruntime-cpu", "torch-cpu"],
        "batch_sizes": [1, 8],
        "repetitions": 1,
        "weights": "random",
        "profile": "quick",
        # Any two stretches are alike, so that a warm-up is as short as it may be.
        "protocol": {"warm_up_min_s": 1.6, "warm_up_max_s": 9.0, "steady_tolerance": 100.0},
        "isolation": "session",
    }
    study.write_text(json.dumps(members))
    path = tmp_path / "run"
    gb("study", "run", study, "--artifacts", artifacts, "--out", path)
    repetitions = parse((path / "journal.jsonl").read_bytes()).repetitions
    assert {one.settings["isolation"] for one in repetitions} == {"session"}
    first, second, third, fourth = repetitions
    for new, later in ((first, second), (third, fourth)):
        assert new.cell.backend == later.cell.backend
        assert "load" in new.phases_s
        assert new.memory_host_bytes
        assert later.phases_s.get("load", 0.0) < 0.01
        assert later.memory_host_bytes is None
        assert new.warm_up
        assert later.warm_up
        assert later.warm_up.duration_s < 1.6 <= new.warm_up.duration_s


def test_the_dataset_opens_with_plain_xarray_and_has_the_designs_dimensions(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        assert {name: dataset.sizes[name] for name in DIMENSIONS} == DIMENSIONS
        assert {"domain", "quantile"} <= set(dataset.sizes)
        assert dataset["energy_per_image"].dims == tuple(DIMENSIONS)
        assert dataset["backend"].values.tolist() == ["onnxruntime-cpu", "torch-cpu"]
        for name, unit in UNITS.items():
            assert dataset[name].attrs["units"] == unit, name
        assert (dataset["status"] == 0).all()
        assert dataset["status"].attrs["flag_meanings"].split()[0] == "ok"


def test_nothing_that_was_measured_is_zero_or_missing(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        for name in ("duration", "images", "iterations", "throughput", "latency"):
            values = dataset[name].to_numpy()
            assert np.isfinite(values).all(), name
            assert (values > 0).all(), name


def test_throughput_times_window_is_the_number_of_images(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        np.testing.assert_allclose(
            dataset["throughput"] * dataset["duration"], dataset["images"], rtol=1e-12
        )
        assert (dataset["latency"].sel(quantile=0.5) <= dataset["latency"].sel(quantile=1.0)).all()


def test_both_runtimes_ran_where_they_were_asked_to_with_the_same_threads(run: Path) -> None:
    repetitions = parse((run / "journal.jsonl").read_bytes()).repetitions
    for repetition in repetitions:
        expected = "CPUExecutionProvider" if repetition.cell.backend == "onnxruntime-cpu" else "cpu"
        assert set(repetition.placement) == {expected}
    assert len({repetition.settings["threads"] for repetition in repetitions}) == 1
    if sys.platform == "linux":
        assert {repetition.settings["isolation"] for repetition in repetitions} == {"fork"}


def test_traces_hold_each_iterations_latency(run: Path) -> None:
    for repetition in parse((run / "journal.jsonl").read_bytes()).repetitions:
        assert repetition.trace is not None
        with np.load(run / "traces" / repetition.trace) as trace:
            latencies = trace["latency_s"]
        assert len(latencies) == repetition.iterations
        assert latencies.sum() == pytest.approx(repetition.duration_s)


def test_a_complete_run_is_resumed_by_measuring_nothing(run: Path, gb: Gb) -> None:
    before = (run / "journal.jsonl").read_bytes()
    gb("bench", "--resume", run)
    assert (run / "journal.jsonl").read_bytes() == before


def test_a_script_can_read_the_answer(run: Path, gb: Gb) -> None:
    result = json.loads(gb("report", run, "--json").stdout)
    assert Path(result["dataset"]).is_file()
    assert Path(result["report"]).is_file()
    with xr.open_dataset(run / "dataset.nc") as dataset:
        logs = xr.ufuncs.log(dataset["energy_per_image"])
        energy = xr.ufuncs.exp(logs.mean("repetition"))
        assert {answer["model"] for answer in result["answers"]} == {*SMALL_MODELS}
        for answer in result["answers"]:
            least = float(energy.sel(model=answer["model"]).min())
            assert answer["value"] == pytest.approx(least)
            assert answer["energy_source"] == "estimated"
            assert answer["unit"] == "J/image"


def test_a_directory_that_is_a_run_is_not_measured_over(run: Path, gb: Gb) -> None:
    ran = gb("bench", "squeezenet1_1", "--provider", "cpu", "--out", run, expect=2)
    assert "already holds a run" in ran.stderr


def test_an_artifact_that_changed_stops_a_resume(run: Path, gb: Gb, tmp_path: Path) -> None:
    import shutil

    import yaml

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    study = yaml.safe_load((copy / "study.yaml").read_text())
    study["artifacts"]["squeezenet1_1"]["sha256"] = "0" * 64
    (copy / "study.yaml").write_text(yaml.safe_dump(study))
    ran = gb("bench", "--resume", copy, expect=2)
    assert "the artifact of squeezenet1_1 is" in ran.stderr
    assert "000000000000" in ran.stderr


def test_another_version_stops_a_resume(run: Path, gb: Gb, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    environment = json.loads((copy / "environment.json").read_text())
    environment["matters"]["version of torch"] = "1.0"
    (copy / "environment.json").write_text(json.dumps(environment))
    ran = gb("bench", "--resume", copy, expect=2)
    assert "version of torch was '1.0' and is" in ran.stderr


def test_a_corrupt_artifact_is_named(run: Path, gb: Gb, tmp_path: Path, artifacts: Path) -> None:
    import shutil

    import yaml

    copy, folder = tmp_path / "copy", tmp_path / "artifacts"
    shutil.copytree(run, copy)
    shutil.copytree(artifacts, folder)
    study = yaml.safe_load((copy / "study.yaml").read_text())
    study["artifacts_dir"] = str(folder)
    (copy / "study.yaml").write_text(yaml.safe_dump(study))
    with (folder / "squeezenet1_1-fp32.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"rot")
    ran = gb("bench", "--resume", copy, expect=2)
    assert "squeezenet1_1-fp32.onnx is not the file that was verified" in ran.stderr


def test_without_a_meter_latency_is_measured_and_energy_is_missing(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    gb(
        *("bench", "shufflenet_v2_x0_5", "--provider", "cpu", "--runtime", "onnxruntime"),
        *("--batch-sizes", "1", "--repetitions", 1, "--profile", "quick", "--meter", "none"),
        *("--weights", "random", "--artifacts", artifacts, "--out", tmp_path / "a"),
    )
    with xr.open_dataset(tmp_path / "a/dataset.nc") as dataset:
        assert (dataset["status"] == 0).all()
        assert dataset["energy_per_image"].isnull().all()
        assert (dataset["throughput"] > 0).all()


def test_a_repetition_that_takes_too_long_costs_only_itself(
    gb: Gb, artifacts: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        "models: [shufflenet_v2_x0_5]\nbackends: [onnxruntime-cpu, torch-cpu]\n"
        "batch_sizes: [1]\nrepetitions: 1\nprofile: quick\nweights: random\n"
        f"artifacts_dir: {artifacts}\n"
        "protocol: {timeout_s: 0.5}\n"
    )
    ran = gb("bench", "--study", study, "--out", tmp_path / "a", expect=3)
    assert "could be measured" in ran.stderr
    repetitions = parse((tmp_path / "a/journal.jsonl").read_bytes()).repetitions
    assert [repetition.status for repetition in repetitions] == [Status.TIMEOUT] * 2
    assert (tmp_path / "a/report/index.html").is_file()
