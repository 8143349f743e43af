"""Accuracy belongs to the artifact that was measured, or is said to be published."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from greenbatch.analysis.dataset.store import compile_dataset, open_run
from greenbatch.analysis.dataset.variables import ACCURACIES
from greenbatch.analysis.findings.cells import AccuracyFigure, cell_rows
from greenbatch.errors import ArtifactError
from greenbatch.models.registry import find
from greenbatch.records import Cell
from greenbatch.records.accuracy import Accuracy, Rate, parse_accuracy
from tests.fakes import runs

SHA = {"fp32": "a" * 64, "int8": "b" * 64}
MEASURED = Accuracy(
    model="alexnet",
    precision="int8",
    artifact_sha256=SHA["int8"],
    weights="pretrained (IMAGENET1K_V1)",
    data="imagenette",
    mapping="names",
    images=400,
    limit=400,
    broken=0,
    broken_files={},
    top1=Rate(value=0.55, low=0.5, high=0.6),
    top5=Rate(value=0.8, low=0.75, high=0.84),
    provider="cpu",
    batch_size=32,
    duration_s=9.0,
    images_per_s=44.0,
    measured_at="2026-11-21T08:00:00+00:00",
)


def compiled(path: Path, *records: Accuracy, kind: str = "pretrained") -> xr.Dataset:
    artifacts = {
        key: {"file": f"{key}.onnx", "sha256": sha, "weights": {"kind": kind, "detail": "x"}}
        for key, sha in (("alexnet", SHA["fp32"]), ("alexnet-int8", SHA["int8"]))
    }
    members = runs.study(batch_sizes=(1,), precisions=["fp32", "int8"], artifacts=artifacts)
    cells = [Cell("alexnet", "onnxruntime-cpu", precision) for precision in SHA]
    run = runs.write_run(path, [runs.repetition(cell) for cell in cells], members)
    for record in records:
        save(run, record)
    return compile_dataset(run)


def save(run: Path, record: Accuracy) -> None:
    (run / "accuracy").mkdir(exist_ok=True)
    (run / "accuracy" / f"{record.model}-{record.precision}.json").write_text(record.to_json())


def at(dataset: xr.Dataset, name: str, precision: str) -> float:
    return float(dataset[name].sel(model="alexnet", variant=f"onnxruntime-cpu {precision}"))


def test_measured_accuracy_is_the_artifact_s_own_in_percent(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, MEASURED)
    assert dataset["accuracy_top1"].dims == ("model", "variant")
    assert at(dataset, "accuracy_top1", "int8") == pytest.approx(55.0)
    assert at(dataset, "accuracy_top1_low", "int8") == pytest.approx(50.0)
    assert at(dataset, "accuracy_top1_high", "int8") == pytest.approx(60.0)
    assert at(dataset, "accuracy_top5", "int8") == pytest.approx(80.0)
    assert at(dataset, "accuracy_images", "int8") == 400
    assert ACCURACIES[int(at(dataset, "accuracy_source", "int8"))] == "measured"
    (result,) = json.loads(dataset.attrs["accuracy"])
    assert (result["data"], result["images"], result["precision"]) == ("imagenette", 400, "int8")


def test_published_accuracy_stands_for_pretrained_fp32_alone(tmp_path: Path) -> None:
    published = find("alexnet").top1
    dataset = compiled(tmp_path)
    assert at(dataset, "accuracy_top1", "fp32") == published
    assert math.isnan(at(dataset, "accuracy_top1_low", "fp32"))
    assert ACCURACIES[int(at(dataset, "accuracy_source", "fp32"))] == "published"
    assert ACCURACIES[int(at(dataset, "accuracy_source", "int8"))] == "missing"
    assert math.isnan(at(dataset, "accuracy_top1", "int8"))
    assert dataset["top1"].sel(model="alexnet").item() == published


@pytest.mark.parametrize("kind", ["random", "file"])
def test_weights_that_are_not_the_published_ones_have_no_published_accuracy(
    tmp_path: Path, kind: str
) -> None:
    dataset = compiled(tmp_path, kind=kind)
    assert bool(dataset["accuracy_top1"].isnull().all())
    assert not bool(dataset["accuracy_source"].any())


def test_what_was_measured_comes_before_what_was_published(tmp_path: Path) -> None:
    record = replace(MEASURED, precision="fp32", artifact_sha256=SHA["fp32"], top5=None)
    dataset = compiled(tmp_path, record)
    assert at(dataset, "accuracy_top1", "fp32") == pytest.approx(55.0)
    assert math.isnan(at(dataset, "accuracy_top5", "fp32"))


def test_the_accuracy_of_another_artifact_is_left_out_and_said(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="alexnet in int8 was measured on another artifact"):
        dataset = compiled(tmp_path, replace(MEASURED, artifact_sha256="c" * 64))
    assert math.isnan(at(dataset, "accuracy_top1", "int8"))
    assert json.loads(dataset.attrs["accuracy"]) == []


def test_rows_carry_value_interval_and_source(tmp_path: Path) -> None:
    rows = {row.cell.precision: row.accuracy for row in cell_rows(compiled(tmp_path, MEASURED))}
    assert rows["fp32"] == AccuracyFigure(top1=find("alexnet").top1 or 0.0, source="published")
    accuracy = rows["int8"]
    assert accuracy is not None
    assert (accuracy.source, accuracy.images) == ("measured", 400)
    assert (accuracy.low, accuracy.top1, accuracy.high) == pytest.approx((50.0, 55.0, 60.0))


@pytest.mark.slow
def test_an_accuracy_that_came_later_is_taken_in(tmp_path: Path) -> None:
    compiled(tmp_path)
    assert math.isnan(at(open_run(tmp_path), "accuracy_top1", "int8"))
    save(tmp_path, MEASURED)
    assert at(open_run(tmp_path), "accuracy_top1", "int8") == pytest.approx(55.0)


def test_a_record_survives_its_file() -> None:
    assert parse_accuracy(MEASURED.to_json(), "x") == MEASURED
    assert parse_accuracy(replace(MEASURED, top5=None).to_json(), "x").top5 is None


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"schema": 9}, "it is no accuracy of schema 1"),
        ({"top1": {"value": 55.0, "low": 50.0, "high": 60.0}}, "top1: a rate is 55.0"),
        ({"images": None}, "images: "),
    ],
)
def test_a_damaged_record_is_refused_in_one_sentence(change: dict[str, Any], cause: str) -> None:
    text = json.dumps(json.loads(MEASURED.to_json()) | change)
    with pytest.raises(
        ArtifactError, match="cannot read the accuracy a.json: .*" + cause
    ) as caught:
        parse_accuracy(text, "a.json")
    assert str(caught.value).endswith("delete it, or run 'gb eval' again")
    assert "\n" not in str(caught.value)
