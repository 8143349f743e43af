"""Each cell's total is over its own device and the host: cells of one run may count differently."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.dataset.counted import COUNTED, counted_domains, mask_of
from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.findings.caveat import Severity
from greenbatch.analysis.findings.caveats import caveats
from greenbatch.analysis.findings.comparisons import comparison_rows
from greenbatch.analysis.findings.startup import start_ups
from greenbatch.analysis.training import open_training
from greenbatch.analysis.training.dataset.totals import counted
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.records import (
    Cell,
    Conditions,
    EnergyFigure,
    OneOff,
    Record,
    Training,
    TrainingCell,
)
from tests.fakes import runs, training_runs

CPU = Cell("alexnet", "onnxruntime-cpu", batch_size=4)
CUDA = replace(CPU, backend="onnxruntime-cuda")
TRAINED = TrainingCell("simple-cnn", "digits")
STUDY = runs.study(models=["alexnet"], backends=[CPU.backend, CUDA.backend], batch_sizes=[4])
TRAINING = training_runs.study(
    ["simple-cnn"], 1, 4, batch_sizes=[TRAINED.batch_size], data=["digits"]
)
LACKING = "the GPU that the cell computes on is not metered"


def test_where_a_repetition_states_nothing_the_coordinate_decides() -> None:
    codes = np.array([[COUNTED.index(code) for code in ("unstated", "no", "yes", "unstated")]])
    counts = np.array([0, 1, 0, 1])
    wanted = [[False, False, True, True]]
    assert mask_of(codes, counts).tolist() == wanted
    dataset = xr.Dataset(
        {"energy_counted": (("repetition", "domain"), codes)},
        {"domain": list("abcd"), "counts": ("domain", counts)},
    )
    assert counted_domains(dataset).values.tolist() == wanted
    older = dataset.drop_vars("energy_counted")
    assert counted_domains(older).values.tolist() == [False, True, False, True]


def _at(found: xr.DataArray, **more: object) -> xr.DataArray:
    """Select the one cell's first repetition along every dimension that there is."""
    training = "data" in found.dims
    wanted = {
        "model": "simple-cnn" if training else CPU.model,
        "batch_size": TRAINED.batch_size if training else CPU.batch_size,
        "repetition": 0,
        **more,
    }
    one = found.sel({dim: label for dim, label in wanted.items() if dim in found.dims})
    if "variant" in one.dims:
        one = one.swap_dims(variant="backend")
        one = one.sel({"backend": more["backend"]} if "backend" in more else {})
    kept = {"backend", "domain", "sensor", "clock_domain"}
    return one.squeeze([dim for dim in one.dims if dim not in kept], drop=True)


def _energy(gpu_counts: bool) -> tuple[EnergyFigure, ...]:
    return (
        runs.figure(60.0),
        runs.figure(300.0, "gpu-0", counts=gpu_counts),
        runs.figure(90.0, "gpu-1", counts=False),
    )


def _start(gpu_counts: bool) -> dict[str, OneOff]:
    return {
        phase: OneOff(duration_s=1.0, energy=_energy(gpu_counts)) for phase in ("load", "first")
    }


def test_a_cell_on_the_cpu_and_one_on_a_gpu_have_totals_of_their_own(tmp_path: Path) -> None:
    records = [
        runs.repetition(cell, energy=_energy(gpu), one_off=_start(gpu), iterations=25)
        for cell, gpu in ((CPU, False), (CUDA, True))
    ]
    path = runs.write_run(tmp_path / "run", records, STUDY)
    dataset = compile_dataset(path)
    per_image_j = _at(dataset["energy_per_image"])
    assert per_image_j.sel(backend=CPU.backend).item() == pytest.approx(60.0 / 100)
    assert per_image_j.sel(backend=CUDA.backend).item() == pytest.approx(360.0 / 100)
    assert dataset["counts"].to_series().to_dict() == {"gpu-0": 1, "gpu-1": 0, "package-0": 1}
    codes = _at(dataset["energy_counted"], backend=CPU.backend)
    assert [COUNTED[code] for code in codes.sel(domain=["gpu-0", "package-0"]).values] == [
        "no",
        "yes",
    ]
    cold_j = {}
    for start in start_ups(dataset):
        assert start.cold
        assert start.cold.energy_j
        cold_j[start.cell.backend] = start.cold.energy_j.centre
    assert cold_j == {CPU.backend: pytest.approx(120.0), CUDA.backend: pytest.approx(720.0)}


