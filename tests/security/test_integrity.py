"""What is shown is what was measured: a dataset that was edited is noticed."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, compile_dataset, open_run, write_report
from greenbatch.analysis.dataset.dataset_files import CONTENTS, NOTE, contents_digest
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.runs import merge
from greenbatch.errors import RunError
from tests.fakes.runs import study, write_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]
GOLDEN = Path(__file__).parents[1] / "golden"


def _edit(path: Path, change: Callable[[xr.Dataset], xr.Dataset], to: Path | None = None) -> Path:
    dataset = xr.load_dataset(path, engine="netcdf4")
    out = to or path
    change(dataset).drop_encoding().to_netcdf(out, engine="netcdf4")
    return out


def _cheaper(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(energy_per_image=dataset["energy_per_image"] / 1000)


def _energies(dataset: xr.Dataset) -> list[float]:
    return [row.energy_per_image_j.centre for row in cell_rows(dataset) if row.energy_per_image_j]


def test_a_report_of_a_run_shows_the_journal_and_not_an_edited_dataset(run: Path) -> None:
    measured = _energies(compile_dataset(run))
    _edit(run / "dataset.nc", _cheaper)
    with pytest.warns(UserWarning, match="was edited after greenbatch wrote it"):
        write_report(run)
    assert measured
    assert _energies(open_run(run)) == measured


def test_a_run_is_opened_from_its_journal_where_its_dataset_was_edited(run: Path) -> None:
    measured = _energies(compile_dataset(run))
    _edit(run / "dataset.nc", _cheaper)
    with pytest.warns(UserWarning, match="compiled again from the journal"):
        assert _energies(open_run(run)) == measured


def test_an_edit_is_noticed_whatever_it_changes(run: Path) -> None:
    changes: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
        "a number": _cheaper,
        "a label": lambda d: d.assign_coords(model=["other"]),
        "a code": lambda d: d.assign(energy_source=d["energy_source"] * 0 + 2),
        "a text": lambda d: d.assign_attrs(title="other"),
        "a variable is gone": lambda d: d.drop_vars("foreign_load"),
        "an attribute of a variable": lambda d: d.assign(
            duration=d["duration"].assign_attrs(units="h")
        ),
    }
    for what, change in changes.items():
        path = _edit(run / "dataset.nc", change, run.parent / "edited.nc")
        with pytest.warns(UserWarning, match=r"edited.nc was edited"):
            found = open_run(path)
        assert "edited" in found.attrs[NOTE], what


def test_a_dataset_that_is_opened_and_written_again_is_not_edited(run: Path) -> None:
    again = _edit(
        run / "dataset.nc",
        lambda d: d[sorted(map(str, d.data_vars), reverse=True)].drop_encoding(),
        run.parent / "again.nc",
    )
    assert NOTE not in open_run(again).attrs


def test_the_digest_of_a_compiled_dataset_is_that_of_its_file(run: Path) -> None:
    stated = xr.load_dataset(run / "dataset.nc", engine="netcdf4").attrs[CONTENTS]
    assert stated == contents_digest(compile_dataset(run)) == contents_digest(open_run(run))


def test_the_report_of_an_edited_file_says_so_first(run: Path) -> None:
    path = _edit(run / "dataset.nc", _cheaper, run.parent / "edited.nc")
    with pytest.warns(UserWarning, match="was edited"):
        page = write_report(path).page
    said = (page.parent / "report.md").read_text()
    assert "edited.nc was edited after greenbatch wrote it" in said


def test_an_older_file_without_a_digest_opens_and_is_said_to_be_unverifiable(run: Path) -> None:
    def older(dataset: xr.Dataset) -> xr.Dataset:
        del dataset.attrs[CONTENTS]
        return dataset

    path = _edit(run / "dataset.nc", older, run.parent / "older.nc")
    with pytest.warns(UserWarning, match="no digest of its contents"):
        assert _energies(open_run(path)) == _energies(compile_dataset(run))


def test_what_is_merged_from_an_edited_file_says_so_ever_after(run: Path, other: Path) -> None:
    path = _edit(run / "dataset.nc", _cheaper, run.parent / "edited.nc")
    with pytest.warns(UserWarning, match="was edited"):
        merged = merge([path, other], along="run")
    assert "edited.nc was edited" in merged.attrs[NOTE]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.isel(batch_size=0), "lacks the dimension batch_size"),
        (lambda d: d.isel(repetition=0), "lacks the dimension repetition"),
        (lambda d: d.isel(batch_size=[]), "no label is left along its dimension batch_size"),
        (lambda d: d[["energy"]].drop_encoding(), "lacks status"),
        (lambda d: d.drop_attrs(), "no dataset of greenbatch"),
        (lambda d: d.assign_attrs(schema="two"), "'schema' is 'two'"),
        (lambda d: d.assign_attrs(study="[]"), "'study', it holds a list"),
        (lambda d: d.assign_attrs(study="{"), "'study' is no JSON"),
        (lambda d: d.assign_attrs(environment="5"), "'environment', it holds a int"),
        (lambda d: d.assign_attrs(settings='["x"]'), "'settings' is no mapping"),
        (lambda d: d.assign_attrs(energy_provenance="sworn"), "'sworn'"),
        (lambda d: d.assign(status=d["status"] + 100), "status holds values that are no codes"),
        (lambda d: d.assign_coords(precision=("variant", ["fp8", "fp8"])), "has the label 'fp8'"),
        (lambda d: d.assign_coords(backend=("model", ["torch-cpu"])), "backend does not go along"),
        (lambda d: d.drop_vars("io"), "it lacks io"),
        (lambda d: d.assign_coords(batch_size=[0, 1]), "batch_size is no whole number"),
        (lambda d: d.isel(repetition=[0, 0]), "repetition is there twice"),
    ],
)
def test_a_file_that_lacks_what_is_needed_is_one_sentence(
    run: Path, change: Callable[[xr.Dataset], xr.Dataset], says: str
) -> None:
    path = _edit(run / "dataset.nc", change, run.parent / "cut.nc")
    with pytest.raises(RunError, match=says) as raised:
        open_run(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.isel(repetition=[0], variant=[0]).transpose(),
        lambda d: d.drop_vars(["foreign_load", "accuracy_top1", "stopped_half_width"]),
        lambda d: d.isel(batch_size=[1]).assign_coords(room=("model", ["cellar"])),
        lambda d: d.map(lambda a: a * np.nan if a.dtype.kind == "f" else a, keep_attrs=True),
    ],
)
@pytest.mark.filterwarnings("ignore:.*edited:UserWarning")
def test_a_file_that_was_cut_and_has_what_is_needed_is_reported(
    run: Path, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    path = _edit(run / "dataset.nc", change, run.parent / "cut.nc")
    assert write_report(path).page.is_file()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"repetitions": "many"}, "repetitions is 'many'"),
        ({"models": 5}, "models is 5"),
        ({"models": [5]}, "models.0 is 5"),
        ({"batch_sizes": [0]}, "batch_sizes.0 is 0"),
        ({"precisions": ["fp8"]}, "precisions.0 is 'fp8'"),
        ({"settings": [1]}, "settings is"),
        ({"artifacts": {"alexnet": "x"}}, "artifacts.alexnet"),
        ({"images": {"folder": 3}}, "images.folder is 3"),
        ({"protocol": {"window_s": "long"}}, "protocol.window_s is 'long'"),
        ({"scale": None}, "scale is None"),
        ({3: 4}, "member 3"),
    ],
)
def test_a_wrong_type_in_a_study_is_one_sentence(
    tmp_path: Path, members: dict[Any, Any], says: str
) -> None:
    run = write_run(tmp_path, [], {**study(), **members})
    with pytest.raises(RunError, match=says) as raised:
        write_report(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["run-schema-1", "run-settings"])
def test_runs_of_earlier_versions_open_as_before(tmp_path: Path, name: str) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / name)
    assert _energies(open_run(tmp_path / name)) == _energies(open_run(tmp_path / name))


def test_a_merged_file_of_which_a_run_was_chosen_is_one_sentence(run: Path, other: Path) -> None:
    merged = store(merge([run, other], along="run"), run.parent / "merged.nc")
    for change, says in (
        (lambda d: d.isel(run=[0]), "labels that it was merged with are gone"),
        (lambda d: d.isel(run=0), "lacks the dimension run"),
    ):
        path = _edit(merged, change, run.parent / "cut.nc")
        with (
            pytest.raises(RunError, match=says),
            warnings.catch_warnings(action="ignore"),
        ):
            write_report(path)
