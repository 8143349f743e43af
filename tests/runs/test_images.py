"""Real images as a user measures with them: before the window, in it, and with broken ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from PIL import Image

from tests.conftest import Gb

pytestmark = pytest.mark.slow

MODEL = "shufflenet_v2_x0_5"
OPTIONS = (
    *("--provider", "cpu", "--runtime", "onnxruntime", "--batch-sizes", "4"),
    *("--repetitions", "1", "--profile", "quick", "--meter", "none", "--weights", "random"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, fewer than a batch, and a torn one."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8), "RGB")
        coarse.resize((320, 240 + number)).save(folder / f"{number}.jpg")
    whole = (folder / "0.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, gb: Gb, artifacts: Path, photos: Path
) -> dict[str, Path]:
    """A closed loop with preprocessing before the window, and a closed and an open one with it."""
    folder = tmp_path_factory.mktemp("runs")
    server = (
        *("--scenario", "offline", "--scenario", "server", "--rate", "30"),
        *("--policy", "greedy:4", "--requests", "30", "--preprocessing", "pipeline"),
    )
    for name, more in (("before", ()), ("pipeline", server)):
        ran = gb(
            *("bench", MODEL, *OPTIONS, *more, "--images", photos),
            *("--artifacts", artifacts, "--out", folder / name),
        )
        assert f"gb: 1 file of 4 in {photos} could not be read" in ran.stderr
        assert "gave 3 images, fewer than the largest batch of 4" in ran.stderr
    return {name: folder / name for name in ("before", "pipeline")}


def repetitions(run: Path) -> dict[str, dict[str, Any]]:
    lines = (run / "journal.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "repetition"]
    return {record["cell"]["scenario"]: record for record in records}


def test_images_decoded_before_the_window_cost_nothing_in_it(runs: dict[str, Path]) -> None:
    record = repetitions(runs["before"])["offline"]
    assert record["status"] == "ok", record["reason"]
    assert record["pipeline"] is None
    assert record["agreement"]["images"] == 4
    assert record["agreement"]["max_rel"] < 1e-5
    with xr.open_dataset(runs["before"] / "dataset.nc") as dataset:
        assert dataset["preprocessing_time_share"].isnull().all()


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_images_decoded_in_the_window_have_their_share_told(
    runs: dict[str, Path], scenario: str
) -> None:
    record = repetitions(runs["pipeline"])[scenario]
    assert record["status"] == "ok", record["reason"]
    pipeline = record["pipeline"]
    assert pipeline["decode_s"] > 0
    assert pipeline["transform_s"] > 0
    assert 0 < pipeline["cpu_s"] < pipeline["process_cpu_s"]
    if scenario == "offline":
        assert pipeline["images"] == record["images"]
    with xr.open_dataset(runs["pipeline"] / "dataset.nc") as dataset:
        group = "server_" if scenario == "server" else ""
        shares = dataset[f"{group}preprocessing_time_share"]
        (time_share,) = shares.to_numpy()[shares.notnull()]
        spent_s = pipeline["decode_s"] + pipeline["transform_s"]
        assert time_share == pytest.approx(spent_s / record["duration_s"])
        assert 0 < float(dataset[f"{group}preprocessing_cpu_share"].max()) < 1


def test_the_report_says_what_was_left_out_and_what_preprocessing_took(
    runs: dict[str, Path], photos: Path
) -> None:
    report = (runs["pipeline"] / "report/report.md").read_text()
    assert "torn.jpg (" in report
    assert "Images were decoded and transformed in the window" in report
    study = yaml.safe_load((runs["before"] / "study.yaml").read_text())
    assert study["images"]["count"] == 3
    assert list(study["images"]["broken"]) == ["torn.jpg"]
    assert "Images were decoded" not in (runs["before"] / "report/report.md").read_text()


def test_a_run_is_not_resumed_with_other_images(
    runs: dict[str, Path], gb: Gb, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["before"], run)
    (run / "journal.jsonl").write_text("")
    shutil.rmtree(run / "reference")
    kept = (photos / "1.jpg").read_bytes()
    shutil.copy(photos / "0.jpg", photos / "1.jpg")
    try:
        ran = gb("bench", "--resume", run, expect=2)
    finally:
        (photos / "1.jpg").write_bytes(kept)
    assert "are not the 3 that the study was made with" in ran.stderr
    assert (run / "journal.jsonl").read_text() == ""


def test_a_folder_without_images_is_refused_before_anything_is_measured(
    gb: Gb, tmp_path: Path
) -> None:
    ran = gb("bench", MODEL, *OPTIONS, "--images", tmp_path, "--out", tmp_path / "x", expect=2)
    assert f"no image is in {tmp_path}" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()
