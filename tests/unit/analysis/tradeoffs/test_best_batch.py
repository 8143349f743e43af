"""The batch size of least energy within a limit on the latency, and whether that is shown."""

from pathlib import Path

import pytest
import xarray as xr

from greenbatch.analysis import open_run
from greenbatch.analysis.dataset.groups import servers_of
from greenbatch.analysis.dataset.variables import FLAGS
from greenbatch.analysis.tradeoffs.best_batch import best_batch
from greenbatch.errors import UsageError
from tests.fakes import runs
from tests.fakes.curves import A, B, crossing, measured
from tests.fakes.served_run import served_run

pytestmark = pytest.mark.numeric


@pytest.mark.slow
def test_the_best_batch_heeds_the_latency_allowed(tmp_path: Path) -> None:
    dataset = measured(tmp_path, crossing)  # latency 0.01 s x batch, p99 1.3 times that
    assert best_batch(dataset).labels is not None
    assert (best_batch(dataset).batch_size, best_batch(dataset).name) == (
        32,
        f"alexnet on {B} at batch 32",
    )
    tight = best_batch(dataset, max_latency=0.12)
    assert tight.batch_size == 8  # p99 0.104 x 1.1
    assert (tight.meets, tight.surely) == (True, False)
    assert "within 120 ms, though 300 batches do not show that the p99 is" in str(tight)
    assert tight.runner_up == f"alexnet on {A} at batch 8"
    assert tight.margin is not None
    assert tight.margin.centre == pytest.approx(2 ** (0.2 * 3 - 0.25 - 0.1 * 3))
    none = best_batch(dataset, max_latency=0.001)
    assert not none.meets
    assert "None of 12 cells has a mean p99 latency within 1 ms; the fastest is" in str(none)
    with pytest.raises(UsageError, match="give a time above 0 in s"):
        best_batch(dataset, max_latency=0.0)
    shown = best_batch(dataset, max_latency=0.5, quantile=0.5)
    assert shown.surely
    assert "within 500 ms, as 300 batches show at 99 % confidence" in str(shown)
    of_two = best_batch(dataset.isel(repetition=[0, 1]), max_latency=0.5, quantile=0.5)
    assert not of_two.surely
    assert "as 200 batches show; 2 repetitions are too few for an interval" in str(of_two)
    of_one = best_batch(dataset.isel(repetition=[0]), max_latency=0.5, quantile=0.5)
    assert "as 100 batches show; 1 repetition is too few for an interval" in str(of_one)


def test_a_p99_of_a_few_batches_is_the_slowest_of_them_and_shows_nothing(tmp_path: Path) -> None:
    """Five batches in a window: below the true p99 in 95 of 100 windows."""
    dataset = measured(tmp_path, crossing)
    few = dataset.assign(iterations=xr.full_like(dataset["iterations"], 5.0))
    found = best_batch(few, max_latency=1.0)
    assert (found.meets, found.shown, found.surely) == (True, False, False)
    assert "latency (slowest of 5 batches) " in str(found)
    assert "though 15 batches do not show that the p99 is" in str(found)


def test_many_batches_of_which_none_is_over_the_limit_show_it(tmp_path: Path) -> None:
    dataset = measured(tmp_path, crossing)
    assert best_batch(dataset, max_latency=0.12).shown is False  # 300 batches
    longer = dataset.assign(iterations=dataset["iterations"] * 2)
    found = best_batch(longer, max_latency=1.0)
    assert (found.observations, found.shown) == (600, True)


@pytest.mark.slow
def test_a_server_is_judged_by_its_requests_and_never_wins_overloaded(tmp_path: Path) -> None:
    run = served_run(tmp_path / "served", policies=("greedy:16", "fixed:16", "greedy:1"))
    dataset = servers_of(open_run(run))
    assert dataset is not None
    found = best_batch(dataset, rate=40, max_latency=0.1)
    assert "response time" in str(found)
    assert found.of == "requests"
    assert found.labels is not None
    assert found.labels["policy"] != "fixed:16", "its batches are fast, its requests wait"
    overloaded = dataset.copy(deep=True)
    cell = {"traffic": f"poisson {found.labels['policy']} 40"}
    overloaded["flags"].loc[{**cell, "repetition": 0}] |= FLAGS["overloaded"]
    other = best_batch(overloaded, rate="40", max_latency=0.1)
    assert other.labels is not None
    assert other.labels["policy"] != found.labels["policy"]
    overloaded["flags"] |= FLAGS["overloaded"]
    none = best_batch(overloaded, rate="40", max_latency=0.1)
    assert none.labels is None
    assert f"sustains the rate in no cell: {none.overloaded} cells are overloaded." in str(none)


@pytest.mark.parametrize("limit", ["50ms", 0.0, -1])
def test_a_limit_that_is_no_time_is_refused(tmp_path: Path, limit: object) -> None:
    dataset = open_run(runs.realistic_run(tmp_path, models=["alexnet"], blocks=1))
    with pytest.raises(UsageError, match="give a time above 0 in s"):
        best_batch(dataset, max_latency=limit)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"ds\.gb\.servers has the servers"):
        best_batch(dataset, scenario="server")


@pytest.mark.slow
@pytest.mark.parametrize("rate", [40, 40.0, "40"])
def test_a_number_may_stand_for_its_text(tmp_path: Path, rate: object) -> None:
    dataset = open_run(served_run(tmp_path / "served", policies=("greedy:16",)))
    assert dataset.gb.sel(rate=rate).sizes["traffic"] == 1
