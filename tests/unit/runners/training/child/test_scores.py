"""Losses, accuracy and F1 of a pass."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

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
