"""The estimators of published studies, on windows with known truth and on the authors' data."""

import csv
import math
from pathlib import Path
from statistics import median

import pytest

from benchmarks.estimator_errors import report
from greenbatch.analysis import open_run
from greenbatch.analysis.findings.estimator_errors import (
    Estimates,
    estimates,
    inference_windows,
    saving_sentences,
)
from greenbatch.analysis.published.estimators import (
    MeasuredWindow,
    sum_of_watts,
    with_idle_tail,
)
from greenbatch.errors import UsageError
from greenbatch.records import Cell, EnergySource
from tests.fakes import runs
from tests.fakes.training_runs import plain_run
from tests.published.trainings import HERE

POWER_W, IDLE_W = 80.0, 20.0


@pytest.mark.parametrize("duration_s", [1.0, 8.0, 512.0])
def test_an_idle_tail_lowers_the_mean_power_and_the_less_the_longer_the_run(
    duration_s: float,
) -> None:
    window = MeasuredWindow(POWER_W * duration_s, duration_s, IDLE_W)
    polled_w = [POWER_W] * int(duration_s * 100) + [IDLE_W] * 200  # every 10 ms, a tail of 2 s
    expected_j = sum(polled_w) / len(polled_w) * duration_s
    assert with_idle_tail(window, 2.0) == pytest.approx(expected_j)
    assert with_idle_tail(window, 0.0) == pytest.approx(window.energy_j)
    assert with_idle_tail(MeasuredWindow(1.0, 1.0), 2.0) is None


def test_the_sum_of_watts_times_the_duration_grows_with_its_square() -> None:
    assert sum_of_watts(MeasuredWindow(POWER_W * 60, 60.0)) == pytest.approx(POWER_W * 60 * 60)
    half = sum_of_watts(MeasuredWindow(POWER_W * 30, 30.0))
    assert half == pytest.approx(POWER_W * 60 * 60 / 4)


def test_on_the_authors_trainings_the_headline_reads_98_8_instead_of_81_4_percent() -> None:
    """Del Rey et al.: from energy and duration alone, as the tool has them of any run."""
    measured: dict[str, list[float]] = {}
    summed: dict[str, list[float]] = {}
    with (HERE / "delrey.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kept"] == "0":
                continue
            images, duration_s = float(row["images_seen"]), 3600 * float(row["duration_h"])
            window = MeasuredWindow(1e6 * float(row["energy_mj"]), duration_s)
            theirs = float(row["sum_of_watts"]) * duration_s
            assert sum_of_watts(window) == pytest.approx(theirs, rel=0.01)
            place = f"{row['architecture']} on {row['environment']}"
            measured.setdefault(place, []).append(window.energy_j / images)
            summed.setdefault(place, []).append(sum_of_watts(window) / images)
    found = [
        Estimates(
            cell=place,
            measured=median(values),
            with_tail=None,
            summed=median(summed[place]),
        )
        for place, values in measured.items()
    ]
    right, wrong = saving_sentences(found)
    assert "between two cells is 81.4 % (mobilenet_v2 on Local ML Engineer/Gamer against" in right
    assert "would have read 98.8 % (mobilenet_v2 on Local ML Engineer/Gamer against" in wrong


@pytest.mark.slow
def test_a_run_of_inference_is_estimated_from_its_windows_and_idle_power(tmp_path: Path) -> None:
    cells = {Cell("alexnet", "torch-cpu", batch_size=size): size * 10.0 for size in (1, 2)}
    records = [
        runs.repetition(
            cell,
            block,
            energy=[runs.figure(POWER_W * duration_s, window_s=duration_s)],
            duration_s=duration_s,
            iterations=100,
        )
        for block in range(2)
        for cell, duration_s in cells.items()
    ]
    idle = [runs.idle("torch-cpu", block) for block in range(2)]
    study = runs.study(("alexnet",), ("torch-cpu",), (1, 2))
    run = runs.write_run(tmp_path / "run", [*idle, *records], study)
    one, two = estimates([*inference_windows(open_run(run))], tail_s=2.0)
    assert one.measured == pytest.approx(POWER_W * 10 / 100)
    assert one.with_tail == pytest.approx((POWER_W * 10 + runs.IDLE_W * 2) / 12 * 10 / 100)
    assert one.summed == pytest.approx(POWER_W * 10 * 10 / 100)
    assert two.measured == pytest.approx(POWER_W * 20 / 200)
    assert two.summed == pytest.approx(2 * one.summed)
    text = report(run, 2.0)
    assert "mean power with an idle tail x duration" in text
    assert "your greatest saving would have read 50.0 %" in text


def test_a_run_of_trainings_has_no_idle_tail(tmp_path: Path) -> None:
    text = report(plain_run(tmp_path / "run"))
    assert "energy per image seen" in text
    assert "idle tail" not in text
    assert "your greatest saving would have read" in text


@pytest.mark.slow
def test_estimates_are_not_set_against_measurements_and_are_named(tmp_path: Path) -> None:
    def write(name: str, *sources: EnergySource) -> Path:
        records = [
            runs.repetition(Cell("alexnet", "torch-cpu", batch_size=size), energy=[figure])
            for size, source in enumerate(sources, 1)
            if (figure := runs.figure(9.0 * size, source=source))
        ]
        study = runs.study(("alexnet",), ("torch-cpu",), (1, 2), 1)
        return runs.write_run(tmp_path / name, records, study)

    mixed = report(write("mixed", EnergySource.COUNTER, EnergySource.ESTIMATED))
    assert "No saving between cells: their energies are not alike" in mixed
    assert "would have read" not in mixed
    estimated = report(write("estimated", EnergySource.ESTIMATED, EnergySource.ESTIMATED))
    assert "Energies are estimated" in estimated


@pytest.mark.slow
def test_a_run_without_energy_and_a_tail_that_is_no_length_are_refused(tmp_path: Path) -> None:
    cell = Cell("alexnet", "torch-cpu")
    records = [runs.repetition(cell, energy=[runs.missing("package-0")])]
    run = runs.write_run(tmp_path / "run", records, runs.study(("alexnet",), ("torch-cpu",), (1,)))
    with pytest.raises(UsageError, match="no window of"):
        report(run)
    for tail_s in (-5.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="give a length of 0 or more"):
            report(run, tail_s)
