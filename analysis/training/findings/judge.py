"""By what the correctness of trainings is judged."""

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
    """By what correctness is judged.

    Attributes:
        metric: The best of any epoch of this.
        within: How much less correct the greenest choice may be, as a share of the best.

    Raises:
        UnknownNameError: There is no such metric.
        UsageError: ``within`` is not between 0 and 1.
    """

    metric: Metric = "accuracy"
    within: float = 0.01

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise UnknownNameError("measure of correctness", self.metric, get_args(Metric))
        if not 0 <= self.within < 1:
            raise UsageError(
                f"within is {self.within:g}; give a share from 0 to below 1, e.g. 0.01"
            )


BY_ACCURACY = Judge()


def judge_of(metric: str | None, within: float | None) -> Judge:
    """Return how correctness is judged, by accuracy and within 1 % where nothing is given."""
    return Judge(
        cast("Metric", metric or BY_ACCURACY.metric),
        BY_ACCURACY.within if within is None else within,
    )


def word_of(metric: Metric) -> str:
    """Name a measure of correctness in a sentence."""
    return WORDS[metric]
