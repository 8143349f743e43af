"""Several runs become one dataset where they are alike, and are refused where they are not."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr
from xarray.testing import assert_identical

import greenbatch
import greenbatch.analysis.accessor
from greenbatch.analysis.dataset.compatibility import distinct
from greenbatch.analysis.dataset.counted import counted_domains
from greenbatch.analysis.dataset.merging import Along, merge_datasets, separate
from greenbatch.analysis.dataset.run_files import RunFiles, read_run
from greenbatch.analysis.dataset.store import compile_dataset, open_with_files, store
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.errors import RunError, UnknownNameError, UsageError
from greenbatch.records import Capacity, Cell, EnergySource, Record, Repetition, encode, parse
from tests.fakes import runs
from tests.fakes.merged_runs import BATCHES, on, run_of
from tests.fakes.unlike_run import unlike_run

GPU = {"name": "Example GPU", "uuid": "GPU-1"}


@cache
def compiled(run: Path) -> xr.Dataset:
    """A run's dataset; the runs of these tests do not change."""
    return compile_dataset(run)


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two networks, two batch sizes and two blocks."""
    return run_of(tmp_path_factory.mktemp("runs") / "a")


def merge(
    paths: Sequence[Path], along: Along | None = None, allow: Collection[str] = ()
) -> xr.Dataset:
    """Merge runs without a file for each."""
    names = distinct([path.name for path in paths])
    parts = dict(zip(names, map(compiled, paths), strict=True))
    return merge_datasets(parts, along, allow)


def test_one_run_stays_as_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a")
    assert_identical(greenbatch.open(run), compiled(run))
    assert (run / "dataset.nc").is_file()
    assert_identical(merge([run]), compiled(run))


@pytest.mark.slow
def test_runs_on_one_machine_become_more_repetitions(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.1, blocks=3)
    both = merge([a, b])
    assert both.sizes["repetition"] == 5
    assert both["repetition"].values.tolist() == [0, 1, 2, 3, 4]
    assert both["run"].values.tolist() == ["a", "a", "b", "b", "b"]
    assert both["run_repetition"].values.tolist() == [0, 1, 0, 1, 2]
    assert "machine" not in both.dims
    first, second = compiled(a), compiled(b)
    for name in ("energy_per_image", "latency", "status", "reason", "idle_power", "flags"):
        for where, part in ((slice(0, 2), first), (slice(2, 5), second)):
            np.testing.assert_array_equal(
                both[name].isel(repetition=where).values, part[name].values
            )
    assert [row.planned for row in cell_rows(both)] == [5] * len(cell_rows(first))
    assert int(both.gb.energy_per_image()["repetitions"].min()) == 5


@pytest.mark.slow
def test_types_and_attributes_survive_the_merge(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.1)
    single = compiled(a)
    for along in get_args(Along):
        both = merge([a, b], along)
        assert list(both.data_vars) == list(single.data_vars)
        for name in single.data_vars:
            assert both[name].dtype.kind in (single[name].dtype.kind, "U"), (along, name)
            assert str(both[name].attrs) == str(single[name].attrs), (along, name)


@pytest.mark.slow
def test_runs_on_several_machines_stand_along_machine(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.2, environment=on("other"), batch_sizes=(4, 16), blocks=3)
    both = merge([a, b])
    assert both["energy_per_image"].dims[0] == "machine"
    assert both["machine"].values.tolist() == ["bench", "other"]
    assert both["batch_size"].values.tolist() == [1, 4, 16]
    hole = both.sel(machine="bench", batch_size=16)
    assert not hole["in_design"].any()
    assert (hole["status"] == STATUSES.index("not_run")).all()
    assert bool(hole["energy_per_image"].isnull().all())
    energies = both.gb.energy_per_image()["energy_per_image"]
    assert float(energies.sel(machine="other", batch_size=16).min()) > 0
    with pytest.raises(UsageError, match="two machines are not the same stretch of time"):
        both.gb.relative_to(machine="bench")
    parts = separate(both)
    assert_identical(parts["bench"], compiled(a))
    assert_identical(parts["other"], compiled(b))
    assert cell_rows(parts["other"]) == cell_rows(compiled(b))


@pytest.mark.slow
def test_repetitions_and_machines_merge_at_once(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.1)
    c = run_of(tmp_path / "c", 1.2, environment=on("other"))
    both = merge([a, c, b])
    assert dict(both.sizes)["machine"] == 2
    assert both.sizes["repetition"] == 4
    parts = separate(both)
    assert_identical(parts["bench"], merge([a, b]))
    assert_identical(parts["other"].drop_vars(["run", "run_repetition"]), compiled(c))


@pytest.mark.slow
def test_hosts_of_one_name_are_told_apart_by_their_processor(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.1, environment=on("bench", "Another CPU"))
    names = merge([a, b])["machine"].values.tolist()
    assert names == ["bench, Example CPU 9000", "bench, Another CPU"]
    c = run_of(tmp_path / "c", 1.2)
    assert merge([a, c], "machine")["machine"].values.tolist() == [
        "bench, Example CPU 9000",
        "bench, Example CPU 9000 (2)",
    ]


ARTIFACTS = {"alexnet": {"file": "alexnet-fp32.onnx", "sha256": "1" * 64}}
VERSIONS = {"python": "3.11.7", "onnxruntime": "1.30.0", "torch": "2.15.0"}
RAPL = {"name": "rapl", "domains": [{"name": "package-0"}, {"name": "dram-0"}]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"artifacts": ARTIFACTS},
            "artifact.alexnet is '000000000000' in a and '111111111111' in b",
        ),
        ({"protocol": {"window_s": 5.0}}, "protocol.window_s is '2.0' in a and '5.0' in b"),
        ({"threads": 8}, "threads is '2' in a and '8' in b"),
        (
            {"environment": runs.environment(versions=VERSIONS)},
            "version.onnxruntime is '1.31.1' in a and '1.30.0' in b",
        ),
        ({"source": EnergySource.ESTIMATED}, "energy is 'measured' in a and 'estimated' in b"),
        (
            {"environment": runs.environment(meters=[RAPL])},
            "domains is 'rapl: package-0' in a and 'rapl: dram-0, rapl: package-0' in b",
        ),
        (
            {"environment": runs.environment(gpus=[GPU])},
            "machine.gpus is not reported in a and 'GPU-1' in b",
        ),
        ({"batch_sizes": (1, 4, 16)}, "design.batch_sizes is '1, 4' in a and '1, 4, 16' in b"),
        (
            {"settings": {"torch-cpu.threads": ["1", "2"]}},
            "design.settings is not reported in a and 'torch-cpu.threads=1, 2' in b",
        ),
    ],
)
def test_unlike_runs_are_refused_with_the_difference_named(
    tmp_path: Path, a: Path, changed: dict[str, Any], message: str
) -> None:
    b = run_of(tmp_path / "b", 1.1, **changed)
    with pytest.raises(RunError) as caught:
        merge([a, b], "repetition")
    assert message in str(caught.value)
    assert "--apart" in str(caught.value)
    name = message.partition(" ")[0]
    if "artifact" in name:
        name = "artifact"  # the other model's has no hash at all
    kept = merge([a, b], "repetition", {name})
    assert message in kept.attrs["allowed_differences"]


def test_other_machines_may_lack_a_package_but_not_have_another_version(
    tmp_path: Path, a: Path
) -> None:
    fewer = {"python": "3.11.7", "onnxruntime": "1.31.1"}
    b = run_of(tmp_path / "b", 1.1, environment=on("other", versions=fewer))
    assert merge([a, b]).sizes["machine"] == 2
    c = run_of(tmp_path / "c", 1.1, environment=on("other", versions=VERSIONS))
    with pytest.raises(RunError, match=r"version.onnxruntime is '1.31.1' in a and '1.30.0' in c"):
        merge([a, c])


def test_an_estimate_and_a_measurement_stand_apart_but_are_never_divided(
    tmp_path: Path, a: Path
) -> None:
    b = run_of(tmp_path / "b", 1.1, source=EnergySource.ESTIMATED)
    both = merge([a, b], "run")
    assert both.attrs["energy_provenance"] == "mixed"
    with pytest.raises(UsageError, match="blocks of two runs are not the same stretch of time"):
        both.gb.relative_to(run="a")


def test_a_run_is_not_counted_twice(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", blocks=3)
    with pytest.raises(RunError, match=r"a and a \(2\) are the same run"):
        merge([a, a])
    records: list[Record] = [
        record
        for record in runs.realistic_records(models=("alexnet", "vit_b_16"), batch_sizes=BATCHES)
        if not (isinstance(record, Repetition) and record.block == 2)
    ]
    study = runs.study(("alexnet", "vit_b_16"), runs.BACKENDS, BATCHES, 3)
    cut = runs.write_run(tmp_path / "cut", records, study)
    with pytest.raises(RunError, match="every repetition of cut is in a"):
        merge([a, cut])
    # A copy of the run after two blocks, resumed by itself: the third block is its own.
    own = [
        replace(record, duration_s=1.01 * (record.duration_s or 0))
        if isinstance(record, Repetition) and record.block == 2
        else record
        for record in runs.realistic_records(models=("alexnet", "vit_b_16"), batch_sizes=BATCHES)
    ]
    resumed = runs.write_run(tmp_path / "resumed", own, study)
    with pytest.raises(RunError, match="16 repetitions are in both a and resumed"):
        merge([a, resumed])


@pytest.mark.slow
def test_runs_with_other_settings_stand_side_by_side(tmp_path: Path) -> None:
    plain = run_of(tmp_path / "plain", models=("alexnet",))
    cells = [
        Cell("alexnet", backend, batch_size=4, settings=pairs)
        for backend, pairs in (
            ("onnxruntime-cpu", ()),
            ("torch-cpu", (("spin", "0"),)),
            ("torch-cpu", (("spin", "default"),)),
        )
    ]
    members = runs.study(
        ("alexnet",), runs.BACKENDS, (4,), 1, settings={"torch-cpu.spin": ["0", "default"]}
    )
    records = [runs.repetition(cell, energy=[runs.figure(50.0)]) for cell in cells]
    spun = runs.write_run(tmp_path / "spun", records, members)
    both = merge([plain, spun], "run")
    assert both["spin"].values.tolist() == ["", "", "0", "default"]
    parts = separate(both)
    assert_identical(parts["plain"], compiled(plain))
    assert_identical(parts["spun"], compiled(spun))
    turned = separate(merge([spun, plain], "run"))
    assert_identical(turned["plain"], compiled(plain))
    assert [row.cell for row in cell_rows(turned["spun"])] == cells


@pytest.mark.slow
def test_a_setting_called_default_everywhere_is_not_taken_for_not_set(
    tmp_path: Path, a: Path
) -> None:
    texts = ["0", "default"]
    cells = [Cell("alexnet", b, settings=(("spin", t),)) for b in runs.BACKENDS for t in texts]
    members = runs.study(
        ("alexnet",), runs.BACKENDS, (1,), 1, settings={f"{b}.spin": texts for b in runs.BACKENDS}
    )
    spun = runs.write_run(tmp_path / "spun", map(runs.repetition, cells), members)
    both = merge([a, spun], "run")
    assert both["spin"].values.tolist() == ["", "", *texts, *texts]
    assert [row.cell for row in cell_rows(separate(both)["spun"])] == cells
    assert_identical(separate(both)["a"], compiled(a))


@pytest.mark.slow
def test_runs_of_one_machine_on_cpu_and_gpu_keep_what_each_counts(tmp_path: Path) -> None:
    parts = []
    for backend, gpu_counts in (("onnxruntime-cpu", False), ("onnxruntime-cuda", True)):
        cell = Cell("alexnet", backend)
        energy = [runs.figure(60.0), runs.figure(300.0, "gpu-0", counts=gpu_counts)]
        record = runs.repetition(cell, energy=energy, iterations=60, position=int(gpu_counts))
        members = runs.study(("alexnet",), (backend,), (1,), 1)
        parts.append(runs.write_run(tmp_path / backend, [record], members))
    both = merge(parts, allow=["design.backends"])
    assert both["counts"].sel(domain="gpu-0").item() == 1
    counted = counted_domains(both).sel(domain="gpu-0") & (both["energy_counted"] > 0)
    assert counted.sel(variant="onnxruntime-cuda fp32").any()
    assert not counted.sel(variant="onnxruntime-cpu fp32").any()
    rows = {row.cell.backend: row.series["energy"].by_block for row in cell_rows(both) if row.ok}
    assert [*rows["onnxruntime-cpu"].values()] == [pytest.approx(1.0)]
    assert [*rows["onnxruntime-cuda"].values()] == [pytest.approx(6.0)]


def test_backends_and_domains_of_one_machine_alone_keep_their_coordinates(
    tmp_path: Path, a: Path
) -> None:
    cell = Cell("alexnet", "onnxruntime-cuda")
    energy = [runs.figure(90.0, "gpu-0"), runs.figure(1.0, "core-0", counts=False)]
    gpu = runs.write_run(
        tmp_path / "gpu",
        [runs.repetition(cell, energy=energy)],
        runs.study(("alexnet",), (cell.backend,), (1,), 1),
        on("other", backends={cell.backend: {"runtime": "onnxruntime", "device": "cuda"}}),
    )
    both = merge([a, gpu])
    assert dict(zip(both["domain"].values, both["counts"].values, strict=True)) == {
        "package-0": 1,
        "gpu-0": 1,
        "core-0": 0,
    }
    assert both["counts"].dtype == np.int8
    devices = dict(zip(both["backend"].values, both["device"].values, strict=True))
    assert devices == dict.fromkeys(runs.BACKENDS, "cpu") | {cell.backend: "cuda"}
    assert both["year"].sel(model="vit_b_16").item() == 2020
    assert_identical(separate(both)["other"], compiled(gpu))


@pytest.mark.slow
def test_a_merged_file_reads_back_and_comes_apart(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", models=("alexnet",))
    b = unlike_run(tmp_path / "b")
    # From files, whose texts have widths of their own.
    alone = [store(compiled(run), tmp_path / f"{run.name}.nc") for run in (a, b)]
    both = greenbatch.open(*alone, along="run")
    path = store(both, tmp_path / "both.nc")
    again = greenbatch.open(path)
    for found in (both, again):
        parts = separate(found)
        assert_identical(parts["a.nc"], compiled(a))
        assert_identical(parts["b.nc"], compiled(b))
    with pytest.raises(RunError, match=r"both.nc is merged already"):
        greenbatch.open(path, alone[0])


@pytest.mark.slow
def test_a_dataset_without_a_variable_of_today_is_compiled_again(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", models=("alexnet",))
    store(compile_dataset(run).drop_vars("cache"), run / "dataset.nc")
    assert "cache" in greenbatch.open(run)


@pytest.mark.slow
def test_a_dataset_and_its_files_are_opened_with_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "a", models=("alexnet",))
    expected = compiled(run)
    read: list[Path] = []

    def reading(path: Path) -> RunFiles:
        read.append(path)
        return read_run(path)

    monkeypatch.setattr("greenbatch.analysis.dataset.store.read_run", reading)
    for times in (1, 2):  # compiled, then loaded
        opened, files = open_with_files(run)
        assert len(read) == times
        assert_identical(opened, expected)
        assert len(files.journal.repetitions) == 8


def test_a_file_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    path.write_text("no")
    with pytest.raises(RunError, match=r"cannot read .* as a dataset"):
        greenbatch.open(path)


@pytest.mark.slow
def test_the_batch_that_fits_is_what_fitted_in_every_run(tmp_path: Path) -> None:
    found = []
    for name, largest in (("a", 13), ("b", 11)):
        run = run_of(tmp_path / name, 1 + largest / 100, models=("alexnet",))
        cell = Cell("alexnet", "torch-cpu", batch_size=largest)
        capacity = Capacity(cell=cell, fits=True, smallest_failing=largest + 1)
        with (run / "journal.jsonl").open("ab") as journal:
            journal.write(encode(capacity))
        found.append(run)
    where = {"model": "alexnet", "variant": "torch-cpu fp32"}
    both = merge(found)
    assert both["max_batch_size"].sel(where).item() == 11
    assert both["min_failing_batch_size"].sel(where).item() == 12


def test_what_may_differ_and_where_to_are_checked(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", 1.1)
    with pytest.raises(UsageError, match="unknown difference 'colour' in --allow-difference"):
        merge([a, b], allow=["colour"])
    with pytest.raises(UnknownNameError, match="dimension to merge along 'time'"):
        merge([a, b], "time")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no run was given"):
        greenbatch.open()


@pytest.mark.slow
def test_the_parts_of_a_merged_dataset_keep_their_environment(tmp_path: Path, a: Path) -> None:
    b = run_of(tmp_path / "b", environment=on("other"))
    result = json.loads(merge([a, b]).attrs["parts"])
    machines = [json.loads(part["attributes"]["environment"])["machine"] for part in result]
    assert [machine["hostname"] for machine in machines] == ["bench", "other"]


def test_names_that_come_again_are_numbered() -> None:
    assert distinct(["a", "b", "a", "a", "a (2)"]) == ["a", "b", "a (2)", "a (3)", "a (2) (2)"]


def estimated_run(path: Path, model: str, factor: float = 1.0) -> Path:
    """A run whose energies are estimated by a model."""

    def by_model(record: Repetition) -> Repetition:
        energy = tuple(replace(figure, reason=model) for figure in record.energy)
        scaled = (record.duration_s or 0.0) * factor
        return replace(record, energy=energy, duration_s=scaled)

    run = run_of(path, 1.0, source=EnergySource.ESTIMATED)
    records = parse((run / "journal.jsonl").read_bytes(), "journal").repetitions
    (run / "journal.jsonl").write_bytes(b"".join(encode(by_model(r)) for r in records))
    return run


def test_estimates_by_other_models_are_no_repetitions_of_one_design(tmp_path: Path) -> None:
    a = estimated_run(tmp_path / "a", "2 hardware threads at 0.74 W each, up to 3.5 W")
    b = estimated_run(tmp_path / "b", "2 hardware threads at 0.74 W each, up to 62.5 W", 1.01)
    with pytest.raises(RunError, match=r"energy\.estimate is .*3\.5 W' in a and .*62\.5 W' in b"):
        merge([a, b])
    both = merge([a, b], allow=["energy.estimate"])
    assert "energy.estimate is" in both.attrs["allowed_differences"]
    ratio = both.gb.relative_to(backend="torch-cpu").sel(backend="onnxruntime-cpu")
    assert "estimated by other models" in ratio["reason"].values.flat[0]


def test_what_is_allowed_to_differ_allows_nothing_else(tmp_path: Path) -> None:
    drawn = {"kind": "random", "detail": "seed 0"}
    trained = {"kind": "pretrained", "detail": "IMAGENET1K_V1"}
    a, b = (
        run_of(
            tmp_path / name,
            factor,
            artifacts={
                model: {"file": "a.onnx", "sha256": "0" * 64, "weights": weights}
                for model in ("alexnet", "vit_b_16")
            },
            environment=runs.environment(versions=runs.environment()["versions"] | more),
        )
        for name, factor, weights, more in (
            ("a", 1.0, drawn, {}),
            ("b", 1.01, trained, {"torch": "2.16.0"}),
        )
    )
    with pytest.raises(RunError, match="disagree about the coordinate weights") as caught:
        merge([a, b], allow=["version.torch"])
    assert "--allow-difference weights,weights_detail" in str(caught.value)
    both = merge([a, b], allow=["version.torch", "weights", "weights_detail"])
    assert "weights differs, and is that of a" in both.attrs["allowed_differences"]
