"""The server scenario as a user types it: policies and rates side by side, and a rate too high."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr

import greenbatch.analysis.accessor  # noqa: F401 - registers `gb`
from greenbatch.records import parse
from tests.conftest import Gb
from tests.thorough import needs_thorough

pytestmark = pytest.mark.slow

MODEL = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, gb: Gb, artifacts: Path) -> Path:
    """Two policies at a low and at an impossible rate, and the closed loop beside them."""
    path = tmp_path_factory.mktemp("server") / "a"
    ran = gb(
        *("bench", MODEL, "--provider", "cpu", "--runtime", "onnxruntime"),
        *("--scenario", "offline", "--scenario", "server", "--batch-sizes", "4"),
        *("--policy", "greedy:4", "--policy", "dynamic:4:20ms", "--rate", "20,20000"),
        *("--requests", 60, "--repetitions", 1, "--profile", "quick", "--meter", "none"),
        *("--weights", "random", "--artifacts", artifacts, "--out", path),
    )
    assert "Warning" not in ran.stderr
    return path


@pytest.mark.alone
def test_servers_are_a_group_of_their_own_along_their_traffic(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        assert dataset["energy_per_image"].dims == ("model", "variant", "batch_size", "repetition")
        servers = dataset.gb.servers
        assert servers["energy_per_image"].dims == ("model", "variant", "traffic", "repetition")
        assert list(servers["policy"].to_numpy()) == ["greedy:4"] * 2 + ["dynamic:4:20ms"] * 2
        assert list(servers["rate"].to_numpy()) == ["20", "20000"] * 2
        assert set(servers["arrivals"].to_numpy()) == {"poisson"}
        for group, cells in ((dataset, 1), (servers, 4)):
            assert int(group["in_design"].sum()) == group["in_design"].size == cells
            assert int((group["status"] == 0).sum()) == cells


@pytest.mark.alone
def test_response_times_count_from_the_arrival_and_waiting_shows(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        cell = dataset.gb.servers.gb.sel(arrivals="poisson", rate=20)
        cell = cell.squeeze(["model", "variant", "repetition"]).swap_dims(traffic="policy")
        mean, longest = cell["response_time_mean"], cell["response_time"].sel(quantile=1.0)
        served = mean.notnull()
        assert served.sum() == 2
        assert (longest >= mean).where(served, True).all()
        # The one waits for others, the other does not.
        assert mean.sel(policy="dynamic:4:20ms") > mean.sel(policy="greedy:4")
        assert mean.sel(policy="dynamic:4:20ms") > 0.010
        assert (cell["requests"].sel(policy="greedy:4") > 20).all()
        assert 0 < cell["busy"].sel(policy="greedy:4") < 1


@pytest.mark.alone
def test_a_rate_that_the_server_cannot_hold_is_flagged_not_averaged_away(run: Path) -> None:
    with xr.open_dataset(run / "dataset.nc") as dataset:
        masks = dict(
            zip(
                dataset["flags"].attrs["flag_meanings"].split(),
                np.atleast_1d(dataset["flags"].attrs["flag_masks"]),
                strict=True,
            )
        )
        cell = dataset.gb.servers.gb.sel(arrivals="poisson", policy="greedy:4")
        cell = cell.squeeze(["model", "variant"]).swap_dims(traffic="rate")
        flagged = (cell["flags"].squeeze() & int(masks["overloaded"])) > 0
        assert bool(flagged.sel(rate="20000"))
        assert not bool(flagged.sel(rate="20"))
        assert float(cell["queue_growth"].sel(rate="20000").squeeze()) > 1000
    report = (run / "report/report.md").read_text()
    assert "Energy per request and response time of servers" in report
    assert "overloaded" in report


@pytest.mark.alone
def test_what_every_request_did_is_kept(run: Path) -> None:
    (trace,) = (run / "traces").glob("*greedy-4*20_*.npz")
    with np.load(trace) as arrays:
        assert len(arrays["arrival_s"]) == arrays["batch_size"].sum()
        assert (arrays["handed_over_s"] >= arrays["arrival_s"]).all()
        assert (np.diff(arrays["batch_start_s"]) > 0).all()


@needs_thorough
def test_a_run_killed_among_requests_loses_only_the_repetition_that_ran(
    artifacts: Path, tmp_path: Path
) -> None:
    study, run = tmp_path / "own.yaml", tmp_path / "run"
    study.write_text(
        f"models: [{MODEL}]\nbackends: [onnxruntime-cpu]\nscenarios: [server]\nrates: [50]\n"
        "policies: [greedy:2]\nrequests: 100\nrepetitions: 3\nprofile: quick\nmeters: [none]\n"
        f"weights: random\nartifacts_dir: {artifacts}\n"
    )
    command = [sys.executable, "-m", "greenbatch.cli", "bench"]
    command += ["--study", str(study), "--out", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = run / "journal.jsonl"
    _wait(lambda: journal.is_file() and journal.read_bytes().count(b'"repetition"') >= 1)
    _wait(lambda: any("generator" in name for name in _descendants(process.pid).values()))
    family = _descendants(process.pid)
    process.kill()
    process.wait()
    _wait(lambda: not any(psutil.pid_exists(pid) for pid in family))

    kept = journal.read_bytes()
    ran = subprocess.run(
        [sys.executable, "-m", "greenbatch.cli", "bench", "--resume", run],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert journal.read_bytes().startswith(kept)
    repetitions = parse(journal.read_bytes()).repetitions
    assert [(r.block, str(r.status)) for r in repetitions] == [(0, "ok"), (1, "ok"), (2, "ok")]


def _descendants(pid: int) -> dict[int, str]:
    """Return the command lines of what a process has started, by process id."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found[child.pid] = " ".join(child.cmdline())
    return found


def _wait(until: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--scenario", "server"), "rates is missing or empty; a server needs one"),
        (("--scenario", "server", "--rate", "0"), "rate '0' is not a number above 0"),
        (("--scenario", "server", "--rate", "5", "--policy", "often"), "batching policy 'often'"),
        (("--scenario", "server", "--rate", "5", "--arrivals", "rain"), "arrivals"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    gb: Gb, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    ran = gb("bench", MODEL, "--provider", "cpu", *options, "--out", tmp_path / "x", expect=2)
    assert sentence in ran.stderr
    assert ran.stderr.count("\n") == 1
