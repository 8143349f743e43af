"""Settings go along variants; a setting of one backend makes no cells of another."""

import csv
import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from greenbatch.analysis.dataset.dataset_files import sealed
from greenbatch.analysis.dataset.factors import select
from greenbatch.analysis.dataset.store import compile_dataset, open_run, write_dataset
from greenbatch.analysis.dataset.variables import COORDINATES, OF_SERVERS, VARIABLES
from greenbatch.analysis.dataset.variants import setting_names
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.findings.comparisons import best_rows, comparison_rows
from greenbatch.analysis.report.charts.curves import curves
from greenbatch.analysis.report.tables.csv_files import cells_csv
from greenbatch.errors import RunError, UnknownNameError, UsageError
from greenbatch.records import TRAFFIC, Capacity, Cell, Record
from tests.fakes import runs

ORT, TORCH = "onnxruntime-cpu", "torch-cpu"
SETTINGS = {f"{ORT}.allow_spinning": ["1", "0"], f"{TORCH}.channels_last": ["0"]}
SPINS, RESTS = (("allow_spinning", "1"),), (("allow_spinning", "0"),)
PLAIN = (("channels_last", "0"),)


def cell(backend: str, settings: tuple[tuple[str, str], ...] = (), batch_size: int = 1) -> Cell:
    return Cell("alexnet", backend, batch_size=batch_size, settings=settings)


VARIANTS = [(ORT, SPINS, 20.0), (ORT, RESTS, 15.0), (TORCH, PLAIN, 30.0)]
RECORDS: list[Record] = [
    runs.repetition(
        cell(backend, settings, batch_size),
        block,
        energy=[runs.figure(energy_j * batch_size**0.5)],
        latency_s=0.01 * batch_size,
    )
    for backend, settings, energy_j in VARIANTS
    for batch_size, block in product((1, 4), range(3))
]


def compiled(path: Path, records: list[Record] = RECORDS, **study: Any) -> xr.Dataset:
    members = runs.study(("alexnet",), (ORT, TORCH), (1, 4)) | {"settings": SETTINGS} | study
    return compile_dataset(runs.write_run(path, records, members))


def test_a_variant_has_its_settings_as_coordinates(tmp_path: Path) -> None:
    dataset = compiled(tmp_path)
    assert dataset["status"].dims == ("model", "variant", "batch_size", "repetition")
    assert dataset["energy"].dims == ("model", "variant", "batch_size", "repetition", "domain")
    assert dataset["variant"].values.tolist() == [
        "onnxruntime-cpu (allow_spinning=1) fp32",
        "onnxruntime-cpu (allow_spinning=0) fp32",
        "torch-cpu (channels_last=0) fp32",
    ]
    assert dataset["allow_spinning"].dims == ("variant",)
    assert dataset["allow_spinning"].values.tolist() == ["1", "0", ""]
    assert dataset["channels_last"].values.tolist() == ["", "", "0"]
    assert json.loads(dataset.attrs["settings"]) == {
        "allow_spinning": "allow_spinning",
        "channels_last": "channels_last",
    }
    at = {"model": "alexnet", "batch_size": 1, "repetition": 0, "domain": "package-0"}
    assert dataset["energy"].sel(at).values.tolist() == [20.0, 15.0, 30.0]


def test_cells_are_chosen_by_what_goes_along_a_dimension(tmp_path: Path) -> None:
    dataset = compiled(tmp_path)
    for label in (0, "0"):
        found = select(dataset, {"backend": ORT, "allow_spinning": label, "batch_size": 1})
        assert found["variant"].values.tolist() == [f"{ORT} (allow_spinning=0) fp32"]
        assert found["energy"].isel(repetition=0).values.ravel().tolist() == [15.0]
    assert select(dataset, {"allow_spinning": None})["backend"].values.tolist() == [TORCH]
    with pytest.raises(UnknownNameError, match="unknown allow_spinning '2'"):
        select(dataset, {"allow_spinning": 2})
    with pytest.raises(UnknownNameError, match="unknown dimension 'spinning'"):
        select(dataset, {"spinning": 2})
    with pytest.raises(UsageError, match="no variant has all of backend=torch-cpu, allow_spin"):
        select(dataset, {"backend": TORCH, "allow_spinning": 0})


def test_a_study_without_settings_has_none(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.realistic_run(tmp_path))
    assert dataset.attrs["settings"] == "{}"
    assert bool((dataset["in_design"] == 1).all())


def test_settings_of_several_backends_do_not_multiply(tmp_path: Path) -> None:
    """Nine settings on two backends: the grid has the places of the design and no more."""
    settings = {f"{ORT}.option_{n}": ["0", "1"] for n in range(5)}
    settings |= {f"{TORCH}.option_{n}": ["0", "1"] for n in range(5, 9)}
    dataset = compiled(tmp_path, [], settings=settings)
    assert dataset.sizes["variant"] == 2**5 + 2**4
    assert dataset["status"].size == 3 * len(cell_rows(dataset)) == 3 * 2 * 48


