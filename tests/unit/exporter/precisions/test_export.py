"""A lower precision that is there is kept: with its calibration, and for its processor."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from greenbatch.exporter.precisions.export import IN_FLOAT, export_lower, find_lower
from greenbatch.models.artifacts import Artifact, sha256
from greenbatch.records import Manifest
from tests.fakes import onnx_networks as networks

pytestmark = pytest.mark.numeric


@pytest.fixture
def fp32(tmp_path: Path) -> Artifact:
    return networks.artifact(tmp_path, networks.segmentation)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(32):
        pixels = np.random.default_rng(index).integers(0, 256, (18, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def int8(
    fp32: Artifact,
    calibration: Path | None = None,
    processor: str | None = None,
    *,
    force: bool = False,
) -> Manifest:
    """Export it; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return export_lower(
            fp32.manifest.model,
            "int8",
            fp32.folder,
            calibration=calibration,
            processor=processor,
            force=force,
        )


def make_again(fp32: Artifact) -> None:
    """Put another fp32 artifact in its place, as an export with other weights does."""
    model = onnx.load(fp32.path)
    model.doc_string = "another"
    onnx.save(model, fp32.path)
    path = fp32.folder / f"{fp32.manifest.model}-fp32.json"
    size = fp32.path.stat().st_size
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"sha256": sha256(fp32.path), "size_bytes": size}))


@pytest.mark.slow
def test_what_was_made_for_gpus_or_on_photographs_stays_until_another_is_given(
    fp32: Artifact, photographs: Path
) -> None:
    made = int8(fp32, photographs, "gpu")
    assert made.calibration.startswith("folder photographs")
    assert made.proved_with == IN_FLOAT
    assert int8(fp32) == made
    assert int8(fp32, photographs, "gpu") == made
    for_cpus = int8(fp32, photographs, "cpu")
    assert for_cpus.proved_with != IN_FLOAT
    assert for_cpus.calibration.startswith("folder photographs")
    assert int8(fp32) == for_cpus


@pytest.mark.slow
def test_one_that_is_made_again_keeps_its_processor_and_loses_photographs_with_a_warning(
    fp32: Artifact, photographs: Path
) -> None:
    int8(fp32, photographs, "gpu")
    with pytest.raises(UserWarning, match=r"was calibrated on folder photographs.*--calibration"):
        int8(fp32, force=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = export_lower(fp32.manifest.model, "int8", fp32.folder, force=True)
    assert found.proved_with == IN_FLOAT
    assert found.calibration.startswith("synthetic")
    make_again(fp32)
    assert int8(fp32) != found


@pytest.mark.slow
def test_fp16_is_made_again_only_of_another_fp32(fp32: Artifact) -> None:
    name, folder = fp32.manifest.model, fp32.folder
    made = export_lower(name, "fp16", folder)
    assert export_lower(name, "fp16", folder) == made
    assert find_lower(name, "fp16", folder) == made
    assert find_lower(name, "int8", folder) is None
    make_again(fp32)
    assert find_lower(name, "fp16", folder) is None
    assert export_lower(name, "fp16", folder).recipe != made.recipe
