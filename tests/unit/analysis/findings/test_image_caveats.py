"""What a reader must know of a run with images: what was left out, what preparing them took."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.findings.caveats import caveats, image_caveats
from greenbatch.design.recorded import RecordedImages
from greenbatch.records import Cell, Record
from greenbatch.records.repetition import Pipeline
from tests.fakes import runs

CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=4)


def images(found: int, count: int, broken: int = 0) -> dict[str, Any]:
    names = {f"{number}.jpg": f"reason {number}" for number in range(broken)}
    return {"folder": "/data", "found": found, "count": count, "broken": names, "sha256": "0"}


def said(members: dict[str, Any] | None, largest: int) -> dict[str, str]:
    of_run = RecordedImages(**members) if members else None
    return {c.code: c.sentence for c in image_caveats(of_run, largest)}


def test_nothing_is_said_of_synthetic_images_and_of_whole_folders() -> None:
    assert not said(None, 8)
    assert not said(images(8, 8), 8)


def test_broken_images_are_counted_and_the_first_of_them_named() -> None:
    assert said(images(10, 9, 1), 4)["images-broken"] == (
        "1 file of 10 in /data could not be read and was left out: 0.jpg (reason 0)."
    )
    sentence = said(images(20, 13, 7), 4)["images-broken"]
    assert sentence.startswith("7 files of 20 in /data could not be read and were left out: ")
    assert "4.jpg" in sentence
    assert "5.jpg" not in sentence
    assert sentence.endswith("; and 2 more, see study.yaml.")


def test_images_that_are_repeated_or_chosen_are_told() -> None:
    assert "gave 3 images, fewer than the largest batch of 4" in said(images(3, 3), 4).get(
        "images-repeated", ""
    )
    found = said(images(1000, 250, 6), 4)
    assert found["images-chosen"] == "Of the 1,000 images in /data, 256 were taken, evenly spread."


def pipeline(spent_s: float, cpu_s: float, process_cpu_s: float = 4.0) -> Pipeline:
    return Pipeline(
        images=400,
        decode_s=spent_s / 4,
        transform_s=spent_s * 3 / 4,
        cpu_s=cpu_s,
        process_cpu_s=process_cpu_s,
    )


def test_the_shares_are_of_the_window_and_of_the_process(tmp_path: Path) -> None:
    records: list[Record] = [
        runs.repetition(CELL, 0, pipeline=pipeline(0.5, 0.4)),
        runs.repetition(CELL, 1, pipeline=pipeline(1.0, 0.8)),
        runs.repetition(CELL, 2, pipeline=pipeline(1.0, 0.0, 0.0)),
    ]
    study = runs.study(batch_sizes=(4,), images=images(3, 2, 1))
    dataset = compile_dataset(runs.write_run(tmp_path, records, study))
    time_share = dataset["preprocessing_time_share"].to_numpy().ravel()
    cpu_share = dataset["preprocessing_cpu_share"].to_numpy().ravel()
    np.testing.assert_allclose(time_share, [0.25, 0.5, 0.5])
    np.testing.assert_allclose(cpu_share, [0.1, 0.2, np.nan])
    found = {caveat.code: caveat.sentence for caveat in caveats(dataset)}
    assert found["preprocessing-inside"].endswith(
        "they took 25 to 50 % of the window and 10 to 20 % of the measuring process's CPU time."
    )
    assert {"images-broken", "images-repeated"} <= set(found)


@pytest.mark.parametrize("shares", ["absent", "missing"])
def test_without_preprocessing_in_the_window_nothing_is_said(tmp_path: Path, shares: str) -> None:
    records: list[Record] = [runs.repetition(CELL, block) for block in range(3)]
    run = runs.write_run(tmp_path, records, runs.study(batch_sizes=(4,)))
    dataset = compile_dataset(run)
    if shares == "absent":  # compiled before they were recorded
        dataset = dataset.drop_vars(["preprocessing_time_share", "preprocessing_cpu_share"])
    assert "preprocessing-inside" not in {caveat.code for caveat in caveats(dataset)}
