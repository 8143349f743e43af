"""A user's own network from its source to a dataset: exported, in two precisions, measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from tests.conftest import Gb

EXAMPLES = Path(__file__).parents[2] / "examples"
PATH = [path for path in (os.environ.get("PYTHONPATH"),) if path]
FEWER = """
import greenbatch, own_network
whole = greenbatch.bench
greenbatch.bench = lambda *models, **options: whole(*models, **options | {fewer})
own_network.main("run")
"""
QUICK = ("--provider", "cpu", "--runtime", "onnxruntime", "--profile", "quick", "--repetitions", 1)


@pytest.mark.slow
def test_the_example_exports_its_network_in_two_precisions_and_measures_it(tmp_path: Path) -> None:
    fewer = {
        "precisions": ["fp32", "int8"],
        "runtimes": ["onnxruntime"],
        "batch_sizes": [1, 4],
        "repetitions": 1,
        "meters": ["none"],
    }
    ran = subprocess.run(
        [sys.executable, "-c", FEWER.format(fewer=fewer)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *PATH])},
    )
    assert ran.returncode == 0, ran.stderr
    assert "mine: onnxruntime-cpu" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "report: run/report/index.html"
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
    from torch import nn

    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(32, 5)).eval()
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
