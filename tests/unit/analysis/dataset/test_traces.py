"""Traces are opened lazily, with units, and agree with the dataset."""

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import xarray as xr
from xarray.testing import assert_equal

import greenbatch
from greenbatch.analysis.dataset.merging import merge_datasets
from greenbatch.analysis.dataset.store import open_run
from greenbatch.analysis.dataset.trace_store import Format, gathered, write_traces
from greenbatch.analysis.dataset.traces import Trace, open_traces
from greenbatch.errors import RunError, UnknownNameError, UsageError
from greenbatch.records import Cell, Record
from tests.fakes import runs

TIMES_S = np.array([-0.1, 0.1, 0.2, 0.4])
ENERGIES_J = np.array([0.0, 4.0, 7.0, 9.0])


def latencies_s(batch: int, block: int) -> np.ndarray:
    return np.linspace(0.01, 0.02, 20) * batch + block / 1000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two batch sizes and two blocks; one repetition failed, one lost its trace."""
    path = tmp_path_factory.mktemp("runs") / "run"
    (path / "traces").mkdir(parents=True)
    records: list[Record] = []
    for batch in (1, 4):
        for block in (0, 1):
            cell = Cell("alexnet", "onnxruntime-cpu", batch_size=batch)
            if (batch, block) == (4, 1):
                records.append(runs.failed(cell, block))
                continue
            records.append(runs.repetition(cell, block, energy=[runs.figure(60.0)]))
            if (batch, block) == (1, 1):
                continue
            np.savez_compressed(
                path / "traces" / f"{cell.slug}_r{block}.npz",
                **{
                    "latency_s": latencies_s(batch, block),
                    "package-0_t_s": TIMES_S,
                    "package-0_energy_j": ENERGIES_J,
                    "gpu-0_t_s": TIMES_S[:2],
                    "gpu-0_power_w": np.array([50.0, 60.0]),
                },  # type: ignore[arg-type]
            )
    return runs.write_run(path, records, runs.study(repetitions=2))


@pytest.mark.slow
def test_there_is_a_trace_for_each_repetition_that_was_measured(run: Path) -> None:
    found = open_traces(run)
    assert [(trace.cell.batch_size, trace.repetition) for trace in found] == [(1, 0), (4, 0)]
    assert [trace.cell.batch_size for trace in open_traces(run, batch_size=4)] == [4]
    assert open_traces(run, repetition=1) == []


def test_a_trace_has_latencies_energy_and_power_with_units(run: Path) -> None:
    (trace,) = open_traces(run, batch_size=4)
    opened = trace.open()
    np.testing.assert_array_equal(opened["latency"], latencies_s(4, 0))
    np.testing.assert_array_equal(opened["energy_package-0"], ENERGIES_J)
    np.testing.assert_allclose(opened["power_package-0"], [np.nan, 20.0, 30.0, 10.0])
    np.testing.assert_array_equal(opened["power_gpu-0"], [50.0, 60.0])
    assert "energy_gpu-0" not in opened
    units = {name: variable.attrs["units"] for name, variable in opened.variables.items()}
    assert units == {
        "latency": "s",
        "time_package-0": "s",
        "energy_package-0": "J",
        "power_package-0": "W",
        "time_gpu-0": "s",
        "power_gpu-0": "W",
    }
    assert "mean" in opened["power_package-0"].attrs["long_name"]
    assert opened["power_gpu-0"].attrs["long_name"] == "power"
    assert opened["power_package-0"].coords["time_package-0"].values.tolist() == TIMES_S.tolist()
    assert (opened.attrs["batch_size"], opened.attrs["repetition"]) == (4, 0)
    np.testing.assert_array_equal(opened["latency"][3:5], latencies_s(4, 0)[3:5])


def test_values_are_read_when_they_are_asked_for(run: Path, tmp_path: Path) -> None:
    (trace,) = open_traces(run, batch_size=1)
    copied = tmp_path / "trace.npz"
    copied.write_bytes(trace.path.read_bytes())
    opened = Trace(trace.cell, 0, copied).open()
    assert opened.sizes["iteration"] == 20
    copied.unlink()
    with pytest.raises(RunError, match=r"cannot read .*trace\.npz"):
        opened["latency"].load()


def test_a_damaged_trace_is_refused(run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "trace.npz"
    broken.write_bytes(b"PK no")
    with pytest.raises(RunError, match="it is damaged"):
        Trace(Cell("alexnet", "onnxruntime-cpu"), 0, broken).open()


@pytest.mark.slow
def test_the_accessor_finds_them_beside_the_dataset(run: Path, tmp_path: Path) -> None:
    for _ in range(2):  # compiled, then loaded
        dataset = greenbatch.open(run)
        (trace,) = dataset.gb.traces(batch_size=4, repetition=0)
        assert_equal(trace.open(), open_traces(run, batch_size=4)[0].open())
    narrow = dataset.sel(batch_size=4)
    assert [trace.cell for trace in narrow.gb.traces(run)] == [trace.cell]
    alone = xr.Dataset(dataset.variables, attrs=dataset.attrs)
    with pytest.raises(UsageError, match="no record of the run"):
        alone.gb.traces()
    with pytest.raises(RunError, match="has no folder traces"):
        alone.gb.traces(tmp_path)


@pytest.mark.slow
def test_labels_are_checked(run: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown dimension 'batch'"):
        open_traces(run, batch=4)
    with pytest.raises(UnknownNameError, match="unknown batch_size '3'"):
        open_traces(run, batch_size=3)
    with pytest.raises(UsageError, match="no model, which names a trace"):
        open_run(run).isel(model=0, drop=True).gb.traces(run)


@pytest.mark.slow
def test_a_merged_dataset_has_no_traces(run: Path) -> None:
    dataset = open_run(run)
    other = dataset.assign_attrs(run_digest="other")
    both = merge_datasets({"a": dataset, "b": other}, "run")
    with pytest.raises(UsageError, match="open the traces of each run"):
        both.gb.traces(run)


@pytest.mark.slow
@pytest.mark.parametrize("form", get_args(Format))
def test_traces_of_runs_go_into_one_file_and_come_out_as_they_were(
    run: Path, tmp_path: Path, form: Format
) -> None:
    path = tmp_path / "traces"
    together = gathered({"a": open_traces(run), "b": open_traces(run, batch_size=4)})
    if form == "zarr" and find_spec("zarr") is None:
        with pytest.raises(UsageError, match="zarr is not installed"):
            write_traces(together, path, form)
        return
    write_traces(together, path, form)
    with xr.open_dataset(path, engine="zarr" if form == "zarr" else "netcdf4") as found:
        assert found["run"].values.tolist() == ["a", "a", "b"]
        assert found["batch_size"].values.tolist() == [1, 4, 4]
        assert found["latency_count"].values.tolist() == [20, 20, 20]
        assert found["domain"].values.tolist() == ["package-0", "gpu-0"]
        assert found["reading_count"].values.tolist() == [[4, 2]] * 3
        latencies = np.split(found["latency"].values, np.cumsum(found["latency_count"].values))
        np.testing.assert_array_equal(latencies[1], latencies_s(4, 0))
        np.testing.assert_array_equal(latencies[2], latencies_s(4, 0))
        first = slice(0, 6)
        np.testing.assert_array_equal(found["energy"][first], [*ENERGIES_J, np.nan, np.nan])
        np.testing.assert_allclose(found["power"][first], [np.nan, 20.0, 30.0, 10.0, 50.0, 60.0])
    with pytest.raises(RunError, match="exists"):
        write_traces(together, path, form)
