"""Tests of a CUDA device: they end in time, and each result is on disk before the next begins.

`make gpu-check` sets ``GB_GPU_SECONDS``, after which the tests that are left are skipped, and
``GB_GPU_RESULTS``, a file of JSON lines.
"""

import json
import os
import time
from pathlib import Path

import pytest

from greenbatch.models.artifacts import has_manifest
from tests.conftest import Gb
from tests.gpu.gating import MODEL, need

_BEGAN_S = time.monotonic()


def _note(event: dict[str, object]) -> None:
    if path := os.environ.get("GB_GPU_RESULTS"):
        with Path(path).open("a") as file:
            print(json.dumps(event), file=file, flush=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which tests there are."""
    _note({"collected": [item.nodeid for item in session.items]})


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note that a test begins: the process may end in it."""
    _note({"begun": nodeid})


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what does not fit any more."""
    limit_s = float(os.environ.get("GB_GPU_SECONDS", "inf"))
    if time.monotonic() - _BEGAN_S > limit_s:
        pytest.skip(f"the {limit_s:.0f} s of the tests were used up")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of a test."""
    if report.when != "call" and report.outcome == "passed":
        return
    reason = ""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.outcome == "failed":
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = str(crash.message if crash else report.longrepr).strip().splitlines()[0][:500]
    _note(
        {
            "test": report.nodeid,
            "outcome": report.outcome,
            "reason": reason,
            "duration_s": report.duration,
        }
    )


@pytest.fixture(scope="session")
def onnxruntime_cuda() -> None:
    """Skip where ONNX Runtime has no CUDA here, before an export."""
    need("onnxruntime-cuda")


@pytest.fixture(scope="session")
def tensorrt() -> None:
    """Skip where ONNX Runtime has no TensorRT here, before an export."""
    need("onnxruntime-tensorrt")


@pytest.fixture(scope="session")
def study_artifacts(artifacts: Path, gb: Gb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two of the study models, the largest, in fp32 and fp16."""
    models = ("vit_b_16", "convnext_base")
    if all(has_manifest(artifacts, model, "fp16") for model in models):
        return artifacts
    folder = tmp_path_factory.mktemp("study-artifacts")
    gb("export", *models, "--weights", "random", "--precision", "fp16", "--out", folder)
    return folder


@pytest.fixture(scope="session")
def lower_artifacts(gb: Gb, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small network in fp16, bf16 and int8 for GPUs."""
    folder = tmp_path_factory.mktemp("lower-artifacts")
    options = [word for name in ("fp16", "bf16", "int8") for word in ("--precision", name)]
    gb(
        *("export", MODEL, "--weights", "random", "--int8-for", "gpu"),
        *(*options, "--out", folder),
    )
    return folder
