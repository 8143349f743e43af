"""Non-maximum suppression for all images of a batch, and the best boxes of each."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torchvision.ops import nms

ABSENT = -1.0
"""Score of a place in a dense array that holds no candidate."""

ABSENT_BELOW = -0.5
"""A score below this is that of no candidate."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of all images, a row each.

    Attributes:
        boxes: (K, 4) as x1, y1, x2, y2 in pixels.
        scores: (K,).
        labels: (K,) whole numbers.
        image: (K,) whole numbers: which image of the batch.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image: Tensor

    def rows(self, numbers: Tensor) -> "Boxes":
        """Return some rows, by their numbers."""
        return Boxes(*(getattr(self, field.name)[numbers] for field in fields(self)))


@torch.library.custom_op("greenbatch::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Find the boxes that no box of a higher score overlaps, image by image.

    It is an operator of its own because ONNX has it (NonMaxSuppression), and torch has not:
    torchvision's takes the boxes of one image. The boxes of all images in one call would cost the
    square of their number.

    Args:
        boxes: (N, M, 4) float32, as x1, y1, x2, y2.
        scores: (N, M) float32; `ABSENT` where there is no box.
        threshold: Intersection over union above which the box of the lower score is dropped.

    Returns:
        (K, 2) int64: the image and the place of each box that stays.
    """
    found = []
    for image in range(len(boxes)):
        places = torch.nonzero(scores[image] > ABSENT_BELOW)[:, 0]
        kept = places[nms(boxes[image, places], scores[image, places], threshold)]
        found.append(torch.stack([torch.full_like(kept, image), kept], 1))
    return torch.cat(found)


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(), 2), dtype=torch.int64)


def best_of_dense(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    present: Tensor,
    size: tuple[int, int],
    threshold: float,
    limit: int,
) -> Boxes:
    """Suppress the boxes of each image and return the best of those that stay.

    Boxes of different labels do not suppress each other: they are moved apart to the right, as in
    torchvision's ``batched_nms``.

    Args:
        boxes: (N, M, 4) within ``size``.
        scores, labels: (N, M).
        present: (N, M) boolean: where there is a candidate.
        size: Height and width in pixels.
        threshold: See `suppress`.
        limit: Most boxes of an image.
    """
    right = labels.to(torch.float32) * (size[1] + 1.0)
    moved = boxes.to(torch.float32) + right[..., None] * boxes.new_tensor([1.0, 0.0, 1.0, 0.0])
    judged = torch.where(present, scores.to(torch.float32), ABSENT)
    image, place = suppress(moved, judged, threshold).unbind(1)
    kept = Boxes(boxes[image, place], scores[image, place], labels[image, place], image)
    return _best(kept, boxes.shape[0], limit)


def best_of_rows(
    found: Boxes, images: int, size: tuple[int, int], threshold: float, limit: int
) -> Boxes:
    """Do the same for few boxes of all images in rows.

    They are moved apart by image as well, downwards: to the right they would come so far that
    float32 rounds the overlaps.

    Args:
        found: The candidates.
        images: Size of the batch N.
        size, threshold, limit: See `best_of_dense`.
    """
    apart = torch.stack([found.labels, found.image], 1).to(torch.float32)
    apart = apart * apart.new_tensor([size[1] + 1.0, size[0] + 1.0])
    moved = found.boxes.to(torch.float32) + apart.repeat(1, 2)
    kept = suppress(moved[None], found.scores.to(torch.float32)[None], threshold)[:, 1]
    return _best(found.rows(kept), images, limit)


def _best(kept: Boxes, images: int, limit: int) -> Boxes:
    """Return the ``limit`` boxes of the highest scores of each image, by falling score."""
    kept = kept.rows(torch.argsort(kept.scores, descending=True))
    numbers = torch.arange(images, device=kept.image.device)
    counts = (kept.image[:, None] == numbers[None, :]).to(torch.int64).cumsum(0)
    rank = counts.gather(1, kept.image[:, None])[:, 0]
    return kept.rows(torch.nonzero(rank <= limit)[:, 0])
