"""Non-maximum suppression for all images of a batch at once."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes of all images, a row each.

    Attributes:
        boxes: (K, 4) as x1, y1, x2, y2 in pixels.
        scores: (K,).
        labels: (K,) whole numbers; boxes of different labels do not suppress each other.
        image: (K,) whole numbers: which image of the batch.
    """

    boxes: "torch.Tensor"
    scores: "torch.Tensor"
    labels: "torch.Tensor"
    image: "torch.Tensor"

    def __getitem__(self, rows: "torch.Tensor") -> "Candidates":
        """Return some rows, by their numbers."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))


def suppressed(
    candidates: Candidates, images: int, size: tuple[int, int], threshold: float, limit: int
) -> Candidates:
    """Return the boxes that no box of a higher score overlaps, the best of each image.

    Boxes are moved apart so that those of different labels or images never overlap: by label to
    the right, by image down. (torchvision's ``batched_nms`` moves all of them in one direction;
    of many images the coordinates would become so large that float32 rounds the overlaps.)

    Args:
        candidates: Any number of them.
        images: Size of the batch.
        size: Height and width that the boxes lie within, in pixels.
        threshold: Intersection over union above which the box of the lower score is dropped.
        limit: Most boxes of an image.

    Returns:
        Those that stay, by falling score.
    """
    import torch
    from torchvision.ops import nms

    apart = torch.stack([candidates.labels, candidates.image], dim=1).to(torch.float32)
    apart = apart * apart.new_tensor([size[1] + 1.0, size[0] + 1.0])
    moved = candidates.boxes.to(torch.float32) + apart.repeat(1, 2)
    kept = nms(moved, candidates.scores.to(torch.float32), threshold)
    found = candidates[kept]
    found = found[torch.argsort(found.scores, descending=True)]  # not every runtime keeps the order
    numbers = torch.arange(images, device=found.image.device)
    ranks = (found.image[:, None] == numbers[None, :]).to(torch.int64).cumsum(0)
    rank = ranks.gather(1, found.image[:, None])[:, 0]
    return found[torch.nonzero(rank <= limit)[:, 0]]
