"""Shortening a study of trainings by a factor, as far as it makes sense."""

import math
from collections.abc import Mapping

from greenbatch.design.scaling import shortened
from greenbatch.design.training_study import TrainingStudy, make_training_study

FEWEST_TRAIN_IMAGES, FEWEST_VALIDATION_IMAGES = 64, 32
FEWEST_PIXELS = FEWEST_TRAIN_IMAGES * 128**2
"""In all training images of a channel, half as many in those of validation: an epoch over fewer
is done before a meter has ticked."""
FEWEST_TRIALS = 4
"""A strategy with fewer has nothing to learn from."""
_IMAGES: Mapping[str, tuple[float, float, int]] = {
    "digits": (1437, 360, 8),
    "cifar10": (50_000, 10_000, 32),
    "fashion-mnist": (60_000, 10_000, 28),
}
"""Images to train and to validate on, and their height and width, of the data sets of which that
is known without a look."""
_NOT_COUNTED = (math.inf, math.inf, 128)


def scaled_training(study: TrainingStudy, scale: float) -> TrainingStudy:
    """Shorten a study of trainings: times, epochs, trials, images and repetitions.

    Where there were several repetitions, two stay, so that there is a spread. Of
    images, a share of as many as are taken of the largest data set; where all of a folder are
    taken, which are not counted yet, all still are.

    Raises:
        StudyError: The scale is not above 0 and at most 1.
    """
    members = study.model_dump(mode="json", by_alias=True) | {
        "protocol": shortened(study.protocol, scale),
        "scale": scale,
        "repetitions": _share(study.repetitions, scale, fewest=2),
        "epochs": _share(study.epochs, scale, fewest=1),
    }
    sizes = [_IMAGES.get(name, _NOT_COUNTED) for name in study.data]
    trained, validated, side = map(max, zip(*sizes, strict=True))
    pixels = (study.image_size or side) ** 2
    for name, there, fewest in (
        ("train_images", trained, max(FEWEST_TRAIN_IMAGES, FEWEST_PIXELS // pixels)),
        (
            "validation_images",
            validated,
            max(FEWEST_VALIDATION_IMAGES, FEWEST_PIXELS // 2 // pixels),
        ),
    ):
        taken = min(there, math.inf if members[name] is None else members[name])
        members[name] = _share(int(taken), scale, fewest) if taken < math.inf else None
    if frozen := study.transfer.frozen_epochs:
        epochs = _share(frozen, scale, fewest=1)
        members["transfer"] = {**members["transfer"], "frozen_epochs": epochs}
    if study.search:
        trials = _share(study.search.trials, scale, FEWEST_TRIALS)
        members["search"] = {**members["search"], "trials": trials}
    return make_training_study(members, f"{study.name} at scale {scale:g}")


def _share(count: int, scale: float, fewest: int) -> int:
    """Return a share of a count, rounded; no fewer than ``fewest``, and no more than there were."""
    return min(count, max(fewest, round(count * scale)))
