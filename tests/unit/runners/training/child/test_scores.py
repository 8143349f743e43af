"""Losses, accuracy and F1 of a pass."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

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


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_precision_and_recall_are_those_of_scikit_learn(classes: int) -> None:
    draw = np.random.default_rng(classes)
    labels = draw.integers(0, classes - 1, 90)  # one class is never there
    answers = np.where(draw.random(90) < 0.6, labels, draw.integers(0, classes, 90))
    scores = Scores(classes, CPU)
    logits = torch.nn.functional.one_hot(torch.from_numpy(answers), classes).float()
    scores.add_answers(logits, torch.from_numpy(labels))
    for own, published in ((scores.precision, precision_score), (scores.recall, recall_score)):
        expected = published(labels, answers, average="macro", zero_division=0.0)
        assert own == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_area_under_the_curve_is_that_of_scikit_learn(classes: int) -> None:
    draw = np.random.default_rng(classes)
    labels = draw.integers(0, classes, 120)
    logits = torch.from_numpy(np.round(draw.normal(size=(120, classes)), 1)).float()  # some even
    logits[torch.arange(120), torch.from_numpy(labels)] += 0.5
    scores = Scores(classes, CPU)
    for part in np.array_split(np.arange(120), 7):
        scores.add_answers(logits[part], torch.from_numpy(labels[part]))
    shares = torch.softmax(logits, 1).numpy()
    expected = (
        roc_auc_score(labels, shares[:, 1])
        if classes == 2
        else roc_auc_score(labels, shares.astype(float), multi_class="ovr", average="macro")
    )
    assert scores.auc == pytest.approx(expected, abs=1e-9)
    assert 0.55 < expected < 0.95


def test_a_class_without_images_has_no_area_and_one_class_alone_neither() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 0.0], [2.0, 2.5, 9.0]])
    scores = Scores(3, CPU)
    scores.add_answers(logits, torch.tensor([0, 1, 1]))
    # 1 of the first class, 1 of 2 pairs of the second, nothing of the third, which has no image
    assert scores.auc == pytest.approx((1 + 0.5) / 2)
    alone = Scores(3, CPU)
    alone.add_answers(logits, torch.tensor([1, 1, 1]))
    assert alone.auc is None
    assert alone.recall == pytest.approx((0 + 1 / 3 + 0) / 3)


def test_the_loss_is_the_mean_over_images_and_not_over_batches() -> None:
    scores = Scores(2, CPU)
    scores.add_loss(torch.tensor(1.0), 3)
    scores.add_loss(torch.tensor(5.0), 1)
    assert scores.loss == 2.0
    assert scores.images == 4
