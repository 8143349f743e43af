"""Datasets of earlier schemas open as those of today, with the means that they had.

The files were written by the programs of their time; ``dataset-means.json`` has the geometric means
that these gave: of energy per image, gross and net, median latency and p99 response time.
"""

import json
import lzma
from pathlib import Path

import pytest

import greenbatch
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.errors import RunError

GOLDEN = Path(__file__).parents[3] / "golden"
MEANS = json.loads((GOLDEN / "dataset-means.json").read_text())


def unpacked(folder: Path, name: str) -> Path:
    path = folder / f"{name}.nc"
    path.write_bytes(lzma.decompress((GOLDEN / f"{name}.nc.xz").read_bytes()))
    return path


def means(row: CellRow) -> list[float | None]:
    intervals = (
        row.energy_per_image_j,
        row.energy_per_image_net_j,
        row.latency_p50_s,
        row.response_p99_s,
    )
    return [found.centre if found else None for found in intervals]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dataset-schema-1", "dataset-schema-2"])
def test_an_earlier_dataset_opens_with_the_same_means(tmp_path: Path, name: str) -> None:
    dataset = greenbatch.open(unpacked(tmp_path, name))
    assert dataset.attrs["schema"] == 3
    for label, part in separate(dataset).items():
        rows = {row.cell.slug: means(row) for row in cell_rows(part)}
        wanted = MEANS[name][label]
        assert rows.keys() == wanted.keys()
        for slug, found in rows.items():
            assert found[: len(wanted[slug])] == wanted[slug], slug


@pytest.mark.slow
def test_what_was_a_dimension_goes_along_a_variant_or_its_traffic(tmp_path: Path) -> None:
    dataset = greenbatch.open(unpacked(tmp_path, "dataset-schema-2"))
    assert dataset["energy"].dims == (
        *("machine", "model", "variant", "batch_size", "repetition", "domain"),
    )
    assert dataset["batch_size"].values.tolist() == [1, 4], "that of a policy is none"
    found = dataset.gb.sel(machine="bench", backend="onnxruntime-cpu", allow_spinning=0)
    assert found["variant"].values.tolist() == ["onnxruntime-cpu (allow_spinning=0) fp32"]
    hints = dataset.gb.sel(hint="default")
    assert hints["backend"].values.tolist() == ["torch-cpu"], "a value, not the lack of one"
    servers = dataset.gb.servers
    assert servers["policy"].values.tolist() == ["greedy:2", "fixed:4"]
    assert servers["energy_per_image"].dims == (
        *("machine", "model", "variant", "traffic", "repetition"),
    )
    assert not servers.sel(machine="other")["in_design"].any()


def test_an_earlier_dataset_without_a_dimension_is_refused(tmp_path: Path) -> None:
    import xarray as xr

    path = unpacked(tmp_path, "dataset-schema-1")
    with xr.open_dataset(path) as lazy:
        lazy.isel(backend=0).to_netcdf(tmp_path / "cut.nc")
    with pytest.raises(RunError, match="it lacks the dimension backend"):
        greenbatch.open(tmp_path / "cut.nc")
