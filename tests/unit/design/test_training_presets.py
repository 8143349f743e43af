"""The presets of trainings: they hold together, and are what the studies did."""

import math

import pytest

from greenbatch.design.presets import resolve
from greenbatch.design.training_study import TrainingStudy
from greenbatch.runners.known import ThisMachine

NAMES = ("yarally-training-search", "yarally-training-layers", "delrey")


def read(name: str, scale: float | None = None) -> TrainingStudy:
    study = resolve(name, ThisMachine(), scale=scale)
    assert isinstance(study, TrainingStudy)
    return study


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_its_source_and_holds_together(name: str) -> None:
    study = read(name)
    assert study.name == name
    for word in ("arXiv", "Kept:", "Corrected:"):
        assert word in study.about
    assert study.data == ("digits",)  # runs without a network and without a GPU
    assert study.backends == ("torch-cpu",)


def test_the_layer_study_is_two_by_two_by_two_of_eight_repetitions() -> None:
    study = read("yarally-training-layers")
    variants = {
        tuple(dict(cell.settings)[name] for name in ("linear_layers", "conv_layers", "relu"))
        for cell in study.cells()
    }
    assert variants == {(a, b, c) for a in "37" for b in "14" for c in "01"}
    assert (len(study.cells()), study.repetitions, study.epochs) == (8, 8, 25)


def test_the_grid_of_the_search_fills_its_budget_exactly() -> None:
    study = read("yarally-training-search")
    assert study.search is not None
    assert (study.search.trials, study.repetitions) == (64, 8)
    assert study.search.strategies == ("grid", "random", "gp")
    points = [len(dimension.grid()) for dimension in study.search.dimensions]
    assert points == [4, 4, 4]
    assert math.prod(points) == study.search.trials


@pytest.mark.parametrize(("name", "points"), [("", 5**3), ("-5", 5**5)])
def test_the_published_search_is_that_of_its_code(name: str, points: int) -> None:
    study = read(f"yarally-search-published{name}")
    assert study.models == ("dense", "dense-linear", "simple-cnn")
    assert (study.data, study.batch_sizes) == (("cifar10", "fashion-mnist"), (512,))
    assert (study.epochs, study.repetitions, study.normalised) == (25, 8, False)
    assert study.search is not None
    assert (study.search.strategies, study.search.trials) == (("grid", "random", "gp-pi"), 64)
    assert math.prod(len(dimension.grid()) for dimension in study.search.dimensions) == points
    rate = study.search.dimensions[0]
    assert (rate.low, rate.high, rate.log) == (1e-5, 0.1, False)


def test_the_architectures_of_del_rey_are_all_there_and_what_stands_in_is_recorded() -> None:
    study = read("delrey")
    assert (study.image_size, study.batch_sizes, study.epochs) == (128, (32,), 150)
    assert (study.repetitions, study.rules.rest_min_s) == (30, 300)
    assert len(study.models) == 5
    assert (study.transfer.frozen_epochs, study.patience, study.monitor) == (10, 20, "accuracy")
    assert study.plateau is not None
    assert (study.plateau.factor, study.plateau.patience) == (0.1, 10)
    assert len(study.augmentation) == 5
    assert set(study.substitutions.values()) <= set(study.models)


def test_a_part_of_the_transfer_the_plateau_and_the_pipeline_can_be_changed() -> None:
    changes = ["transfer.weights={}", "plateau.patience=3", "pipeline.cache_gib=0.5"]
    study = resolve("delrey", ThisMachine(), changes=changes)
    assert isinstance(study, TrainingStudy)
    assert (study.transfer.weights, study.transfer.frozen_epochs) == ({}, 10)
    assert study.plateau is not None
    assert (study.plateau.patience, study.plateau.factor) == (3, 0.1)
    assert study.pipeline.cache_gib == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_can_be_shortened_to_a_hundredth(name: str) -> None:
    study = read(name, scale=0.01)
    assert study.scale == 0.01
    assert study.epochs <= 2
    assert study.train_images == (64 if study.image_size else 1437)  # of 8x8, all are few enough
