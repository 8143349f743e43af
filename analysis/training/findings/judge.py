"""By what trainings are judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from greenbatch.errors import UnknownNameError, UsageError

Metric = Literal["accuracy", "f1", "precision", "recall", "auc"]
WORDS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "f1": "F1 score",
    "precision": "precision",
    "recall": "recall",
    "auc": "area under the ROC curve",
}


@dataclass(frozen=True, slots=True)
class Judge:
    """By what trainings are judged.

    Attributes:
        metric: By which correctness is: the best of any epoch of this.
        within: How much less correct the greenest choice may be, as a share of the best.
        welch: Whether means are tested beside ranks: Welch's analysis of variance and Games and
            Howell's pairs.

    Raises:
        UnknownNameError: There is no such metric.
        UsageError: ``within`` is not between 0 and 1.
    """

    metric: Metric = "accuracy"
    within: float = 0.01
    welch: bool = False

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise UnknownNameError("measure of correctness", self.metric, get_args(Metric))
        if not 0 <= self.within < 1:
            raise UsageError(
                f"within is {self.within:g}; give a share from 0 to below 1, e.g. 0.01"
            )


BY_ACCURACY = Judge()


def judge_of(metric: str | None, within: float | None, *, welch: bool = False) -> Judge:
    """Return how trainings are judged, by accuracy and within 1 % where nothing is given."""
    return Judge(
        cast("Metric", metric or BY_ACCURACY.metric),
        BY_ACCURACY.within if within is None else within,
        welch,
    )


def word_of(metric: Metric) -> str:
    """Name a measure of correctness in a sentence."""
    return WORDS[metric]
