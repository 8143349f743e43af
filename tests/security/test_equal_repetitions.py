"""Repetitions that are equal give an interval without width, and a report."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from greenbatch.analysis.statistics.hypothesis_tests import Effect
from greenbatch.analysis.statistics.interval_methods import MEANS
from greenbatch.analysis.statistics.intervals import Interval, bounded, interval, sides
from greenbatch.cli.application import app

GOLDEN = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").rglob("study.yaml"))
figure = st.floats(min_value=1e-12, max_value=1e12)


@pytest.mark.slow
@pytest.mark.parametrize("run", GOLDEN, ids=lambda path: path.name)
def test_every_golden_run_gives_a_whole_report(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    ran = CliRunner().invoke(app, ["report", str(tmp_path / "run")], catch_exceptions=False)
    assert ran.exit_code == 0
    report = tmp_path / "run" / "report"
    assert {"index.html", "report.md", "figures", "tables"} <= {p.name for p in report.iterdir()}
    assert (report / "figures" / "energy.pdf").is_file()


@given(value=figure, count=st.integers(1, 40), geometric=st.booleans())
def test_equal_values_are_their_own_centre_and_bounds(
    value: float, count: int, geometric: bool
) -> None:
    found = interval([value] * count, geometric=geometric)
    assert found is not None
    assert found.centre == value
    assert (found.low, found.high) == ((None, None) if count == 1 else (value, value))


@given(values=st.lists(figure, min_size=2, max_size=12), geometric=st.booleans())
def test_bounds_include_the_centre_and_the_centre_is_among_the_values(
    values: list[float], geometric: bool
) -> None:
    found = interval(values, geometric=geometric)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.centre <= found.high
    assert min(values) <= found.centre <= max(values)
    assert min(sides(found.centre, found.low, found.high)) >= 0


def test_values_decades_apart_have_finite_bounds() -> None:
    found = interval([1e-300, 1.0, 1e300])
    assert found is not None
    assert found.high is not None
    assert math.isfinite(found.high)


@pytest.mark.parametrize("value", [25.0, 0.1, 3e-7])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_ways_to_bound_a_mean_include_it(value: float, count: int) -> None:
    for method in MEANS:
        low, centre, high, _ = bounded(np.full((1, count), value), method)
        assert np.isnan(low[0]) or low[0] <= centre[0] <= high[0]


def test_a_bound_on_the_wrong_side_is_moved_to_the_centre() -> None:
    assert Interval(2.5, 2.0, 1.5, 2) == Interval(2.0, 2.0, 2.0, 2)
    assert Effect(2.5, 2.0, 1.5, "x") == Effect(2.0, 2.0, 2.0, "x")
    assert sides(2.0, 2.5, 1.5) == (0.0, 0.0)
