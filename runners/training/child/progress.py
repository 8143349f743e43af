"""Where a training stands between two epochs, and what follows from how the last one went."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenbatch.runners.training.messages import Course

if TYPE_CHECKING:
    from greenbatch.runners.training.child.checkpoints import Position


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands between two epochs.

    Attributes:
        epochs: That ended.
        frozen: Whether the body is frozen in the next one: the first of two stages.
        best: The highest value of what is monitored in this stage; of the loss, its negative.
        waited: Epochs of this stage since then.
        stale: Epochs since then, or since the learning rate was last reduced.
        reductions: How often it was reduced in this stage.
    """

    epochs: int = 0
    frozen: bool = False
    best: float = -math.inf
    waited: int = 0
    stale: int = 0
    reductions: int = 0

    @classmethod
    def at_begin(cls, course: Course) -> "Progress":
        """Return where a training stands before its first epoch."""
        return cls(frozen=course.frozen_epochs > 0)

    @classmethod
    def of(cls, members: "Position") -> "Progress":
        """Return where a checkpoint stands; older ones hold the lowest loss."""
        known = dict(members)
        if "best_loss" in known:
            known["best"] = -known.pop("best_loss")  # type: ignore[operator]
        return cls(**known)  # type: ignore[arg-type]

    def after(self, course: Course, loss: float, accuracy: float) -> "Progress":
        """Return where it stands after an epoch with these figures of the validation images.

        As Keras has it: an epoch is better by more than ``min_change`` than the best before it;
        waiting for a better one begins anew in every stage, and behind every reduction.
        """
        value = accuracy if course.monitor == "accuracy" else -loss
        after = replace(self, epochs=self.epochs + 1)
        if value - course.min_change > self.best:
            after = replace(after, best=value, waited=0, stale=0)
        else:
            after = replace(after, waited=self.waited + 1, stale=self.stale + 1)
        if course.plateau_patience and after.stale >= course.plateau_patience:
            after = replace(after, stale=0, reductions=after.reductions + 1)
        if self.frozen and (after.epochs >= course.frozen_epochs or after._impatient(course)):
            return Progress(epochs=after.epochs)
        return after

    def ended(self, course: Course) -> bool:
        """Return whether no epoch is left."""
        return self.epochs >= course.epochs or self._impatient(course)

    def _impatient(self, course: Course) -> bool:
        return bool(course.patience) and self.waited >= course.patience

    def members(self) -> "Position":
        """Return what a checkpoint holds of it."""
        return {
            "epochs": self.epochs,
            "frozen": self.frozen,
            "best": self.best,
            "waited": self.waited,
            "stale": self.stale,
            "reductions": self.reductions,
        }
