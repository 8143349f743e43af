"""Losses, accuracy and F1 of a pass, and the batches that it is made of."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.utils.data import Dataset, TensorDataset

from greenbatch.runners.training.child.feeding import Feeder
from greenbatch.runners.training.child.scores import Scores

pytestmark = pytest.mark.numeric

CPU = torch.device("cpu")


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_accuracy_and_f1_are_those_of_scikit_learn(classes: int) -> None:
    draw = np.random.default_rng(classes)
    labels = draw.integers(0, classes - 1, 90)  # one class is never there
    answers = np.where(draw.random(90) < 0.6, labels, draw.integers(0, classes, 90))
    scores = Scores(classes, CPU)
    for part in np.array_split(np.arange(90), 7):
        logits = torch.nn.functional.one_hot(torch.from_numpy(answers[part]), classes).float()
        scores.add_answers(logits, torch.from_numpy(labels[part]))
    assert scores.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert scores.f1 == pytest.approx(f1_score(labels, answers, average="macro", zero_division=0.0))


def test_the_loss_is_the_mean_over_images_and_not_over_batches() -> None:
    scores = Scores(2, CPU)
    scores.add_loss(torch.tensor(1.0), 3)
    scores.add_loss(torch.tensor(5.0), 1)
    assert scores.loss == 2.0
    assert scores.images == 4


def numbered(count: int) -> "TensorDataset":
    return TensorDataset(torch.arange(float(count)).reshape(-1, 1, 1, 1), torch.arange(count))


def seen(batches: object) -> list[int]:
    return [int(label) for _, labels in batches for label in labels]  # type: ignore[attr-defined]


def test_an_epoch_has_every_image_once_in_an_order_of_its_seed() -> None:
    feeder = Feeder(numbered(100), 32, CPU)
    first, again = seen(feeder.shuffled(1, 0)), seen(feeder.shuffled(1, 0))
    assert sorted(first) == list(range(100))
    assert first == again != seen(feeder.shuffled(1, 1))
    assert first != seen(feeder.shuffled(2, 0))
    assert seen(feeder.in_order()) == list(range(100))
    assert seen(feeder.first().in_order()) == list(range(32))


def test_a_single_image_that_is_left_goes_with_the_batch_before() -> None:
    def sizes(count: int, size: int) -> list[int]:
        return [len(labels) for _, labels in Feeder(numbered(count), size, CPU).in_order()]

    assert sizes(65, 32) == [32, 33]
    assert sizes(66, 32) == [32, 32, 2]
    assert sizes(3, 1) == [1, 1, 1]
    assert sizes(1, 32) == [1]


class Lazy(Dataset[tuple[torch.Tensor, int]]):
    """Images that are not in memory."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 2, 2), float(place)), place


def test_images_that_are_not_in_memory_are_fed_alike() -> None:
    lazy, held = Feeder(Lazy(), 4, CPU), Feeder(numbered(10), 4, CPU)
    assert seen(lazy.shuffled(5, 2)) == seen(held.shuffled(5, 2))
    images, labels = next(lazy.in_order())
    assert images.shape == (4, 1, 2, 2)
    assert labels.dtype == torch.int64
