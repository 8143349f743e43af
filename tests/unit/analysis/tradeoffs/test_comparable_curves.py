"""A crossover is of two curves of one run: blocks of two machines are no pairs."""

from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

import greenbatch
from greenbatch.analysis.tradeoffs.crossovers import Crossover
from greenbatch.errors import UsageError
from tests.fakes import runs

A, B = runs.BACKENDS


def merged(folder: Path) -> xr.Dataset:
    """Two machines that measured one network."""
    paths = []
    for host in ("bench", "other"):
        environment = runs.environment()
        environment["machine"] |= {"hostname": host}
        records = runs.realistic_records(models=("alexnet",))
        design = runs.study(backends=runs.BACKENDS, batch_sizes=(1, 4, 16))
        paths.append(runs.write_run(folder / host, records, design, environment))
    return greenbatch.open(*paths, along="machine")


@pytest.mark.slow
def test_blocks_of_two_machines_are_not_paired(tmp_path: Path) -> None:
    dataset = merged(tmp_path)
    first, second = (str(label) for label in dataset["machine"].values)
    with pytest.raises(UsageError, match=r"those of two machines .* same stretch of time"):
        dataset.gb.crossover({"machine": first, "backend": A}, {"machine": second, "backend": A})
    assert dataset.gb.crossover(A, B, machine=first).repetitions == 3


@pytest.mark.slow
def test_a_curve_does_not_cross_itself(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path / "run", models=("alexnet",))
    with pytest.raises(UsageError, match=f"both curves are alexnet on {A}"):
        greenbatch.open(run).gb.crossover(A, A)


def test_a_crossing_that_may_be_anywhere_is_not_known() -> None:
    found = Crossover(
        a="one",
        b="other",
        what="latency",
        verdict="crosses",
        winner="one",
        batch_size=4.0,
        between=(1, 16),
        repetitions=3,
    )
    assert found.open
    assert str(found) == (
        "It is not known where one and other cross in latency: anywhere from below 1 to beyond 16, "
        "3 repetitions."
    )
    bounded = replace(found, low=2.0)
    assert not bounded.open
    assert "overtakes other in latency at a batch of about 4 (95 %: 2 … beyond 16" in str(bounded)
