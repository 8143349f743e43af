"""How well a network does over a pass: its loss and its answers, summed up on its device."""

from typing import TYPE_CHECKING

_MOST_VALUES = 20_000_000
"""Of images times classes: more are not kept, and there is no area under the curve."""

if TYPE_CHECKING:
    import torch


class Scores:
    """Sums over a pass; nothing leaves the device until it is asked for.

    Args:
        classes: How many there are.
        device: Where the sums are kept.
    """

    def __init__(self, classes: int, device: "torch.device") -> None:
        import torch

        self._classes = classes
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self._shares: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []
        self._kept = 0
        self.images = 0

    def add_loss(self, mean: "torch.Tensor", images: int) -> None:
        """Add the mean loss of so many images, shape ()."""
        self._loss += mean.detach().double() * images
        self.images += images

    def add_answers(self, logits: "torch.Tensor", labels: "torch.Tensor") -> None:
        """Add the answers to images: logits of shape (n, classes), labels of shape (n,)."""
        import torch

        pairs = labels * self._classes + logits.argmax(1)
        self._confusion.scatter_add_(0, pairs, torch.ones_like(pairs))
        self._kept += logits.numel()
        if self._kept <= _MOST_VALUES:
            self._shares.append(torch.softmax(logits.float(), 1))
            self._labels.append(labels)

    @property
    def loss(self) -> float:
        """Mean loss of an image; waits for the device."""
        return float(self._loss) / max(1, self.images)

    @property
    def accuracy(self) -> float:
        """Share of images whose answer is right."""
        confusion = self._confusion.view(self._classes, self._classes)
        return float(confusion.trace()) / max(1, int(confusion.sum()))

    @property
    def f1(self) -> float:
        """Mean F1 of the classes that occur, among the images or among the answers (macro).

        F1 of a class is 2 TP / (2 TP + FP + FN), as in scikit-learn's ``f1_score``.
        """
        hits, answered, there = self._counts()
        return _mean_share(2 * hits, answered + there, answered + there > 0)

    @property
    def precision(self) -> float:
        """Mean precision of those classes, TP / (TP + FP); 0 of a class that was never answered."""
        hits, answered, there = self._counts()
        return _mean_share(hits, answered, answered + there > 0)

    @property
    def recall(self) -> float:
        """Mean recall of those classes, TP / (TP + FN); 0 of a class that has no image."""
        hits, answered, there = self._counts()
        return _mean_share(hits, there, answered + there > 0)

    @property
    def auc(self) -> float | None:
        """Mean area under the ROC curve, each class against the others (macro, one-vs-rest).

        That of a class is the share of pairs, of an image of it and another image, in which the
        first has the larger softmax; pairs that are even count a half. Classes that have no image,
        or every image, have none. ``None`` where no class has one, or too many values were seen.
        """
        import torch

        if not self._shares or self._kept > _MOST_VALUES:
            return None
        labels = torch.cat(self._labels)
        begin = 1 if self._classes == 2 else 0  # the areas of two classes are one and the same
        areas = [
            _area(shares, labels == place)
            for place, shares in enumerate(torch.cat(self._shares).T[begin:], begin)
            if 0 < int((labels == place).sum()) < len(labels)
        ]
        return sum(areas) / len(areas) if areas else None

    def _counts(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """Return by class how many answers are right, are that class, and images are of it."""
        confusion = self._confusion.view(self._classes, self._classes).double()
        return confusion.diagonal(), confusion.sum(0), confusion.sum(1)


def _mean_share(part: "torch.Tensor", whole: "torch.Tensor", seen: "torch.Tensor") -> float:
    """Return the mean of part / whole where seen; a share of nothing is 0."""
    if not bool(seen.any()):
        return 0.0
    return float((part[seen] / whole[seen].clamp(min=1)).mean())


def _area(shares: "torch.Tensor", own: "torch.Tensor") -> float:
    """Return Mann-Whitney's U of the own ones, as a share of all pairs."""
    import torch

    _, places, counts = torch.unique(shares, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks = (ends - (counts.double() - 1) / 2)[places]  # of even ones, their mean rank
    count = int(own.sum())
    above = float(ranks[own].sum()) - count * (count + 1) / 2
    return above / (count * (len(own) - count))
