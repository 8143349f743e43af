"""Whole runs on a CUDA device: the energy of its GPU, idle and net, and a server."""

from pathlib import Path

import pytest
import xarray as xr

from tests.conftest import Gb
from tests.gpu.gating import MARKS, MODEL, need

pytestmark = MARKS
_SHORT = ("--profile", "quick", "--weights", "random")


def _usable() -> list[str]:
    """Return the options of the default runtimes that run here."""
    options: list[str] = []
    reason = ""
    for runtime in ("onnxruntime", "torch"):
        try:
            need(f"{runtime}-cuda")
        except pytest.skip.Exception as skipped:
            reason = str(skipped)
        else:
            options += ["--runtime", runtime]
    if not options:
        pytest.skip(reason)
    return options


def _gpu_domain(dataset: xr.Dataset) -> str:
    """Return the domain of the GPU that the run used; skip where NVML reads none."""
    names = [str(name) for name in dataset["domain"].to_numpy() if str(name).startswith("gpu")]
    for name in names:
        if (dataset["energy"].sel(domain=name) > 0).any():
            return name
    pytest.skip(f"no meter of a GPU was read; domains: {', '.join(names) or 'none of a GPU'}")


@pytest.mark.parametrize("io", ["host", "device"])
def test_a_run_on_the_gpu_has_measured_energy_idle_and_net(
    gb: Gb, artifacts: Path, tmp_path: Path, io: str
) -> None:
    gb(
        *("bench", MODEL, "--provider", "cuda", *_usable(), "--batch-sizes", "1,32"),
        *("--repetitions", 2, "--io", io, *_SHORT),
        *("--artifacts", artifacts, "--out", tmp_path / "run"),
    )
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert (dataset["status"] == 0).all()
        domain = _gpu_domain(dataset)
        energy = dataset["energy"].sel(domain=domain)
        assert (energy > 0).all()
        idle = dataset["idle_power"].sel(domain=domain)
        assert (idle > 0).any()
        assert (energy >= 0.8 * idle.max() * dataset["duration"]).all()
        assert (dataset["energy_source"].sel(domain=domain) > 0).all()
        assert (dataset["energy_per_image"] > 0).all()
        net = dataset["energy_per_image_net"]
        assert (net < dataset["energy_per_image"]).all()


def test_a_server_on_the_gpu_answers_its_requests(gb: Gb, artifacts: Path, tmp_path: Path) -> None:
    gb(
        *("bench", MODEL, "--provider", "cuda", *_usable(), "--scenario", "server"),
        *("--rate", "50", "--policy", "greedy:8", "--requests", 100, "--repetitions", 1, *_SHORT),
        *("--artifacts", artifacts, "--out", tmp_path / "run"),
    )
    with xr.open_dataset(tmp_path / "run/dataset.nc") as dataset:
        assert (dataset["status"] == 0).all()
        assert (dataset["energy"].sel(domain=_gpu_domain(dataset)) > 0).all()
