"""``gb merge``: a dataset file of several runs, or a sentence that says what differs."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.records import Cell
from tests.fakes.command import gb
from tests.fakes.merged_runs import on, run_of
from tests.fakes.training_runs import plain_run


@pytest.mark.slow
def test_runs_become_one_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.1)
    out = tmp_path / "both.nc"
    code, printed, errors = gb(capsys, "merge", a, b, "--out", out)
    assert (code, errors) == (0, "")
    assert printed == f"repetitions of a, b: 8 cells x 4 repetitions\ndataset: {out}\n"
    with xr.open_dataset(out) as dataset:
        assert dataset.sizes["repetition"] == 4


@pytest.mark.slow
def test_machines_and_runs_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.1, environment=on("other"))
    _, printed, _ = gb(capsys, "merge", a, b, "--out", tmp_path / "m.nc")
    assert printed.startswith("2 machines side by side (bench, other): 16 cells x 2 repetitions")
    _, printed, _ = gb(capsys, "merge", a, b, "--apart", "--out", tmp_path / "r.nc")
    assert printed.startswith("2 runs side by side (a, b): 16 cells x 2 repetitions")
    _, printed, _ = gb(capsys, "merge", a, "--out", tmp_path / "one.nc")
    assert printed.startswith("one run, as it is: 8 cells x 2 repetitions")


@pytest.mark.slow
def test_a_difference_is_refused_and_what_is_allowed_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.1, threads=8)
    out = tmp_path / "both.nc"
    code, _, errors = gb(capsys, "merge", a, b, "--out", out)
    assert code == 2
    assert "incompatible runs: threads is '2' in a and '8' in b" in errors
    assert not out.exists()
    code, printed, _ = gb(capsys, "merge", a, b, "--out", out, "--allow-difference", "threads")
    assert code == 0
    assert "differs, as allowed: threads is '2' in a and '8' in b" in printed


def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a = run_of(tmp_path / "a")
    out = tmp_path / "x.nc"
    out.write_text("mine")
    code, _, errors = gb(capsys, "merge", a, "--out", out)
    assert (code, errors) == (2, f"gb: {out} exists; choose another --out\n")
    assert out.read_text() == "mine"
    code, _, errors = gb(capsys, "merge", a, "--out", tmp_path / "no" / "x.nc")
    assert "is not a directory" in errors
    code, _, errors = gb(
        capsys, "merge", a, "--out", tmp_path / "y.nc", "--apart", "--along", "machine"
    )
    assert "--apart and --along machine are both given" in errors


@pytest.mark.slow
def test_traces_are_written_beside_the_dataset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b = run_of(tmp_path / "a"), run_of(tmp_path / "b", 1.1)
    out = tmp_path / "both.nc"
    code, _, errors = gb(capsys, "merge", a, b, "--out", out, "--traces", "netcdf")
    assert (code, out.exists()) == (2, False)
    assert f"{a} has no folder of traces" in errors
    for run in (a, b):
        (run / "traces").mkdir()
        name = Cell("alexnet", "torch-cpu", batch_size=4).slug
        np.savez(run / "traces" / f"{name}_r1.npz", latency_s=np.array([0.1, 0.2]))
    code, printed, _ = gb(capsys, "merge", a, b, "--out", out, "--traces", "netcdf")
    assert code == 0
    assert printed.endswith(f"traces: {tmp_path / 'both-traces.nc'}\n")
    with xr.open_dataset(tmp_path / "both-traces.nc") as traces:
        assert traces["run"].values.tolist() == ["a", "b"]
        assert traces["latency"].values.tolist() == [0.1, 0.2, 0.1, 0.2]


def test_traces_of_trainings_are_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = plain_run(tmp_path / "a")
    (run / "traces").mkdir(exist_ok=True)
    out = tmp_path / "both.nc"
    code, _, errors = gb(capsys, "merge", run, run, "--out", out, "--traces", "netcdf")
    assert code == 2
    assert "training run" in errors
    assert "remove --traces" in errors
    assert not out.exists()