def test_a_setting_of_two_backends_is_one_coordinate(tmp_path: Path) -> None:
    settings = {f"{ORT}.threads_per_op": ["1", "2"], f"{TORCH}.threads_per_op": ["2", "4"]}
    dataset = compiled(tmp_path, [], settings=settings)
    assert dataset["threads_per_op"].values.tolist() == ["1", "2", "2", "4"]
    rows = cell_rows(dataset)
    assert [row.cell.variant for row in rows if row.cell.batch_size == 1] == [
        "onnxruntime-cpu (threads_per_op=1)",
        "onnxruntime-cpu (threads_per_op=2)",
        "torch-cpu (threads_per_op=2)",
        "torch-cpu (threads_per_op=4)",
    ]


def test_only_what_the_design_holds_is_a_row_and_a_hole_is_not_planned(tmp_path: Path) -> None:
    rows = cell_rows(compiled(tmp_path))
    assert [row.cell for row in rows] == [
        cell(backend, settings, batch_size)
        for backend, settings, _ in VARIANTS
        for batch_size in (1, 4)
    ]
    assert all(row.statuses == {"ok": 3} for row in rows)


def test_a_designed_cell_that_was_not_run_is_still_a_row(tmp_path: Path) -> None:
    kept = [r for r in RECORDS if getattr(r, "cell", None) != cell(ORT, RESTS, 4)]
    rows = {row.cell: row for row in cell_rows(compiled(tmp_path, kept))}
    assert len(rows) == 6
    assert rows[cell(ORT, RESTS, 4)].statuses == {"not_run": 3}


def test_a_measured_cell_outside_the_design_is_a_row(tmp_path: Path) -> None:
    stray = runs.repetition(cell(ORT, (("allow_spinning", "2"),)))
    dataset = compiled(tmp_path, [*RECORDS, stray])
    assert dataset["allow_spinning"].values.tolist() == ["1", "0", "", "2"]
    assert len(cell_rows(dataset)) == 7


def test_a_setting_may_be_empty_or_called_as_anything(tmp_path: Path) -> None:
    texts = ["default", "fast, b=(1) fp16", ""]
    there = [cell(ORT, (("hint", text),)) for text in texts]
    records: list[Record] = [*map(runs.repetition, there), runs.repetition(cell(ORT))]
    dataset = compiled(tmp_path, records, settings={f"{ORT}.hint": texts}, batch_sizes=[1])
    assert len({*dataset["variant"].values.tolist()}) == 5
    rows = {row.cell: row.ok for row in cell_rows(dataset)}
    assert rows == dict.fromkeys([*there, cell(ORT)], 1) | {cell(TORCH): 0}


def test_a_coordinate_is_an_identifier_that_nothing_else_has() -> None:
    assert setting_names(["session.spin", "device", "session_spin", "energy", "server_x"]) == {
        "session_spin": "session.spin",
        "setting_device": "device",
        "setting_session_spin": "session_spin",
        "setting_energy": "energy",
        "setting_server_x": "server_x",
    }


def test_a_setting_with_the_name_of_a_variable_compiles(tmp_path: Path) -> None:
    settings = {f"{ORT}.device": ["a"], f"{ORT}.latency": ["b"]}
    there = cell(ORT, (("device", "a"), ("latency", "b")))
    dataset = compiled(tmp_path, [runs.repetition(there)], settings=settings)
    assert {"setting_device", "setting_latency"} <= {*dataset.coords}
    assert there in [row.cell for row in cell_rows(dataset) if row.ok]


@pytest.mark.slow
def test_the_file_with_settings_is_the_same_and_has_units_everywhere(tmp_path: Path) -> None:
    dataset = compiled(tmp_path)
    with xr.open_dataset(write_dataset(tmp_path)) as stored:
        assert stored.identical(sealed(dataset))
        assert set(stored.data_vars) == set(VARIABLES) - OF_SERVERS
        known = {*COORDINATES} - {"traffic", *TRAFFIC}
        assert set(stored.coords) == {*known, "allow_spinning", "channels_last"}
        for name, variable in stored.variables.items():
            assert variable.attrs["units"], name
            assert variable.attrs["long_name"], name
    assert cell_rows(open_run(tmp_path)) == cell_rows(dataset)


def test_every_variant_is_compared_with_the_first(tmp_path: Path) -> None:
    rows = cell_rows(compiled(tmp_path))
    compared = comparison_rows(rows)
    assert {row.reference for row in compared} == {"onnxruntime-cpu (allow_spinning=1)"}
    found = {row.cell: row.energy.interval for row in compared}
    assert len(found) == 4
    for there, over in (((ORT, RESTS), 0.75), ((TORCH, PLAIN), 1.5)):
        ratio = found[cell(*there, batch_size=4)]
        assert ratio is not None
        assert ratio.centre == pytest.approx(over)
    assert all(row.reference_cell == cell(ORT, SPINS, row.cell.batch_size) for row in compared)


