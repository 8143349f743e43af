"""The dataset of a training run holds what its journal says, and a hole where it is silent."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import greenbatch
from greenbatch.analysis.dataset.merging import separate
from greenbatch.analysis.dataset.store import open_run
from greenbatch.analysis.dataset.training_variables import COORDINATES, VARIABLES, cell_dims
from greenbatch.analysis.dataset.variables import PROVENANCES, STATUSES
from greenbatch.analysis.training import (
    compile_training,
    merge_training,
    open_training,
    write_training_dataset,
)
from greenbatch.analysis.training.dataset.compilation import hyperparameters_of
from greenbatch.analysis.training.dataset.merging import merge_training_datasets
from greenbatch.errors import RunError, UsageError
from greenbatch.records import Beat, EnergyFigure, EnergySource, Phase, Record, TrainingCell
from tests.fakes import runs, training_runs

CELL = TrainingCell("simple-cnn", "digits")
AT = {
    "model": "simple-cnn",
    "data": "digits",
    "backend": "torch-cpu",
    "precision": "fp32",
    "batch_size": 32,
    "repetition": 0,
}


def one(dataset: xr.Dataset, name: str, **more: object) -> float:
    return float(dataset[name].sel(AT | more).item())


def text_at(dataset: xr.Dataset, name: str, **more: object) -> str:
    return str(dataset[name].sel(AT | more).item())


def compiled(path: Path, *records: Record, **members: object) -> xr.Dataset:
    study = training_runs.study() | members
    return compile_training(training_runs.write(path, records, study))


def test_figures_of_a_training_arrive_in_si(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, *training_runs.trained(CELL, image_j=0.05, epochs=4))
    assert one(dataset, "images_seen") == 4000
    assert one(dataset, "energy", domain="package-0") == pytest.approx(200.0)
    assert one(dataset, "energy_uncertainty", domain="package-0") == pytest.approx(2.0)
    assert one(dataset, "duration") == pytest.approx(200.0 / 30)
    assert one(dataset, "energy_per_image_seen") == pytest.approx(0.05)
    assert one(dataset, "energy_per_image_seen_uncertainty") == pytest.approx(0.0005)
    assert one(dataset, "energy_per_image_seen_source") == PROVENANCES.index("measured")
    assert one(dataset, "energy_per_image_seen_net") == pytest.approx(0.05 * (30 - 10) / 30)
    assert one(dataset, "idle_power", domain="package-0") == 10.0
    # Training and validation apart: 90 % of the energy for 800, 9 % for 200 of 1000 images.
    assert one(dataset, "phase_energy_per_image", phase="train") == pytest.approx(0.05 * 0.9 / 0.8)
    assert one(dataset, "phase_energy_per_image", phase="validation") == pytest.approx(0.0225)
    assert math.isnan(one(dataset, "phase_energy_per_image", phase="checkpoint"))
    assert one(dataset, "lost_energy") == 0.0
    assert one(dataset, "spent_energy") == pytest.approx(200.0)
    assert one(dataset, "spent_duration") == pytest.approx(200.0 / 30)
    assert one(dataset, "temperature", sensor="package") == 51.0
    assert one(dataset, "stage_duration", stage="load") == 0.3
    assert one(dataset, "parameters") == 12_345
    assert one(dataset, "memory_peak") == 5e8


def test_epochs_arrive_with_their_phases(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, *training_runs.trained(CELL, accuracy=0.9, epochs=3))
    assert dataset["epoch"].values.tolist() == [0, 1, 2]
    assert one(dataset, "accuracy", epoch=2) == pytest.approx(0.9)
    assert one(dataset, "accuracy", epoch=0) == pytest.approx(0.9 * 0.8)
    assert one(dataset, "epoch_images", epoch=1, phase="train") == 800
    energy_j = one(dataset, "epoch_energy", epoch=1, phase="validation", domain="package-0")
    assert energy_j == pytest.approx(50 * 0.09)
    assert one(dataset, "epoch_duration", epoch=1, phase="checkpoint") == pytest.approx(0.5 / 30)
    assert one(dataset, "final_accuracy") == one(dataset, "best_accuracy") == pytest.approx(0.9)
    assert one(dataset, "best_f1") == pytest.approx(0.89)
    assert one(dataset, "best_loss") == pytest.approx(0.4)
    # The epochs add up to the whole.
    parts = dataset["epoch_energy"].sel(AT).sum()
    assert float(parts) == pytest.approx(one(dataset, "energy", domain="package-0"))


def test_the_best_epoch_need_not_be_the_last(tmp_path: Path) -> None:
    *_, record = training_runs.trained(CELL, epochs=3)
    rising = training_runs.epochs_of(CELL, accuracy=0.8, epochs=2)
    worse = [training_runs.epochs_of(CELL, accuracy=0.5, epochs=3)[2]]
    dataset = compiled(tmp_path, *rising, *worse, record)
    assert one(dataset, "best_accuracy") == pytest.approx(0.8)
    assert one(dataset, "final_accuracy") == pytest.approx(0.5)


def test_a_search_has_trials_and_the_texts_of_its_hyperparameters(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.search_run(tmp_path, blocks=2))
    fixed = ("model", "data", "backend", "precision", "optimizer")
    assert cell_dims(dataset) == (*fixed, "strategy", "trial")
    assert dataset["strategy"].values.tolist() == ["grid", "random", "gp"]
    assert dataset.sizes["trial"] == 8
    assert hyperparameters_of(dataset) == {
        "hyperparameter_learning_rate": "learning_rate",
        "hyperparameter_batch_size": "batch_size",
    }
    at = {"strategy": "gp", "trial": 3, "repetition": 1}
    assert dataset["hyperparameter_batch_size"].sel(at).values.item() == "128"
    assert dataset["hyperparameter_learning_rate"].sel(at).values.item() == "0.00225"
    assert dataset["best_accuracy"].sel(at).values.item() == pytest.approx(0.902)
    assert dataset["best_accuracy"].dims[-1] == "repetition"
    assert json.loads(dataset.attrs["settings"]) == {"optimizer": "optimizer"}


def test_settings_are_dimensions(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.factorial_run(tmp_path, blocks=2))
    assert dataset["conv_layers"].values.tolist() == ["1", "4"]
    assert dataset["conv_layers"].attrs["setting"] == "conv_layers"
    assert dataset["status"].dims == (
        *("model", "data", "backend", "precision", "batch_size"),
        *("conv_layers", "linear_layers", "relu", "repetition"),
    )
    assert int((dataset["status"] == 0).sum()) == 16


def test_a_cell_without_a_setting_has_a_label_of_its_own(tmp_path: Path) -> None:
    other = TrainingCell("simple-cnn", "digits", settings=(("dropout", "default"),))
    dataset = compiled(
        tmp_path, *training_runs.trained(CELL, accuracy=0.5), *training_runs.trained(other)
    )
    assert dataset["dropout"].values.tolist() == ["default", "not default"]
    assert dataset["dropout"].attrs["not_set"] == "not default"
    assert one(dataset, "best_accuracy", dropout="not default") == pytest.approx(0.5)
    assert one(dataset, "best_accuracy", dropout="default") == pytest.approx(0.9)
    # In the design is what it says, and what was trained besides.
    assert dataset["in_design"].values.reshape(-1).tolist() == [1, 1]


def test_every_variable_has_units_and_a_name_and_every_flag_its_meanings(tmp_path: Path) -> None:
    write_training_dataset(training_runs.plain_run(tmp_path, blocks=2))
    with xr.open_dataset(tmp_path / "dataset.nc", engine="netcdf4") as dataset:
        assert set(dataset.data_vars) == set(VARIABLES)
        assert set(dataset.coords) <= set(COORDINATES)
        assert dataset.attrs["kind"] == "training"
        assert dataset.attrs["title"] == "fake-training"
        for name, variable in dataset.variables.items():
            assert variable.attrs["units"], name
            assert variable.attrs["long_name"], name
            if "flag_meanings" in variable.attrs:
                key = "flag_values" if "flag_values" in variable.attrs else "flag_masks"
                values = np.asarray(variable.attrs[key])
                assert values.size == len(variable.attrs["flag_meanings"].split()), name
                assert values.dtype == variable.dtype, name


def test_failures_and_what_is_not_finished_keep_their_epochs_and_their_cost(
    tmp_path: Path,
) -> None:
    dataset = compile_training(training_runs.troubled_run(tmp_path))
    status = [STATUSES[code] for code in dataset["status"].sel(model="simple-cnn").values.flat]
    assert status == ["error", "ok", "not_run"]
    assert text_at(dataset, "reason").startswith("the loss is nan")
    assert one(dataset, "sessions", repetition=1) == 2
    # Failed: two epochs of 50 J, and 5 J behind the checkpoint.
    assert one(dataset, "lost_energy") == 5.0
    assert one(dataset, "spent_energy") == pytest.approx(105.0)
    assert math.isnan(one(dataset, "energy_per_image_seen"))
    assert math.isnan(one(dataset, "best_accuracy"))
    assert not math.isnan(one(dataset, "accuracy", epoch=1))
    # Went on: what was lost is counted once, apart.
    assert one(dataset, "lost_energy", repetition=1) == 6.0
    assert one(dataset, "energy_per_image_seen", repetition=1) == pytest.approx(0.05)
    assert one(dataset, "spent_energy", repetition=1) == pytest.approx(206.0)
    sessions = dataset["epoch_session"].sel(AT | {"repetition": 1}).values.tolist()
    assert sessions == [0, 0, 1, 1]
    # Not finished: the last beat that no checkpoint followed is what is lost.
    assert one(dataset, "lost_energy", repetition=2) == 7.0
    assert one(dataset, "spent_energy", repetition=2) == pytest.approx(107.0)
    assert "has not ended: 2 epochs of it are on record" in text_at(dataset, "reason", repetition=2)
    # No energy is no zero.
    missing = dataset["energy_per_image_seen"].sel(model="dense-linear", repetition=1)
    assert math.isnan(missing.item())
    spent = dataset["spent_energy"].sel(model="dense-linear", repetition=1)
    assert math.isnan(spent.item())


def test_a_failure_that_was_trained_again_gives_way_and_its_cost_stays(tmp_path: Path) -> None:
    dataset = compiled(
        tmp_path,
        *training_runs.failed(CELL, epochs=3, image_j=0.05),
        *training_runs.trained(CELL, epochs=2, image_j=0.05, accuracy=0.7),
    )
    assert one(dataset, "status") == STATUSES.index("ok")
    assert one(dataset, "best_accuracy") == pytest.approx(0.7)
    assert math.isnan(one(dataset, "accuracy", epoch=2))  # of the attempt that failed
    assert one(dataset, "lost_energy") == pytest.approx(150)
    assert one(dataset, "spent_energy") == pytest.approx(100 + 150)


def test_what_nobody_knows_to_be_lost_is_no_zero(tmp_path: Path) -> None:
    other = TrainingCell("dense-linear", "digits")
    epochs = training_runs.epochs_of(other, epochs=2)
    beat = Beat(cell=other, block=0, session=0, epoch=1, lost=training_runs.phase(9.0))
    dataset = compiled(tmp_path, *training_runs.failed(CELL), *epochs, beat)
    assert math.isnan(one(dataset, "lost_energy"))
    assert math.isnan(one(dataset, "spent_energy"))
    # A checkpoint followed on that beat: it is in the epochs.
    assert math.isnan(one(dataset, "lost_energy", model="dense-linear"))
    assert one(dataset, "spent_energy", model="dense-linear") == pytest.approx(100.0)


def test_a_training_on_record_twice_is_refused(tmp_path: Path) -> None:
    twice = [*training_runs.trained(CELL), *training_runs.trained(CELL)]
    with pytest.raises(RunError, match=r"simple-cnn on digits .*block 0, twice; delete one"):
        compiled(tmp_path, *twice)


def test_a_domain_that_one_training_lacks_makes_its_sum_missing(tmp_path: Path) -> None:
    *epochs, record = training_runs.trained(CELL, 1)
    both = (runs.figure(100.0), runs.figure(20.0, "dram-0"), runs.figure(9, "psys", counts=False))
    whole = Phase(duration_s=5.0, images=1000, energy=both)
    full = training_runs.trained(CELL, 0, whole=whole, idle_w={"package-0": 4.0, "dram-0": None})
    dataset = compiled(tmp_path, *full, *epochs, record)
    assert dict(zip(dataset["domain"].values, dataset["counts"].values, strict=True)) == {
        "package-0": 1,
        "dram-0": 1,
        "psys": 0,
    }
    assert one(dataset, "energy_per_image_seen") == pytest.approx(0.12)
    assert math.isnan(one(dataset, "energy_per_image_seen_net"))  # idle power of a part
    assert math.isnan(one(dataset, "energy_per_image_seen", repetition=1))


def test_energies_say_what_they_rest_on(tmp_path: Path) -> None:
    mixed = (runs.figure(10.0), runs.figure(5.0, "gpu-0", EnergySource.ESTIMATED))
    records = [
        *training_runs.trained(CELL, 0, whole=Phase(duration_s=1.0, images=10, energy=mixed)),
        *training_runs.trained(CELL, 1, source=EnergySource.ESTIMATED),
    ]
    dataset = compiled(tmp_path, *records)
    assert PROVENANCES[int(one(dataset, "energy_per_image_seen_source"))] == "mixed"
    assert dataset.attrs["energy_provenance"] == "mixed"
    only = compile_training(
        training_runs.plain_run(tmp_path / "b", source=EnergySource.ESTIMATED, blocks=1)
    )
    assert only.attrs["energy_provenance"] == "estimated"


def test_a_run_without_domains_has_no_zero(tmp_path: Path) -> None:
    nothing = Phase(duration_s=1.0, images=10)
    record = training_runs.trained(CELL, whole=nothing, idle_w={})[-1]
    dataset = compiled(tmp_path, record)
    assert dataset.sizes["domain"] == 0
    assert math.isnan(one(dataset, "energy_per_image_seen"))
    write_training_dataset(tmp_path)
    assert math.isnan(one(open_training(tmp_path), "spent_energy"))


@pytest.mark.slow
def test_an_empty_run_is_a_grid_of_holes(tmp_path: Path) -> None:
    dataset = compiled(tmp_path, batch_sizes=[16, 32])
    assert dataset["status"].shape == (1, 1, 1, 1, 2, 3)
    assert set(dataset["status"].values.flat) == {STATUSES.index("not_run")}
    assert dataset.sizes["epoch"] == 0
    assert open_training(write_training_dataset(tmp_path)).sizes["batch_size"] == 2


@pytest.mark.slow
def test_the_dataset_is_made_again_when_the_journal_has_grown(tmp_path: Path) -> None:
    training_runs.write(tmp_path, training_runs.trained(CELL, 0))
    first = open_training(tmp_path)
    assert (tmp_path / "dataset.nc").is_file()
    assert open_training(tmp_path).identical(first)
    training_runs.write(
        tmp_path, [*training_runs.trained(CELL, 0), *training_runs.trained(CELL, 1)]
    )
    grown = open_training(tmp_path)
    assert int((grown["status"] == 0).sum()) == 2
    assert open_training(tmp_path / "dataset.nc").identical(grown)


@pytest.mark.slow
def test_greenbatch_open_takes_both_kinds_and_what_needs_inference_says_so(tmp_path: Path) -> None:
    training = training_runs.write(tmp_path / "t", training_runs.trained(CELL))
    inference = runs.realistic_run(tmp_path / "i", models=("alexnet",), blocks=1)
    assert greenbatch.open(training).attrs["kind"] == "training"
    assert greenbatch.open(training / "dataset.nc").attrs["kind"] == "training"
    assert "kind" not in greenbatch.open(inference).attrs
    for path in (training, training / "dataset.nc"):
        with pytest.raises(RunError, match="is a run of trainings, and this needs one of infer"):
            open_run(path)
    with pytest.raises(RunError, match="is no run of trainings; give one that 'gb train'"):
        open_training(inference)
    with pytest.raises(RunError, match="t of training, i of inference; merge runs of one kind"):
        greenbatch.open(training, inference)


@pytest.mark.slow
def test_machines_stand_side_by_side(tmp_path: Path) -> None:
    a = training_runs.delrey_run(tmp_path / "a", blocks=2)
    fewer = {name: training_runs.DELREY[name] for name in ("vgg16", "resnet50")}
    b = training_runs.delrey_run(tmp_path / "b", blocks=3, host="cloud", power=2, truths=fewer)
    merged = greenbatch.open(a, b)
    assert merged["machine"].values.tolist() == ["bench", "cloud"]
    assert merged["energy_per_image_seen"].dims[0] == "machine"
    assert merged.attrs["kind"] == "training"
    at = {"machine": "cloud", "model": "vgg16", "repetition": 2}
    assert merged["energy_per_image_seen"].sel(at).item() == pytest.approx(0.69, rel=0.05)
    assert int(merged["in_design"].sel(machine="cloud", model="xception").item()) == 0
    lacking = merged["status"].sel(machine="bench", repetition=2)
    assert set(lacking.values.flat) == {STATUSES.index("not_run")}
    assert set(merged["reason"].sel(machine="bench", repetition=2).values.flat) == {""}
    parts = separate(merged)
    assert [*parts] == ["bench", "cloud"]
    assert parts["cloud"].equals(open_training(b))


@pytest.mark.slow
def test_a_merged_dataset_survives_its_file(tmp_path: Path) -> None:
    from greenbatch.analysis.dataset.store import store

    a = training_runs.delrey_run(tmp_path / "a", blocks=2)
    b = training_runs.delrey_run(tmp_path / "b", blocks=2, host="cloud")
    merged = merge_training([a, b])
    assert open_training(store(merged, tmp_path / "both.nc")).equals(merged)


def test_unlike_trainings_are_not_merged(tmp_path: Path) -> None:
    def run(name: str, host: str, **members: object) -> xr.Dataset:
        path = training_runs.delrey_run(tmp_path / name, blocks=1, host=host, study_members=members)
        return compile_training(path)

    a, b, same = run("a", "bench"), run("b", "cloud", epochs=50), run("c", "bench", seed=1)
    with pytest.raises(RunError, match=r"design\.epochs is '3' in a and '50' in b"):
        merge_training_datasets({"a": a, "b": b})
    merged = merge_training_datasets({"a": a, "b": b}, allow=["design.epochs"])
    assert merged.attrs["allowed_differences"] == "design.epochs is '3' in a and '50' in b"
    smaller = run("d", "cloud", image_size=None)
    with pytest.raises(RunError, match=r"design\.image_size is '128' in a and 'None' in d"):
        merge_training_datasets({"a": a, "d": smaller})
    with pytest.raises(RunError, match="a and c were both trained on bench"):
        merge_training_datasets({"a": a, "c": same})
    apart = merge_training_datasets({"a": a, "c": same}, "machine")["machine"].values.tolist()
    assert apart == ["bench, Example CPU 9000", "bench, Example CPU 9000 (2)"]
    with pytest.raises(UsageError, match="merged along machine, not along repetition"):
        merge_training_datasets({"a": a, "b": b}, "repetition")
    with pytest.raises(RunError, match="a and a2 are the same run; give each run once"):
        merge_training_datasets({"a": a, "a2": a})
    factorial = compile_training(training_runs.factorial_run(tmp_path / "f", blocks=1))
    with pytest.raises(RunError, match=r"design\.settings is 'none' in a and 'conv_layers, lin"):
        merge_training_datasets({"a": a, "f": factorial}, "machine", ["design.image_size"])
    with pytest.raises(RunError, match="merge runs of one design"):
        merge_training_datasets({"a": a, "f": factorial}, "machine", ["design"])


def test_an_estimate_says_what_it_assumes_and_a_hole_why(tmp_path: Path) -> None:
    why = EnergyFigure(
        domain="package-0", source=EnergySource.MISSING, reason="the counter stood still"
    )
    whole = Phase(duration_s=1.0, images=10, energy=(why,))
    dataset = compiled(tmp_path, *training_runs.trained(CELL, whole=whole))
    assert text_at(dataset, "energy_reason", domain="package-0") == "the counter stood still"
