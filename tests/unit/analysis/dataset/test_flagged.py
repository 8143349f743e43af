"""Flags of the repetitions stand beside each answer, and repetitions with flags can be left out."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.dataset.flagged import flags_in, flags_text, without_flagged
from greenbatch.errors import UnknownNameError
from greenbatch.records import Cell, Record
from tests.fakes import runs

A, B = "onnxruntime-cpu", "torch-cpu"
BATCHES = (1, 2, 4, 8)


def dataset_of(path: Path, flags: Mapping[int, tuple[str, ...]]) -> xr.Dataset:
    """A run of two backends whose repetitions carry flags by block, those of `A` alone."""
    records: list[Record] = [
        runs.repetition(
            Cell("alexnet", backend, batch_size=batch),
            block,
            energy=[runs.figure(40.0 * factor * noise * (0.5 + 1 / batch) * batch)],
            flags=flags.get(block, ()) if backend == A else (),
        )
        for backend, factor in ((A, 1.0), (B, 1.5))
        for batch in BATCHES
        for block, noise in enumerate((1.0, 1.01, 0.99, 1.2))
    ]
    design = runs.study(backends=(A, B), batch_sizes=BATCHES, repetitions=4)
    return open_run(runs.write_run(path, records, design))


@pytest.fixture
def dataset(tmp_path: Path) -> xr.Dataset:
    return dataset_of(tmp_path / "run", {1: ("disturbed",), 3: ("disturbed", "throttled")})


def test_flags_are_counted_in_words() -> None:
    assert flags_text({"late": 0}, 3) == ""
    assert flags_text({"late": 1, "unsteady": 3}, 3) == "3 of 3 flagged unsteady, 1 of 3 late"


def test_answers_name_the_flags_of_their_repetitions(dataset: xr.Dataset) -> None:
    best = dataset.gb.best_batch()
    assert best.labels["backend"] == A
    assert best.flagged.startswith("the best: 2 of 4 flagged disturbed, 1 of 4 throttled")
    assert str(best).endswith(f". Repetitions: {best.flagged}.")
    crossing = dataset.gb.crossover(A, B)
    assert crossing.flagged == (f"alexnet on {A}: 8 of 16 flagged disturbed, 4 of 16 throttled")
    assert "8 of 16 flagged disturbed" in str(crossing)
    assert "8 of 16" in str(dataset.gb.saturation(5.0, backend=A))
    assert "8 of 16" in str(dataset.gb.knee(backend=A))
    assert "flagged" not in str(dataset.gb.knee(backend=B))


def test_arrays_count_and_name_the_flags_behind_each_figure(dataset: xr.Dataset) -> None:
    found = dataset.gb.energy_per_image()
    own, other = (found.sel(backend=backend) for backend in (A, B))
    assert set(own["flagged"].values.flat) == {2}
    assert set(own["flags"].values.flat) == {4 + 2}
    assert set(other["flagged"].values.flat) == {0}
    assert "disturbed" in own["flags"].attrs["flag_meanings"]
    # A ratio rests on the repetitions of both.
    ratio = dataset.gb.relative_to(backend=A).sel(backend=B)
    assert set(ratio["flagged"].values.flat) == {2}


def test_repetitions_with_flags_can_be_left_out(dataset: xr.Dataset) -> None:
    quiet = dataset.gb.without_flagged("throttled")
    assert set(quiet.gb.energy_per_image().sel(backend=A)["repetitions"].values.flat) == {3}
    assert flags_in(quiet) == "4 of 28 flagged disturbed"
    every = without_flagged(dataset, ["all"])
    figures = every.gb.energy_per_image()["repetitions"]
    assert set(figures.sel(backend=A).values.flat) == {2}
    assert set(figures.sel(backend=B).values.flat) == {4}
    assert {row.cell.backend: row.ok for row in cell_rows(every)} == {A: 2, B: 4}
    reasons = {text for row in cell_rows(quiet) for text in row.failures}
    assert reasons == {"left out: flagged throttled"}
    with pytest.raises(UnknownNameError, match="unknown flag 'distrubed'; did you mean"):
        dataset.gb.without_flagged("distrubed")


def test_a_dataset_without_flags_has_none_to_name(dataset: xr.Dataset) -> None:
    bare = dataset.drop_vars("flags")
    assert flags_in(bare) == ""
    assert "flagged" not in bare.gb.energy_per_image()
