"""A shortened study of trainings: what shrinks, how far, and what stays."""

from typing import Any

import pytest

from greenbatch.design.training_scaling import scaled_training
from greenbatch.design.training_study import TrainingStudy, make_training_study
from greenbatch.errors import StudyError

pytestmark = pytest.mark.numeric

SEARCH = {"space": {"relu": [0, 1], "learning_rate": {"low": 0.001, "high": 0.1}}, "trials": 64}


def study(**members: Any) -> TrainingStudy:
    """A study of trainings as published work has them: long."""
    return make_training_study(
        {
            "name": "long",
            "models": ["simple-cnn"],
            "epochs": 150,
            "repetitions": 30,
            "data": ["cifar10"],
            "train_images": 20_000,
            "validation_images": 10_000,
            "profile": "rigorous",
            "protocol": {"rest_min_s": 300, "warm_up_min_s": 600, "warm_up_max_s": 600},
            **members,
        }
    )


def test_everything_that_takes_time_is_shortened_and_the_scale_is_kept() -> None:
    short = scaled_training(study(search=SEARCH), 0.1)
    assert short.scale == 0.1
    assert (short.epochs, short.repetitions) == (15, 3)
    assert (short.train_images, short.validation_images) == (2000, 1000)
    assert (short.rules.rest_min_s, short.rules.warm_up_min_s) == (30, 60)
    assert short.rules.idle_s == 1
    assert short.search is not None
    assert short.search.trials == 6


def test_nothing_is_shortened_beyond_what_makes_sense() -> None:
    short = scaled_training(study(search=SEARCH), 0.0001)
    assert (short.epochs, short.repetitions) == (1, 2)
    assert (short.train_images, short.validation_images) == (1024, 512)
    assert (short.rules.rest_min_s, short.rules.warm_up_min_s, short.rules.idle_s) == (
        0.1,
        0.2,
        0.5,
    )
    assert short.search is not None
    assert short.search.trials == 4


def test_the_larger_an_image_the_fewer_are_enough() -> None:
    for size, images in ((32, (1024, 512)), (64, (256, 128)), (128, (64, 32)), (224, (64, 32))):
        short = scaled_training(study(image_size=size), 0.0001)
        assert (short.train_images, short.validation_images) == images, size


def test_what_is_shorter_already_is_not_made_longer() -> None:
    small = study(
        search={**SEARCH, "trials": 2},
        repetitions=1,
        epochs=1,
        train_images=40,
        validation_images=20,
        protocol={"rest_min_s": 0, "idle_s": 0.25},
    )
    short = scaled_training(small, 0.01)
    assert (short.epochs, short.repetitions) == (1, 1)
    assert (short.train_images, short.validation_images) == (40, 20)
    assert (short.rules.rest_min_s, short.rules.idle_s) == (0, 0.25)
    assert short.search is not None
    assert short.search.trials == 2


def test_a_share_of_all_images_is_a_share_of_the_largest_data_set() -> None:
    every: dict[str, Any] = {"train_images": None, "validation_images": None}
    for data, images in (
        (["digits"], (1437, 360)),
        (["digits", "cifar10"], (25_000, 5000)),
        (["folder:own"], (None, None)),
    ):
        short = scaled_training(study(data=data, **every), 0.5)
        assert (short.train_images, short.validation_images) == images, data
    more_than_there_are = study(data=["digits"], train_images=60_000, validation_images=200)
    short = scaled_training(more_than_there_are, 0.5)
    assert (short.train_images, short.validation_images) == (1437, 200)


def test_factors_space_and_seed_stay() -> None:
    whole = study(search=SEARCH, settings={"dropout": [0, 0.5]}, seed=7, batch_sizes=[8, 16])
    short = scaled_training(whole, 0.01)
    assert short.cells() == whole.cells()
    assert short.seed == 7
    assert whole.search is not None
    assert short.search == whole.search.model_copy(update={"trials": 4})


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_a_scale_shortens_and_nothing_else(scale: float) -> None:
    with pytest.raises(StudyError, match="above 0 and at most 1"):
        scaled_training(study(), scale)