def test_a_device_without_a_meter_leaves_its_own_cells_without_a_total(tmp_path: Path) -> None:
    lacking = runs.missing("gpu", f"gpu: {LACKING}")
    records = [
        runs.repetition(CPU, energy=[runs.figure(60.0)], iterations=25),
        runs.repetition(CUDA, energy=[runs.figure(60.0), lacking]),
    ]
    dataset = compile_dataset(runs.write_run(tmp_path / "run", records, STUDY))
    per_image_j = _at(dataset["energy_per_image"])
    assert per_image_j.sel(backend=CPU.backend).item() == pytest.approx(60.0 / 100)
    assert np.isnan(per_image_j.sel(backend=CUDA.backend).item())
    assert "energy-incomplete" in {caveat.code for caveat in caveats(dataset)}
    alone = compile_dataset(runs.write_run(tmp_path / "alone", records[1:], STUDY))
    sentences = {caveat.code: caveat.sentence for caveat in caveats(alone)}
    assert LACKING in sentences["energy-missing"]


def test_a_file_of_an_earlier_program_counts_as_its_coordinate_says(tmp_path: Path) -> None:
    records = [runs.repetition(CUDA, energy=_energy(gpu_counts=True))]
    dataset = compile_dataset(runs.write_run(tmp_path / "run", records, STUDY))
    older = dataset.drop_vars("energy_counted")
    assert counted_domains(older).to_series().to_dict() == {
        "gpu-0": True,
        "gpu-1": False,
        "package-0": True,
    }
    kept = _at(counted_domains(dataset), backend=CUDA.backend)
    assert kept.to_series().to_dict() == counted_domains(older).to_series().to_dict()


def test_a_part_that_other_repetitions_of_the_backend_count_is_missing(tmp_path: Path) -> None:
    records = [
        runs.repetition(CUDA, energy=_energy(gpu_counts=True)),
        runs.repetition(CUDA, 1, energy=[runs.figure(60.0)]),
    ]
    dataset = compile_dataset(runs.write_run(tmp_path / "run", records, STUDY))
    energies_j = [
        _at(dataset["energy_per_image"], backend=CUDA.backend, repetition=block).item()
        for block in (0, 1)
    ]
    assert np.isfinite(energies_j).tolist() == [True, False]


@pytest.mark.parametrize(
    ("device", "used"), [("gpu-1", 2.0), ("gpu", 3.0), ("cpu", math.nan), ("cpu-0", math.nan)]
)
def test_memory_is_that_of_the_backends_own_device_where_it_is_known(
    tmp_path: Path, device: str, used: float
) -> None:
    conditions = Conditions(memory_device_bytes={"gpu-0": 1, "gpu-1": 2})
    one = replace(runs.repetition(CUDA, energy=_energy(gpu_counts=True)), conditions=conditions)
    facts = {CUDA.backend: {"runtime": "onnxruntime", "provider": "cuda", "device": device}}
    members = runs.study([CUDA.model], [CUDA.backend], [CUDA.batch_size], 1)
    run = runs.write_run(tmp_path, [one], members, runs.environment(backends=facts))
    (found,) = compile_dataset(run)["memory_peak"].sel(memory="device").values.flat
    assert found == pytest.approx(used, nan_ok=True)


def test_what_the_gpu_was_like_in_the_window_is_in_the_dataset(tmp_path: Path) -> None:
    conditions = Conditions(
        temperature_c={"gpu-0": 40.0},
        power_limit_w={"gpu-0": 200.0},
        power_capped={"gpu-0": 0.75},
        utilization={"gpu-0": 0.97},
        memory_utilization={"gpu-0": 0.5},
        temperature_mean_c={"gpu-0": 61.5},
        temperature_end_c={"gpu-0": 70.0},
        memory_device_bytes={"gpu-0": 1 << 30},
        clock_hz={"gpu-0": 1.41e9},
    )
    wanted = {
        "power_limit": 200.0,
        "power_of_limit": 150.0 / 200.0,
        "power_capped": 0.75,
        "utilization": 0.97,
        "memory_utilization": 0.5,
        "temperature_mean": 61.5,
        "temperature_end": 70.0,
        "memory_device": float(1 << 30),
        "clock": 1.41e9,
    }
    one = runs.repetition(CUDA, energy=_energy(gpu_counts=True), flags=("power_capped",))
    one = replace(one, conditions=conditions)
    dataset = compile_dataset(runs.write_run(tmp_path / "run", [one], STUDY))
    cell = replace(TRAINED, backend="torch-cuda")
    records = training_runs.trained(cell, conditions=conditions, flags=("power_capped",))
    last = records[-1]
    assert isinstance(last, Training)
    assert last.whole
    records[-1] = replace(last, whole=replace(last.whole, energy=_energy(gpu_counts=True)))
    trained = open_training(training_runs.write(tmp_path / "training", records, TRAINING))
    for found in (dataset, trained):
        for name, value in wanted.items():
            (dim,) = {"domain", "sensor", "clock_domain"} & set(found[name].dims)
            backend = CUDA.backend if found is dataset else "torch-cuda"
            one_value = _at(found[name], backend=backend).sel({dim: "gpu-0"})
            assert one_value.item() == pytest.approx(value), name
        assert _at(found["flags"], backend=backend).item() == 128
    (caveat,) = (c for c in caveats(dataset) if c.code == "flag-power-capped")
    assert caveat.severity is Severity.NOTE


