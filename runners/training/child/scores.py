"""How well a network does over a pass: mean loss, accuracy and F1, summed up on its device."""

from typing import TYPE_CHECKING

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
        confusion = self._confusion.view(self._classes, self._classes).double()
        hits = confusion.diagonal()
        either = confusion.sum(0) + confusion.sum(1)
        seen = either > 0
        return float((2 * hits[seen] / either[seen]).mean()) if bool(seen.any()) else 0.0
