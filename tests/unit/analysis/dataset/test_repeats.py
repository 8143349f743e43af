"""The dataset takes the attempt that counts, and says why a cell was not measured more often."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import open_run
from greenbatch.analysis.dataset.variables import STOPS
from greenbatch.errors import RunError
from greenbatch.records import Cell, Repetition, Status
from greenbatch.records.repetition import Stop
from tests.fakes import runs

CELLS = [Cell("alexnet", "onnxruntime-cpu", batch_size=size) for size in (1, 4)]


def measured(energy_j: float, attempt: int = 0, flags: tuple[str, ...] = ()) -> Repetition:
    return replace(
        runs.repetition(CELLS[0], energy=[runs.figure(energy_j)], flags=flags), attempt=attempt
    )


def test_a_later_attempt_takes_the_place_of_a_disturbed_one_and_is_counted(tmp_path: Path) -> None:
    records = [
        measured(9.0, flags=("disturbed",)),
        runs.repetition(CELLS[1]),
        measured(7.0, 1, ("disturbed",)),
        measured(5.0, 2),
    ]
    run = runs.write_run(tmp_path / "run", records, runs.study(repetitions=1))
    with open_run(run) as dataset:
        found = dataset.squeeze(["model", "variant", "repetition"])
        assert found["energy"].sel(batch_size=1, domain="package-0") == 5.0
        assert found["flags"].sel(batch_size=1) == 0
        assert found["disturbed_attempts"].values.tolist() == [2.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_an_attempt_that_failed_does_not_take_the_place_of_a_disturbed_one(
    tmp_path: Path, turned: bool
) -> None:
    records = [
        measured(9.0, flags=("disturbed",)),
        replace(runs.failed(CELLS[0], status=Status.ERROR), attempt=1),
    ]
    run = runs.write_run(
        tmp_path / "run", records[::-1] if turned else records, runs.study(repetitions=1)
    )
    with open_run(run) as dataset:
        assert dataset["energy"].max() == 9.0
        assert dataset["disturbed_attempts"].max() == 0


def test_two_good_records_of_one_attempt_are_refused(tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run", [measured(5.0, 1), measured(6.0, 1)])
    with pytest.raises(RunError, match="block 0, twice"):
        open_run(run)


def test_why_a_cell_stopped_stands_in_the_dataset(tmp_path: Path) -> None:
    stop = Stop(why="target", quantity="energy", half_width=0.013)
    records = [
        *(runs.repetition(cell, block) for cell in CELLS for block in (0, 1)),
        replace(runs.repetition(CELLS[0], 2), stop=stop),
    ]
    run = runs.write_run(tmp_path / "run", records)
    with open_run(run) as dataset:
        small, large = dataset["stopped"].values.flatten().tolist()
        assert (STOPS[small], STOPS[large]) == ("target", "open")
        assert dataset["stopped"].attrs["flag_meanings"].split() == list(STOPS)
        quantity = dataset["stopped_quantity"]
        names = quantity.attrs["flag_meanings"].split()
        assert [names[code] for code in quantity.values.flatten()] == ["energy", "none"]
        assert dataset["stopped_half_width"].sel(batch_size=1).item() == 0.013
        assert dataset["stopped_half_width"].sel(batch_size=4).isnull().all()