def test_trainings_on_a_cpu_and_a_gpu_have_totals_of_their_own(tmp_path: Path) -> None:
    records = []
    for backend, gpu in (("torch-cpu", False), ("torch-cuda", True)):
        cell = replace(TRAINED, backend=backend)
        for record in training_runs.trained(cell):
            for name in ("whole", "train", "validation", "checkpoint"):
                if phase := getattr(record, name, None):
                    record = replace(record, **{name: replace(phase, energy=_energy(gpu))})
            records.append(record)
    dataset = open_training(training_runs.write(tmp_path / "run", records, TRAINING))
    totals_j = {
        row.cell.backend: row.series["energy"][0] for row in training_rows(dataset) if row.ok
    }
    assert totals_j == {"torch-cpu": pytest.approx(60.0), "torch-cuda": pytest.approx(360.0)}
    whole_j = _at(counted(dataset, "energy"))
    assert whole_j.sel(backend="torch-cuda").item() == pytest.approx(360.0)
    per_image_j = _at(dataset["energy_per_image_seen"])
    ratio = per_image_j.sel(backend="torch-cuda") / per_image_j.sel(backend="torch-cpu")
    assert ratio.item() == pytest.approx(6.0)


def test_what_is_left_out_of_the_total_and_idle_sockets_are_said(tmp_path: Path) -> None:
    domains = [
        {"name": "package-0", "counts": True},
        {"name": "dram-0", "counts": False, "note": "the counter stands still"},
        {"name": "core-0", "counts": False, "note": None},
    ]
    machine = {**runs.environment()["machine"], "sockets": 2, "sockets_used": [1]}
    members = runs.environment(meters=[{"name": "rapl", "domains": domains}], machine=machine)
    records = [runs.repetition(CPU, energy=[runs.figure(60.0)])]
    dataset = compile_dataset(runs.write_run(tmp_path / "run", records, STUDY, members))
    found = {caveat.code: caveat for caveat in caveats(dataset)}
    assert found["domain-not-added"].sentence == "dram-0 is not added: the counter stands still."
    assert "on socket 1 of 2" in found["sockets-unused"].sentence
    members["machine"]["sockets_used"] = [0, 1]
    dataset = compile_dataset(runs.write_run(tmp_path / "both", records, STUDY, members))
    assert "sockets-unused" not in {caveat.code for caveat in caveats(dataset)}


def test_a_domain_of_which_idle_power_alone_is_known_does_not_count(tmp_path: Path) -> None:
    cell = Cell("alexnet", "onnxruntime-cpu")
    records: list[Record] = [
        runs.repetition(cell, block, energy=[runs.figure(40.0)]) for block in range(3)
    ]
    records += [runs.idle("onnxruntime-cpu"), runs.idle("onnxruntime-cpu", domain="unheard-of")]
    dataset = open_run(runs.write_run(tmp_path / "run", records, runs.study(batch_sizes=(1,))))
    assert dataset["counts"].sel(domain="unheard-of").item() == 0
    assert dataset["counts"].sel(domain="package-0").item() == 1
    assert dataset["energy_per_image"].values.ravel().tolist() == [0.4] * 3


def test_repetitions_that_count_other_domains_are_not_averaged_into_a_ratio(tmp_path: Path) -> None:
    records: list[Record] = [
        runs.repetition(
            Cell("alexnet", backend),
            block,
            energy=[runs.figure(40.0), runs.figure(40.0, "psys", counts=block == 1)],
        )
        for backend in ("onnxruntime-cpu", "torch-cpu")
        for block in range(3)
    ]
    design = runs.study(backends=("onnxruntime-cpu", "torch-cpu"), batch_sizes=(1,))
    rows = cell_rows(open_run(runs.write_run(tmp_path / "run", records, design)))
    (row,) = comparison_rows(rows)
    assert row.energy.interval is None
    assert row.energy.reason == "repetitions of a cell differ: psys counts on one side only"