def test_a_reference_is_named_as_variant_or_as_backend(tmp_path: Path) -> None:
    rows = cell_rows(compiled(tmp_path))
    rests = "onnxruntime-cpu (allow_spinning=0)"
    assert {row.reference for row in comparison_rows(rows, rests)} == {rests}
    (reference,) = {row.reference for row in comparison_rows(rows, TORCH)}
    assert reference == "torch-cpu (channels_last=0)"
    with pytest.raises(UnknownNameError, match="unknown reference 'openvino-cpu'"):
        comparison_rows(rows, "openvino-cpu")


def test_the_best_batch_and_the_curves_are_of_variants(tmp_path: Path) -> None:
    rows = cell_rows(compiled(tmp_path))
    variants = ["onnxruntime-cpu (allow_spinning=1)", "onnxruntime-cpu (allow_spinning=0)"]
    variants.append("torch-cpu (channels_last=0)")
    best = best_rows(rows)
    assert [row.cell.variant for row in best] == variants
    assert {row.cell.batch_size for row in best} == {4}
    drawn = curves(rows, "energy")["alexnet"]
    assert [curve.variant for curve in drawn] == [curve.label for curve in drawn] == variants
    assert all(curve.batch_sizes == (1, 4) for curve in drawn)


def test_the_csv_has_a_column_for_each_setting(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(cells_csv(cell_rows(compiled(tmp_path))))))
    settings = [(line["setting.allow_spinning"], line["setting.channels_last"]) for line in lines]
    assert settings == [("1", "")] * 2 + [("0", "")] * 2 + [("", "0")] * 2


def test_the_largest_batch_is_of_the_variant_and_widens_no_dimension(tmp_path: Path) -> None:
    records: list[Record] = [
        *RECORDS,
        Capacity(cell=cell(ORT, SPINS, 512), fits=True, smallest_failing=513, started_at="1"),
        Capacity(cell=cell(ORT, SPINS, 300), fits=True, smallest_failing=301, started_at="2"),
        Capacity(cell=cell(ORT, RESTS, 64), fits=True, smallest_failing=None),
        Capacity(cell=cell(TORCH, PLAIN), fits=False, smallest_failing=1, reason="killed"),
    ]
    dataset = compiled(tmp_path, records)
    assert dataset["batch_size"].values.tolist() == [1, 4]
    assert "batch_size" not in dataset["max_batch_size"].dims
    limits = {
        row.cell.variant: (row.max_batch_size, row.min_failing_batch_size)
        for row in cell_rows(dataset)
    }
    assert list(limits.values()) == [(300, 301), (64, None), (0, 1)]
    first = next(row for row in cell_rows(compiled(tmp_path)) if row.ok)
    assert first.max_batch_size is None


def test_a_search_that_something_else_ended_does_not_say_that_nothing_fits(tmp_path: Path) -> None:
    ended = "the search ended at batch size 1: nodes are left to the CPU"
    records: list[Record] = [
        *RECORDS,
        Capacity(cell=cell(TORCH, PLAIN, 1), fits=False, smallest_failing=None, ended=ended),
        Capacity(cell=cell(ORT, RESTS, 64), fits=True, smallest_failing=None, ended=ended),
    ]
    known = {row.cell.variant: row.max_batch_size for row in cell_rows(compiled(tmp_path, records))}
    assert list(known.values()) == [None, 64, None]


def test_agreement_and_the_children_s_memory_arrive(tmp_path: Path) -> None:
    there = cell(TORCH, PLAIN)
    records: list[Record] = [
        runs.repetition(
            there, block, agreement=runs.agreement(max_rel, cosine), memory_children_bytes=children
        )
        for block, max_rel, cosine, children in ((0, 1e-6, 0.9, 0), (1, 3e-6, 0.99, 700))
    ]
    dataset = compiled(tmp_path, records)
    assert dataset["memory"].values.tolist() == ["host", "device", "children"]
    (row,) = (row for row in cell_rows(dataset) if row.ok)
    assert (row.agreement_max_rel, row.agreement_cosine) == (3e-6, 0.9)
    assert (row.memory_host_bytes, row.memory_device_bytes) == (5e8, None)
    assert row.memory_children_bytes == 700


def test_a_grid_of_settings_that_cannot_be_laid_out_is_refused(tmp_path: Path) -> None:
    settings = {f"{ORT}.option{n}": [str(level) for level in range(9)] for n in range(7)}
    with pytest.raises(RunError, match=r"[\d,]+ variants, and at most 3,000,000"):
        compiled(tmp_path, settings=settings)


def test_rows_of_a_dataset_of_schema_1_are_as_they_were(tmp_path: Path) -> None:
    whole = compile_dataset(runs.realistic_run(tmp_path, models=("alexnet",)))
    new = [name for name, v in VARIABLES.items() if v.over or "one_off" in name]
    new += ["cache", "agreement_max_rel", "agreement_cosine"]
    old = whole.drop_vars([*new, "one_off_phase"]).sel(memory=["host", "device"])
    del old.attrs["settings"]
    assert cell_rows(old) == cell_rows(whole)
