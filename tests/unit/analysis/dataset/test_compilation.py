"""The dataset holds what the journal says, with units, and a hole where the journal is silent."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis.dataset.dataset_files import sealed
from greenbatch.analysis.dataset.store import compile_dataset, open_run, write_dataset
from greenbatch.analysis.dataset.variables import (
    COORDINATES,
    LOOP,
    OF_SERVERS,
    STATUSES,
    VARIABLES,
)
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.errors import JournalError, RunError
from greenbatch.records import (
    TRAFFIC,
    Cell,
    EnergyFigure,
    EnergySource,
    IdleFigure,
    Record,
    encode,
)
from tests.fakes import runs

CELL = Cell("alexnet", "onnxruntime-cpu", batch_size=4)
AT = {
    "model": "alexnet",
    "variant": "onnxruntime-cpu fp32",
    "batch_size": 4,
    "repetition": 0,
}


def compiled(path: Path, records: list[Record]) -> xr.Dataset:
    return compile_dataset(runs.write_run(path, records))


def one(dataset: xr.Dataset, name: str, **more: object) -> float:
    return float(dataset[name].sel(AT | more).item())


def test_figures_of_a_repetition_arrive_in_si(tmp_path: Path) -> None:
    record = runs.repetition(CELL, energy=[runs.figure(60.0)], latency_s=0.02, iterations=50)
    dataset = compiled(tmp_path, [record, runs.idle("onnxruntime-cpu", power_w=10.0)])
    assert one(dataset, "energy", domain="package-0") == 60.0
    assert one(dataset, "duration") == 2.0
    assert one(dataset, "images") == 200
    assert one(dataset, "throughput") == 100.0
    assert one(dataset, "latency", quantile=0.99) == pytest.approx(0.026)
    assert one(dataset, "energy_per_image") == pytest.approx(60.0 / 200)
    assert one(dataset, "energy_per_image_uncertainty") == pytest.approx(0.6 / 200)
    assert one(dataset, "energy_per_image_net") == pytest.approx((60.0 - 10.0 * 2.0) / 200)
    assert one(dataset, "power_mean", domain="package-0") == 30.0
    assert one(dataset, "memory_peak", memory="host") == 5e8
    assert math.isnan(one(dataset, "memory_peak", memory="device"))
    assert one(dataset, "phase_duration", phase="load") == 0.3
    assert one(dataset, "temperature", sensor="package") == 51.0


def test_what_window_and_idle_power_have_in_common_is_no_doubt_of_the_net_energy(
    tmp_path: Path,
) -> None:
    """A sensor that is off by 5 % and 5 W is off by 5 % of the difference."""
    window = replace(runs.figure(400.0, "gpu-0"), uncertainty_j=34.0, common_j=30.0)
    figure = IdleFigure(
        domain="gpu-0",
        source=EnergySource.COUNTER,
        power_w=60.0,
        uncertainty_w=9.0,
        common_w=8.0,
    )
    idle = replace(runs.idle("onnxruntime-cpu", power_w=60.0), figures=(figure,))
    record = runs.repetition(CELL, energy=[window], iterations=50)
    dataset = compiled(tmp_path, [record, idle])
    assert one(dataset, "energy_common", domain="gpu-0") == 30.0
    assert one(dataset, "idle_power_common", domain="gpu-0") == 8.0
    assert one(dataset, "energy_uncertainty", domain="gpu-0") == 34.0
    own_j = (34.0 - 30.0) + (9.0 - 8.0) * 2.0
    doubt_j = one(dataset, "energy_net_uncertainty", domain="gpu-0")
    assert doubt_j == pytest.approx(own_j + (30.0 - 8.0 * 2.0))


def test_dimensions_are_those_of_the_design(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.realistic_run(tmp_path))
    assert dataset["energy"].dims == (*LOOP, "repetition", "domain")
    assert dataset["latency"].dims == (*LOOP, "repetition", "quantile")
    assert dataset["status"].dims == (*LOOP, "repetition")
    assert dataset["in_design"].dims == LOOP
    assert dataset["variant"].values.tolist() == [f"{name} fp32" for name in runs.BACKENDS]
    for name, wanted in (("backend", runs.BACKENDS), ("precision", ("fp32",) * 2)):
        assert dataset[name].dims == ("variant",)
        assert dataset[name].values.tolist() == list(wanted)
    assert dataset["quantile"].values.tolist() == [0.5, 0.9, 0.95, 0.99, 0.999, 1.0]
    assert dataset["model"].values.tolist() == list(runs.MODELS)
    assert dataset["runtime"].dims == ("variant",)
    assert dataset["runtime"].values.tolist() == ["onnxruntime", "torch"]
    assert dataset["year"].sel(model="vit_b_16").item() == 2020
    assert dataset["weights"].dims == ("model",)


@pytest.mark.slow
def test_every_variable_has_units_and_a_name_and_every_flag_its_meanings(tmp_path: Path) -> None:
    write_dataset(runs.realistic_run(tmp_path))
    with xr.open_dataset(tmp_path / "dataset.nc") as dataset:
        assert set(dataset.data_vars) == set(VARIABLES) - OF_SERVERS
        assert set(dataset.coords) == set(COORDINATES) - {"traffic", *TRAFFIC}
        for name, variable in dataset.variables.items():
            assert variable.attrs["units"], name
            assert variable.attrs["long_name"], name
        for name, table in VARIABLES.items():
            if not table.meanings or name in OF_SERVERS:
                continue
            attrs = dataset[name].attrs
            code = "flag_values" in attrs
            values = attrs["flag_values" if code else "flag_masks"]
            assert values.dtype == dataset[name].dtype == (np.int8 if code else np.int16)
            assert len(values) == len(attrs["flag_meanings"].split())


def test_a_cell_without_a_record_is_not_run_and_holds_no_number(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, [runs.repetition(CELL, energy=[runs.figure(60.0)])])
    hole = dataset.sel(batch_size=1)
    assert (hole["status"] == STATUSES.index("not_run")).all()
    for name, table in VARIABLES.items():
        if table.kind == "number" and name not in OF_SERVERS:
            assert bool(hole[name].isnull().all()), name


def test_a_failure_keeps_its_status_and_reason(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, [runs.failed(CELL)])
    assert one(dataset, "status") == STATUSES.index("oom")
    assert "3.1 GB" in dataset["reason"].sel(AT).item()
    assert math.isnan(one(dataset, "throughput"))


def test_a_failure_that_was_measured_again_gives_way(tmp_path: Path) -> None:
    records: list[Record] = [runs.repetition(CELL), runs.failed(CELL)]
    assert one(compiled(tmp_path, records), "status") == STATUSES.index("ok")


def test_a_repetition_measured_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="alexnet on onnxruntime-cpu at batch 4, block 0, twice"):
        compiled(tmp_path, [runs.repetition(CELL), runs.repetition(CELL)])


def test_a_sum_without_one_of_its_domains_is_missing_not_partial(tmp_path: Path) -> None:
    whole = [runs.figure(60.0), runs.figure(100.0, "gpu-0")]
    part = [runs.figure(60.0), runs.missing("gpu-0")]
    records: list[Record] = [
        runs.repetition(CELL, 0, energy=whole),
        runs.repetition(CELL, 1, energy=part),
        runs.repetition(CELL, 2, energy=[runs.figure(60.0)]),  # the domain is not even named
    ]
    dataset = compiled(tmp_path, records)
    assert one(dataset, "energy_per_image") == pytest.approx(160.0 / 400)
    assert math.isnan(one(dataset, "energy_per_image", repetition=1))
    assert math.isnan(one(dataset, "energy_per_image", repetition=2))
    assert one(dataset, "energy", repetition=1, domain="package-0") == 60.0


def test_domains_that_do_not_count_are_kept_and_not_added(tmp_path: Path) -> None:
    figures = [runs.figure(60.0), runs.figure(40.0, "core-0", counts=False)]
    dataset = compiled(tmp_path, [runs.repetition(CELL, energy=figures)])
    assert one(dataset, "energy_per_image") == pytest.approx(60.0 / 400)
    assert dataset["counts"].sel(domain="core-0").item() == 0


def test_idle_power_is_the_mean_over_the_block_of_the_backend(tmp_path: Path) -> None:
    records: list[Record] = [
        runs.idle("onnxruntime-cpu", power_w=10.0),
        runs.idle("onnxruntime-cpu", power_w=14.0, when="after"),
        runs.idle("onnxruntime-cpu", 1, power_w=50.0),
        runs.idle("torch-cpu", power_w=70.0),
        runs.repetition(CELL, energy=[runs.figure(60.0)]),
        runs.repetition(CELL, 2, energy=[runs.figure(60.0)]),
    ]
    dataset = compiled(tmp_path, records)
    assert one(dataset, "idle_power", domain="package-0") == 12.0
    assert one(dataset, "energy_net", domain="package-0") == pytest.approx(36.0)
    assert math.isnan(one(dataset, "energy_per_image_net", repetition=2))
    assert not math.isnan(one(dataset, "energy_per_image", repetition=2))


def test_net_energy_never_mixes_an_estimate_with_a_measurement(tmp_path: Path) -> None:
    records: list[Record] = [
        runs.idle("onnxruntime-cpu", source=EnergySource.ESTIMATED),
        runs.repetition(CELL, energy=[runs.figure(60.0)]),
    ]
    assert math.isnan(one(compiled(tmp_path, records), "energy_per_image_net"))


@pytest.mark.parametrize(
    ("figures", "provenance"),
    [
        ([runs.figure(1.0)], "measured"),
        ([runs.figure(1.0, source=EnergySource.INTEGRATED)], "measured"),
        ([runs.figure(1.0, source=EnergySource.ESTIMATED)], "estimated"),
        ([runs.figure(1.0), runs.figure(1.0, "x", EnergySource.ESTIMATED)], "mixed"),
        ([runs.missing("package-0")], "missing"),
        ([], "missing"),
    ],
)
def test_the_dataset_says_what_its_energies_rest_on(
    tmp_path: Path, figures: list[EnergyFigure], provenance: str
) -> None:
    dataset = compiled(tmp_path, [runs.repetition(CELL, energy=figures)])
    assert dataset.attrs["energy_provenance"] == provenance
    if provenance == "missing":
        assert bool(dataset["energy_per_image"].isnull().all())


def test_flags_are_a_bit_mask(tmp_path: Path) -> None:
    record = runs.repetition(CELL, flags=("unsteady", "disturbed"))
    assert one(compiled(tmp_path, [record]), "flags") == 1 + 4


@pytest.mark.slow
def test_the_file_opens_with_plain_xarray_and_is_the_same(tmp_path: Path) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",))
    path = write_dataset(run)
    with xr.open_dataset(path) as dataset:
        assert dataset.identical(sealed(compile_dataset(run)))
        assert json.loads(dataset.attrs["study"])["models"] == ["alexnet"]
        assert dataset.attrs["Conventions"] == "CF-1.11"
    assert [p.name for p in run.glob(".*")] == []


@pytest.mark.slow
def test_a_run_without_any_record_still_round_trips(tmp_path: Path) -> None:
    run = runs.write_run(tmp_path, [])
    write_dataset(run)
    assert bool((open_run(run)["status"] == STATUSES.index("not_run")).all())


@pytest.mark.slow
def test_a_dataset_is_made_again_when_the_journal_has_grown(tmp_path: Path) -> None:
    run = runs.write_run(tmp_path, [runs.repetition(CELL)])
    first = open_run(run)
    with (run / "journal.jsonl").open("ab") as journal:
        journal.write(encode(runs.repetition(CELL, 1)))
    later = open_run(run)
    assert int((first["status"] == 0).sum()) == 1
    assert int((later["status"] == 0).sum()) == 2
    (run / "dataset.nc").write_bytes(b"damaged")
    assert open_run(run).identical(later)


def test_a_model_that_the_registry_does_not_know_has_missing_facts(tmp_path: Path) -> None:
    cell = Cell("my_net", "onnxruntime-cpu")
    run = runs.write_run(tmp_path, [runs.repetition(cell)], runs.study(("my_net",)))
    assert math.isnan(compile_dataset(run)["year"].sel(model="my_net").item())


def test_a_torn_last_line_is_a_warning_and_stays_known(tmp_path: Path) -> None:
    run = runs.write_run(tmp_path, [runs.repetition(CELL)], torn=b'{"kind":"rep')
    with pytest.warns(UserWarning, match="line 2, the last, is torn"):
        dataset = open_run(run)
    assert "is torn" in dataset.attrs["journal_torn"]
    assert one(dataset, "status") == 0


def test_the_golden_journal_of_schema_1_still_loads() -> None:
    dataset = compile_dataset(Path(__file__).parents[3] / "golden" / "run-schema-1")
    at = {"model": "alexnet", "variant": "torch-cpu fp32", "batch_size": 4, "repetition": 1}
    figure = dataset.sel(at).squeeze()
    assert float(figure["energy_per_image"]) == pytest.approx(0.155)
    assert float(figure["energy_per_image_net"]) == pytest.approx(0.105)
    assert float(figure["latency"].sel(quantile=0.5)) == pytest.approx(0.02)
    assert dataset.attrs["energy_provenance"] == "measured"


def test_the_golden_journal_with_settings_starts_and_a_capacity_still_loads() -> None:
    run = Path(__file__).parents[3] / "golden" / "run-settings"
    dataset = compile_dataset(run)
    rows = {row.cell.variant: row for row in cell_rows(dataset)}
    assert list(rows) == [
        "onnxruntime-cpu (allow_spinning=1)",
        "onnxruntime-cpu (allow_spinning=0)",
        "torch-compile-cpu",
    ]
    rests = rows["onnxruntime-cpu (allow_spinning=0)"]
    assert (rests.ok, rests.max_batch_size, rests.min_failing_batch_size) == (2, 700, 701)
    assert rests.agreement_max_rel == 2e-6
    assert rests.accuracy is not None
    assert (rests.accuracy.source, rests.accuracy.images) == ("measured", 400)
    compiling = dataset.sel(variant="torch-compile-cpu fp32").squeeze()
    assert compiling["one_off_duration"].sel(one_off_phase="first").values.tolist() == [50.0, 5.0]
    assert compiling["cache"].values.tolist() == [1, 2]
    assert float(compiling["memory_peak"].sel(memory="children")[0]) == 3e8


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("no directory", "is not there; give the directory"),
        ("no study", "is not a run: it has no study.yaml"),
        ("bad yaml", "in line 2"),
        ("a list", "holds a list, not a mapping"),
        ("a future schema", "has schema 9, this program reads schema 1"),
        ("bad environment", "cannot read .*environment.json"),
    ],
)
def test_a_directory_that_is_no_run_is_refused_in_one_sentence(
    tmp_path: Path, spoil: str, message: str
) -> None:
    run = runs.write_run(tmp_path / "run", [])
    study = run / "study.yaml"
    if spoil == "no directory":
        run = tmp_path / "absent"
    elif spoil == "no study":
        study.unlink()
    elif spoil == "bad yaml":
        study.write_text("schema: 1\nmodels: [a\n")
        message = "cannot read .*study.yaml in line"
    elif spoil == "a list":
        study.write_text("- 1\n")
    elif spoil == "a future schema":
        study.write_text("schema: 9\n")
    else:
        (run / "environment.json").write_text("{")
    with pytest.raises(RunError, match=message) as caught:
        open_run(run)
    assert "\n" not in str(caught.value)


def test_a_line_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    run = runs.write_run(tmp_path, [runs.repetition(CELL), runs.repetition(CELL, 1)])
    journal = run / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"block":0', b'"block":2'))
    with pytest.raises(JournalError, match="line 1: it was changed or damaged"):
        open_run(run)


@pytest.mark.slow
def test_importing_analysis_loads_nothing_heavy() -> None:
    code = (
        "import sys, greenbatch.analysis as a; "
        "from greenbatch.analysis.findings import answers, caveats; "
        "from greenbatch.analysis.report.charts import charts; "
        "from greenbatch.analysis.dataset import store as dataset; "
        "from greenbatch.analysis.report.figures import figures; "
        "from greenbatch.analysis.report import build as report; "
        "heavy = {'numpy', 'xarray', 'scipy', 'matplotlib', 'torch', 'onnxruntime',"
        " 'jinja2', 'yaml'}; "
        "print(sorted(heavy & set(sys.modules)), callable(a.open_run))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("[]"), ran.stdout
