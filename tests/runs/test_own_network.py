"""A user's own network from its source to a dataset: exported, in two precisions, measured."""

from pathlib import Path

import pytest
import xarray as xr

from tests.conftest import Gb

SOURCE = """
from torch import nn

def build():
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32, 5)).eval()
"""
QUICK = ("--provider", "cpu", "--runtime", "onnxruntime", "--profile", "quick", "--repetitions", 1)


@pytest.mark.slow
def test_a_callable_is_exported_in_two_precisions_and_measured(gb: Gb, tmp_path: Path) -> None:
    (tmp_path / "own_net.py").write_text(SOURCE)
    artifacts = ("--artifacts", tmp_path / "artifacts")
    told = gb(
        *("export", "own_net:build", "--input", "3x32x32", "--name", "tiny"),
        *("--precision", "int8", "--out", tmp_path / "artifacts"),
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert "tiny-fp32.onnx" in told.stdout
    assert "calibrated on synthetic" in told.stdout
    gb(
        *("bench", "tiny", *QUICK, "--batch-sizes", "1,4", *artifacts, "--out", tmp_path / "run"),
        *("--precision", "fp32", "--precision", "int8", "--meter", "none"),
    )
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert list(dataset["precision"].to_numpy()) == ["fp32", "int8"]
        assert (dataset["status"] == 0).all()
        assert (dataset["latency"] > 0).all()
        assert dataset["weights"].item() == "own"
        assert dataset["top1"].isnull().all()


@pytest.mark.slow
def test_an_onnx_file_with_a_fixed_batch_is_freed_on_the_way_and_that_is_printed(
    gb: Gb, tmp_path: Path
) -> None:
    import torch

    scope: dict[str, object] = {}
    exec(SOURCE, scope)
    module = scope["build"]()  # type: ignore[operator]
    path = tmp_path / "fixed.onnx"
    torch.onnx.export(module, (torch.zeros(2, 3, 32, 32),), path, dynamo=True, verbose=False)
    ran = gb(
        *("bench", path, "--name", "freed", *QUICK, "--batch-sizes", "1,5"),
        *("--artifacts", tmp_path / "artifacts", "--out", tmp_path / "run", "--meter", "none"),
    )
    assert "the batch axis of fixed.onnx, fixed at 2, is freed" in ran.stderr
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert (dataset["status"] == 0).all()
        assert list(dataset["batch_size"].to_numpy()) == [1, 5]
