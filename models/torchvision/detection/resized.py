"""What torchvision does to images before a detector: normalised, resized, padded; for a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform


def resized_size(transform: "GeneralizedRCNNTransform", height: int, width: int) -> tuple[int, int]:
    """Return the height and width that images of a size are resized to, before padding.

    Source: ``_resize_image_and_masks`` in torchvision's ``models/detection/transform.py``, and
    `torch.nn.functional.interpolate` with ``recompute_scale_factor``.
    """
    if transform.fixed_size is not None:
        fixed_width, fixed_height = transform.fixed_size
        return fixed_height, fixed_width
    shorter, longer = min(height, width), max(height, width)
    scale = min(transform.min_size[-1] / shorter, transform.max_size / longer)
    return int(height * scale), int(width * scale)


def transformed(transform: "GeneralizedRCNNTransform", images: "torch.Tensor") -> "torch.Tensor":
    """Return images of one size as the backbone takes them.

    Args:
        transform: Of the detector.
        images: (N, C, H, W) in 0..1.

    Returns:
        (N, C, H', W'), normalised, resized as `resized_size` states, and padded with 0 on the
        right and below to multiples of ``size_divisible``.
    """
    from torch.nn import functional

    height, width = images.shape[-2:]
    images = transform.normalize(images)
    size = resized_size(transform, height, width)
    if size != (height, width):
        images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    down, across = (-side % transform.size_divisible for side in size)
    if down or across:
        images = functional.pad(images, (0, across, 0, down))
    return images


def in_original_pixels(
    transform: "GeneralizedRCNNTransform", boxes: "torch.Tensor", height: int, width: int
) -> "torch.Tensor":
    """Return boxes (K, 4) of resized images as boxes of images of the original size."""
    resized_height, resized_width = resized_size(transform, height, width)
    if (resized_height, resized_width) == (height, width):
        return boxes
    x, y = width / resized_width, height / resized_height
    return boxes * boxes.new_tensor([x, y, x, y])
